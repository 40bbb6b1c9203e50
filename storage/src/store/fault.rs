//! A store that goes wrong on purpose: slow, throttled, failing, losing replies, having effects after
//! the caller gave up. Made for tests and simulations of every crate; nothing in production uses it.
//!
//! All chance comes from one seed, and all waiting is tokio's: under paused time on a current-thread
//! runtime the same requests in the same order get the same fates at the same times. Writes run as
//! tasks of the store, not of their caller, so that dropping a request does not undo it.

mod plan;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, coalesce_ranges,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::error::{Fault, StoreErrorKind};
use crate::store::Operation;

use plan::{Dice, Draw};
pub use plan::{Fate, FaultPlan};

/// A store over another one that goes wrong as a [`FaultPlan`] says; clones are the same store.
#[derive(Clone, Debug)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    dice: Arc<Mutex<Dice>>,
    /// Writes under way, and those that land late.
    writes: Arc<Mutex<JoinSet<()>>>,
}

impl FaultStore {
    /// Makes `inner` go wrong as `plan` says, drawn from `seed`.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, plan: FaultPlan, seed: u64) -> Self {
        let dice = Arc::new(Mutex::new(Dice::new(plan, seed)));
        Self {
            inner,
            dice,
            writes: Arc::default(),
        }
    }

    /// Goes on with another plan and the same dice; returns the plan so far.
    pub fn set_plan(&self, plan: FaultPlan) -> FaultPlan {
        std::mem::replace(&mut self.locked().plan, plan)
    }

    /// A checksum of every request so far: what, when, and what became of it.
    #[must_use]
    pub fn trace(&self) -> u32 {
        self.locked().trace()
    }

    /// How often each fate was drawn, to prove that a test met what it is about.
    #[must_use]
    pub fn fates(&self) -> BTreeMap<Fate, u64> {
        self.locked().fates()
    }

    /// Waits until every write that will ever land has landed.
    pub async fn settled(&self) {
        loop {
            let under_way = std::mem::take(&mut *self.locked_writes());
            if under_way.is_empty() {
                return;
            }
            under_way.join_all().await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked_writes(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, operation: Operation, path: &Path, is_create: bool) -> Draw {
        self.locked().draw(operation, path.as_ref(), is_create)
    }

    /// A write with all that can become of it; `effect` may run never, once or twice.
    async fn write<T: Send + 'static>(
        &self,
        draw: Draw,
        path: &Path,
        effect: impl Fn() -> future::BoxFuture<'static, Result<T>> + Send + Sync + 'static,
    ) -> Result<T> {
        if let Some(answer) = without_effect(draw, path).await {
            return Err(answer);
        }
        let (reply, answer) = oneshot::channel();
        self.start(land(draw, effect, reply));
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
            Fate::OwnConflict => {
                answer.await.map_err(|_| reset())??;
                Err(already_exists(path))
            }
            _ => answer.await.map_err(|_| reset())?,
        }
    }

    fn start(&self, write: impl Future<Output = ()> + Send + 'static) {
        let mut writes = self.locked_writes();
        while writes.try_join_next().is_some() {}
        writes.spawn(write);
    }

    /// A read, up to where its result is known.
    async fn read<T>(
        &self,
        operation: Operation,
        path: &Path,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<(T, Draw)> {
        let draw = self.draw(operation, path, false);
        if let Some(answer) = without_effect(draw, path).await {
            return Err(answer);
        }
        sleep(draw.there).await;
        let result = effect.await;
        sleep(draw.back).await;
        Ok((result?, draw))
    }

    fn listing(
        &self,
        prefix: Option<&Path>,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = self.clone();
        let prefix = prefix.cloned().unwrap_or_default();
        let start = async move {
            let names = listing.try_collect::<Vec<_>>();
            let (mut names, _) = store.read(Operation::List, &prefix, names).await?;
            // The order of a hash table must not leak into what is drawn next.
            names.sort_by(|a, b| a.location.cmp(&b.location));
            Ok::<_, object_store::Error>(stream::iter(names).map(Ok))
        };
        stream::once(start).try_flatten().boxed()
    }
}

