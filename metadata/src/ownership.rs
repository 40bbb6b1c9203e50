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
//! Whether a predecessor is gone is a question, not a timer. In a folder an exclusive file lock, which
//! the kernel drops with its process, answers it; elsewhere the claim says where its owner answers.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use floe_storage::key::{self, Lineage};
use floe_storage::store::{Caller, Created, Store, StoreError};
use futures::TryStreamExt;

use crate::cluster::{Fields, seal};

/// The format of claims that is written and the newest that is understood.
const VERSION: u32 = 1;
/// How long a predecessor may take to say that it lives.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a claim is tried again that others were faster with.
const CLAIM_ROUNDS: u32 = 8;

/// A process, as others can find and recognise it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnerId {
    /// Where it answers who it is, for example `10.0.0.7:9080`. No spaces or line breaks.
    pub address: String,
    /// Random, new with every start of a process.
    pub nonce: [u8; 16],
}

/// Asks a process whether it lives.
#[async_trait]
pub trait AliveCheck: fmt::Debug + Send + Sync {
    /// Whether the process that answers at `address` is the one with this nonce.
    async fn is_alive(&self, address: &str, nonce: [u8; 16]) -> bool;
}

/// How a newcomer makes sure that the owner before it is gone.
#[derive(Clone, Debug)]
pub enum Exclusion {
    /// The store is this folder, of which one process at a time holds the lock.
    Folder(PathBuf),
    /// Any number of processes reach the store: ask the owner.
    Ask(Arc<dyn AliveCheck>),
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
    /// Another process has the folder.
    #[error("store folder '{}' is in use by another floe process", .0.display())]
    InUse(PathBuf),
    /// The folder cannot be locked.
    #[error("store folder '{}' cannot be locked: {reason}", folder.display())]
    NoLock {
        /// The folder.
        folder: PathBuf,
        /// The system's words.
        reason: Arc<io::Error>,
    },
    /// The owner answers.
    #[error("the cluster is in use: its owner answers at {}", .0.address)]
    OwnerAlive(OwnerId),
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
    /// The store creates what is there.
    #[error(
        "the store does not honour If-None-Match: * (create only if absent), without which two \
         brokers would overwrite each other: use a store that does, see --store"
    )]
    CreateNotHonoured,
    /// A newer release owned this cluster.
    #[error(
        "claim {epoch} has format {version}, this release understands {VERSION}: use a newer one"
    )]
    Newer {
        /// Which claim.
        epoch: u64,
        /// Its format.
        version: u32,
    },
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
    /// Locks the folder by the file `lock` in it.
    ///
    /// # Errors
    /// `InUse` when another process has it, `NoLock` when nobody can.
    pub fn take(folder: &Path) -> Result<Self, ClaimError> {
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
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(ClaimError::InUse(folder.to_owned())),
            Err(TryLockError::Error(reason)) => Err(no_lock(reason)),
        }
    }
}

/// The claims of one process, one after the other.
#[derive(Debug)]
pub struct Ownership {
    store: Store,
    lineage: Lineage,
    newest: Claim,
}

