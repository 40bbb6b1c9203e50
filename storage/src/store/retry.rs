//! Tries again what may succeed soon, with growing, jittered pauses, within a total time and a budget
//! that all requests share: a store in trouble is asked less, not more.
//!
//! Every request through here is safe to repeat: creates are refused the second time (and the caller
//! settles whose object it is), the others do the same again. An error that leaves tells what *all*
//! attempts together may have done, not the last one alone.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::retry::{RetryContext, RetryPolicy};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::error::{Class, Fault, Outcome, StoreErrorKind, classify, root};

/// Pause before the second attempt; doubles from then on.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Pause before the second attempt when the store asked for fewer requests.
const THROTTLED_PAUSE_MIN: Duration = Duration::from_millis(200);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// Retries that may be saved up: enough for every request that can be in flight to try again once.
const BUDGET_MAX: u64 = 512;
/// Retries that one success earns. Two keep calls below three times the useful ones.
const BUDGET_PER_SUCCESS: u64 = 2;
/// How often a part of a multipart upload is sent.
const PART_ATTEMPTS_MAX: usize = 6;
/// Names deleted with one request, where the store can do that.
const DELETE_GROUP: usize = 1000;

/// What all requests to one store share.
#[derive(Debug)]
pub(crate) struct RetryState {
    jitter: Mutex<SmallRng>,
    budget: AtomicU64,
}

impl RetryState {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            jitter: Mutex::new(SmallRng::seed_from_u64(seed)),
            budget: AtomicU64::new(BUDGET_MAX),
        }
    }

    fn earn(&self) {
        self.change_budget(|budget| Some((budget + BUDGET_PER_SUCCESS).min(BUDGET_MAX)));
    }

    fn spend(&self) -> bool {
        self.change_budget(|budget| budget.checked_sub(1))
    }

    fn change_budget(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        self.budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, change)
            .is_ok()
    }

    /// The pause after attempt `attempt`, counted from 0: the upper half of it is jitter.
    fn pause(&self, attempt: u32, class: Class) -> Duration {
        let throttled = class.kind == StoreErrorKind::Throttled;
        let first = if throttled {
            THROTTLED_PAUSE_MIN
        } else {
            PAUSE_MIN
        };
        let full = first.saturating_mul(1 << attempt.min(10)).min(PAUSE_MAX);
        let share = {
            let mut jitter = self.jitter.lock().unwrap_or_else(PoisonError::into_inner);
            jitter.random_range(0.5..1.0)
        };
        full.mul_f64(share)
            .max(class.retry_after.unwrap_or_default())
    }
}

/// The layer that tries again.
#[derive(Clone, Debug)]
pub(crate) struct RetryStore {
    inner: Arc<dyn ObjectStore>,
    retry: Retry,
}

#[derive(Clone, Debug)]
struct Retry {
    state: Arc<RetryState>,
    total: Duration,
}

impl RetryStore {
    /// A layer that gives up after `total`.
    pub(crate) fn new(
        inner: Arc<dyn ObjectStore>,
        state: Arc<RetryState>,
        total: Duration,
    ) -> Self {
        Self {
            inner,
            retry: Retry { state, total },
        }
    }

    /// A listing is tried again until its first name; from then on the names already given cannot be
    /// taken back, and whoever lists starts over.
    fn list_from(
        &self,
        start: impl Fn(&dyn ObjectStore) -> BoxStream<'static, Result<ObjectMeta>>
        + Send
        + Sync
        + 'static,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let Self { inner, retry } = self.clone();
        let first = async move {
            retry
                .run(|| async {
                    let mut listing = start(&*inner).fuse();
                    let first = listing.next().await.transpose()?;
                    Ok(stream::iter(first).map(Ok).chain(listing))
                })
                .await
        };
        stream::once(first).try_flatten().boxed()
    }
}

impl Retry {
    async fn run<T, F: Future<Output = Result<T>>>(&self, attempt: impl Fn() -> F) -> Result<T> {
        let deadline = Instant::now() + self.total;
        let mut outcome = Outcome::DidNotHappen;
        let mut before: Option<(StoreErrorKind, String)> = None;
        for number in 0.. {
            let error = match tokio::time::timeout_at(deadline, attempt()).await {
                Ok(Ok(done)) => {
                    self.state.earn();
                    return Ok(done);
                }
                Ok(Err(error)) => error,
                Err(_) => self.out_of_time(before),
            };
            let class = classify(&error);
            if class.outcome == Outcome::Unknown {
                outcome = Outcome::Unknown;
            }
            let pause = self.state.pause(number, class);
            let in_time = Instant::now() + pause < deadline;
            if !class.kind.is_retriable() || !in_time || !self.state.spend() {
                return Err(with_outcome(error, class, outcome));
            }
            tracing::debug!(kind = %class.kind, ?pause, attempt = number, "trying again");
            before = Some((class.kind, root(&error).to_string()));
            tokio::time::sleep(pause).await;
        }
        unreachable!("the deadline ends the loop")
    }

