//! Multipart uploads of a store that goes wrong.

use async_trait::async_trait;
use futures::{FutureExt, future};
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use tokio::time::sleep;

use super::{Fate, FaultStore, reset, without_effect};
use crate::store::Operation;

/// Parts fail without an effect; the last step may lose its reply.
#[derive(Debug)]
pub(super) struct FaultUpload {
    pub(super) upload: Box<dyn MultipartUpload>,
    pub(super) store: FaultStore,
    pub(super) path: Path,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.upload.put_part(data);
        let (store, path) = (self.store.clone(), self.path.clone());
        async move { store.read(Operation::Put, &path, part).await.map(drop) }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let draw = self.store.draw(Operation::Put, &self.path, false);
        if let Some(answer) = without_effect(draw, &self.path).await {
            return Err(answer);
        }
        sleep(draw.there).await;
        let result = self.upload.complete().await;
        sleep(draw.back).await;
        match draw.fate {
            Fate::HangsWithEffect => future::pending().await,
            Fate::LostReply | Fate::LateEffect => Err(reset()),
            _ => result,
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
