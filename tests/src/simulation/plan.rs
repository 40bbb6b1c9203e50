//! What a seed means: every setting and every fault of a run is drawn here.

use std::ops::Range;
use std::time::Duration;

use floe_agent::compaction::CompactionConfig;
use floe_agent::produce::{FlushRule, UploadLimits};
use floe_compaction::merge::MergeConfig;
use floe_compaction::planner::PlannerConfig;
use floe_compaction::worker::WorkerConfig;
use floe_metadata::engine::memory::Faults;
use floe_protocol::compression::Compression;
use floe_storage::store::StoreOptions;
use floe_storage::store::fault::FaultPlan;
use rand::Rng;
use rand::rngs::StdRng;

use super::producer::ProducerPlan;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Partitions per topic.
    pub topics: Vec<i32>,
    /// Who writes.
    pub producers: Vec<ProducerPlan>,
    /// How many read.
    pub consumers: usize,
    /// When segments are sealed.
    pub rule: FlushRule,
    /// How many uploads at once.
    pub uploads: UploadLimits,
    /// How patient processes are with the store.
    pub store: StoreOptions,
    /// Memory of each process.
    pub memory_bytes: u64,
    /// Bytes of segments that their writer keeps for readers of the tail; others are read from the store.
    pub fresh_bytes: usize,
    /// Bytes of producer states in memory; the rest is paged.
    pub producer_states_bytes: usize,
    /// Commits a recovery may have to replay.
    pub replay_commits: u64,
    /// Whether there is never more than one process.
    pub is_lonely: bool,
    /// Whether the metadata is kept by the embedded engine, over the same store.
    pub is_embedded: bool,
    /// Whether owners lose the sequencer again and again without knowing, while all else is well and the ends of
    /// the logs are asked for all the time.
    pub is_contested: bool,
    /// How segments are merged and deleted, if they are.
    pub compaction: Option<CompactionConfig>,
    /// The lives of the cluster, one after the other.
    pub lives: Vec<Life>,
}

/// A time in which the cluster lives, to its end in the death of most processes.
#[derive(Clone, Debug)]
pub struct Life {
    /// How many processes there are from its beginning on.
    pub processes: usize,
    /// How long until they are killed, from before they start.
    pub lasts: Duration,
    /// How many of the newest survive.
    pub survivors: usize,
    /// How long until the next life. The dead ones' requests may still land meanwhile.
    pub pause: Duration,
    /// What happens to processes, and how long after what happened before.
    pub troubles: Vec<(Duration, Trouble)>,
    /// How the store treats them.
    pub store: FaultPlan,
    /// How the engine treats them.
    pub engine: Faults,
}

/// What happens to one process; the number says which, counted around those that live.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// `kill -9`, and another one starts in its place.
    Kill(usize),
    /// It is told to stop, and lets go of everything in order; another one starts in its place.
    Stop(usize),
    /// Nothing of what it sends to others or they to it arrives until the time is over.
    Silence(usize, Duration),
    /// Its connections to others break; it can make new ones.
    Disconnect(usize),
}

impl Plan {
    /// Draws a run.
    #[must_use]
    pub fn draw(random: &mut StdRng) -> Self {
        let topics = (0..random.random_range(1..=2))
            .map(|_| random.random_range(1..=3))
            .collect();
        let producers = (0..random.random_range(1..=3))
            .map(|id| producer(id, random))
            .collect();
        let is_lonely = random.random_ratio(1, 2);
        let is_contested = !is_lonely && random.random_ratio(1, 4);
        let lives = (0..random.random_range(1..=4))
            .map(|_| match life(random) {
                life if is_lonely => life.alone(),
                life if is_contested => life.contested(random),
                life => life,
            })
            .collect();
        Self {
            topics,
            producers,
            consumers: random.random_range(1..=2),
            rule: rule(random),
            uploads: UploadLimits {
                count_max: pick(random, &[1, 2, 16]),
                ..UploadLimits::default()
            },
            store: StoreOptions {
                attempt_timeout: pick(random, &[1, 10].map(Duration::from_secs)),
                total_timeout: pick(random, &[2, 30].map(Duration::from_secs)),
                ..StoreOptions::default()
            },
            memory_bytes: 64 << 20,
            fresh_bytes: pick(random, &[0, 4 << 10, 16 << 20]),
            producer_states_bytes: pick(random, &[0, 1 << 10, 1 << 20]),
            replay_commits: pick(random, &[1, 4, 64, 10_000]),
            is_lonely,
            is_embedded: false,
            is_contested,
            compaction: random.random_ratio(2, 3).then(|| compaction(random)),
            lives,
        }
    }
}

impl Plan {
    /// The same run over the embedded engine. What it reads is not damaged on the way: it would take that for
    /// damage in the store, and stop.
    #[must_use]
    pub fn embedded(mut self) -> Self {
        for life in &mut self.lives {
            life.store.damaged_get_rate = 0.0;
        }
        Self {
            is_embedded: true,
            ..self
        }
    }
}

impl Life {
    /// The same with a store and an engine that are quick and sound, and processes that are cut off from each
    /// other for as long as a take-over lasts.
    fn contested(self, random: &mut StdRng) -> Self {
        let silence = |random: &mut StdRng| {
            let which = random.random_range(0..3);
            let time = millis(random, 1_000..4_000);
            (millis(random, 300..2_000), Trouble::Silence(which, time))
        };
        Self {
            processes: 3,
            lasts: millis(random, 4_000..10_000),
            troubles: (0..6).map(|_| silence(random)).collect(),
            store: FaultPlan {
                latency_median: Duration::from_millis(10),
                ..FaultPlan::healthy()
            },
            engine: Faults {
                latency: Duration::ZERO..Duration::from_millis(5),
                ..Faults::none()
            },
            ..self
        }
    }