/// Waits and answers, when the fate is one that has no effect.
async fn without_effect(draw: Draw, path: &Path) -> Option<object_store::Error> {
    let error = match draw.fate {
        Fate::Hangs => future::pending().await,
        Fate::Unreachable => {
            Fault::without_effect(StoreErrorKind::Unreachable, "injected outage").into()
        }
        Fate::Throttled => Fault::without_effect(StoreErrorKind::Throttled, "injected 503").into(),
        Fate::Failed => Fault::unknown(StoreErrorKind::Internal, "injected 500").into(),
        Fate::Conflict => Fault::without_effect(StoreErrorKind::Conflict, "injected 409").into(),
        Fate::ConflictAsExists => already_exists(path),
        _ => return None,
    };
    sleep(draw.there + draw.back).await;
    Some(error)
}

/// Lets a write have its effect when and as often as was drawn, and answers with the first result.
async fn land<T>(
    draw: Draw,
    effect: impl Fn() -> future::BoxFuture<'static, Result<T>>,
    reply: oneshot::Sender<Result<T>>,
) {
    sleep(draw.there).await;
    // Bytes that were cut off by a caller who went away before they arrived have no effect.
    let is_awaited = !reply.is_closed() || draw.fate != Fate::Served;
    if !is_awaited && !draw.lands_unattended {
        return;
    }
    if draw.fate == Fate::LateEffect {
        sleep(draw.late).await;
    }
    let result = effect().await;
    sleep(draw.back).await;
    // A caller who went away does not hear of it.
    drop(reply.send(result));
    if draw.fate == Fate::Twice {
        sleep(draw.late).await;
        drop(effect().await);
    }
}

fn reset() -> object_store::Error {
    Fault::unknown(
        StoreErrorKind::Interrupted,
        "injected reset of the connection",
    )
    .into()
}

fn already_exists(path: &Path) -> object_store::Error {
    let source = "injected conflict".into();
    object_store::Error::AlreadyExists {
        path: path.to_string(),
        source,
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let draw = self.draw(Operation::Put, location, opts.mode == PutMode::Create);
        let (inner, path) = (Arc::clone(&self.inner), location.clone());
        let effect = move || {
            let (inner, path) = (Arc::clone(&inner), path.clone());
            let (payload, opts) = (payload.clone(), opts.clone());
            async move { inner.put_opts(&path, payload, opts).await }.boxed()
        };
        self.write(draw, location, effect).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(location, opts);
        let (upload, _) = self.read(Operation::Put, location, upload).await?;
        let (store, path) = (self.clone(), location.clone());
        Ok(Box::new(upload::FaultUpload::new(upload, store, path)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let operation = if options.head {
            Operation::Head
        } else {
            Operation::Get
        };
        let get = self.inner.get_opts(location, options);
        let (result, draw) = self.read(operation, location, get).await?;
        if operation == Operation::Head || result.range.is_empty() {
            return Ok(result);
        }
        let GetResult {
            meta,
            range,
            attributes,
            extensions,
            ..
        } = &result;
        let (meta, range) = (meta.clone(), range.clone());
        let (attributes, extensions) = (attributes.clone(), extensions.clone());
        let body = spoil(result.bytes().await?, draw);
        let payload = GetResultPayload::Stream(stream::once(async { Ok(body) }).boxed());
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let get = |range| self.get_range(location, range);
        coalesce_ranges(ranges, get, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .and_then(move |path| {
                let store = store.clone();
                async move {
                    let draw = store.draw(Operation::Delete, &path, false);
                    let (inner, name) = (Arc::clone(&store.inner), path.clone());
                    let effect = move || {
                        let (inner, name) = (Arc::clone(&inner), name.clone());
                        async move { inner.delete(&name).await }.boxed()
                    };
                    store.write(draw, &path, effect).await.map(|()| path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let list = self.inner.list_with_delimiter(prefix);
        Ok(self.read(Operation::List, &path, list).await?.0)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = self.inner.copy_opts(from, to, options);
        self.read(Operation::Copy, to, copy).await.map(drop)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let rename = self.inner.rename_opts(from, to, options);
        self.read(Operation::Copy, to, rename).await.map(drop)
    }
}

/// The body as it comes through: cut off or damaged when that was drawn. `body` is not empty.
fn spoil(body: Bytes, draw: Draw) -> Bytes {
    let place = usize::try_from(draw.place % body.len() as u64).unwrap_or(0);
    match draw.fate {
        Fate::ShortGet => body.slice(..place),
        Fate::DamagedGet => {
            let mut damaged = body.to_vec();
            if let Some(byte) = damaged.get_mut(place) {
                *byte ^= 1;
            }
            damaged.into()
        }
        _ => body,
    }
}
