//! Moves a stopped cluster's metadata from one engine to another through a file, and shows a cluster.
//!
//! ```text
//! export   claim and fence the old engine ─▶ all rows ─▶ file, durable ─▶ release
//! import   check the file ─▶ rows ─▶ new engine, new lineage ─▶ read back, compare
//!              ─▶ raise the write epoch ─▶ release ─▶ record the move           ◀─ the one step that counts
//! ```
//!
//! The record of the move takes the name of the claim after the export's ([`Moved`]). So the import is refused
//! if anybody owned the cluster since the export, and after it nobody owns the old lineage again. Before
//! that record the old cluster is untouched, after it the new one is complete; what an import that did
//! not get there left in the new engine belongs to a lineage that nobody knows.
//!
//! The new life begins with a write epoch above all that were used: no name is given twice, no segment of
//! the old lineage is ever committed again, and the write epoch tells a segment's lineage
//! ([`floe_storage::key::Lineages`]).

use std::io;
use std::sync::Arc;

use floe_storage::tasks::Tasks;

use crate::cluster::{Cluster, ClusterError};
use crate::engine::{Engine, EngineError};
use crate::ownership::{ClaimError, Exclusion, FolderLock};
use crate::service::{ServiceConfig, StartError};
use crate::state::DamagedState;

mod census;
mod export;
mod file;
mod import;
mod inspect;

#[cfg(test)]
mod tests;

pub use census::{Census, Observer};
pub use export::{Exported, Sink, export};
pub use file::{Content, FileError, Header};
pub use import::{Imported, import};
pub use inspect::{Figures, Inspection, inspect};

#[cfg(doc)]
use crate::ownership::Moved;

/// Why metadata was not exported, imported or shown. Unless it says otherwise nothing has changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransferError {
    /// There is nothing to export, to import into, or to show.
    #[error("the store holds no cluster")]
    NoCluster,
    /// A process of the cluster is there.
    #[error(
        "the cluster is running: the process at {address} answers; stop all its processes first"
    )]
    Running {
        /// Where.
        address: String,
    },
    /// Somebody became the owner while we were about to.
    #[error("another process has just become the cluster's owner: stop all its processes first")]
    Outrun,
    /// The cluster's object.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Ownership.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine's rows.
    #[error("metadata is damaged: {0}")]
    Damaged(#[from] DamagedState),
    /// The file that is written.
    #[error("the file cannot be written: {0}")]
    Write(Arc<io::Error>),
    /// The file that is read.
    #[error("the file {0}")]
    File(#[from] FileError),
    /// The rows of a file make no state.
    #[error("the file holds damaged metadata: {0}")]
    DamagedFile(DamagedState),
    /// The file is another cluster's.
    #[error("the file is of cluster {found}, the store holds cluster {expected}")]
    OtherCluster {
        /// The file's.
        found: String,
        /// The store's.
        expected: String,
    },
    /// The file is of an earlier life.
    #[error("the cluster has been moved since the file was written: it is of an earlier lineage")]
    EarlierLineage,
    /// This very file.
    #[error("the file was imported already: the cluster's metadata is in engine '{engine}'")]
    ImportedAlready {
        /// Where.
        engine: String,
    },
    /// The cluster went on.
    #[error(
        "the cluster was started since the file was written (by the process at {address}): export again"
    )]
    Stale {
        /// By whom.
        address: String,
    },
    /// The engine holds rows of a lineage that was drawn a moment ago.
    #[error("the engine to import into is not empty")]
    NotEmpty,
    /// What was read back is not what was written.
    #[error("the new engine does not give back what was written: {0}; nothing was moved")]
    NotTheSame(&'static str),
}

impl From<io::Error> for TransferError {
    fn from(error: io::Error) -> Self {
        Self::Write(Arc::new(error))
    }
}

impl From<StartError> for TransferError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Cluster(error) => error.into(),
            StartError::Claim(error) => error.into(),
            StartError::Engine(error) => error.into(),
            StartError::Damaged(error) => error.into(),
        }
    }
}

/// The cluster in a store, which must be kept by the engine that was named.
async fn open(config: &ServiceConfig) -> Result<Cluster, TransferError> {
    let cluster = Cluster::read(&config.store).await?;
    let cluster = cluster.ok_or(TransferError::NoCluster)?;
    cluster.check_engine(config.engine.name())?;
    Ok(cluster)
}

fn engine_of(config: &ServiceConfig, cluster: &Cluster, tasks: &Tasks) -> Arc<dyn Engine> {
    config.engine.make(config, cluster.lineage, tasks)
}

/// Locks the store's folder, if it is one; `None` when a process has it.
fn lock(exclusion: &Exclusion) -> Result<Option<Lock>, ClaimError> {
    match exclusion {
        Exclusion::Folder(folder) => Ok(FolderLock::take(folder)?.map(Lock::Folder)),
        Exclusion::Shared => Ok(Some(Lock::None)),
    }
}

/// Keeps others out of a folder, until it is dropped.
enum Lock {
    Folder(#[expect(dead_code, reason = "held, not looked at")] FolderLock),
    None,
}
