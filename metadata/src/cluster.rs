//! The cluster's birth certificate: one create-only object that names its engine, its lineage and its
//! id. Whoever comes first writes it; everybody else must agree with it or stay out.
//!
//! ```text
//! floe cluster 1                            format, version of the format
//! engine slatedb                            where the metadata lives
//! lineage 00112233445566778899aabbccddeeff  part of every other object's name
//! id MkU3OEVBNTcwNTJENDM2Qg                 what clients are told
//! secret 000102030405060708090a0b0c0d0e0f   what processes of the cluster know each other by
//! crc32c 71d7b6b0                           of all lines before
//! ```

use bytes::Bytes;
use floe_protocol::checksum::crc32c;
use floe_storage::key::{self, EarlierLineage, Lineage, Lineages};
use floe_storage::store::{Caller, Created, Store, StoreError, StoreErrorKind};
use object_store::path::Path;

use crate::ownership::{self, ClaimError, Moved};
use crate::rpc::Secret;

/// The format that is written and the newest that is understood.
const VERSION: u32 = 1;

/// Facts about a cluster that never change during a lineage. They are those of its object until it is moved
/// to another engine; then the last record of the lineage's claims says what is new, see [`Moved`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Which life of the cluster this is.
    pub lineage: Lineage,
    /// The lives before, the oldest first.
    pub earlier: Vec<EarlierLineage>,
    /// The id clients see: 16 bytes in 22 characters of URL-safe base64, as Kafka writes it.
    pub id: String,
    /// The engine that holds the metadata.
    pub engine: String,
    /// What processes of the cluster know each other by.
    pub secret: Secret,
}

/// Random bytes for a cluster that does not exist yet; unused when it does.
#[derive(Clone, Copy, Debug)]
pub struct NewCluster {
    /// For the lineage.
    pub lineage: [u8; 16],
    /// For the id.
    pub id: [u8; 16],
    /// For the secret.
    pub secret: [u8; 16],
}

/// Why a process may not join the cluster in a store.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClusterError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer release made or upgraded this cluster.
    #[error(
        "the cluster's format is version {found}, this release understands {VERSION}: use a newer one"
    )]
    Newer {
        /// Its version.
        found: u32,
    },
    /// Another engine holds this cluster's metadata.
    #[error(
        "the cluster's metadata is kept by engine '{found}', not by '{asked}': check --metadata"
    )]
    OtherEngine {
        /// The one that does.
        found: String,
        /// The one this process was told to use.
        asked: String,
    },
    /// The object is not what anyone wrote.
    #[error("object '{}' is damaged: it names no cluster", key::cluster())]
    Damaged,
    /// The record of a move to another engine cannot be read.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A life began with a write epoch that the one before it used.
    #[error(
        "the records of the cluster's moves contradict each other: lineage {0} began too early"
    )]
    Contradiction(Lineage),
}

impl Cluster {
    /// Reads what the cluster is now, or creates it from `new`. Of several that create at once one wins,
    /// and all agree on it.
    ///
    /// # Errors
    /// See [`ClusterError`]; nothing was changed unless the store failed.
    pub async fn open(store: &Store, engine: &str, new: NewCluster) -> Result<Self, ClusterError> {
        let cluster = match Self::read(store).await? {
            Some(cluster) => cluster,
            None => {
                let ours = Self::new(engine, new);
                let text = vec![Bytes::from(ours.encode())];
                let path = key::cluster();
                match store.put_create(&path, text, Caller::Metadata).await? {
                    Created::New => return Ok(ours),
                    Created::Existed => Self::follow_from(store, &path).await?,
                }
            }
        };
        cluster.check_engine(engine)?;
        Ok(cluster)
    }

    /// Refuses another engine than the one that holds the metadata.
    ///
    /// # Errors
    /// `OtherEngine`.
    pub fn check_engine(&self, engine: &str) -> Result<(), ClusterError> {
        if self.engine != engine {
            let (found, asked) = (self.engine.clone(), engine.to_owned());
            return Err(ClusterError::OtherEngine { found, asked });
        }
        Ok(())
    }

