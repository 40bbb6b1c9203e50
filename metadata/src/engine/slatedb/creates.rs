//! Refused creates as SlateDB needs them.
//!
//! It takes every refusal for a rival's file, and looks for the next free name. A store may refuse a create although
//! nothing is there: S3 answers 409 to two creates that meet, where neither may have landed. A fence that moved on from
//! such a name would leave a hole in the log, over which no process could ever start again. So it is asked what is there,
//! and where nothing is, the create is made again.
//!
//! On local folders files cannot carry the attribute by which SlateDB recognises a create of its own whose reply was
//! lost, so it would take itself for fenced when a disk stalls for longer than an attempt may take. There the bytes of a
//! WAL tell instead: they carry the time, the counters and the rows of their writer. Empty files, which are fences, and
//! manifests, which rivals write alike, are never taken for our own.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result,
};
use tokio::time::sleep;

/// How often a create is made again that was refused where nothing is.
const AGAIN_MAX: u32 = 8;
/// Before the first repeat; each further one waits twice as long.
const PAUSE: Duration = Duration::from_millis(10);

/// The layer that settles refused creates.
#[derive(Debug)]
pub(super) struct Creates {
    inner: Arc<dyn ObjectStore>,
    is_folder: bool,
}

impl Creates {
    /// Settles the creates of `inner`, by the bytes of what is there if it is a folder.
    pub(super) fn new(inner: Arc<dyn ObjectStore>, is_folder: bool) -> Self {
        Self { inner, is_folder }
    }

    /// Whether surely nothing is at `location`.
    async fn is_free(&self, location: &Path) -> bool {
        matches!(self.inner.head(location).await, Err(Error::NotFound { .. }))
    }

    /// What can be kept with an object: nothing with a file.
    fn attributes(&self, asked: Attributes) -> Attributes {
        if self.is_folder {
            Attributes::new()
        } else {
            asked
        }
    }

    /// The WAL at `location`, if it is a file that holds exactly `ours`.
    async fn ours(&self, location: &Path, ours: &PutPayload) -> Option<PutResult> {
        let is_wal = location.parts().any(|part| part.as_ref() == "wal");
        if !self.is_folder || !is_wal || ours.content_length() == 0 {
            return None;
        }
        let found = self.inner.get(location).await.ok()?;
        let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
        let found = found.bytes().await.ok()?;
        let ours = Bytes::from(ours.clone());
        (found == ours).then(|| PutResult {
            e_tag,
            version,
            extensions: Default::default(),
        })
    }
}

impl fmt::Display for Creates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Creates({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Creates {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let is_create = opts.mode == PutMode::Create;
        let opts = PutOptions {
            attributes: self.attributes(opts.attributes),
            ..opts
        };
        let mut pause = PAUSE;
        for _ in 0..AGAIN_MAX {
            let outcome = self.inner.put_opts(location, payload.clone(), opts.clone());
            match outcome.await {
                Err(error @ Error::AlreadyExists { .. }) if is_create => {
                    if !self.is_free(location).await {
                        return self.ours(location, &payload).await.ok_or(error);
                    }
                }
                outcome => return outcome,
            }
            sleep(pause).await;
            pause *= 2;
        }
        // Not a refusal: whoever asked must not go on as if somebody else were there.
        Err(Error::Generic {
            store: "engine",
            source: format!("{location} is refused, and nothing is there").into(),
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let opts = PutMultipartOptions {
            attributes: self.attributes(opts.attributes),
            ..opts
        };
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

#[cfg(test)]
mod tests {
    use floe_storage::store::fault::{FaultPlan, FaultStore};
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn bytes_tell_whose_a_file_is() {
        let store = Creates::new(Arc::new(InMemory::new()), true);
        let create = |name: &'static str, bytes: &'static [u8]| {
            let store = &store;
            async move {
                let payload = PutPayload::from_static(bytes);
                store
                    .put_opts(&Path::from(name), payload, PutMode::Create.into())
                    .await
                    .is_ok()
            }
        };
        for (name, bytes, is_done) in [
            ("wal/1", b"ours".as_slice(), true),
            ("wal/1", b"ours", true),
            ("wal/1", b"theirs", false),
            ("wal/1", b"", false),
            ("wal/2", b"", true),
            ("wal/2", b"", false),
            ("manifest/1", b"ours", true),
            ("manifest/1", b"ours", false),
        ] {
            assert_eq!(create(name, bytes).await, is_done, "{name} {bytes:?}");
        }
    }

    /// Every second create is refused without an effect, as S3 may answer two that meet.
    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_refused_and_free_is_taken() {
        let plan = FaultPlan {
            conflict_rate: 0.5,
            ..FaultPlan::none()
        };
        let faults = FaultStore::new(Arc::new(InMemory::new()), plan, 7);
        let store = Creates::new(Arc::new(faults), false);
        for number in 0..100 {
            let fence = Path::from(format!("wal/{number}"));
            let put = store.put_opts(&fence, PutPayload::new(), PutMode::Create.into());
            // Half of the conflicts say what they are, which is an error like any other.
            if let Err(error) = put.await {
                assert!(!matches!(error, Error::AlreadyExists { .. }), "{error}");
            }
        }
    }
}
