//! A cache of objects in aligned chunks of 4 MiB. Objects never change, so a chunk never does: nothing
//! is ever invalidated, and what is not read any more falls out.
//!
//! Many readers that miss one chunk at once make one GET. It runs as long as one of them waits; when
//! it fails all of them get the error, nothing is kept, and the next reader asks again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use foyer::{Cache, CacheBuilder, LruConfig};
use futures::future::{BoxFuture, Shared, WeakShared};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;

use crate::error::{Fault, StoreError, StoreErrorKind};
use crate::store::{Caller, Store};

/// Bytes of a chunk; only an object's last one is shorter.
pub const CHUNK_BYTES: u64 = 4 * 1024 * 1024;

/// Bookkeeping per cached chunk, counted against the capacity.
const ENTRY_BYTES: usize = 256;

/// Chunks that one read asks for at a time.
const CHUNKS_AT_ONCE: usize = 4;

/// Reads of immutable objects through memory; cheap to clone.
#[derive(Clone)]
pub struct BlockCache {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    chunks: Cache<ChunkKey, Bytes>,
    fetches: Mutex<Fetches>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// GETs under way. Weak: a GET is driven by those who wait for it, and ends with the last of them.
#[derive(Default)]
struct Fetches {
    under_way: BTreeMap<ChunkKey, (u64, WeakShared<Fetch>)>,
    next_id: u64,
}

type Fetch = BoxFuture<'static, Result<Bytes, StoreError>>;

/// Which chunk of which object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct ChunkKey {
    path: Path,
    number: u64,
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
    /// A cache over `store` that keeps up to `capacity_bytes`. What readers still hold comes on top.
    #[must_use]
    pub fn new(store: Store, capacity_bytes: usize) -> Self {
        let chunks = CacheBuilder::new(capacity_bytes)
            .with_name("floe-chunks")
            // A few hundred entries at most, looked up once per read: one lock will do, and all of
            // the capacity is there for any mix of objects.
            .with_shards(1)
            .with_eviction_config(LruConfig {
                high_priority_pool_ratio: 0.0,
            })
            .with_weighter(|key: &ChunkKey, chunk: &Bytes| {
                chunk.len() + key.path.as_ref().len() + ENTRY_BYTES
            })
            .build();
        let inner = Inner {
            store,
            chunks,
            fetches: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
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
        let numbers = range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES);
        stream::iter(numbers)
            .map(|number| async move { Ok((number, self.chunk(path, number).await?)) })
            .buffered(CHUNKS_AT_ONCE)
            .map(|chunk| {
                let (number, chunk) = chunk?;
                slice(&chunk, number * CHUNK_BYTES, &range)
                    .ok_or_else(|| past_the_end(path, &range))
            })
            .try_collect()
            .await
    }

    /// Lets go of the chunks that hold `range` of the object `path`, which turned out to be damaged: the
    /// next read of them asks the store again.
    pub fn forget(&self, path: &Path, range: Range<u64>) {
        for number in range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES) {
            let path = path.clone();
            self.inner.chunks.remove(&ChunkKey { path, number });
        }
    }

    /// What the cache did so far and holds now.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.inner.hits.load(Ordering::Relaxed),
            misses: self.inner.misses.load(Ordering::Relaxed),
            used_bytes: self.inner.chunks.usage(),
        }
    }

    async fn chunk(&self, path: &Path, number: u64) -> Result<Bytes, StoreError> {
        let key = ChunkKey {
            path: path.clone(),
            number,
        };
        if let Some(entry) = self.inner.chunks.get(&key) {
            self.inner.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(entry.value().clone());
        }
        self.inner.misses.fetch_add(1, Ordering::Relaxed);
        self.inner.fetch(key).await
    }
}

impl fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockCache").field(&self.stats()).finish()
    }
}

impl Inner {
    /// The GET for `key` that is under way, or a new one.
    fn fetch(self: &Arc<Self>, key: ChunkKey) -> Shared<Fetch> {
        let mut fetches = self.locked();
        if let Some(fetch) = fetches
            .under_way
            .get(&key)
            .and_then(|(_, fetch)| fetch.upgrade())
        {
            return fetch;
        }
        // A GET may have ended since the caller looked; it put its chunk here before it left the map.
        if let Some(entry) = self.chunks.get(&key) {
            let chunk = entry.value().clone();
            return async move { Ok(chunk) }.boxed().shared();
        }
        let id = fetches.next_id;
        fetches.next_id += 1;
        let listed = Listed {
            inner: Arc::downgrade(self),
            key: key.clone(),
            id,
        };
        let fetch = Arc::clone(self).get(listed).boxed().shared();
        if let Some(weak) = fetch.downgrade() {
            fetches.under_way.insert(key, (id, weak));
        }
        fetch
    }

    async fn get(self: Arc<Self>, listed: Listed) -> Result<Bytes, StoreError> {
        let start = listed.key.number * CHUNK_BYTES;
        let range = start..start + CHUNK_BYTES;
        let part = self
            .store
            .get_up_to(&listed.key.path, range, Caller::Fetch)
            .await?;
        self.chunks.insert(listed.key.clone(), part.bytes.clone());
        Ok(part.bytes)
    }

    fn locked(&self) -> MutexGuard<'_, Fetches> {
        self.fetches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A GET's place in the map, given up when it ends or nobody waits for it any more.
struct Listed {
    inner: Weak<Inner>,
    key: ChunkKey,
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
