//! The embedded engine: SlateDB on the cluster's own bucket or folder.
//!
//! ```text
//! submit ─▶ queue ─▶ [write, flush WAL] ─▶ durable        one PUT per group; while it is under way
//!                     the next group collects             the next group collects
//!                     └─ every 128 WALs: memtable ─▶ L0   replay after a crash stays short
//!                        └─ from 8 L0 on: compactor, until below 4; then garbage is collected
//! ```
//!
//! SlateDB writes WAL objects one after the other under consecutive create-only names, so a newer
//! owner's fence object stops an older one at its next write. Here is what we ask of it beyond its
//! defaults, and why:
//! - no flush timer: a group is flushed the moment the one before it is durable;
//! - no embedded compactor or collector: both start when there is work, so that an idle cluster asks
//!   nothing of the store and an opening one waits for neither;
//! - WAL fences are never collected: a stalled writer may still come to meet its fence;
//! - a [`clock`] of our own, since SlateDB refuses writes for as long as the wall clock lags behind
//!   the newest row.
//!
//! While the store fails SlateDB repeats its request for ever; writes wait and go on when the store is
//! back. A fence, damage or a dead task of SlateDB ends the session.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use floe_storage::clock::Clock;
use floe_storage::tasks::Tasks;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use slatedb::admin::{Admin, AdminBuilder};
use slatedb::config::{CloseOptions, ScanOptions, Settings};
use slatedb::db_cache::SplitCache;
use slatedb::db_cache::moka::{MokaCache, MokaCacheOptions};
use slatedb::{CloseReason, Db, DbIterator, ErrorKind};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::clock::SessionClock;
use self::creates::Creates;
use self::queue::Queue;
use super::{Durable, Engine, EngineError, Row, RowChange, Session};

mod clock;
mod creates;
mod look;
mod queue;
mod upkeep;

/// Rows of ours start with this byte; the sequencer's rows start with another.
const OWN_TAG: u8 = 0x00;
/// Time of the newest write, see [`clock`].
const CLOCK_KEY: &[u8] = &[OWN_TAG, b'c'];

/// Memory for decoded blocks of rows; the same again for indexes and filters.
const CACHE_BYTES: u64 = 8 << 20;
/// A memtable is written out at this size even before its WALs are many.
const MEMTABLE_BYTES: usize = 8 << 20;
/// Rows not yet in an L0 object; beyond it writes wait for the store.
const UNFLUSHED_BYTES: usize = 32 << 20;
/// L0 objects at which memtables wait for the compactor.
const L0_MAX: usize = 32;
/// How often SlateDB looks at its manifest unasked. We ask it at every barrier and after compactions.
const MANIFEST_POLL: Duration = Duration::from_secs(600);
/// Bytes a scan asks for at once.
const SCAN_READ_BYTES: usize = 1 << 20;

/// The engine over one object store.
#[derive(Clone)]
pub struct SlateEngine {
    store: Arc<dyn ObjectStore>,
    root: Path,
    options: SlateOptions,
    clock: Clock,
    tasks: Tasks,
}

/// What depends on the kind of store.
#[derive(Clone, Copy, Debug)]
pub struct SlateOptions {
    /// A folder: files carry no attributes and cannot be replaced on condition (`If-Match`). Creates
    /// are then settled by their bytes, and old manifests are collected without a boundary object;
    /// for both at most one owner may be alive, which the folder's lock sees to.
    pub is_folder: bool,
    /// WAL objects after which the memtable is written out. What is beyond it is replayed when the
    /// engine opens: about one request per WAL on a bucket, 50 µs in a folder. Each memtable costs
    /// two PUTs and later its share of compaction.
    pub wals_per_memtable: u64,
}

impl SlateOptions {
    /// For buckets.
    #[must_use]
    pub const fn bucket() -> Self {
        Self {
            is_folder: false,
            wals_per_memtable: 128,
        }
    }

    /// For local folders.
    #[must_use]
    pub const fn folder() -> Self {
        Self {
            is_folder: true,
            wals_per_memtable: 512,
        }
    }
}

impl fmt::Debug for SlateEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlateEngine")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl SlateEngine {
    /// The engine whose objects lie below `root` in `store`. Its background work runs on `tasks`.
    #[must_use]
    pub fn new(
        store: Arc<dyn ObjectStore>,
        root: Path,
        options: SlateOptions,
        clock: Clock,
        tasks: Tasks,
    ) -> Self {
        let store = Arc::new(Creates::new(store, options.is_folder));
        Self {
            store,
            root,
            options,
            clock,
            tasks,
        }
    }

    fn admin(&self) -> Admin {
        AdminBuilder::new(self.root.clone(), Arc::clone(&self.store)).build()
    }

    async fn open(
        &self,
        expected_epoch: u64,
        clock: &Arc<SessionClock>,
    ) -> Result<Db, EngineError> {
        Db::builder(self.root.clone(), Arc::clone(&self.store))
            .with_settings(settings())
            .with_db_cache(Arc::new(cache()), 0)
            .with_system_clock(Arc::clone(clock) as _)
            .with_expected_epoch(expected_epoch)
            .build()
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::Closed(CloseReason::Fenced) => EngineError::UnexpectedEpoch {
                    expected: expected_epoch,
                },
                _ => engine_error(error),
            })
    }
}

