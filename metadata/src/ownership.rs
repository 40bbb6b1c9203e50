//! Who may order the cluster's metadata: claims in the store, one create-only object per epoch.
//!
//! ```text
//! epochs/<lineage>/…05            claimed by A     A dies, or is cut off
//! epochs/<lineage>/…06            claimed by B  ─▶ B acquires the engine, which fences A for ever
//! epochs/<lineage>/…06-released   B let go      ─▶ the next one waits for nothing
//! ```
//!
//! Safety rests on the engine's fence alone. Claims say who tries, in which order, and whom to ask:
//! - Claims have no holes: a newer one exists if and only if the next one does. So one HEAD tells an
//!   owner whether it was overtaken.
//! - Who acquires the engine has read its epoch first, then seen that no newer claim exists. A slow
//!   older claimant therefore never acquires after a newer one.
//! - A claim carries the engine's epoch it was made at. An engine that shows a lower one later was
//!   set back, and is refused.
//!
//! A lineage ends when its cluster is moved to another engine: then [`Moved`] stands where the next claim
//! would.
//!
//! Whether a predecessor is gone is a question, not a timer. In a folder an exclusive file lock, which
//! the kernel drops with its process, answers it; elsewhere the claim says where its owner answers.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use floe_storage::key::{self, Lineage};
use floe_storage::store::{Caller, Created, Store, StoreError};
use futures::TryStreamExt;

use crate::api::Revision;
use crate::cluster::{Fields, seal};

mod durable;
mod moved;

pub(crate) use durable::DurableMarks;
pub use moved::Moved;

/// The format of claims.
const VERSION: u32 = 1;
/// The format of the record that ends a lineage, and the newest that is understood.
const MOVED_VERSION: u32 = 2;

/// A process, as others can find and recognise it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnerId {
    /// Where it answers who it is, for example `10.0.0.7:9090`. No spaces or line breaks.
    pub address: String,
    /// Random, new with every start of a process.
    pub nonce: [u8; 16],
}

/// How a newcomer makes sure that the owner before it is gone.
#[derive(Clone, Debug)]
pub enum Exclusion {
    /// The store is this folder. Only who holds its lock claims.
    Folder(PathBuf),
    /// Any number of machines reach the store: knock at the owner's door.
    Shared,
}

/// What is known of the owner before us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Predecessor {
    /// Surely does nothing any more: there was none, it let go, or its process is gone.
    Gone,
    /// Did not answer. It may be alive and cut off, and answers reads until its proof is too old.
    Silent,
}

/// One object of the history of ownership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Counts owners from 1.
    pub epoch: u64,
    /// Who claims it.
    pub owner: OwnerId,
    /// The engine's epoch at the time.
    pub engine_epoch: u64,
}

/// Why ownership cannot be had, or is lost.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClaimError {
    /// The store failed; a claim may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder cannot be locked.
    #[error("store folder '{}' cannot be locked: {reason}", folder.display())]
    NoLock {
        /// The folder.
        folder: PathBuf,
        /// The system's words.
        reason: Arc<io::Error>,
    },
    /// A newer owner has come.
    #[error("epoch {} was claimed by the process at {}", .0.epoch, .0.owner.address)]
    Overtaken(Claim),
    /// The engine is older than the claims.
    #[error(
        "the metadata engine was set back: it shows epoch {found}, and epoch {claimed} has been seen; \
         an old copy must be imported as a new lineage"
    )]
    EngineBehind {
        /// The epoch it shows.
        found: u64,
        /// The epoch a claim saw.
        claimed: u64,
    },
    /// The engine is older than what has been durable in it.
    #[error(
        "the metadata engine was set back: it shows revision {found}, and revision {durable} has been durable; \
         this is not the newest copy. If it is all that is left, move it: floe meta export, then import"
    )]
    RowsBehind {
        /// The revision it shows.
        found: Revision,
        /// The one that was marked.
        durable: Revision,
    },
    /// The store creates what is there.
    #[error(
        "the store does not honour If-None-Match: * (create only if absent) or its like, without which two \
         brokers would overwrite each other: use a store that does, see --store"
    )]
    CreateNotHonoured,
    /// A newer release owned this cluster.
    #[error(
        "claim {epoch} has format {version}, this release understands {MOVED_VERSION}: use a newer one"
    )]
    Newer {
        /// Which claim.
        epoch: u64,
        /// Its format.
        version: u32,
    },
    /// The cluster was raised to a level that this release does not know.
    #[error(
        "the cluster is at feature level {level}, this release understands {known}: use a newer one"
    )]
    NewerLevel {
        /// The cluster's, or the one it is being raised to.
        level: u32,
        /// Ours.
        known: u32,
    },
    /// The lineage has ended.
    #[error(
        "the cluster's metadata was moved to engine '{}' and is lineage {} now: check --metadata",
        .0.engine, .0.lineage
    )]
    Moved(Moved),
    /// A claim is not what anyone wrote.
    #[error("object '{0}' is damaged: it is no claim")]
    Damaged(String),
}