    /// What the cluster in a store is now; `None` when there is none.
    ///
    /// # Errors
    /// The store failed, or holds what nobody wrote.
    pub async fn read(store: &Store) -> Result<Option<Self>, ClusterError> {
        match Self::follow_from(store, &key::cluster()).await {
            Ok(cluster) => Ok(Some(cluster)),
            Err(ClusterError::Store(error)) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From the cluster's object to its present life.
    async fn follow_from(store: &Store, path: &Path) -> Result<Self, ClusterError> {
        let found = store.get_whole(path, Caller::Metadata).await?;
        let mut cluster = Self::parse(&found)?;
        while let Some(moved) = ownership::moved(store, cluster.lineage).await? {
            cluster.follow(moved)?;
        }
        Ok(cluster)
    }

    /// Goes on to the next life.
    fn follow(&mut self, moved: Moved) -> Result<(), ClusterError> {
        let before = self.earlier.last().map_or(0, |life| life.last_write_epoch);
        if moved.last_write_epoch <= before {
            return Err(ClusterError::Contradiction(self.lineage));
        }
        self.earlier.push(EarlierLineage {
            lineage: self.lineage,
            last_write_epoch: moved.last_write_epoch,
        });
        self.lineage = moved.lineage;
        self.engine = moved.engine;
        self.secret = moved.secret;
        Ok(())
    }

    /// The lineages that its segments are named in.
    #[must_use]
    pub fn lineages(&self) -> Lineages {
        Lineages::new(self.lineage, &self.earlier)
    }

    /// Whether the store holds a cluster already.
    ///
    /// # Errors
    /// The store failed.
    pub async fn exists(store: &Store) -> Result<bool, ClusterError> {
        let object = store.head(&key::cluster(), Caller::Metadata).await?;
        Ok(object.is_some())
    }

    fn new(engine: &str, new: NewCluster) -> Self {
        Self {
            lineage: Lineage(new.lineage),
            earlier: Vec::new(),
            id: encode_id(new.id),
            engine: engine.to_owned(),
            secret: Secret(new.secret),
        }
    }

    fn encode(&self) -> String {
        let Self {
            lineage,
            earlier: _,
            id,
            engine,
            secret: Secret(secret),
        } = self;
        let secret = Lineage(*secret);
        seal(format!(
            "floe cluster {VERSION}\nengine {engine}\nlineage {lineage}\nid {id}\nsecret {secret}\n"
        ))
    }

    fn parse(text: &[u8]) -> Result<Self, ClusterError> {
        let fields = Fields::parse(text, "floe cluster").ok_or(ClusterError::Damaged)?;
        if fields.version > VERSION {
            return Err(ClusterError::Newer {
                found: fields.version,
            });
        }
        let parsed = || {
            let lineage = Lineage::parse(fields.get("lineage")?)?;
            // Clusters made before there were several processes have none; their lineage is as random.
            let secret = fields.get("secret").map_or(Some(lineage), Lineage::parse)?;
            Some(Self {
                lineage,
                earlier: Vec::new(),
                id: fields.get("id")?.to_owned(),
                engine: fields.get("engine")?.to_owned(),
                secret: Secret(secret.0),
            })
        };
        parsed().ok_or(ClusterError::Damaged)
    }
}

/// Adds to the lines of a small text object the last one, their checksum: a flipped bit in a lineage or
/// an epoch would else be another cluster's.
pub(crate) fn seal(mut lines: String) -> String {
    let crc = crc32c(lines.as_bytes());
    lines.push_str(&format!("{CRC}{crc:08x}\n"));
    lines
}

const CRC: &str = "crc32c ";

/// A small text object: a line with its format and version, then one field per line, then [`seal`].
pub(crate) struct Fields<'a> {
    pub(crate) version: u32,
    lines: Vec<(&'a str, &'a str)>,
}

impl<'a> Fields<'a> {
    /// `None` when `text` is not of this `format`, in any version, or is damaged.
    pub(crate) fn parse(text: &'a [u8], format: &str) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
        let (lines, crc) = text.rsplit_once('\n')?;
        let sealed = text.get(..=lines.len())?;
        if crc.strip_prefix(CRC)? != format!("{:08x}", crc32c(sealed.as_bytes())) {
            return None;
        }
        let mut lines = lines.split('\n');
        let version = lines
            .next()?
            .strip_prefix(format)?
            .strip_prefix(' ')?
            .parse()
            .ok()?;
        let lines = lines
            .map(|line| line.split_once(' '))
            .collect::<Option<Vec<_>>>()?;
        Some(Self { version, lines })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.lines
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| *value)
    }
}

/// URL-safe base64 without padding, and without a dash in front, which tools would take for an option.
fn encode_id(mut bytes: [u8; 16]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const DASH: u8 = 62;
    if bytes[0] >> 2 == DASH {
        bytes[0] &= 0x7f;
    }
    // 22 digits hold 132 bits: the value and 4 zeros below it.
    let value = u128::from_be_bytes(bytes);
    let digit = |index: u32| {
        let shifted = match index {
            21 => value << 4,
            _ => value >> (122 - 6 * index),
        };
        DIGITS
            .get((shifted & 0x3f) as usize)
            .map(|digit| char::from(*digit))
    };
    (0..22).filter_map(digit).collect()
}

#[cfg(test)]
mod tests;
