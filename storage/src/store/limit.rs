//! How many requests may be under way: one more after every round of successes, half as many when the
//! store asks for fewer (503 SlowDown). Waiting requests are served in order.
//!
//! Metadata and the probe pass by: they are few, and nothing else moves while they wait.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::{StoreErrorKind, classify};

/// The limit never falls below this: some request must find out when the store is well again.
const LIMIT_MIN: usize = 4;
/// A storm of refusals halves the limit once per this time: its answers speak of the same moment.
const HALVE_EVERY: Duration = Duration::from_secs(1);

/// The limit that all requests to one store share.
#[derive(Debug)]
pub(crate) struct Limiter {
    slots: Arc<Semaphore>,
    state: Mutex<LimitState>,
    limit_max: usize,
}

#[derive(Debug)]
struct LimitState {
    limit: usize,
    /// Slots that are still out and must not come back.
    owed: usize,
    successes: usize,
    halved_at: Option<Instant>,
}

/// The right to have one request under way.
struct Slot {
    limiter: Arc<Limiter>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Limiter {
    pub(crate) fn new(limit: usize) -> Self {
        let limit = limit.clamp(LIMIT_MIN, Semaphore::MAX_PERMITS);
        let state = LimitState {
            limit,
            owed: 0,
            successes: 0,
            halved_at: None,
        };
        Self {
            slots: Arc::new(Semaphore::new(limit)),
            state: Mutex::new(state),
            limit_max: limit,
        }
    }

    /// How many requests may be under way now.
    pub(crate) fn limit(&self) -> usize {
        self.locked().limit
    }

    fn locked(&self) -> MutexGuard<'_, LimitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn slot(self: &Arc<Self>) -> Slot {
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        // The semaphore is never closed; were it, a request without a limit beats none.
        Slot {
            limiter: Arc::clone(self),
            permit: permit.ok(),
        }
    }

    /// Learns from an answer.
    fn learn<T>(&self, result: Result<T>) -> Result<T> {
        match &result {
            Err(error) if classify(error).kind == StoreErrorKind::Throttled => self.halve(),
            Err(_) => {}
            Ok(_) => self.grow(),
        }
        result
    }

    fn grow(&self) {
        let mut state = self.locked();
        state.successes += 1;
        if state.limit >= self.limit_max || state.successes < state.limit {
            return;
        }
        state.successes = 0;
        state.limit += 1;
        match state.owed.checked_sub(1) {
            Some(owed) => state.owed = owed,
            None => self.slots.add_permits(1),
        }
    }

    fn halve(&self) {
        let mut state = self.locked();
        let now = Instant::now();
        if state
            .halved_at
            .is_some_and(|at| now.duration_since(at) < HALVE_EVERY)
        {
            return;
        }
        state.halved_at = Some(now);
        state.successes = 0;
        let limit = (state.limit / 2).max(LIMIT_MIN);
        let fewer = state.limit - limit;
        state.limit = limit;
        state.owed += fewer - self.slots.forget_permits(fewer);
        tracing::warn!(limit, "the store asks for fewer requests");
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let mut state = self.limiter.locked();
        if let Some(owed) = state.owed.checked_sub(1) {
            state.owed = owed;
            permit.forget();
        }
    }
}

/// The layer that waits for a slot.
#[derive(Clone, Debug)]
pub(crate) struct LimitStore {
    inner: Arc<dyn ObjectStore>,
    limiter: Arc<Limiter>,
}

impl LimitStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, limiter: Arc<Limiter>) -> Self {
        Self { inner, limiter }
    }

    async fn run<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        let _slot = self.limiter.slot().await;
        self.limiter.learn(request.await)
    }

    /// The slot is given back with the first item: a listing whose names are worked on one by one must
    /// not hold what that work needs.
    fn stream<T: Send + 'static>(
        &self,
        start: impl FnOnce(&dyn ObjectStore) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let Self { inner, limiter } = self.clone();
        let started = async move {
            let slot = limiter.slot().await;
            let mut items = start(&*inner).fuse();
            let first = items.next().await;
            drop(slot);
            stream::iter(first)
                .chain(items)
                .map(move |item| limiter.learn(item))
        };
        stream::once(started).flatten().boxed()
    }
}

impl fmt::Display for LimitStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for LimitStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.run(self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self
            .run(self.inner.put_multipart_opts(location, opts))
            .await?;
        Ok(Box::new(LimitUpload {
            upload,
            limiter: Arc::clone(&self.limiter),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // The layer below has read the whole body when it answers.
        self.run(self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.run(self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.stream(move |inner| inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.stream(move |inner| inner.list(prefix.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.stream(move |inner| inner.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.run(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run(self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.run(self.inner.rename_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct LimitUpload {
    upload: Box<dyn MultipartUpload>,
    limiter: Arc<Limiter>,
}

#[async_trait]
impl MultipartUpload for LimitUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.upload.put_part(data);
        let limiter = Arc::clone(&self.limiter);
        async move {
            let _slot = limiter.slot().await;
            limiter.learn(part.await)
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let _slot = self.limiter.slot().await;
        self.limiter.learn(self.upload.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        let _slot = self.limiter.slot().await;
        self.limiter.learn(self.upload.abort().await)
    }
}