/// An exclusive lock on a folder, held until it is dropped or the process ends in whatever way.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Locks the folder by the file `lock` in it; `None` while another process has it.
    ///
    /// # Errors
    /// `NoLock` when nobody can lock it.
    pub fn take(folder: &Path) -> Result<Option<Self>, ClaimError> {
        let no_lock = |reason| ClaimError::NoLock {
            folder: folder.to_owned(),
            reason: Arc::new(reason),
        };
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("lock"))
            .map_err(no_lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(reason)) => Err(no_lock(reason)),
        }
    }
}

/// A claim of this process.
#[derive(Debug)]
pub struct Ownership {
    store: Store,
    lineage: Lineage,
    claim: Claim,
}

impl Ownership {
    /// Claims the epoch after `before`, the newest claim that was seen, whose owner is gone or silent.
    /// `engine_epoch` was read before this call. `None` when somebody else was faster.
    ///
    /// # Errors
    /// `EngineBehind`, or the store failed and the claim may have been made.
    pub async fn claim(
        store: &Store,
        lineage: Lineage,
        owner: OwnerId,
        before: Option<&Claim>,
        engine_epoch: u64,
    ) -> Result<Option<Self>, ClaimError> {
        if let Some(before) = before
            && before.engine_epoch > engine_epoch
        {
            return Err(ClaimError::EngineBehind {
                found: engine_epoch,
                claimed: before.engine_epoch,
            });
        }
        let claim = Claim {
            epoch: before.map_or(0, |before| before.epoch) + 1,
            owner,
            engine_epoch,
        };
        let path = key::epoch(lineage, claim.epoch);
        let text = vec![claim.encode()];
        match store.put_create(&path, text, Caller::Metadata).await? {
            Created::New => Ok(Some(Self {
                store: store.clone(),
                lineage,
                claim,
            })),
            Created::Existed => Ok(None),
        }
    }

    /// Finds out whether our claim is the newest of all.
    ///
    /// # Errors
    /// `Overtaken` when it is not.
    pub async fn confirm(&self) -> Result<(), ClaimError> {
        let next = self.claim.epoch + 1;
        match self
            .store
            .head(&key::epoch(self.lineage, next), Caller::Metadata)
            .await?
        {
            None => Ok(()),
            Some(_) => match read(&self.store, self.lineage, next).await? {
                Record::Claim(claim) => Err(ClaimError::Overtaken(claim)),
                Record::Moved(moved) => Err(ClaimError::Moved(moved)),
            },
        }
    }

    /// Creates our claim a second time, which the store must refuse: without that there is no claim
    /// and no fence.
    ///
    /// # Errors
    /// `CreateNotHonoured` when it does not.
    pub async fn check_store(&self) -> Result<(), ClaimError> {
        let path = key::epoch(self.lineage, self.claim.epoch);
        match self
            .store
            .honours_create(&path, self.claim.encode())
            .await?
        {
            true => Ok(()),
            false => Err(ClaimError::CreateNotHonoured),
        }
    }

    /// Leaves the mark that lets a successor begin at once. The engine must have been released.
    ///
    /// # Errors
    /// The store failed; the successor will wait a little.
    pub async fn mark_released(&self) -> Result<(), ClaimError> {
        let path = key::epoch_released(self.lineage, self.claim.epoch);
        self.store
            .put_create(&path, vec![self.claim.encode()], Caller::Metadata)
            .await?;
        Ok(())
    }

    /// What was claimed.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.claim.epoch
    }
}

/// What is known of who owned a lineage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// The newest claim, and whether its owner has let go of it. `None` when there never was one.
    pub newest: Option<(Claim, bool)>,
    /// The revision that the metadata surely had come to, 0 without a mark.
    pub durable: Revision,
    /// What an owner must understand: the highest feature level that was marked, 1 without a mark.
    pub feature_level: u32,
}

/// Reads what is known of who owned `lineage`.
///
/// # Errors
/// The store failed, a claim is not what anyone wrote, or the lineage has ended.
pub async fn claims(store: &Store, lineage: Lineage) -> Result<Claims, ClaimError> {
    let Names {
        last,
        feature_level,
        durable,
    } = names(store, lineage).await?;
    let newest = match last {
        None => None,
        Some((Record::Claim(claim), is_released)) => Some((claim, is_released)),
        Some((Record::Moved(moved), _)) => return Err(ClaimError::Moved(moved)),
    };
    Ok(Claims {
        newest,
        durable,
        feature_level,
    })
}

