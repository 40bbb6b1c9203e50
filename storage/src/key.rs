//! Every object key, built and parsed here only. All lie below the store's prefix:
//!
//! ```text
//! cluster                                          the cluster's birth certificate, create-only
//! epochs/<lineage>/<epoch, 16 hex>                 a claim of ownership, or where the cluster moved; create-only
//! epochs/<lineage>/<epoch, 16 hex>-released        its owner let go of it, create-only
//! epochs/<lineage>/level-<feature level, 8 hex>     processes must understand this level, create-only
//! epochs/<lineage>/durable-<revision, 16 hex>       the metadata had come to this revision, create-only
//! meta/<lineage>/…                                 the embedded engine's own names
//! segments/<level>/<2 hex>/<lineage>-<segment id>  2 hex: low byte of the CRC32C of the id
//! ```
//!
//! Keys hold ids only, never a client's text. The two hex digits spread segments over 256 prefixes,
//! which object stores may place on different machines; folders stay small by them too.

use std::fmt;

use object_store::path::Path;

pub use self::lineages::{EarlierLineage, Lineages};

use crate::segment::SegmentId;

mod lineages;

/// Which life of a cluster an object belongs to: random, new at create, import, restore and rebuild.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lineage(pub [u8; 16]);

impl Lineage {
    /// Parses the 32 lower-case hex digits that [`fmt::Display`] writes; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        if text.len() != 32 {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).ok()?;
            *byte = u8::try_from(parse_hex(digits, 2)?).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The object that names the cluster, its engine and its lineage.
#[must_use]
pub fn cluster() -> Path {
    Path::from("cluster")
}

/// The claim of ownership epoch `epoch`.
#[must_use]
pub fn epoch(lineage: Lineage, epoch: u64) -> Path {
    Path::from(format!("epochs/{lineage}/{epoch:016x}"))
}

/// The mark that the owner of epoch `epoch` has let go of it.
#[must_use]
pub fn epoch_released(lineage: Lineage, epoch: u64) -> Path {
    Path::from(format!("epochs/{lineage}/{epoch:016x}{RELEASED}"))
}

const RELEASED: &str = "-released";

/// The folder of all claims of a lineage; names below it sort by epoch.
#[must_use]
pub fn epochs(lineage: Lineage) -> Path {
    Path::from(format!("epochs/{lineage}"))
}

/// The epoch that `path` claims; `None` when it is no claim of `lineage`.
#[must_use]
pub fn parse_epoch(lineage: Lineage, path: &Path) -> Option<u64> {
    parse_hex(epoch_name(lineage, path)?, 16)
}

/// The epoch that `path` marks as released; `None` when it is no such mark of `lineage`.
#[must_use]
pub fn parse_epoch_released(lineage: Lineage, path: &Path) -> Option<u64> {
    parse_hex(epoch_name(lineage, path)?.strip_suffix(RELEASED)?, 16)
}

/// The mark that processes of a lineage must understand feature level `level`.
#[must_use]
pub fn feature_level(lineage: Lineage, level: u32) -> Path {
    Path::from(format!("epochs/{lineage}/{LEVEL}{level:08x}"))
}

const LEVEL: &str = "level-";

/// The feature level that `path` marks; `None` when it is no such mark of `lineage`.
#[must_use]
pub fn parse_feature_level(lineage: Lineage, path: &Path) -> Option<u32> {
    let digits = epoch_name(lineage, path)?.strip_prefix(LEVEL)?;
    u32::try_from(parse_hex(digits, 8)?).ok()
}

/// The mark that the metadata of a lineage had come to `revision`.
#[must_use]
pub fn durable(lineage: Lineage, revision: u64) -> Path {
    Path::from(format!("epochs/{lineage}/{DURABLE}{revision:016x}"))
}

const DURABLE: &str = "durable-";

/// The revision that `path` marks as durable; `None` when it is no such mark of `lineage`.
#[must_use]
pub fn parse_durable(lineage: Lineage, path: &Path) -> Option<u64> {
    parse_hex(epoch_name(lineage, path)?.strip_prefix(DURABLE)?, 16)
}

fn epoch_name(lineage: Lineage, path: &Path) -> Option<&str> {
    let name = path.as_ref().strip_prefix("epochs/")?;
    name.strip_prefix(&lineage.to_string())?.strip_prefix('/')
}

/// The folder the embedded engine may fill with names of its own.
#[must_use]
pub fn meta(lineage: Lineage) -> Path {
    Path::from(format!("meta/{lineage}"))
}

/// The segment `id` of level `level`.
#[must_use]
pub fn segment(lineage: Lineage, level: u8, id: SegmentId) -> Path {
    let shard = shard(id);
    Path::from(format!("segments/{level}/{shard:02x}/{lineage}-{id}"))
}

/// The folder of all segments of a level.
#[must_use]
pub fn segments(level: u8) -> Path {
    Path::from(format!("segments/{level}"))
}

/// Lineage, level and id in a segment's key; `None` when `path` is not exactly such a key.
#[must_use]
pub fn parse_segment(path: &Path) -> Option<(Lineage, u8, SegmentId)> {
    let mut parts = path.as_ref().strip_prefix("segments/")?.split('/');
    let (level, _shard, name) = (parts.next()?, parts.next()?, parts.next()?);
    let level = level.parse().ok()?;
    let mut fields = name.split('-');
    let lineage = Lineage::parse(fields.next()?)?;
    let id = SegmentId {
        write_epoch: u32::try_from(parse_hex(fields.next()?, 8)?).ok()?,
        incarnation: u32::try_from(parse_hex(fields.next()?, 8)?).ok()?,
        counter: parse_hex(fields.next()?, 16)?,
    };
    // What was parsed must be what would be written: one object has one name.
    (segment(lineage, level, id) == *path).then_some((lineage, level, id))
}

fn shard(id: SegmentId) -> u8 {
    let mut bytes = [0; 16];
    let (epoch, rest) = bytes.split_at_mut(4);
    let (incarnation, counter) = rest.split_at_mut(4);
    epoch.copy_from_slice(&id.write_epoch.to_be_bytes());
    incarnation.copy_from_slice(&id.incarnation.to_be_bytes());
    counter.copy_from_slice(&id.counter.to_be_bytes());
    let [.., low] = floe_protocol::checksum::crc32c(&bytes).to_be_bytes();
    low
}

/// Exactly `digits` lower-case hex digits.
fn parse_hex(text: &str, digits: usize) -> Option<u64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(is_digit) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINEAGE: Lineage = Lineage([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);

    #[test]
    fn keys_are_as_documented() {
        let id = SegmentId {
            write_epoch: 1,
            incarnation: 2,
            counter: 3,
        };
        let lineage = "000102030405060708090a0b0c0d0eff";
        assert_eq!(cluster().as_ref(), "cluster");
        assert_eq!(
            epoch(LINEAGE, 26).as_ref(),
            format!("epochs/{lineage}/000000000000001a")
        );
        assert_eq!(meta(LINEAGE).as_ref(), format!("meta/{lineage}"));
        assert_eq!(
            segment(LINEAGE, 0, id).as_ref(),
            format!(
                "segments/0/{:02x}/{lineage}-00000001-00000002-0000000000000003",
                shard(id)
            ),
        );
        assert_eq!(
            shard(id),
            0x1a,
            "objects would be lost if the hash ever changed"
        );
    }

    #[test]
    fn what_is_not_exactly_a_key_is_refused() {
        let id = SegmentId {
            write_epoch: 1,
            incarnation: 2,
            counter: 3,
        };
        let good = segment(LINEAGE, 1, id).to_string();
        assert!(parse_segment(&Path::from(good.as_str())).is_some());
        let other_shard = good.replace("segments/1/1a", "segments/1/1b");
        for bad in [
            "",
            "segments",
            "segments/0/00",
            "segments/0/00/x",
            other_shard.as_str(),
            good.replace("segments/1", "segments/01").as_str(),
            good.replace("segments/1", "segments/256").as_str(),
            good.replace("0eff", "0eFF").as_str(),
            format!("{good}-0").as_str(),
            format!("{good}/x").as_str(),
            format!("x{good}").as_str(),
            &good[..good.len() - 1],
        ] {
            assert_eq!(parse_segment(&Path::from(bad)), None, "{bad}");
        }
        let claim = epoch(LINEAGE, 1).to_string();
        for bad in [
            "",
            "epochs",
            &claim[..claim.len() - 1],
            &format!("{claim}0"),
        ] {
            assert_eq!(parse_epoch(LINEAGE, &Path::from(bad)), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back(
            lineage: [u8; 16], level: u8, write_epoch: u32, incarnation: u32, counter: u64,
            number: u64,
        ) {
            let lineage = Lineage(lineage);
            let id = SegmentId { write_epoch, incarnation, counter };
            prop_assert_eq!(parse_segment(&segment(lineage, level, id)), Some((lineage, level, id)));
            prop_assert_eq!(parse_epoch(lineage, &epoch(lineage, number)), Some(number));
            let released = epoch_released(lineage, number);
            prop_assert_eq!(parse_epoch(lineage, &released), None);
            prop_assert_eq!(parse_epoch_released(lineage, &released), Some(number));
            prop_assert_eq!(parse_epoch_released(lineage, &epoch(lineage, number)), None);
            let level = feature_level(lineage, incarnation);
            prop_assert_eq!(parse_feature_level(lineage, &level), Some(incarnation));
            prop_assert_eq!(parse_epoch(lineage, &level), None);
            prop_assert_eq!(parse_feature_level(lineage, &released), None);
            let mark = durable(lineage, number);
            prop_assert_eq!(parse_durable(lineage, &mark), Some(number));
            prop_assert_eq!(parse_epoch(lineage, &mark), None);
            prop_assert_eq!(parse_feature_level(lineage, &mark), None);
            prop_assert_eq!(parse_durable(lineage, &level), None);
            prop_assert_eq!(Lineage::parse(&lineage.to_string()), Some(lineage));
        }

        #[test]
        fn any_other_text_is_refused(text in "\\PC*") {
            let path = Path::from(text.as_str());
            prop_assert_eq!(parse_segment(&path), None);
            prop_assert_eq!(parse_epoch(LINEAGE, &path), None);
        }
    }
}
