//! The compaction role: merging, retention, the sweep of dead objects, the search for orphans. Each is a loop of its
//! own; a round that fails is told and begun again, and never ends the process.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use floe_compaction::merge::{self, MergeConfig, Merger};
use floe_compaction::orphans::{self, OrphansParts};
use floe_compaction::planner::PlannerConfig;
use floe_compaction::retention::{self, RetentionParts, Rules};
use floe_compaction::sweep::{self, Figures, SweepParts};
use floe_compaction::worker::metrics::CompactionMetrics;
use floe_compaction::worker::{Worker, WorkerConfig};
use floe_metadata::client::Client;
use floe_metadata::client::view::View;
use floe_metadata::steady_clock::SteadyClock;
use floe_protocol::types::NodeId;
use floe_storage::clock::Clock;
use floe_storage::key::Lineages;
use floe_storage::store::Store;
use floe_storage::tasks::Tasks;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::metrics::compaction::{DeletionFigures, MergeFigures};
use crate::presence::Presence;
use crate::produce::Names;
use crate::topic_config::{BrokerSettings, DynamicSettings};

/// A reader's plan of where records lie is used for this long at most.
const PLAN_AGE_MAX: Duration = Duration::from_secs(5 * 60);

/// How the role is set up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompactionConfig {
    /// Pause between two looks at what topics keep.
    pub retention_every: Duration,
    /// Pause between two sweeps.
    pub sweep_every: Duration,
    /// How long an object is dead before it is deleted.
    pub grace: Duration,
    /// Pause between two searches for orphans.
    pub orphans_every: Duration,
    /// How long names of an earlier write epoch are still committed.
    pub orphans_margin: Duration,
    /// Only to say what would be deleted.
    pub is_dry_run: bool,
    /// The folder that is the store, if it is one.
    pub folder: Option<PathBuf>,
    /// When merges are run; `None` for never.
    pub merging: Option<WorkerConfig>,
    /// How they are run.
    pub merges: MergeConfig,
}

impl CompactionConfig {
    /// As the broker's settings say. Merges take a share of `memory_bytes`, beside what the broker takes.
    #[must_use]
    pub fn of(settings: &BrokerSettings, folder: Option<PathBuf>, memory_bytes: u64) -> Self {
        let milliseconds = |name| {
            let value = settings.integer(name, i64::MAX);
            Duration::from_millis(u64::try_from(value).unwrap_or_default())
        };
        Self {
            retention_every: milliseconds("log.retention.check.interval.ms"),
            sweep_every: milliseconds("floe.sweep.interval.ms"),
            grace: milliseconds("floe.delete.grace.ms"),
            orphans_every: milliseconds("floe.orphans.interval.ms"),
            orphans_margin: milliseconds("floe.orphans.margin.ms"),
            is_dry_run: settings.is_on("floe.delete.dry.run"),
            folder,
            merging: settings
                .is_on("floe.merge.enable")
                .then(|| worker_config(settings)),
            merges: merge_config(memory_bytes),
        }
    }
}

/// When merges are run.
fn worker_config(settings: &BrokerSettings) -> WorkerConfig {
    let defaults = WorkerConfig::default();
    let planner = defaults.planner;
    let number = |name| settings.integer(name, i64::MAX);
    let size = |name| u64::try_from(number(name)).unwrap_or_default();
    let count = |name| usize::try_from(number(name)).unwrap_or(usize::MAX);
    let level0_segments = count("floe.merge.level0.segments");
    let level1_segments = count("floe.merge.level1.segments");
    WorkerConfig {
        interval: Duration::from_millis(size("floe.merge.interval.ms")),
        planner: PlannerConfig {
            level0_segments,
            level0_segments_min: planner.level0_segments_min.min(level0_segments),
            level0_bytes: size("floe.merge.level0.bytes"),
            level0_wait_ms: number("floe.merge.level0.wait.ms"),
            level0_quiet_ms: number("floe.merge.level0.quiet.ms"),
            level1_segments,
            level1_segments_min: planner.level1_segments_min.min(level1_segments),
            level1_bytes: size("floe.merge.level1.bytes"),
            level1_wait_ms: number("floe.merge.level1.wait.ms"),
            ..planner
        },
        ..defaults
    }
}

