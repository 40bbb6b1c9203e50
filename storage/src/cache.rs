//! A cache of objects in aligned chunks of 4 MiB. Objects never change, so a chunk never does: nothing
//! is ever invalidated, and what is not read any more falls out.
//!
//! There are two pools with shares of their own, so that a reader of old records cannot push out what readers of
//! the newest come back for, however much it reads (decision 21). Either finds what the other holds, and makes its
//! own GETs; of catch-up readers a bounded number are under way.
//!
//! Many readers of a pool that miss one chunk at once make one GET. It runs as long as one of them waits; when
//! it fails all of them get the error, nothing is kept, and the next reader asks again. A reader may name
//! a place nearer than the store that is asked before, by one of them for all as well:
//!
//! ```text
//! read_near ─▶ here? ─▶ under way near? ─▶ asked near ─▶ given, and kept here
//!                                               │ not there
//! read ──────▶ here? ─▶ under way? ◀────────────┘
//!                          └─▶ GET, and kept here
//! ```

mod pools;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared, WeakShared};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;

pub use self::pools::Pool;
use self::pools::Pools;
use crate::error::{Fault, StoreError, StoreErrorKind};
use crate::store::{Caller, Store};

/// Bytes of a chunk; only an object's last one is shorter.
pub const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// Chunks that one read asks for at a time.
const CHUNKS_AT_ONCE: usize = 4;

/// Reads of immutable objects through memory, for one pool; cheap to clone.
#[derive(Clone)]
pub struct BlockCache {
    inner: Arc<Inner>,
    pool: Pool,
}

struct Inner {
    store: Store,
    pools: Pools,
    fetches: Mutex<Fetches>,
}

/// What is under way. Weak: a GET is driven by those who wait for it, and ends with the last of them.
#[derive(Default)]
struct Fetches {
    under_way: BTreeMap<FetchKey, (u64, WeakShared<Fetch>)>,
    next_id: u64,
}

/// What is under way of a chunk for a pool: a GET waits for no neighbour, so that whoever is asked by one can
/// never be waiting for one itself.
type FetchKey = (ChunkKey, Way, Pool);

/// Where a chunk is looked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    /// Near first, then in the store.
    Near,
    /// In the store alone.
    Store,
}

type Fetch = BoxFuture<'static, Result<Bytes, StoreError>>;

/// Which chunk of which object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct ChunkKey {
    path: Path,
    number: u64,
}

/// A chunk, and who gave it if that was not the store.
#[derive(Clone)]
struct Chunk {
    bytes: Bytes,
    by: Option<u128>,
}

/// A whole chunk that was had from somewhere nearer than the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// Its bytes.
    pub bytes: Bytes,
    /// Who gave it, as the caller tells them apart; told again when the chunk turns out to be damaged.
    pub by: u128,
}

/// What the cache did so far and holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheStats {
    /// Chunks found in memory.
    pub hits: u64,
    /// Chunks that had to be waited for, whoever asked for them.
    pub misses: u64,
    /// Bytes held now, bookkeeping included.
    pub used_bytes: usize,
}

impl BlockCache {
    /// A cache over `store` that keeps up to `capacity_bytes`, for all readers alike. What readers still hold
    /// comes on top.
    #[must_use]
    pub fn new(store: Store, capacity_bytes: usize) -> Self {
        Self::over(store, Pools::one(capacity_bytes))
    }

    /// A cache over `store` that keeps up to `tail_bytes` for readers of the newest records and up to
    /// `catch_up_bytes` for those of old ones. What readers still hold comes on top, and half of
    /// `catch_up_bytes` for what is under way to the latter.
    #[must_use]
    pub fn with_pools(store: Store, tail_bytes: usize, catch_up_bytes: usize) -> Self {
        Self::over(store, Pools::two(tail_bytes, catch_up_bytes))
    }

    fn over(store: Store, pools: Pools) -> Self {
        let inner = Inner {
            store,
            pools,
            fetches: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
            pool: Pool::Tail,
        }
    }

