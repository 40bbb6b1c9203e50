//! Where chunks are kept, for whom, and how many may be on their way to those who read old records.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foyer::{Cache, CacheBuilder, LruConfig};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{CHUNK_BYTES, CacheStats, Chunk, ChunkKey};

/// Bookkeeping per cached chunk, counted against the capacity.
const ENTRY_BYTES: usize = 256;

/// For whom chunks are read and kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pool {
    /// Readers of the newest records.
    Tail,
    /// Readers of old records, who come by once.
    CatchUp,
}

/// Of the catch-up pool's bytes this part may be under way from the store at once, and as much from nearby.
const UNDER_WAY_PARTS: usize = 2;
/// GETs of the catch-up pool under way, whatever its size.
const CATCH_UP_GETS_MAX: usize = 64;
/// Looks of the catch-up pool elsewhere that are under way, whatever its size.
const CATCH_UP_NEAR_MAX: usize = 16;

/// The pools of a cache.
pub(super) struct Pools {
    tail: Kept,
    /// `None` where catch-up readers have no pool of their own.
    catch_up: Option<CatchUp>,
}

/// The chunks of a pool.
pub(super) struct Kept {
    pub(super) chunks: Cache<ChunkKey, Chunk>,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

struct CatchUp {
    kept: Kept,
    /// GETs that may begin. Whoever holds a turn waits for the store alone.
    gets: Semaphore,
    /// Looks elsewhere that may begin. Another kind of turn: who is asked may itself wait for a GET.
    near: Semaphore,
}

impl Kept {
    fn new(name: &'static str, capacity_bytes: usize) -> Self {
        let chunks = CacheBuilder::new(capacity_bytes)
            .with_name(name)
            // A few hundred entries at most, looked up once per read: one lock will do, and all of
            // the capacity is there for any mix of objects.
            .with_shards(1)
            .with_eviction_config(LruConfig {
                high_priority_pool_ratio: 0.0,
            })
            .with_weighter(|key: &ChunkKey, chunk: &Chunk| {
                chunk.bytes.len() + key.path.as_ref().len() + ENTRY_BYTES
            })
            .build();
        Self {
            chunks,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    fn get(&self, key: &ChunkKey) -> Option<Chunk> {
        let entry = self.chunks.get(key)?;
        Some(entry.value().clone())
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.chunks.capacity()
    }

    pub(super) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            used_bytes: self.chunks.usage(),
        }
    }
}

impl CatchUp {
    fn new(capacity_bytes: usize) -> Self {
        let chunk_bytes = usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX);
        let at_once = capacity_bytes / UNDER_WAY_PARTS / chunk_bytes;
        Self {
            kept: Kept::new("floe-chunks-catch-up", capacity_bytes),
            gets: Semaphore::new(at_once.clamp(1, CATCH_UP_GETS_MAX)),
            near: Semaphore::new(at_once.clamp(1, CATCH_UP_NEAR_MAX)),
        }
    }
}

impl Pools {
    /// One for all.
    pub(super) fn one(capacity_bytes: usize) -> Self {
        Self {
            tail: Kept::new("floe-chunks", capacity_bytes),
            catch_up: None,
        }
    }

    /// One for each kind of readers.
    pub(super) fn two(tail_bytes: usize, catch_up_bytes: usize) -> Self {
        Self {
            catch_up: Some(CatchUp::new(catch_up_bytes)),
            ..Self::one(tail_bytes)
        }
    }

    /// All there are.
    pub(super) fn all(&self) -> impl Iterator<Item = &Kept> {
        let catch_up = self.catch_up.as_ref().map(|catch_up| &catch_up.kept);
        std::iter::once(&self.tail).chain(catch_up)
    }

    /// That of `pool`.
    pub(super) fn kept(&self, pool: Pool) -> &Kept {
        match (pool, &self.catch_up) {
            (Pool::CatchUp, Some(catch_up)) => &catch_up.kept,
            (Pool::CatchUp, None) | (Pool::Tail, _) => &self.tail,
        }
    }

    /// The chunk, whichever pool has it.
    pub(super) fn find(&self, key: &ChunkKey, pool: Pool) -> Option<Bytes> {
        if let Some(chunk) = self.kept(pool).get(key) {
            return Some(chunk.bytes);
        }
        match (pool, &self.catch_up) {
            (Pool::CatchUp, Some(_)) => self.tail.get(key).map(|chunk| chunk.bytes),
            (Pool::Tail, Some(catch_up)) => {
                // The tail's readers come back for it, and there it may be gone soon.
                let Chunk { bytes, by } = catch_up.kept.get(key)?;
                self.keep(key, Pool::Tail, &bytes, by);
                Some(bytes)
            }
            (_, None) => None,
        }
    }

    /// Keeps a chunk for the readers of `pool`.
    pub(super) fn keep(&self, key: &ChunkKey, pool: Pool, bytes: &Bytes, by: Option<u128>) {
        let (bytes, kept) = (bytes.clone(), self.kept(pool));
        kept.chunks.insert(key.clone(), Chunk { bytes, by });
    }

    /// Waits for a turn to GET; only catch-up readers need one. Cancel-safe.
    pub(super) async fn get_turn(&self, pool: Pool) -> Option<SemaphorePermit<'_>> {
        turn(&self.limited(pool)?.gets).await
    }

    /// Waits for a turn to look elsewhere; only catch-up readers need one. Cancel-safe.
    pub(super) async fn near_turn(&self, pool: Pool) -> Option<SemaphorePermit<'_>> {
        turn(&self.limited(pool)?.near).await
    }

    fn limited(&self, pool: Pool) -> Option<&CatchUp> {
        self.catch_up.as_ref().filter(|_| pool == Pool::CatchUp)
    }
}

/// Never closed: an error cannot occur, and to go on is the safe reading.
async fn turn(turns: &Semaphore) -> Option<SemaphorePermit<'_>> {
    turns.acquire().await.ok()
}