#[async_trait]
impl Engine for SlateEngine {
    async fn epoch(&self) -> Result<u64, EngineError> {
        let manifest = self
            .admin()
            .read_manifest(None)
            .await
            .map_err(engine_error)?;
        Ok(manifest.map_or(0, |manifest| manifest.writer_epoch()))
    }

    fn is_apart(&self) -> bool {
        false
    }

    async fn acquire(&self, expected_epoch: u64) -> Result<Arc<dyn Session>, EngineError> {
        let clock = Arc::new(SessionClock::new(self.clock.clone()));
        let db = Arc::new(self.open(expected_epoch, &clock).await?);
        if let Some(newest) = db.get(CLOCK_KEY).await.map_err(engine_error)? {
            clock.raise(clock::decode(&newest)?);
        }
        let ended = CancellationToken::new();
        let queue = Arc::new(Queue::default());
        let upkeep = upkeep::Upkeep::new(self.clone(), Arc::clone(&db), ended.clone());
        let wals = upkeep.wals();
        self.tasks
            .spawn(queue::run(Arc::clone(&queue), Arc::clone(&db), clock, wals));
        self.tasks.spawn(upkeep.run());
        let session = SlateSession {
            db,
            epoch: expected_epoch + 1,
            queue,
            _ended: ended.drop_guard(),
        };
        Ok(Arc::new(session))
    }

    fn look(&self, range: Range<Bytes>) -> BoxStream<'_, Result<Row, EngineError>> {
        look::rows(self, range)
    }
}

fn settings() -> Settings {
    Settings {
        flush_interval: None,
        manifest_poll_interval: MANIFEST_POLL,
        max_unflushed_bytes: UNFLUSHED_BYTES,
        l0_sst_size_bytes: MEMTABLE_BYTES,
        l0_max_ssts: L0_MAX,
        l0_max_ssts_per_key: L0_MAX,
        compactor_options: None,
        garbage_collector_options: None,
        ..Settings::default()
    }
}

fn cache() -> SplitCache {
    let part = || {
        let options = MokaCacheOptions {
            max_capacity: CACHE_BYTES,
            ..MokaCacheOptions::default()
        };
        Some(Arc::new(MokaCache::new_with_opts(options)) as _)
    };
    SplitCache::new()
        .with_block_cache(part())
        .with_meta_cache(part())
        .build()
}

fn scan_options() -> ScanOptions {
    ScanOptions::default()
        .with_read_ahead_bytes(SCAN_READ_BYTES)
        .with_max_fetch_tasks(4)
}

fn each(rows: DbIterator) -> BoxStream<'static, Result<Row, EngineError>> {
    let rows = stream::unfold(rows, |mut rows| async {
        let row = rows.next().await.map_err(engine_error).transpose()?;
        Some((row.map(|row| (row.key, row.value)), rows))
    });
    rows.boxed()
}

fn engine_error(error: slatedb::Error) -> EngineError {
    match error.kind() {
        ErrorKind::Closed(CloseReason::Fenced) => EngineError::Fenced,
        ErrorKind::Closed(CloseReason::Clean) => EngineError::Closed,
        ErrorKind::Data => EngineError::Damaged(Arc::new(error)),
        // Unavailable, Internal, Invalid, a panic inside; the enum may grow.
        _ => EngineError::Unavailable(Some(Arc::new(error))),
    }
}

struct SlateSession {
    db: Arc<Db>,
    epoch: u64,
    queue: Arc<Queue>,
    /// Dropped with the session: ends its upkeep, which closes the database.
    _ended: DropGuard,
}

impl fmt::Debug for SlateSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlateSession")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Drop for SlateSession {
    fn drop(&mut self) {
        self.queue.end(&EngineError::Closed);
    }
}

#[async_trait]
impl Session for SlateSession {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn submit(&self, batch: Vec<RowChange>) -> Durable {
        let answer = self.queue.push(batch);
        Durable::new(async { answer.await.unwrap_or(Err(EngineError::Unavailable(None))) })
    }

    async fn get(&self, key: &Bytes) -> Result<Option<Bytes>, EngineError> {
        match self.queue.find(key)? {
            Some(change) => Ok(change),
            None => self.db.get(key).await.map_err(engine_error),
        }
    }

    fn scan(&self, range: Range<Bytes>) -> BoxStream<'_, Result<Row, EngineError>> {
        if range.start >= range.end {
            return stream::empty().boxed();
        }
        let all_before = self.submit(Vec::new());
        let opened = async move {
            all_before.await?;
            self.db
                .scan_with_options(range, &scan_options())
                .await
                .map_err(engine_error)
        };
        stream::once(opened)
            .flat_map(|opened| match opened {
                Ok(rows) => each(rows),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    /// A newer owner has raised the epoch in the manifest before anything else, so two small GETs
    /// (is there a newer manifest, was this one collected) prove that there is none.
    async fn barrier(&self) -> Result<(), EngineError> {
        self.queue.check()?;
        self.db.refresh_manifest().await.map_err(engine_error)
    }

    async fn release(&self) -> Result<(), EngineError> {
        self.submit(Vec::new()).await?;
        self.queue.end(&EngineError::Closed);
        // Writes the memtable out, so that the next start has nothing to replay.
        self.db
            .close_with_options(CloseOptions::default())
            .await
            .map_err(engine_error)
    }
}

#[cfg(test)]
mod tests;
