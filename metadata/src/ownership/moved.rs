//! The end of a lineage: the record that says where a cluster was moved to.
//!
//! ```text
//! epochs/<old lineage>/…06   the claim under which the metadata was exported
//! epochs/<old lineage>/…07   moved: the new lineage, its engine, the last write epoch of the old one
//! ```
//!
//! It takes the place of the next claim. Both are create-only, so either the old lineage goes on or it
//! has ended, never both: whoever would own it again finds the name taken. Nothing comes after it.

use bytes::Bytes;
use floe_storage::key::{self, Lineage};
use floe_storage::store::{Caller, Created, Store};

use super::{ClaimError, MOVED_VERSION};
use crate::cluster::{Fields, seal};
use crate::rpc::Secret;

/// Where a cluster went on after a lineage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// The epoch whose claim it stands for.
    pub epoch: u64,
    /// The new life.
    pub lineage: Lineage,
    /// The engine that holds the metadata since.
    pub engine: String,
    /// What processes know each other by since.
    pub secret: Secret,
    /// The last write epoch of segments of the lineage that ended.
    pub last_write_epoch: u32,
    /// The checksum of the rows that were moved.
    pub rows_sha256: [u8; 32],
}

impl Moved {
    /// Ends `lineage`, unless its epoch [`Moved::epoch`] was claimed, or it was moved before. The new life
    /// must be complete: from here on it is the cluster. Repeating it answers the same.
    ///
    /// # Errors
    /// The store failed; the lineage may have ended.
    pub async fn record(&self, store: &Store, lineage: Lineage) -> Result<bool, ClaimError> {
        let path = key::epoch(lineage, self.epoch);
        let created = store.put_create(&path, vec![self.encode()], Caller::Metadata);
        Ok(created.await? == Created::New)
    }

    fn encode(&self) -> Bytes {
        let Self {
            epoch,
            lineage,
            engine,
            secret: Secret(secret),
            last_write_epoch,
            rows_sha256,
        } = self;
        let secret = Lineage(*secret);
        let rows = hex(rows_sha256);
        Bytes::from(seal(format!(
            "floe claim {MOVED_VERSION}\nepoch {epoch}\nmoved-to {lineage}\nengine {engine}\n\
             secret {secret}\nlast-write-epoch {last_write_epoch}\nrows-sha256 {rows}\n"
        )))
    }

    /// `None` when the fields are not those of epoch `epoch`.
    pub(super) fn parse(epoch: u64, fields: &Fields<'_>) -> Option<Self> {
        let moved = Self {
            epoch: fields.get("epoch")?.parse().ok()?,
            lineage: Lineage::parse(fields.get("moved-to")?)?,
            engine: fields.get("engine")?.to_owned(),
            secret: Secret(Lineage::parse(fields.get("secret")?)?.0),
            last_write_epoch: fields.get("last-write-epoch")?.parse().ok()?,
            rows_sha256: parse_hex(fields.get("rows-sha256")?)?,
        };
        (moved.epoch == epoch).then_some(moved)
    }
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 digits: two halves in the notation that lineages have.
fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let (first, second) = text.split_at_checked(32)?;
    let halves = [Lineage::parse(first)?.0, Lineage::parse(second)?.0];
    halves.concat().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> Moved {
        Moved {
            epoch: 7,
            lineage: Lineage([2; 16]),
            engine: "postgres".to_owned(),
            secret: Secret([3; 16]),
            last_write_epoch: 5,
            rows_sha256: [0xab; 32],
        }
    }

    #[test]
    fn version_2_is_these_bytes() {
        let text = moved().encode();
        let expected = format!(
            "floe claim 2\nepoch 7\nmoved-to {}\nengine postgres\nsecret {}\nlast-write-epoch 5\n\
             rows-sha256 {}\n",
            "02".repeat(16),
            "03".repeat(16),
            "ab".repeat(32),
        );
        assert_eq!(text, seal(expected));
        let fields = Fields::parse(&text, "floe claim").unwrap();
        assert_eq!(Moved::parse(7, &fields), Some(moved()));
        assert_eq!(Moved::parse(8, &fields), None);
    }
}
