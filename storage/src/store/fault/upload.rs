//! Multipart uploads of a store that goes wrong.

use async_trait::async_trait;
use futures::{FutureExt, future};
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{Fate, FaultStore, reset, without_effect};
use crate::store::Operation;

/// Parts fail without an effect; the last step may lose its reply or have its effect late.
#[derive(Debug)]
pub(super) struct FaultUpload {
    /// Gone once its completion is on its way.
    upload: Option<Box<dyn MultipartUpload>>,
    store: FaultStore,
    path: Path,
}

impl FaultUpload {
    pub(super) fn new(upload: Box<dyn MultipartUpload>, store: FaultStore, path: Path) -> Self {
        Self {
            upload: Some(upload),
            store,
            path,
        }
    }
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(upload) = &mut self.upload else {
            return future::ready(Err(no_upload(&self.path))).boxed();
        };
        let part = upload.put_part(data);
        let (store, path) = (self.store.clone(), self.path.clone());
        async move { store.read(Operation::Put, &path, part).await.map(drop) }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let draw = self.store.draw(Operation::Put, &self.path, false);
        if let Some(answer) = without_effect(draw, &self.path).await {
            return Err(answer);
        }
        let mut upload = self.upload.take().ok_or_else(|| no_upload(&self.path))?;
        let (reply, answer) = oneshot::channel();
        self.store.start(async move {
            sleep(draw.there).await;
            if draw.fate == Fate::LateEffect {
                sleep(draw.late).await;
            }
            let result = upload.complete().await;
            sleep(draw.back).await;
            // A caller who went away does not hear of it.
            drop(reply.send(result));
        });
        match draw.fate {
            Fate::HangsWithEffect => future::pending().await,
            Fate::LateEffect => {
                sleep(draw.there + draw.back).await;
                Err(reset())
            }
            Fate::LostReply => {
                drop(answer.await);
                Err(reset())
            }
            _ => answer.await.map_err(|_| reset())?,
        }
    }

    async fn abort(&mut self) -> Result<()> {
        match &mut self.upload {
            Some(upload) => upload.abort().await,
            None => Err(no_upload(&self.path)),
        }
    }
}

/// What a store says of an upload that was completed or aborted.
fn no_upload(path: &Path) -> object_store::Error {
    object_store::Error::NotFound {
        path: path.to_string(),
        source: "no such upload".into(),
    }
}
