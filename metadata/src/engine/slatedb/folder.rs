//! Local folders as SlateDB needs them. Files cannot carry the attribute by which SlateDB recognises a
//! create of its own whose reply was lost, so it would take itself for fenced when a disk stalls for
//! longer than an attempt may take. Here the bytes of a WAL tell instead: they carry the time, the
//! counters and the rows of their writer. Empty files, which are fences, and manifests, which rivals
//! write alike, are never taken for our own.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result,
};

/// The layer that settles creates by their bytes.
#[derive(Debug)]
pub(super) struct FolderStore {
    inner: Arc<dyn ObjectStore>,
}

impl FolderStore {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner }
    }

    /// The WAL at `location`, if it holds exactly `ours`.
    async fn ours(&self, location: &Path, ours: &PutPayload) -> Option<PutResult> {
        let is_wal = location.parts().any(|part| part.as_ref() == "wal");
        if !is_wal || ours.content_length() == 0 {
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

impl fmt::Display for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderStore({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FolderStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let is_create = opts.mode == PutMode::Create;
        let opts = PutOptions {
            attributes: Attributes::new(),
            ..opts
        };
        match self.inner.put_opts(location, payload.clone(), opts).await {
            Err(error @ Error::AlreadyExists { .. }) if is_create => {
                self.ours(location, &payload).await.ok_or(error)
            }
            outcome => outcome,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let opts = PutMultipartOptions {
            attributes: Attributes::new(),
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
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn bytes_tell_whose_a_file_is() {
        let store = FolderStore::new(Arc::new(InMemory::new()));
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
}
