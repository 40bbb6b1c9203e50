//! Counts requests as they leave for the store, retries and hedges included, by operation and caller:
//! this is what a bill is made of.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, Result, UploadPart, coalesce_ranges,
};

/// Names in one answer to a listing.
const LIST_PAGE: usize = 1000;

/// Who makes a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Caller {
    /// Segments on their way in.
    Produce,
    /// Reads for consumers.
    Fetch,
    /// The sequencer, its engine and its claims.
    Metadata,
    /// Merging, retention and deletion.
    Compaction,
    /// Opening and checking the store; gives up within seconds.
    Probe,
}

impl Caller {
    /// All callers.
    pub const ALL: [Self; 5] = [
        Self::Produce,
        Self::Fetch,
        Self::Metadata,
        Self::Compaction,
        Self::Probe,
    ];

    /// The value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Fetch => "fetch",
            Self::Metadata => "metadata",
            Self::Compaction => "compaction",
            Self::Probe => "probe",
        }
    }
}

/// A kind of request, as object stores bill them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    /// One object, or one part or step of a multipart upload.
    Put,
    /// The bytes of an object or of a part of it.
    Get,
    /// What is known about an object.
    Head,
    /// A page of up to 1,000 names.
    List,
    /// One object, however many travel in a request.
    Delete,
    /// A copy or rename within the store.
    Copy,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 6] = [
        Self::Put,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Delete,
        Self::Copy,
    ];

    /// The value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Copy => "copy",
        }
    }
}

/// What was asked of the store since the process started.
#[derive(Debug, Default)]
pub struct RequestCounts {
    counters: [[Counters; Operation::ALL.len()]; Caller::ALL.len()],
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    failures: AtomicU64,
    bytes: AtomicU64,
}

/// A reading of [`RequestCounts`], one entry per caller and operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestCount {
    /// Who asked.
    pub caller: Caller,
    /// For what.
    pub operation: Operation,
    /// How often, every attempt counted.
    pub requests: u64,
    /// How many of them failed; "not found" and "already exists" are answers, not failures.
    pub failures: u64,
    /// Bytes of objects sent or asked for.
    pub bytes: u64,
}

impl RequestCounts {
    /// All counts, by caller, then operation.
    #[must_use]
    pub fn snapshot(&self) -> Vec<RequestCount> {
        let callers = Caller::ALL.into_iter().zip(&self.counters);
        callers
            .flat_map(|(caller, counters)| {
                Operation::ALL
                    .into_iter()
                    .zip(counters)
                    .map(move |(operation, counters)| RequestCount {
                        caller,
                        operation,
                        requests: counters.requests.load(Ordering::Relaxed),
                        failures: counters.failures.load(Ordering::Relaxed),
                        bytes: counters.bytes.load(Ordering::Relaxed),
                    })
            })
            .collect()
    }

    /// Requests of one kind by all callers.
    #[must_use]
    pub fn total(&self, operation: Operation) -> u64 {
        let all = self.snapshot();
        all.iter()
            .filter(|count| count.operation == operation)
            .map(|count| count.requests)
            .sum()
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "both enums number their own arrays"
    )]
    const fn of(&self, caller: Caller, operation: Operation) -> &Counters {
        &self.counters[caller as usize][operation as usize]
    }
}

/// The layer that counts for one caller.
#[derive(Clone, Debug)]
pub(crate) struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    tally: Tally,
}

#[derive(Clone, Debug)]
struct Tally {
    counts: Arc<RequestCounts>,
    caller: Caller,
}

impl Tally {
    fn start(&self, operation: Operation, bytes: u64) {
        let counters = self.counts.of(self.caller, operation);
        counters.requests.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn bytes(&self, operation: Operation, bytes: u64) {
        self.counts
            .of(self.caller, operation)
            .bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }

    fn end<T>(&self, operation: Operation, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && !matches!(
                error,
                object_store::Error::NotFound { .. }
                    | object_store::Error::AlreadyExists { .. }
                    | object_store::Error::NotModified { .. }
                    | object_store::Error::Precondition { .. }
            )
        {
            self.counts
                .of(self.caller, operation)
                .failures
                .fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

impl CountingStore {
    pub(crate) fn new(
        inner: Arc<dyn ObjectStore>,
        counts: Arc<RequestCounts>,
        caller: Caller,
    ) -> Self {
        Self {
            inner,
            tally: Tally { counts, caller },
        }
    }

    fn count_listing(
        &self,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.tally.start(Operation::List, 0);
        let tally = self.tally.clone();
        let count = move |(number, item)| {
            // Object stores answer in pages and bill each.
            if number > 0 && number % LIST_PAGE == 0 {
                tally.start(Operation::List, 0);
            }
            tally.end(Operation::List, item)
        };
        listing.enumerate().map(count).boxed()
    }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for CountingStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.tally
            .start(Operation::Put, payload.content_length() as u64);
        let result = self.inner.put_opts(location, payload, opts).await;
        self.tally.end(Operation::Put, result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.tally.start(Operation::Put, 0);
        let result = self.inner.put_multipart_opts(location, opts).await;
        let upload = self.tally.end(Operation::Put, result)?;
        Ok(Box::new(CountingUpload {
            upload,
            tally: self.tally.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head {
            Operation::Head
        } else {
            Operation::Get
        };
        self.tally.start(operation, 0);
        let result = self.inner.get_opts(location, options).await;
        if let Ok(result) = &result
            && operation == Operation::Get
        {
            self.tally.bytes(
                operation,
                result.range.end.saturating_sub(result.range.start),
            );
        }
        self.tally.end(operation, result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // The store would put near ranges together where this layer cannot see how many are left.
        let get = |range| self.get_range(location, range);
        coalesce_ranges(ranges, get, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let before = self.tally.clone();
        let after = self.tally.clone();
        let locations = locations
            .inspect(move |_| before.start(Operation::Delete, 0))
            .boxed();
        let deleted = self.inner.delete_stream(locations);
        deleted
            .map(move |item| after.end(Operation::Delete, item))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_listing(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.count_listing(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.tally.start(Operation::List, 0);
        let result = self.inner.list_with_delimiter(prefix).await;
        self.tally.end(Operation::List, result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.tally.start(Operation::Copy, 0);
        let result = self.inner.copy_opts(from, to, options).await;
        self.tally.end(Operation::Copy, result)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.tally.start(Operation::Copy, 0);
        let result = self.inner.rename_opts(from, to, options).await;
        self.tally.end(Operation::Copy, result)
    }
}

#[derive(Debug)]
struct CountingUpload {
    upload: Box<dyn MultipartUpload>,
    tally: Tally,
}

#[async_trait]
impl MultipartUpload for CountingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.tally
            .start(Operation::Put, data.content_length() as u64);
        let part = self.upload.put_part(data);
        let tally = self.tally.clone();
        Box::pin(async move { tally.end(Operation::Put, part.await) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.tally.start(Operation::Put, 0);
        let result = self.upload.complete().await;
        self.tally.end(Operation::Put, result)
    }

    async fn abort(&mut self) -> Result<()> {
        self.tally.start(Operation::Delete, 0);
        let result = self.upload.abort().await;
        self.tally.end(Operation::Delete, result)
    }
}
