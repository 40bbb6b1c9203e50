//! What SlateDB does beside writing: memtables to L0, compaction of L0, collection of what nothing
//! refers to. All of it is driven by writes; without writes no request is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use slatedb::config::{
    CloseOptions, CompactionWorkerOptions, CompactorOptions, FlushOptions, FlushType,
    GarbageCollectorDirectoryOptions, GarbageCollectorOptions,
};
use slatedb::{CompactorBuilder, Db, Error};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SlateEngine;
use super::queue::Wals;

/// L0 objects at which the compactor starts, and below which it stops: four is the fewest it merges.
const COMPACT_FROM: usize = 8;
const COMPACT_UNTIL: usize = 4;
/// How often a running compactor and we look at its progress.
const COMPACTOR_POLL: Duration = Duration::from_millis(500);
/// How long a compactor may take to put down its work.
const COMPACTOR_STOP_MAX: Duration = Duration::from_secs(5);
/// A compactor that has not caught up by then is started afresh when the next memtable is written.
const COMPACTION_MAX: Duration = Duration::from_secs(300);

/// Least time between two collections: each is about ten requests, most of them LIST.
const COLLECT_EVERY: Duration = Duration::from_secs(60);
/// WAL objects outlive their last use by this long, for owners that open meanwhile.
const WAL_AGE_MIN: Duration = Duration::from_secs(120);
/// Other objects outlive their last use by this long: longer than any upload or scan.
const OBJECT_AGE_MIN: Duration = Duration::from_secs(900);

pub(super) struct Upkeep {
    engine: SlateEngine,
    db: Arc<Db>,
    wals: Arc<Wals>,
    ended: CancellationToken,
}

impl Upkeep {
    pub(super) fn new(engine: SlateEngine, db: Arc<Db>, ended: CancellationToken) -> Self {
        // What was replayed is written out first of all, so that owners that die early do not leave
        // more and more of it. After a release there is nothing, and nothing is written.
        let wals = Wals {
            count: AtomicU64::new(engine.options.wals_per_memtable),
            grown: Notify::new(),
        };
        Self {
            engine,
            db,
            wals: Arc::new(wals),
            ended,
        }
    }

    pub(super) fn wals(&self) -> Arc<Wals> {
        Arc::clone(&self.wals)
    }

    /// Runs until the session ends, then closes the database without writing anything more.
    pub(super) async fn run(self) {
        let memtables = async {
            tokio::select! {
                biased;
                () = self.ended.cancelled() => {}
                () = self.write_memtables() => self.ended.cancelled().await,
            }
        };
        futures::join!(memtables, self.tidy());
        self.ended.cancelled().await;
        // Already closed after a release; what else goes wrong here concerns nobody any more.
        let without_flush = CloseOptions::default().with_flush_type(None);
        drop(self.db.close_with_options(without_flush).await);
    }

    /// Keeps the replay of a next start short. Ends when the database does.
    async fn write_memtables(&self) {
        loop {
            while self.wals.count.load(Ordering::Relaxed) < self.engine.options.wals_per_memtable {
                self.wals.grown.notified().await;
            }
            self.wals.count.store(0, Ordering::Relaxed);
            let options = FlushOptions {
                flush_type: FlushType::MemTable,
            };
            if let Err(error) = self.db.flush_with_options(options).await {
                // The writing task meets the same end and reports it.
                tracing::debug!(%error, "no more memtables are written");
                return;
            }
        }
    }

    /// Compacts and collects when there is something to. Ends with the session or the database.
    async fn tidy(&self) {
        let mut collected = Instant::now();
        while self.crowded().await {
            if let Err(error) = self.compact().await {
                tracing::warn!(%error, "compaction of metadata failed; it is tried again");
                tokio::time::sleep(COMPACTOR_POLL).await;
            }
            if collected.elapsed() >= COLLECT_EVERY {
                tokio::select! {
                    biased;
                    () = self.ended.cancelled() => return,
                    () = self.collect() => collected = Instant::now(),
                }
            }
        }
    }

    /// Waits until there is something to compact; `false` when there will never be.
    async fn crowded(&self) -> bool {
        let mut manifests = self.db.subscribe();
        let crowded = manifests.wait_for(|status| {
            status.close_reason.is_some() || status.current_manifest.l0().len() >= COMPACT_FROM
        });
        tokio::select! {
            biased;
            () = self.ended.cancelled() => false,
            status = crowded => status.is_ok_and(|status| status.close_reason.is_none()),
        }
    }

    async fn compact(&self) -> Result<(), Error> {
        let compactor = CompactorBuilder::new(self.engine.root.clone(), self.engine.store.clone())
            .with_options(compactor_options())
            .build();
        let outcome = tokio::select! {
            biased;
            () = self.ended.cancelled() => Ok(()),
            ended = compactor.run() => return ended,
            caught_up = self.until_compacted() => caught_up,
        };
        // Its tasks are its own: dropping it would leave them behind. In an outage they may hang.
        match tokio::time::timeout(COMPACTOR_STOP_MAX, compactor.stop()).await {
            Ok(stopped) => outcome.and(stopped),
            Err(_) => outcome,
        }
    }

    async fn until_compacted(&self) -> Result<(), Error> {
        let deadline = Instant::now() + COMPACTION_MAX;
        while self.db.manifest().l0().len() >= COMPACT_UNTIL && Instant::now() < deadline {
            tokio::time::sleep(COMPACTOR_POLL).await;
            self.db.refresh_manifest().await?;
        }
        Ok(())
    }

    async fn collect(&self) {
        let options = collector_options(self.engine.options.is_folder);
        if let Err(error) = self.engine.admin().run_gc_once(options).await {
            tracing::warn!(%error, "collecting garbage of metadata failed; it is tried again");
        }
    }
}

fn compactor_options() -> CompactorOptions {
    CompactorOptions {
        poll_interval: COMPACTOR_POLL,
        commit_compacted_interval: COMPACTOR_POLL,
        max_concurrent_compactions: 1,
        worker: Some(CompactionWorkerOptions {
            compactions_poll_interval: COMPACTOR_POLL,
            max_concurrent_compactions: 1,
            max_subcompactions: 1,
            ..CompactionWorkerOptions::default()
        }),
        ..CompactorOptions::default()
    }
}

fn collector_options(is_folder: bool) -> GarbageCollectorOptions {
    let older_than = |min_age| {
        Some(GarbageCollectorDirectoryOptions {
            interval: None,
            min_age,
            dry_run: false,
        })
    };
    GarbageCollectorOptions {
        manifest_options: older_than(OBJECT_AGE_MIN),
        wal_options: older_than(WAL_AGE_MIN),
        // Never: a stalled writer must still find the fence that was put in its way.
        wal_fence_options: None,
        compacted_options: older_than(OBJECT_AGE_MIN),
        compactions_options: older_than(OBJECT_AGE_MIN),
        detach_options: None,
        metric_level: None,
        boundary_files_enabled: !is_folder,
        object_store_max_retries: None,
    }
}