/// How merges are run: two at once, one for each level, take at most half of `memory_bytes`, and less where that
/// is more than they can use.
fn merge_config(memory_bytes: u64) -> MergeConfig {
    let defaults = MergeConfig::default();
    MergeConfig {
        read_bytes: defaults.read_bytes.min(memory_bytes / 8),
        description_bytes: defaults.description_bytes.min(memory_bytes / 16),
        ..defaults
    }
}

/// What the role is made of.
pub(crate) struct CompactionParts {
    pub(crate) config: CompactionConfig,
    pub(crate) client: Client,
    pub(crate) view: Arc<View>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) store: Store,
    pub(crate) lineages: Lineages,
    pub(crate) clock: Clock,
    pub(crate) steady: SteadyClock,
    /// As this process was started.
    pub(crate) settings: BrokerSettings,
    pub(crate) node_id: NodeId,
    pub(crate) metrics: Metrics,
}

/// The role's loops, as far as their end is concerned.
pub struct Compaction {
    loops: TaskTracker,
}

impl fmt::Debug for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compaction").finish_non_exhaustive()
    }
}

impl Compaction {
    /// Starts all loops; they end when `stopping` is cancelled.
    pub(crate) fn start(
        parts: CompactionParts,
        tasks: &Tasks,
        stopping: &CancellationToken,
    ) -> Self {
        let CompactionParts {
            config,
            client,
            view,
            presence,
            store,
            lineages,
            clock,
            steady,
            settings,
            node_id,
            metrics,
        } = parts;
        if config.grace < PLAN_AGE_MAX {
            tracing::warn!(
                "floe.delete.grace.ms is {} ms: readers whose plans are older meet objects that are gone, and plan again",
                config.grace.as_millis()
            );
        }
        let figures = Arc::new(Figures::default());
        metrics.register_collector(Box::new(DeletionFigures(Arc::clone(&figures))));
        let loops = TaskTracker::new();
        if let Some(merging) = config.merging {
            let merger = Merger {
                client: client.clone(),
                store: store.clone(),
                lineages: lineages.clone(),
                names: names(presence),
                clock: clock.clone(),
                config: config.merges,
            };
            let merges = Arc::new(CompactionMetrics::default());
            metrics.register_collector(Box::new(MergeFigures(Arc::clone(&merges))));
            let worker = Worker::new(merger, merging, merges);
            let until = stopping.clone();
            tasks.spawn(loops.track_future(async move { worker.run(until).await }));
        }
        let retention = RetentionParts {
            client: client.clone(),
            rules: rules(settings, node_id, Arc::clone(&view)),
            view,
            clock,
            every: config.retention_every,
            figures: Arc::clone(&figures),
        };
        let sweep = SweepParts {
            client: client.clone(),
            store: store.clone(),
            lineages: lineages.clone(),
            every: config.sweep_every,
            grace: config.grace,
            is_dry_run: config.is_dry_run,
            steady,
            figures: Arc::clone(&figures),
        };
        let orphans = OrphansParts {
            client,
            store,
            folder: config.folder,
            lineages,
            every: config.orphans_every,
            margin: config.orphans_margin,
            is_dry_run: config.is_dry_run,
            figures,
        };
        let until = || stopping.clone();
        tasks.spawn(loops.track_future(retention::run(retention, until())));
        tasks.spawn(loops.track_future(sweep::run(sweep, until())));
        tasks.spawn(loops.track_future(orphans::run(orphans, until())));
        loops.close();
        Self { loops }
    }

    /// Waits until all loops have ended. Cancel-safe.
    pub(crate) async fn ended(&self) {
        self.loops.wait().await;
    }
}

/// Names for what merges make.
fn names(presence: Arc<Presence>) -> merge::Names {
    let names = Arc::new(Names::new(presence));
    let theirs = Arc::clone(&names);
    merge::Names {
        next: Box::new(move || names.try_next()),
        refused: Box::new(move |segment| theirs.refused(segment)),
    }
}

/// What is to be kept of a topic, by the settings as they are at each look.
fn rules(started: BrokerSettings, node_id: NodeId, view: Arc<View>) -> Rules {
    let dynamic = DynamicSettings::new(&started, node_id);
    Arc::new(move |topic| dynamic.now(&started, &view).keep(topic))
}
