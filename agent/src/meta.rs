//! `floe meta …`: moves a stopped cluster's metadata between engines through a file, and shows a cluster.
//!
//! What it says is for people, one fact per line; what went wrong is one line.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use floe_metadata::transfer::{self, Content, Exported, Imported, TransferError};
use floe_storage::store::{OpenError, StoreUrl};
use floe_storage::tasks::Tasks;

use crate::config::{Config, MetaTask};
use crate::start::transfer_config;

/// Why a command about metadata failed.
#[derive(Debug, thiserror::Error)]
pub enum MetaError {
    /// The store.
    #[error(transparent)]
    Store(Box<OpenError>),
    /// The file.
    #[error("'{}': {reason}", file.display())]
    File {
        /// Its name.
        file: PathBuf,
        /// The system's words.
        reason: io::Error,
    },
    /// The cluster or the contents of the file.
    #[error("{store}: {source}")]
    Transfer {
        /// Where the cluster is.
        store: StoreUrl,
        /// What is wrong.
        source: Box<TransferError>,
    },
}

/// Does what was asked, and returns what is to be said about it.
///
/// # Errors
/// See [`MetaError`]; a file that is not whole has been removed.
pub async fn run(config: &Config, task: &MetaTask) -> Result<String, MetaError> {
    if let StoreUrl::Folder(folder) = &config.store
        && !folder.exists()
    {
        // Opening it would make it.
        let reason = io::Error::from(io::ErrorKind::NotFound);
        return Err(named(folder, reason));
    }
    let service = transfer_config(config).await;
    let service = service.map_err(|error| MetaError::Store(Box::new(error)))?;
    let tasks = Tasks::new();
    let failed = |source| MetaError::Transfer {
        store: config.store.clone(),
        source: Box::new(source),
    };
    match task {
        MetaTask::Export { file } => {
            let out = create(file)?;
            match transfer::export(&service, out, &tasks).await {
                Ok(exported) => Ok(say_exported(&exported, file)),
                Err(error) => {
                    // What is left of it is refused by an import anyway.
                    fs::remove_file(file).ok();
                    Err(failed(error))
                }
            }
        }
        MetaTask::Import { file } => {
            let source = File::open(file).map_err(|reason| named(file, reason))?;
            let source = io::BufReader::new(source);
            let imported = transfer::import(&service, source, &tasks).await;
            Ok(say_imported(&imported.map_err(failed)?))
        }
        MetaTask::Inspect => {
            let inspection = transfer::inspect(&service, &tasks).await;
            Ok(inspection.map_err(failed)?.to_string())
        }
    }
}

fn named(file: &Path, reason: io::Error) -> MetaError {
    MetaError::File {
        file: file.to_owned(),
        reason,
    }
}

/// A new file whose name is durable before it has a content.
fn create(file: &Path) -> Result<File, MetaError> {
    let created = File::create_new(file).and_then(|created| {
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        File::open(folder)?.sync_all()?;
        Ok(created)
    });
    created.map_err(|reason| named(file, reason))
}

fn say_exported(exported: &Exported, file: &Path) -> String {
    let Exported { header, content } = exported;
    format!(
        "exported cluster {} (engine {}, lineage {}, revision {}) to {}\n{}\
         Keep the cluster stopped until the file is imported: an import is refused if it was started since.\n",
        header.cluster,
        header.engine,
        header.lineage,
        header.revision,
        file.display(),
        say_content(content),
    )
}

fn say_imported(imported: &Imported) -> String {
    let Imported { cluster, content } = imported;
    format!(
        "imported cluster {}: its metadata is in engine {} now, as lineage {}\n{}\
         Start its processes with this --metadata from now on; with the old one they refuse to start.\n",
        cluster.id,
        cluster.engine,
        cluster.lineage,
        say_content(content),
    )
}

fn say_content(content: &Content) -> String {
    let sum: String = content
        .sha256
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    format!("{} rows, SHA-256 {sum}\n", content.rows)
}
