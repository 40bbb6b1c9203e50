//! A second PUT of the same bytes to the same name when the first is slower than nearly all before it.
//!
//! Only create-only PUTs are hedged: whichever lands first wins, the other is refused, and both carry
//! the same bytes. The refusal of the loser is our own doing and never leaves this layer while the
//! winner may still answer. At most one PUT in twenty is doubled, however slow the store gets.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{self, Either};
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tokio::time::Instant;

use crate::error::{Fault, Outcome, classify, root};

/// One PUT in this many may be doubled.
const PUTS_PER_HEDGE: u32 = 20;
/// Unused hedges are saved up to this many, for a moment in which several PUTs stall together.
const HEDGES_SAVED_MAX: u32 = 5;
/// How many of the latest PUTs of a size class tell what is slow.
const SAMPLES: usize = 128;
/// Fewer than this many tell nothing.
const SAMPLES_MIN: usize = 20;
/// Per mille of PUTs that are faster than one that gets a second.
const SLOW_PER_MILLE: usize = 970;
/// No PUT is called slow before this.
const SLOW_MIN: Duration = Duration::from_millis(20);
/// Size classes: up to 64 KiB, 128 KiB, and so on by doubling.
const CLASSES: usize = 12;

/// What all PUTs to one store teach.
#[derive(Debug)]
pub(crate) struct HedgeState(Mutex<Learned>);

#[derive(Debug)]
struct Learned {
    latencies: [VecDeque<Duration>; CLASSES],
    /// In PUTs: a hedge costs `PUTS_PER_HEDGE` of them.
    credit: u32,
}

impl HedgeState {
    pub(crate) fn new() -> Self {
        let latencies = std::array::from_fn(|_| VecDeque::new());
        Self(Mutex::new(Learned {
            latencies,
            credit: 0,
        }))
    }

    fn locked(&self) -> MutexGuard<'_, Learned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After how long a PUT of `bytes` is slow; `None` while that is not known.
    fn slow_after(&self, bytes: u64) -> Option<Duration> {
        let mut learned = self.locked();
        learned.credit = (learned.credit + 1).min(PUTS_PER_HEDGE * HEDGES_SAVED_MAX);
        let mut sorted: Vec<_> = learned.class(bytes).iter().copied().collect();
        drop(learned);
        if sorted.len() < SAMPLES_MIN {
            return None;
        }
        let rank = (sorted.len() * SLOW_PER_MILLE / 1000).min(sorted.len() - 1);
        let (_, slow, _) = sorted.select_nth_unstable(rank);
        Some((*slow).max(SLOW_MIN))
    }

    fn may_hedge(&self) -> bool {
        let mut learned = self.locked();
        let left = learned.credit.checked_sub(PUTS_PER_HEDGE);
        learned.credit = left.unwrap_or(learned.credit);
        left.is_some()
    }

    fn learn(&self, bytes: u64, latency: Duration) {
        let mut learned = self.locked();
        let class = learned.class(bytes);
        if class.len() == SAMPLES {
            class.pop_front();
        }
        class.push_back(latency);
    }
}

impl Learned {
    #[expect(
        clippy::indexing_slicing,
        reason = "the class is cut to the number of classes"
    )]
    fn class(&mut self, bytes: u64) -> &mut VecDeque<Duration> {
        let doublings = u64::BITS - (bytes >> 16).leading_zeros();
        &mut self.latencies[usize::try_from(doublings)
            .unwrap_or(CLASSES)
            .min(CLASSES - 1)]
    }
}

/// The layer that hedges PUTs.
#[derive(Clone, Debug)]
pub(crate) struct HedgeStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<HedgeState>,
}

impl HedgeStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, state: Arc<HedgeState>) -> Self {
        Self { inner, state }
    }

    async fn hedged(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let bytes = payload.content_length() as u64;
        let started = Instant::now();
        let slow_after = self.state.slow_after(bytes);
        let first = self.inner.put_opts(location, payload.clone(), opts.clone());
        let Some(slow_after) = slow_after else {
            let result = first.await;
            if result.is_ok() {
                self.state.learn(bytes, started.elapsed());
            }
            return result;
        };
        let result =
            match future::select(first, std::pin::pin!(tokio::time::sleep(slow_after))).await {
                Either::Left((result, _)) => result,
                Either::Right(((), first)) if self.state.may_hedge() => {
                    tracing::debug!(%location, ?slow_after, "hedging a slow PUT");
                    let second = self.inner.put_opts(location, payload, opts);
                    match future::select(first, second).await {
                        Either::Left((result, other)) | Either::Right((result, other)) => {
                            settle(result, other).await
                        }
                    }
                }
                Either::Right(((), first)) => first.await,
            };
        if result.is_ok() {
            self.state.learn(bytes, started.elapsed());
        }
        result
    }
}

/// The answer to both PUTs, of which `first` came first. Only a success ends the wait at once: after a
/// refusal the other may be the one that landed, after a failure it may still land.
async fn settle(
    first: Result<PutResult>,
    other: impl Future<Output = Result<PutResult>>,
) -> Result<PutResult> {
    let Err(first) = first else { return first };
    let second = other.await;
    let Err(second) = second else { return second };
    let exists = |error: &_| matches!(error, object_store::Error::AlreadyExists { .. });
    // A refusal says that the name is taken, perhaps by the one of us whose answer was lost: who asked
    // settles that by looking at the object.
    if exists(&first) {
        return Err(first);
    }
    if exists(&second) {
        return Err(second);
    }
    let (one, two) = (classify(&first), classify(&second));
    if one.outcome == Outcome::Unknown && two.outcome == Outcome::DidNotHappen {
        let message = root(&second).to_string();
        let fault = Fault::unknown(two.kind, message);
        return Err(Fault {
            retry_after: two.retry_after,
            ..fault
        }
        .into());
    }
    Err(second)
}

impl fmt::Display for HedgeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for HedgeStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        match opts.mode {
            PutMode::Create => self.hedged(location, payload, opts).await,
            // A second overwrite could land after someone else's third.
            PutMode::Overwrite | PutMode::Update(_) => {
                self.inner.put_opts(location, payload, opts).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
