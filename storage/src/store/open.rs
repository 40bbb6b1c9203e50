//! Opens a store by its URL, and says in one line what is wrong when that fails: which setting to look
//! at, within about ten seconds.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::{BucketService, Caller, Store, StoreOptions, StoreUrl, azure, gcs, s3};
use crate::error::{StoreError, StoreErrorKind};
use crate::key;

/// A file that is created and removed to see whether a folder can be written. Listings leave such
/// names out, and a crash leaves one empty file at most.
const WRITE_TEST: &str = "floe-write-test#1";

/// Why a store cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// The path is there, and no folder.
    #[error("store folder '{}' is a file", .0.display())]
    NotAFolder(PathBuf),
    /// The folder cannot be made or written.
    #[error("store folder '{}' cannot be written: {reason}", path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A variable or the bucket's name makes no sense.
    #[error("settings of store {url} make no sense: {reason}; check {setting}")]
    Settings {
        /// Where.
        url: StoreUrl,
        /// What the client says.
        reason: String,
        /// The settings to look at.
        setting: &'static str,
    },
    /// Nobody answers at the endpoint.
    #[error("store {url} cannot be reached: {reason}; check {setting}")]
    Unreachable {
        /// Where.
        url: StoreUrl,
        /// What happened.
        reason: String,
        /// The setting to look at.
        setting: String,
    },
    /// The keys are wrong, or may not do what is needed.
    #[error("store {url} refuses the keys: {reason}; check {setting}")]
    Denied {
        /// Where.
        url: StoreUrl,
        /// The store's words.
        reason: String,
        /// The setting to look at.
        setting: String,
    },
    /// There is no such bucket.
    #[error("store {url}: there is no such bucket; create it or check --store")]
    NoSuchBucket {
        /// Where.
        url: StoreUrl,
    },
    /// The store overwrites what must be created once.
    #[error(
        "store {0} does not honour If-None-Match: * (create only if absent) or its like, without which two \
         brokers would overwrite each other; use a store that does, see --store"
    )]
    NoConditionalPut(StoreUrl),
    /// Anything else.
    #[error("store {url} cannot be used: {error}")]
    Failed {
        /// Where.
        url: StoreUrl,
        /// What happened.
        error: Box<StoreError>,
    },
}

impl Store {
    /// Opens the store at `url` and asks it one question. A folder is created when it is missing, a
    /// bucket is not. Whether creates are honoured is asked with the first object that is created,
    /// see [`Store::honours_create`].
    ///
    /// # Errors
    /// The store cannot be used; the message names the setting to look at.
    pub async fn open(url: &StoreUrl, options: StoreOptions) -> Result<Self, OpenError> {
        Self::open_with(url, options, &BTreeMap::new()).await
    }

    /// Opens as [`Self::open`] does, with settings that go before those of the environment: the names
    /// of its variables (`AWS_…`, `GOOGLE_…`, `AZURE_…`) and their values.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(
        url: &StoreUrl,
        options: StoreOptions,
        settings: &BTreeMap<String, String>,
    ) -> Result<Self, OpenError> {
        let seed = options.jitter_seed;
        match url {
            StoreUrl::Memory => {
                let base = Arc::new(InMemory::new());
                Ok(Self::new(base, &Path::default(), &options, seed))
            }
            StoreUrl::Folder(path) => {
                let base = open_folder(path)?;
                let options = StoreOptions {
                    hedge: false,
                    ..options
                };
                Ok(Self::new(base, &Path::default(), &options, seed))
            }
            StoreUrl::Bucket {
                service,
                bucket,
                prefix,
            } => {
                let build = match service {
                    BucketService::S3 => s3::bucket,
                    BucketService::Gcs => gcs::bucket,
                    BucketService::Azure => azure::bucket,
                };
                let bucket = build(bucket, settings).map_err(|error| OpenError::Settings {
                    url: url.clone(),
                    reason: error.reason,
                    setting: error.setting,
                })?;
                let options = StoreOptions {
                    suffix_ranges: options.suffix_ranges && *service != BucketService::Azure,
                    ..options
                };
                let store = Self::new(bucket.store, prefix, &options, seed);
                let asked = store.ask().await;
                asked.map_err(|error| bucket.hints.explain(url, error))?;
                Ok(store)
            }
        }
    }

    /// One question that any usable bucket answers: is there a cluster? A GET, not a HEAD, since only
    /// the body of an answer tells a missing bucket from a missing object.
    async fn ask(&self) -> Result<(), StoreError> {
        match self.get_whole(&key::cluster(), Caller::Probe).await {
            Err(error) if error.kind() != StoreErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn open_folder(path: &std::path::Path) -> Result<Arc<dyn ObjectStore>, OpenError> {
    let unwritable = |reason: &dyn std::error::Error| OpenError::Unwritable {
        path: path.to_owned(),
        reason: root_text(reason),
    };
    if path.exists() && !path.is_dir() {
        return Err(OpenError::NotAFolder(path.to_owned()));
    }
    fs::create_dir_all(path).map_err(|error| unwritable(&error))?;
    test_write(&path.join(WRITE_TEST)).map_err(|error| unwritable(&error))?;
    let folder = LocalFileSystem::new_with_prefix(path).map_err(|error| unwritable(&error))?;
    Ok(Arc::new(folder.with_fsync(true)))
}

fn root_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = source.to_string();
        next = source.source();
    }
    text
}

fn test_write(file: &std::path::Path) -> io::Result<()> {
    fs::write(file, b"")?;
    match fs::remove_file(file) {
        // Another process that opens the same folder may have been faster.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