    /// The same for one process that nobody stands in for.
    fn alone(self) -> Self {
        Self {
            processes: 1,
            survivors: 0,
            troubles: Vec::new(),
            ..self
        }
    }
}

fn pick<T: Copy>(random: &mut StdRng, from: &[T]) -> T {
    let at = random.random_range(0..from.len());
    from[at]
}

fn millis(random: &mut StdRng, range: Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

fn producer(id: u32, random: &mut StdRng) -> ProducerPlan {
    ProducerPlan {
        id,
        idempotent: random.random_ratio(3, 4),
        // Stock clients keep up to 5, careful plain ones 1.
        in_flight_max: pick(random, &[1, 5, 5]),
        batch_records_max: pick(random, &[1, 3, 20]),
        pause: pick(random, &[2, 20, 100].map(Duration::from_millis)),
        compression: pick(
            random,
            &[
                Compression::None,
                Compression::None,
                Compression::Lz4,
                Compression::Zstd,
            ],
        ),
        timeout: pick(random, &[1, 5, 30].map(Duration::from_secs)),
    }
}

fn rule(random: &mut StdRng) -> FlushRule {
    let base = pick(random, &[FlushRule::BUCKET, FlushRule::FOLDER]);
    FlushRule {
        segment_bytes: pick(random, &[1, 200, 4 << 10, base.segment_bytes]),
        segment_batches: pick(random, &[1, 3, base.segment_batches]),
        linger: pick(
            random,
            &[Duration::ZERO, base.linger, Duration::from_secs(1)],
        ),
        ..base
    }
}

/// So hasty that everything is merged and deleted within a life, readers meet objects that are no longer there,
/// and uploads are overtaken by the write epoch.
fn compaction(random: &mut StdRng) -> CompactionConfig {
    CompactionConfig {
        retention_every: Duration::from_secs(1),
        sweep_every: pick(random, &[500, 2_000].map(Duration::from_millis)),
        grace: pick(random, &[0, 500, 5_000].map(Duration::from_millis)),
        orphans_every: pick(random, &[1, 10].map(Duration::from_secs)),
        orphans_margin: pick(random, &[0, 2, 10].map(Duration::from_secs)),
        is_dry_run: false,
        folder: None,
        merging: Some(WorkerConfig {
            interval: pick(random, &[200, 1_000].map(Duration::from_millis)),
            damaged_rest: Duration::from_secs(1),
            planner: PlannerConfig {
                level0_segments: pick(random, &[1, 3, 8]),
                level1_segments: pick(random, &[2, 4]),
                level0_wait_ms: 1_000,
                level0_segments_min: 1,
                level1_wait_ms: pick(random, &[1_000, 10_000]),
                ..PlannerConfig::default()
            },
            ..WorkerConfig::default()
        }),
        merges: MergeConfig {
            // Shared by all sources of a job: windows smaller than a batch. And objects of one extent.
            read_bytes: pick(random, &[1 << 10, 16 << 10, 1 << 20]),
            output_bytes: pick(random, &[1, 4 << 10, 1 << 20]),
            ..MergeConfig::default()
        },
    }
}

fn life(random: &mut StdRng) -> Life {
    let is_harsh = random.random_ratio(1, 2);
    let store = if is_harsh {
        FaultPlan::harsh()
    } else {
        FaultPlan::healthy()
    };
    let store = FaultPlan {
        latency_median: pick(random, &[0, 2, 30, 200].map(Duration::from_millis)),
        late_max: pick(random, &[1, 30].map(Duration::from_secs)),
        damaged_get_rate: if is_harsh {
            pick(random, &[0.0, 0.02, 0.3])
        } else {
            0.0
        },
        ..store
    };
    let rate = |random: &mut StdRng| pick(random, &[0.0, 0.0, 0.005, 0.05]);
    let engine = Faults {
        latency: Duration::ZERO..millis(random, 1..100),
        lost_reply: rate(random),
        lost_batch: rate(random),
        failed_read: rate(random),
        failed_acquisition: pick(random, &[0.0, 0.3]),
    };
    let troubles = (0..random.random_range(0..6)).map(|_| trouble(random));
    let troubles = troubles.collect();
    Life {
        processes: random.random_range(1..=3),
        lasts: if random.random_ratio(7, 8) {
            millis(random, 50..8_000)
        } else {
            millis(random, 8_000..20_000)
        },
        survivors: random.random_range(0..=2),
        pause: millis(random, 0..2_000),
        troubles,
        store,
        engine,
    }
}

fn trouble(random: &mut StdRng) -> (Duration, Trouble) {
    let after = millis(random, 0..2_500);
    let which = random.random_range(0..3);
    let trouble = match random.random_range(0..8) {
        0 | 1 => Trouble::Kill(which),
        2 => Trouble::Stop(which),
        // Some outlive a lease.
        3 => Trouble::Silence(which, millis(random, 100..6_000)),
        4 => Trouble::Silence(which, millis(random, 5_000..15_000)),
        _ => Trouble::Disconnect(which),
    };
    (after, trouble)
}