impl Ownership {
    /// Claims the next epoch, once the owner before it is gone or silent; `engine_epoch` was read
    /// before this call. The lock of a folder is to be taken before, and held.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub async fn claim(
        store: &Store,
        lineage: Lineage,
        owner: OwnerId,
        exclusion: &Exclusion,
        engine_epoch: u64,
    ) -> Result<(Self, Predecessor), ClaimError> {
        let mut round = 0;
        loop {
            let (before, predecessor) = look(store, lineage, exclusion, engine_epoch).await?;
            let epoch = before.as_ref().map_or(0, |before| before.epoch) + 1;
            let claim = Claim {
                epoch,
                owner: owner.clone(),
                engine_epoch,
            };
            match create(store, lineage, &claim).await? {
                Created::New => {
                    let (store, newest) = (store.clone(), claim);
                    return Ok((
                        Self {
                            store,
                            lineage,
                            newest,
                        },
                        predecessor,
                    ));
                }
                // Somebody was faster: ask them.
                Created::Existed if round < CLAIM_ROUNDS => round += 1,
                Created::Existed => {
                    return Err(ClaimError::Overtaken(read(store, lineage, epoch).await?));
                }
            }
        }
    }

    /// Claims the epoch after our own newest, after the engine was lost.
    ///
    /// # Errors
    /// `Overtaken` when it is another's. After a failure of the store call it again.
    pub async fn claim_next(&mut self, engine_epoch: u64) -> Result<(), ClaimError> {
        let claim = Claim {
            epoch: self.newest.epoch + 1,
            engine_epoch,
            ..self.newest.clone()
        };
        match create(&self.store, self.lineage, &claim).await? {
            Created::New => {
                self.newest = claim;
                Ok(())
            }
            // An attempt of ours may have landed unseen, when the engine had another epoch.
            Created::Existed => {
                let theirs = read(&self.store, self.lineage, claim.epoch).await?;
                if theirs.owner != claim.owner {
                    return Err(ClaimError::Overtaken(theirs));
                }
                self.newest = theirs;
                Ok(())
            }
        }
    }

    /// Finds out whether our newest claim is the newest of all.
    ///
    /// # Errors
    /// `Overtaken` when it is not.
    pub async fn confirm(&self) -> Result<(), ClaimError> {
        let next = self.newest.epoch + 1;
        match self
            .store
            .head(&key::epoch(self.lineage, next), Caller::Metadata)
            .await?
        {
            None => Ok(()),
            Some(_) => Err(ClaimError::Overtaken(
                read(&self.store, self.lineage, next).await?,
            )),
        }
    }

    /// Creates our claim a second time, which the store must refuse: without that there is no claim
    /// and no fence.
    ///
    /// # Errors
    /// `CreateNotHonoured` when it does not.
    pub async fn check_store(&self) -> Result<(), ClaimError> {
        let path = key::epoch(self.lineage, self.newest.epoch);
        match self
            .store
            .honours_create(&path, self.newest.encode())
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
        let path = key::epoch_released(self.lineage, self.newest.epoch);
        self.store
            .put_create(&path, vec![self.newest.encode()], Caller::Metadata)
            .await?;
        Ok(())
    }

    /// Our newest claim.
    #[must_use]
    pub fn newest(&self) -> &Claim {
        &self.newest
    }
}

/// The newest claim, whose owner is gone or silent.
async fn look(
    store: &Store,
    lineage: Lineage,
    exclusion: &Exclusion,
    engine_epoch: u64,
) -> Result<(Option<Claim>, Predecessor), ClaimError> {
    let (mut newest, mut released) = (None, None);
    let mut names = store.list(&key::epochs(lineage), Caller::Metadata);
    while let Some(object) = names.try_next().await? {
        newest = newest.max(key::parse_epoch(lineage, &object.location));
        released = released.max(key::parse_epoch_released(lineage, &object.location));
    }
    let Some(newest) = newest else {
        return Ok((None, Predecessor::Gone));
    };
    let claim = read(store, lineage, newest).await?;
    if claim.engine_epoch > engine_epoch {
        let claimed = claim.engine_epoch;
        return Err(ClaimError::EngineBehind {
            found: engine_epoch,
            claimed,
        });
    }
    let predecessor = match exclusion {
        _ if released == Some(newest) => Predecessor::Gone,
        Exclusion::Folder(_) => Predecessor::Gone,
        Exclusion::Ask(check) => {
            let OwnerId { address, nonce } = &claim.owner;
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, check.is_alive(address, *nonce));
            if answer.await.unwrap_or(false) {
                return Err(ClaimError::OwnerAlive(claim.owner));
            }
            Predecessor::Silent
        }
    };
    Ok((Some(claim), predecessor))
}

async fn create(store: &Store, lineage: Lineage, claim: &Claim) -> Result<Created, StoreError> {
    let path = key::epoch(lineage, claim.epoch);
    store
        .put_create(&path, vec![claim.encode()], Caller::Metadata)
        .await
}

async fn read(store: &Store, lineage: Lineage, epoch: u64) -> Result<Claim, ClaimError> {
    let path = key::epoch(lineage, epoch);
    let text = store.get_whole(&path, Caller::Metadata).await?;
    Claim::parse(epoch, &text)
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

    fn parse(epoch: u64, text: &[u8]) -> Result<Self, ClaimError> {
        let damaged = || ClaimError::Damaged(format!("claim {epoch}"));
        let fields = Fields::parse(text, "floe claim").ok_or_else(damaged)?;
        if fields.version > VERSION {
            return Err(ClaimError::Newer {
                epoch,
                version: fields.version,
            });
        }
        let parsed = || {
            let owner = OwnerId {
                address: fields.get("address")?.to_owned(),
                nonce: Lineage::parse(fields.get("nonce")?)?.0,
            };
            let engine_epoch = fields.get("engine-epoch")?.parse().ok()?;
            (fields.get("epoch")?.parse() == Ok(epoch)).then_some(Self {
                epoch,
                owner,
                engine_epoch,
            })
        };
        parsed().ok_or_else(damaged)
    }
}

#[cfg(test)]
mod tests;
