//! Polite access to the object store: everything in Floe that touches an object goes through here.
//!
//! ```text
//! Store ─▶ retry ─▶ limit ─▶ hedge ─▶ timeout ─▶ count ─▶ prefix ─▶ bucket, folder, memory, faults
//!          pauses,  AIMD     second   one        what a
//!          budget            PUT      attempt    bill says
//! ```
//!
//! Each layer is one file with one job and an [`ObjectStore`] itself. There is one stack per
//! [`Caller`]; the stacks share what they learn of the store: limit, budget, latencies, counts.
//!
//! Objects are created once and never overwritten. [`Store::put_create`] answers whose bytes the name
//! holds, however often replies were lost on the way.

mod azure;
mod bucket;
mod count;
pub mod fault;
mod gcs;
mod hedge;
mod http;
mod limit;
mod open;
mod options;
mod retry;
mod s3;
mod stack;
#[cfg(test)]
mod tests;
mod timeout;
mod upload;
mod url;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
};

pub use crate::error::{Fault, Outcome, StoreError, StoreErrorKind};
pub use count::{Caller, Operation, RequestCount, RequestCounts};
pub use open::OpenError;
pub use options::StoreOptions;
pub use upload::{Upload, UploadOptions};
pub use url::{BucketService, StoreUrl, StoreUrlError};

use hedge::HedgeState;
use limit::Limiter;
use retry::RetryState;
use stack::Layers;

/// How much of an object's end is compared to settle whose it is. A segment's end holds the checksums
/// of all its bytes.
const SETTLE_BYTES: u64 = 64 * 1024;
/// How often a create is tried again when the store says that the name is taken and then that it is not.
const SETTLE_ROUNDS: u32 = 4;

/// Whose bytes a name holds after a create.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Created {
    /// Ours: this call created the object, or an attempt whose reply was lost did.
    New,
    /// Someone else's: the name was taken before, by other bytes.
    Existed,
}

/// A part of an object.
#[derive(Clone, Debug)]
pub struct Part {
    /// The bytes that were asked for, as far as the object has them.
    pub bytes: Bytes,
    /// Bytes of the whole object.
    pub object_bytes: u64,
}

/// A store and how to treat it; cheap to clone, all clones share one limit and one set of counts.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    stacks: [Arc<dyn ObjectStore>; Caller::ALL.len()],
    counts: Arc<RequestCounts>,
    limiter: Arc<Limiter>,
    suffix_ranges: bool,
}

impl Store {
    /// The polite stack over `base`; all keys are put below `prefix`. Sends no request.
    #[must_use]
    pub fn new(
        base: Arc<dyn ObjectStore>,
        prefix: &Path,
        options: &StoreOptions,
        seed: u64,
    ) -> Self {
        let base: Arc<dyn ObjectStore> = if prefix.as_ref().is_empty() {
            base
        } else {
            Arc::new(PrefixStore::new(base, prefix.clone()))
        };
        let shared = Layers {
            base,
            counts: Arc::default(),
            limiter: Arc::new(Limiter::new(options.concurrency_max)),
            hedge: options.hedge.then(|| Arc::new(HedgeState::new())),
            retry: Arc::new(RetryState::new(seed)),
        };
        let stacks = Caller::ALL.map(|caller| shared.stack(caller, options));
        let Layers {
            counts, limiter, ..
        } = shared;
        Self {
            shared: Arc::new(Shared {
                stacks,
                counts,
                limiter,
                suffix_ranges: options.suffix_ranges,
            }),
        }
    }

