//! What a process merged since it started.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::merge::{MergeFailure, MergeOutcome};
use crate::planner::{FINAL_LEVEL, JobSpec};

/// Levels that are merged into others.
const LEVELS: usize = FINAL_LEVEL as usize;

/// Counters of what a process merged; they never fall.
#[derive(Debug, Default)]
pub struct CompactionMetrics {
    levels: [LevelCounters; LEVELS],
    /// Extents that were left where they are, for they are damaged; each time they are met.
    damaged_extents: AtomicU64,
}

/// Jobs whose sources are of one level.
#[derive(Debug, Default)]
struct LevelCounters {
    jobs: AtomicU64,
    taken: AtomicU64,
    failures: AtomicU64,
    orphans: AtomicU64,
    outputs: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

/// A reading of the counters of one level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LevelMerges {
    /// The level of the sources.
    pub from_level: u8,
    /// Jobs that were run to their end.
    pub jobs: u64,
    /// Jobs that somebody else had taken.
    pub taken: u64,
    /// Jobs that failed.
    pub failures: u64,
    /// Objects that were written for nothing, since their sources were replaced meanwhile.
    pub orphans: u64,
    /// Objects that replaced others.
    pub outputs: u64,
    /// Bytes read from sources.
    pub read_bytes: u64,
    /// Bytes of objects that were written.
    pub written_bytes: u64,
}

impl CompactionMetrics {
    /// All levels that are merged, the lowest first.
    #[must_use]
    pub fn levels(&self) -> Vec<LevelMerges> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let levels = (0..).zip(&self.levels);
        levels
            .map(|(from_level, counters)| LevelMerges {
                from_level,
                jobs: read(&counters.jobs),
                taken: read(&counters.taken),
                failures: read(&counters.failures),
                orphans: read(&counters.orphans),
                outputs: read(&counters.outputs),
                read_bytes: read(&counters.read_bytes),
                written_bytes: read(&counters.written_bytes),
            })
            .collect()
    }

    /// Extents that were left where they are, for they are damaged; each time they were met.
    #[must_use]
    pub fn damaged_extents(&self) -> u64 {
        self.damaged_extents.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, spec: &JobSpec, (report, result): &MergeOutcome) {
        let Some(counters) = self.levels.get(usize::from(spec.from_level)) else {
            return;
        };
        let add = |counter: &AtomicU64, count: u64| {
            counter.fetch_add(count, Ordering::Relaxed);
        };
        add(
            match result {
                Ok(()) => &counters.jobs,
                Err(MergeFailure::Taken) => &counters.taken,
                Err(_) => &counters.failures,
            },
            1,
        );
        add(&counters.orphans, report.orphans.len() as u64);
        add(&counters.outputs, report.completed.len() as u64);
        add(&counters.read_bytes, report.read_bytes);
        add(&counters.written_bytes, report.written_bytes);
        add(&self.damaged_extents, report.damaged_extents);
    }
}
