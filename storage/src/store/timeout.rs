//! Bounds one attempt, and makes a GET whole: its body is read within the attempt, so that a
//! connection that breaks or stalls in the middle is a failed attempt like any other, and a body that
//! is shorter than it should be never gets further than here.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart, coalesce_ranges,
};

use crate::error::{Fault, StoreErrorKind};

/// How long one attempt may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AttemptTimeout {
    /// For the answer itself.
    pub(crate) base: Duration,
    /// More for each MiB of the object that travels.
    pub(crate) per_mib: Duration,
}

impl AttemptTimeout {
    fn for_bytes(self, bytes: u64) -> Duration {
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
        self.base.saturating_add(self.per_mib.saturating_mul(mib))
    }

    /// `what` within the time for `bytes`; a write that is given up on may still happen.
    async fn run<T>(self, bytes: u64, what: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.for_bytes(bytes);
        match tokio::time::timeout(limit, what).await {
            Ok(result) => result,
            Err(_) => Err(no_answer(limit)),
        }
    }

    fn stream<T: Send + 'static>(
        self,
        stream: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let limit = self.base;
        let next = move |state: Option<BoxStream<'static, Result<T>>>| async move {
            let mut stream = state?;
            match tokio::time::timeout(limit, stream.next()).await {
                Ok(item) => item.map(|item| (item, Some(stream))),
                Err(_) => Some((Err(no_answer(limit)), None)),
            }
        };
        stream::unfold(Some(stream), next).boxed()
    }
}

fn no_answer(limit: Duration) -> object_store::Error {
    Fault::unknown(
        StoreErrorKind::Timeout,
        format!("no answer within {limit:?}"),
    )
    .into()
}

fn cut_short(message: String) -> object_store::Error {
    Fault::without_effect(StoreErrorKind::Interrupted, message).into()
}

/// The layer that bounds attempts.
#[derive(Clone, Debug)]
pub(crate) struct TimeoutStore {
    inner: Arc<dyn ObjectStore>,
    timeout: AttemptTimeout,
}

impl TimeoutStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, timeout: AttemptTimeout) -> Self {
        Self { inner, timeout }
    }
}

impl fmt::Display for TimeoutStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for TimeoutStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let bytes = payload.content_length() as u64;
        self.timeout
            .run(bytes, self.inner.put_opts(location, payload, opts))
            .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self
            .timeout
            .run(0, self.inner.put_multipart_opts(location, opts))
            .await?;
        Ok(Box::new(TimeoutUpload {
            upload,
            timeout: self.timeout,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let asked = options.range.clone();
        let result = self
            .timeout
            .run(0, self.inner.get_opts(location, options))
            .await?;
        if is_head {
            return Ok(result);
        }
        let range = result.range.clone();
        let expected = expected_range(asked, result.meta.size);
        if range != expected {
            return Err(cut_short(format!(
                "asked for bytes {expected:?}, answered {range:?}"
            )));
        }
        let length = range.end - range.start;
        let GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions,
        } = result;
        let body = GetResult {
            payload,
            meta: meta.clone(),
            range: range.clone(),
            attributes: attributes.clone(),
            extensions: extensions.clone(),
        };
        let bytes = self.timeout.run(length, body.bytes()).await?;
        if bytes.len() as u64 != length {
            return Err(cut_short(format!("{} of {length} bytes came", bytes.len())));
        }
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // Each range is an answer of its own, with its own time and its own check.
        let get = |range| self.get_range(location, range);
        coalesce_ranges(ranges, get, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.timeout.stream(self.inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.timeout.stream(self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.timeout
            .stream(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.timeout
            .run(0, self.inner.list_with_delimiter(prefix))
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.timeout
            .run(0, self.inner.copy_opts(from, to, options))
            .await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.timeout
            .run(0, self.inner.rename_opts(from, to, options))
            .await
    }
}

/// The bytes an answer must bring: those asked for, as far as the object has them.
fn expected_range(asked: Option<GetRange>, object_bytes: u64) -> Range<u64> {
    match asked {
        None => 0..object_bytes,
        Some(GetRange::Bounded(range)) => range.start..range.end.min(object_bytes),
        Some(GetRange::Offset(offset)) => offset..object_bytes,
        Some(GetRange::Suffix(length)) => object_bytes.saturating_sub(length)..object_bytes,
    }
}

#[derive(Debug)]
struct TimeoutUpload {
    upload: Box<dyn MultipartUpload>,
    timeout: AttemptTimeout,
}

#[async_trait]
impl MultipartUpload for TimeoutUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let bytes = data.content_length() as u64;
        let part = self.upload.put_part(data);
        let timeout = self.timeout;
        async move { timeout.run(bytes, part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let timeout = self.timeout;
        timeout.run(0, self.upload.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        let timeout = self.timeout;
        timeout.run(0, self.upload.abort()).await
    }
}