    /// The stack of [`Caller::Metadata`] as an object store, for the embedded engine. It does not
    /// settle whose object a refused create found: the engine does that itself.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.stack(Caller::Metadata)
    }

    /// What was asked of the store so far.
    #[must_use]
    pub fn request_counts(&self) -> &RequestCounts {
        &self.shared.counts
    }

    /// How many requests may be under way now.
    #[must_use]
    pub fn concurrency_limit(&self) -> usize {
        self.shared.limiter.limit()
    }

    /// Creates the object `path` of `chunks`, or finds out who did. Repeating it with the same bytes
    /// is safe and answers the same. Bytes that two writers might both send must hold something that
    /// only one of them has, or both are told [`Created::New`].
    ///
    /// # Errors
    /// When it is not known whose bytes the name holds; [`StoreError::outcome`] tells whether ours may
    /// still arrive.
    pub async fn put_create(
        &self,
        path: &Path,
        chunks: Vec<Bytes>,
        caller: Caller,
    ) -> Result<Created, StoreError> {
        let payload: PutPayload = chunks.into_iter().collect();
        let mut lost = None;
        for _ in 0..SETTLE_ROUNDS {
            match self.create(path, payload.clone(), caller).await {
                Ok(()) => return Ok(Created::New),
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => lost = Some(error),
                Err(error) => return Err(error),
            }
            if let Some(created) = self.settle(path, &payload, caller).await? {
                return Ok(created);
            }
        }
        let message = lost.map_or_else(String::new, |error| error.to_string());
        let fault = Fault::unknown(StoreErrorKind::Conflict, message);
        Err(StoreError::of_fault("create", path.as_ref(), fault))
    }

    /// Whether the store refuses to create what is there. The object `path` must hold exactly `bytes`
    /// already, so that a store that does not refuse changes nothing.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn honours_create(&self, path: &Path, bytes: Bytes) -> Result<bool, StoreError> {
        match self.create(path, bytes.into(), Caller::Probe).await {
            Ok(()) => Ok(false),
            Err(error) => match error.kind() {
                StoreErrorKind::AlreadyExists => Ok(true),
                StoreErrorKind::Unsupported => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// The bytes of `range`, all of them.
    ///
    /// # Errors
    /// The store failed, or the object is missing or ends before `range` does.
    pub async fn get_range(
        &self,
        path: &Path,
        range: Range<u64>,
        caller: Caller,
    ) -> Result<Bytes, StoreError> {
        let wanted = range.end.saturating_sub(range.start);
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let result = self
            .get(path, Some(GetRange::Bounded(range)), caller)
            .await?;
        if result.bytes.len() as u64 == wanted {
            return Ok(result.bytes);
        }
        let message = format!(
            "object of {} bytes ends before the range",
            result.object_bytes
        );
        let fault = Fault::without_effect(StoreErrorKind::Invalid, message);
        Err(StoreError::of_fault("get", path.as_ref(), fault))
    }

    /// The bytes of `range` as far as the object has them; it must have the first.
    ///
    /// # Errors
    /// The store failed, or the object is missing or ends before `range` starts.
    pub async fn get_up_to(
        &self,
        path: &Path,
        range: Range<u64>,
        caller: Caller,
    ) -> Result<Part, StoreError> {
        self.get(path, Some(GetRange::Bounded(range)), caller).await
    }

    /// The last `length_bytes` bytes, or the whole object when it is smaller.
    ///
    /// # Errors
    /// The store failed, or the object is missing.
    pub async fn get_suffix(
        &self,
        path: &Path,
        length_bytes: u64,
        caller: Caller,
    ) -> Result<Part, StoreError> {
        if self.shared.suffix_ranges {
            let range = GetRange::Suffix(length_bytes);
            return self.get(path, Some(range), caller).await;
        }
        let meta = self.stack(caller).head(path).await;
        let meta = meta.map_err(|error| StoreError::new("get", path.as_ref(), error))?;
        if meta.size == 0 {
            return Ok(Part {
                bytes: Bytes::new(),
                object_bytes: 0,
            });
        }
        let start = meta.size.saturating_sub(length_bytes);
        self.get_up_to(path, start..meta.size, caller).await
    }

    /// The whole object; for small ones.
    ///
    /// # Errors
    /// The store failed, or the object is missing.
    pub async fn get_whole(&self, path: &Path, caller: Caller) -> Result<Bytes, StoreError> {
        Ok(self.get(path, None, caller).await?.bytes)
    }

    /// What the store knows of the object; `None` when there is none.
    ///
    /// # Errors
    /// The store failed.
    pub async fn head(
        &self,
        path: &Path,
        caller: Caller,
    ) -> Result<Option<ObjectMeta>, StoreError> {
        let result = self.stack(caller).head(path).await;
        match result.map_err(|error| StoreError::new("head", path.as_ref(), error)) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes the object, if there is one.
    ///
    /// # Errors
    /// The store failed; the object may be gone or not.
    pub async fn delete(&self, path: &Path, caller: Caller) -> Result<(), StoreError> {
        let result = self.stack(caller).delete(path).await;
        match result.map_err(|error| StoreError::new("delete", path.as_ref(), error)) {
            Err(error) if error.kind() != StoreErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All objects below the folder `prefix`, in no order. Ends at the first error; start over then.
    pub fn list(
        &self,
        prefix: &Path,
        caller: Caller,
    ) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        let name = prefix.to_string();
        let listing = self.stack(caller).list(Some(prefix));
        listing
            .map(move |item| item.map_err(|e| StoreError::new("list", &name, e)))
            .boxed()
    }

    #[expect(clippy::indexing_slicing, reason = "there is a stack for every caller")]
    fn stack(&self, caller: Caller) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.shared.stacks[caller as usize])
    }

    async fn create(
        &self,
        path: &Path,
        payload: PutPayload,
        caller: Caller,
    ) -> Result<(), StoreError> {
        let result = self
            .stack(caller)
            .put_opts(path, payload, PutMode::Create.into())
            .await;
        result
            .map(drop)
            .map_err(|error| StoreError::new("create", path.as_ref(), error))
    }

    /// Whose bytes the taken name `path` holds; `None` when there is no such object after all.
    async fn settle(
        &self,
        path: &Path,
        ours: &PutPayload,
        caller: Caller,
    ) -> Result<Option<Created>, StoreError> {
        let our_bytes = ours.content_length() as u64;
        let meta = self
            .head(path, caller)
            .await
            .map_err(StoreError::into_unknown)?;
        let Some(meta) = meta else { return Ok(None) };
        if meta.size != our_bytes {
            return Ok(Some(Created::Existed));
        }
        // Stores do not agree on what a part of nothing is.
        if our_bytes == 0 {
            return Ok(Some(Created::New));
        }
        let end = match self
            .get_range(
                path,
                our_bytes.saturating_sub(SETTLE_BYTES)..our_bytes,
                caller,
            )
            .await
        {
            Ok(end) => end,
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into_unknown()),
        };
        let is_ours = ends_with(ours, &end);
        Ok(Some(if is_ours {
            Created::New
        } else {
            Created::Existed
        }))
    }

    async fn get(
        &self,
        path: &Path,
        range: Option<GetRange>,
        caller: Caller,
    ) -> Result<Part, StoreError> {
        let failed = |error| StoreError::new("get", path.as_ref(), error);
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        let result: GetResult = self
            .stack(caller)
            .get_opts(path, options)
            .await
            .map_err(failed)?;
        let object_bytes = result.meta.size;
        let bytes = result.bytes().await.map_err(failed)?;
        Ok(Part {
            bytes,
            object_bytes,
        })
    }
}

/// Whether `end` is how `payload` ends.
fn ends_with(payload: &PutPayload, end: &[u8]) -> bool {
    let mut left = end;
    for chunk in payload.as_ref().iter().rev() {
        let shared = chunk.len().min(left.len());
        let (rest, compared) = left.split_at(left.len() - shared);
        if !chunk.ends_with(compared) {
            return false;
        }
        left = rest;
    }
    left.is_empty()
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.stack(Caller::Probe))
    }
}