/// The newest claim, see [`Claims::newest`].
///
/// # Errors
/// As [`claims`].
pub async fn newest(store: &Store, lineage: Lineage) -> Result<Option<(Claim, bool)>, ClaimError> {
    Ok(claims(store, lineage).await?.newest)
}

/// Marks that from now on an owner of `lineage` must understand feature level `level`. Repeating it is safe.
///
/// # Errors
/// The store failed; the mark may have been made.
pub async fn mark_feature_level(
    store: &Store,
    lineage: Lineage,
    level: u32,
) -> Result<(), ClaimError> {
    let path = key::feature_level(lineage, level);
    let text = Bytes::from(seal(format!("floe feature-level 1\nlevel {level}\n")));
    store
        .put_create(&path, vec![text], Caller::Metadata)
        .await?;
    Ok(())
}

/// Where the cluster went on after `lineage`; `None` while it has not ended.
///
/// # Errors
/// The store failed, or a record is not what anyone wrote.
pub async fn moved(store: &Store, lineage: Lineage) -> Result<Option<Moved>, ClaimError> {
    match names(store, lineage).await?.last {
        Some((Record::Moved(moved), _)) => Ok(Some(moved)),
        Some((Record::Claim(_), _)) | None => Ok(None),
    }
}

/// What stands under the name of an epoch.
#[derive(PartialEq, Eq, Debug)]
enum Record {
    Claim(Claim),
    Moved(Moved),
}

/// What the objects of a lineage say.
struct Names {
    /// The record of the newest epoch, and whether that was released.
    last: Option<(Record, bool)>,
    feature_level: u32,
    durable: Revision,
}

async fn names(store: &Store, lineage: Lineage) -> Result<Names, ClaimError> {
    let (mut newest, mut released, mut level, mut durable) = (None, None, None, None);
    let mut names = store.list(&key::epochs(lineage), Caller::Metadata);
    while let Some(object) = names.try_next().await? {
        newest = newest.max(key::parse_epoch(lineage, &object.location));
        released = released.max(key::parse_epoch_released(lineage, &object.location));
        level = level.max(key::parse_feature_level(lineage, &object.location));
        durable = durable.max(key::parse_durable(lineage, &object.location));
    }
    let last = match newest {
        None => None,
        Some(epoch) => {
            let record = read(store, lineage, epoch).await?;
            Some((record, released == Some(epoch)))
        }
    };
    Ok(Names {
        last,
        feature_level: level.unwrap_or(1),
        durable: durable.unwrap_or(0),
    })
}

async fn read(store: &Store, lineage: Lineage, epoch: u64) -> Result<Record, ClaimError> {
    let path = key::epoch(lineage, epoch);
    let text = store.get_whole(&path, Caller::Metadata).await?;
    Record::parse(epoch, &text)
}

impl Record {
    fn parse(epoch: u64, text: &[u8]) -> Result<Self, ClaimError> {
        let damaged = || ClaimError::Damaged(format!("claim {epoch}"));
        let fields = Fields::parse(text, "floe claim").ok_or_else(damaged)?;
        match fields.version {
            0 | VERSION => Claim::parse(epoch, &fields).map(Self::Claim),
            MOVED_VERSION => Moved::parse(epoch, &fields).map(Self::Moved),
            version => return Err(ClaimError::Newer { epoch, version }),
        }
        .ok_or_else(damaged)
    }
}

impl Claim {
    fn encode(&self) -> Bytes {
        let Self {
            epoch,
            owner: OwnerId { address, nonce },
            engine_epoch,
        } = self;
        let nonce = Lineage(*nonce);
        Bytes::from(seal(format!(
            "floe claim {VERSION}\nepoch {epoch}\naddress {address}\nnonce {nonce}\nengine-epoch {engine_epoch}\n"
        )))
    }

    /// `None` when the fields are not those of epoch `epoch`.
    fn parse(epoch: u64, fields: &Fields<'_>) -> Option<Self> {
        let claim = Self {
            epoch: fields.get("epoch")?.parse().ok()?,
            owner: OwnerId {
                address: fields.get("address")?.to_owned(),
                nonce: Lineage::parse(fields.get("nonce")?)?.0,
            },
            engine_epoch: fields.get("engine-epoch")?.parse().ok()?,
        };
        (claim.epoch == epoch).then_some(claim)
    }
}

#[cfg(test)]
mod tests;