    /// The last attempt was cut off; the one before says what the trouble is.
    fn out_of_time(&self, before: Option<(StoreErrorKind, String)>) -> object_store::Error {
        let (kind, message) = before.unwrap_or_else(|| {
            (
                StoreErrorKind::Timeout,
                format!("no answer within {:?}", self.total),
            )
        });
        Fault::unknown(kind, message).into()
    }

    /// Deletes `group`, again and again those that failed; a name for each that is gone.
    async fn delete_group(&self, inner: &dyn ObjectStore, group: Vec<Path>) -> Vec<Result<Path>> {
        let left = Mutex::new(group.iter().cloned().collect::<BTreeSet<_>>());
        let locked = || left.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self
            .run(|| async {
                let names: Vec<_> = locked().iter().cloned().map(Ok).collect();
                let mut deleted = inner.delete_stream(stream::iter(names).boxed());
                let mut failed = None;
                while let Some(item) = deleted.next().await {
                    match item {
                        Ok(name) => {
                            locked().remove(&name);
                        }
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
                failed.map_or(Ok(()), Err)
            })
            .await;
        let left = left.into_inner().unwrap_or_else(PoisonError::into_inner);
        let gone = group
            .into_iter()
            .filter(|name| !left.contains(name))
            .map(Ok);
        gone.chain(result.err().map(Err)).collect()
    }
}

/// `error`, telling what all attempts together may have done. Answers that callers match by variant
/// stay what they are.
fn with_outcome(error: object_store::Error, class: Class, outcome: Outcome) -> object_store::Error {
    match class.kind {
        StoreErrorKind::AlreadyExists | StoreErrorKind::Precondition | StoreErrorKind::NotFound => {
            error
        }
        _ if class.outcome == outcome => error,
        kind => {
            let message = root(&error).to_string();
            Fault {
                kind,
                outcome,
                retry_after: class.retry_after,
                message,
            }
            .into()
        }
    }
}

/// Says when a part of a multipart upload is sent again, to stores that ask. All attempts together have the
/// time of one, which the layer below bounds.
#[derive(Debug)]
struct PartRetry(Arc<RetryState>);

#[async_trait]
impl RetryPolicy for PartRetry {
    async fn retry(&self, context: RetryContext) -> bool {
        // What failed can no longer be told: no permission looks like no room in the queue.
        if context.attempt >= PART_ATTEMPTS_MAX || !self.0.spend() {
            return false;
        }
        let class = Class {
            kind: StoreErrorKind::Other,
            outcome: Outcome::Unknown,
            retry_after: None,
        };
        let attempt = u32::try_from(context.attempt).unwrap_or(u32::MAX);
        tokio::time::sleep(self.0.pause(attempt, class)).await;
        true
    }
}

impl fmt::Display for RetryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for RetryStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let put = || self.inner.put_opts(location, payload.clone(), opts.clone());
        self.retry.run(put).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        // Parts are numbered as they are handed over and cannot be tried again from outside: the store
        // itself does, as it is told here. To complete is not tried again: a second one of an upload whose
        // first had its effect finds no upload. Whoever failed starts over under another name.
        let opts = opts.with_retry_policy(Arc::new(PartRetry(Arc::clone(&self.retry.state))));
        self.retry
            .run(|| self.inner.put_multipart_opts(location, opts.clone()))
            .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.retry
            .run(|| self.inner.get_opts(location, options.clone()))
            .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.retry
            .run(|| self.inner.get_ranges(location, ranges))
            .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let Self { inner, retry } = self.clone();
        locations
            .ready_chunks(DELETE_GROUP)
            .then(move |group| {
                let (inner, retry) = (Arc::clone(&inner), retry.clone());
                async move {
                    let (names, errors): (Vec<_>, Vec<_>) =
                        group.into_iter().partition(Result::is_ok);
                    let names = names.into_iter().flatten().collect();
                    let mut results = retry.delete_group(&*inner, names).await;
                    results.extend(errors);
                    stream::iter(results)
                }
            })
            .flatten()
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.list_from(move |inner| inner.list(prefix.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.list_from(move |inner| inner.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.retry
            .run(|| self.inner.list_with_delimiter(prefix))
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.retry
            .run(|| self.inner.copy_opts(from, to, options.clone()))
            .await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.retry
            .run(|| self.inner.rename_opts(from, to, options.clone()))
            .await
    }
}