    /// The same cache for the readers of `pool`; it was made for those of the tail.
    #[must_use]
    pub fn of_pool(&self, pool: Pool) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            pool,
        }
    }

    /// For whom it reads and keeps.
    #[must_use]
    pub const fn pool(&self) -> Pool {
        self.pool
    }

    /// Bytes that the readers of its pool have room for.
    #[must_use]
    pub fn capacity_bytes(&self) -> usize {
        self.inner.pools.kept(self.pool).capacity_bytes()
    }

    /// The bytes of `range` of the object `path`, all of them, in one piece per chunk; the pieces
    /// share the cached chunks. Cancel-safe.
    ///
    /// # Errors
    /// The store failed, or the object is missing or ends before `range` does. With `object_bytes`,
    /// its size, the latter is found without asking.
    pub async fn read(
        &self,
        path: &Path,
        object_bytes: Option<u64>,
        range: Range<u64>,
    ) -> Result<Vec<Bytes>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if object_bytes.is_some_and(|size| range.end > size) {
            return Err(past_the_end(path, &range));
        }
        let chunk = |number| self.chunk(path, number);
        read(path, range, chunk).await
    }

    /// Like [`BlockCache::read`], but what is not here is first looked for where `near` looks, with the
    /// number of a chunk; readers that miss a chunk at once have it asked for once. Cancel-safe.
    ///
    /// # Errors
    /// As for [`BlockCache::read`].
    pub async fn read_near<F>(
        &self,
        path: &Path,
        range: Range<u64>,
        near: impl Fn(u64) -> F,
    ) -> Result<Vec<Bytes>, StoreError>
    where
        F: Future<Output = Option<Given>> + Send + 'static,
    {
        let chunk = |number| {
            let found = self.look(path, number);
            let fetch = found.map_err(|key| self.inner.fetch_near(key, self.pool, near(number)));
            async move {
                match fetch {
                    Ok(bytes) => Ok(bytes),
                    Err(fetch) => fetch.await,
                }
            }
        };
        read(path, range, chunk).await
    }

    /// A whole chunk of the object `path`, from here or from the store. Cancel-safe.
    ///
    /// # Errors
    /// The store failed, or the object is missing or ends before the chunk begins.
    pub async fn chunk(&self, path: &Path, number: u64) -> Result<Bytes, StoreError> {
        match self.look(path, number) {
            Ok(bytes) => Ok(bytes),
            Err(key) => self.inner.fetch(key, self.pool).await,
        }
    }

    /// Lets go of the chunks that hold `range` of the object `path`, which turned out to be damaged: the
    /// next read of them asks again. Returns who gave those that did not come from the store.
    pub fn forget(&self, path: &Path, range: Range<u64>) -> Vec<u128> {
        let mut givers = Vec::new();
        for number in numbers(&range) {
            let path = path.clone();
            let key = ChunkKey { path, number };
            for pool in self.inner.pools.all() {
                let removed = pool.chunks.remove(&key);
                givers.extend(removed.and_then(|entry| entry.value().by));
            }
        }
        givers
    }

    /// What both pools did so far and hold now.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let none = CacheStats {
            hits: 0,
            misses: 0,
            used_bytes: 0,
        };
        self.inner.pools.all().fold(none, |sum, pool| {
            let stats = pool.stats();
            CacheStats {
                hits: sum.hits + stats.hits,
                misses: sum.misses + stats.misses,
                used_bytes: sum.used_bytes + stats.used_bytes,
            }
        })
    }

    /// What one pool did so far and holds now.
    #[must_use]
    pub fn pool_stats(&self, pool: Pool) -> CacheStats {
        self.inner.pools.kept(pool).stats()
    }

    /// The chunk if it is here, else its key; counts which.
    fn look(&self, path: &Path, number: u64) -> Result<Bytes, ChunkKey> {
        let key = ChunkKey {
            path: path.clone(),
            number,
        };
        let found = self.inner.pools.find(&key, self.pool);
        let kept = self.inner.pools.kept(self.pool);
        let count = match found {
            Some(_) => &kept.hits,
            None => &kept.misses,
        };
        count.fetch_add(1, Ordering::Relaxed);
        found.ok_or(key)
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockCache").field(&self.stats()).finish()
    }
}

impl Inner {
    /// The GET for `key` that is under way, or a new one.
    fn fetch(self: &Arc<Self>, key: ChunkKey, pool: Pool) -> Shared<Fetch> {
        let inner = Arc::clone(self);
        self.under_way((key, Way::Store, pool), |listed| inner.get(listed).boxed())
    }

    /// What is under way for `key`, or a look at `near` and then, if need be, a GET.
    fn fetch_near(
        self: &Arc<Self>,
        key: ChunkKey,
        pool: Pool,
        near: impl Future<Output = Option<Given>> + Send + 'static,
    ) -> Shared<Fetch> {
        let inner = Arc::clone(self);
        self.under_way((key, Way::Near, pool), |listed| {
            let get = async move {
                let (key, _, pool) = &listed.key;
                let given = {
                    let _turn = inner.pools.near_turn(*pool).await;
                    near.await
                };
                let Some(Given { bytes, by }) = given else {
                    return inner.fetch(key.clone(), *pool).await;
                };
                inner.pools.keep(key, *pool, &bytes, Some(by));
                Ok(bytes)
            };
            get.boxed()
        })
    }

    /// What is under way for `key`, or what `start` begins.
    fn under_way(
        self: &Arc<Self>,
        key: FetchKey,
        start: impl FnOnce(Listed) -> Fetch,
    ) -> Shared<Fetch> {
        let mut fetches = self.locked();
        if let Some(fetch) = fetches
            .under_way
            .get(&key)
            .and_then(|(_, fetch)| fetch.upgrade())
        {
            return fetch;
        }
        // One may have ended since the caller looked; it put its chunk here before it left the map.
        if let Some(bytes) = self.pools.find(&key.0, key.2) {
            return async move { Ok(bytes) }.boxed().shared();
        }
        let id = fetches.next_id;
        fetches.next_id += 1;
        let listed = Listed {
            inner: Arc::downgrade(self),
            key: key.clone(),
            id,
        };
        let fetch = start(listed).shared();
        if let Some(weak) = fetch.downgrade() {
            fetches.under_way.insert(key, (id, weak));
        }
        fetch
    }

    async fn get(self: Arc<Self>, listed: Listed) -> Result<Bytes, StoreError> {
        let (key, _, pool) = &listed.key;
        let _turn = self.pools.get_turn(*pool).await;
        let start = key.number * CHUNK_BYTES;
        let range = start..start + CHUNK_BYTES;
        let part = self
            .store
            .get_up_to(&key.path, range, Caller::Fetch)
            .await?;
        self.pools.keep(key, *pool, &part.bytes, None);
        Ok(part.bytes)
    }

    fn locked(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place in the map of what is under way, given up when it ends or nobody waits for it any more.
struct Listed {
    inner: Weak<Inner>,
    key: FetchKey,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        let mut fetches = inner.locked();
        // A later GET of the same chunk may have taken the place.
        if fetches
            .under_way
            .get(&self.key)
            .is_some_and(|(id, _)| *id == self.id)
        {
            fetches.under_way.remove(&self.key);
        }
    }
}

/// The numbers of the chunks that hold `range`.
fn numbers(range: &Range<u64>) -> Range<u64> {
    range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES)
}

/// The bytes of `range`, of what `chunk` has under each number.
async fn read<F>(
    path: &Path,
    range: Range<u64>,
    chunk: impl Fn(u64) -> F,
) -> Result<Vec<Bytes>, StoreError>
where
    F: Future<Output = Result<Bytes, StoreError>>,
{
    stream::iter(numbers(&range))
        .map(|number| {
            let chunk = chunk(number);
            async move { Ok((number, chunk.await?)) }
        })
        .buffered(CHUNKS_AT_ONCE)
        .map(|chunk| {
            let (number, chunk) = chunk?;
            slice(&chunk, number * CHUNK_BYTES, &range).ok_or_else(|| past_the_end(path, &range))
        })
        .try_collect()
        .await
}

/// The part of `range` that lies in `chunk`, which starts at `start`; `None` when it ends too early.
fn slice(chunk: &Bytes, start: u64, range: &Range<u64>) -> Option<Bytes> {
    let from = usize::try_from(range.start.saturating_sub(start)).ok()?;
    let to = usize::try_from((range.end - start).min(CHUNK_BYTES)).ok()?;
    (from <= to && to <= chunk.len()).then(|| chunk.slice(from..to))
}

fn past_the_end(path: &Path, range: &Range<u64>) -> StoreError {
    let message = format!("object ends before byte {}", range.end);
    let fault = Fault::without_effect(StoreErrorKind::Invalid, message);
    StoreError::of_fault("get", path.as_ref(), fault)
}
