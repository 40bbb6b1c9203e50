//! Merges what is due, for as long as the process has the role.
//!
//! ```text
//! list ─▶ plan ─▶ run, one job per level ─▶ an end, or `interval` later: list again
//! ```
//!
//! Any number of processes do this at once: a lease keeps them out of each other's way, and completing is
//! safe without it. An idle cluster costs one call to metadata per interval and nothing of the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::metrics::CompactionMetrics;
use crate::merge::{MergeFailure, MergeOutcome, Merger};
use crate::planner::{FINAL_LEVEL, JobSpec, PlannerConfig, plan};

pub mod metrics;
#[cfg(test)]
mod tests;

/// Damaged sources that are remembered at most; beyond it the oldest is tried again.
const DAMAGED_MAX: usize = 10_000;

/// How eagerly merges are run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerConfig {
    /// How long after one look the next comes, unless a job ends before. Default 2 s.
    pub interval: Duration,
    /// Jobs at once whose sources are of one level. Default 1: jobs of level 1 take longer, and those of
    /// level 0 do not wait for them. Each job takes memory, see [`crate::merge::MergeConfig`].
    pub jobs_per_level: usize,
    /// How long a source with damaged extents is left alone; each look costs its bytes. Default 1 hour.
    pub damaged_rest: Duration,
    /// What is due.
    pub planner: PlannerConfig,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            jobs_per_level: 1,
            damaged_rest: Duration::from_secs(3600),
            planner: PlannerConfig::default(),
        }
    }
}

/// Lists, plans and merges.
#[derive(Debug)]
pub struct Worker {
    merger: Arc<Merger>,
    config: WorkerConfig,
    metrics: Arc<CompactionMetrics>,
    /// Commits with damaged extents, and until when they are left alone.
    damaged: Mutex<BTreeMap<u64, Instant>>,
}

/// A job that ended.
type Ended = (JobSpec, MergeOutcome);

/// The jobs under way.
#[derive(Debug, Default)]
struct Jobs {
    set: JoinSet<Ended>,
    /// The level of the sources of each.
    levels: Vec<(Id, u8)>,
}

impl Jobs {
    fn of_level(&self, level: u8) -> usize {
        let of_level = self.levels.iter().filter(|(_, other)| *other == level);
        of_level.count()
    }

    fn start(&mut self, merger: Arc<Merger>, spec: JobSpec) {
        let level = spec.from_level;
        let task = self.set.spawn(async move {
            let outcome = merger.run(&spec).await;
            (spec, outcome)
        });
        self.levels.push((task.id(), level));
    }

    /// Makes room again; `None` for a job that panicked, which says so itself.
    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) -> Option<Ended> {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, Some(ended)),
            Err(error) => (error.id(), None),
        };
        self.levels.retain(|(other, _)| *other != id);
        ended
    }
}

impl Worker {
    /// A worker that does nothing yet.
    #[must_use]
    pub fn new(merger: Merger, config: WorkerConfig, metrics: Arc<CompactionMetrics>) -> Self {
        Self {
            merger: Arc::new(merger),
            config,
            metrics,
            damaged: Mutex::default(),
        }
    }

    /// Merges until `stopping`; jobs under way are dropped where they stand then, which is safe.
    pub async fn run(&self, stopping: CancellationToken) {
        let mut jobs = Jobs::default();
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return jobs.set.shutdown().await,
                () = self.look(&mut jobs) => {}
            }
            let next_look = tokio::time::sleep(self.config.interval);
            tokio::pin!(next_look);
            loop {
                let ended = tokio::select! {
                    biased;
                    () = stopping.cancelled() => return jobs.set.shutdown().await,
                    Some(ended) = jobs.set.join_next_with_id() => jobs.ended(ended),
                    () = &mut next_look => break,
                };
                // Only a job that did something makes room for the next at once.
                if let Some((spec, outcome)) = ended {
                    self.note(&spec, &outcome);
                    if !outcome.0.completed.is_empty() {
                        break;
                    }
                }
            }
        }
    }

    /// Lists once, and runs all jobs that are due now to their end, one after the other. Returns how many
    /// objects were completed.
    pub async fn run_once(&self) -> usize {
        let mut completed = 0;
        for spec in self.due().await {
            let outcome = self.merger.run(&spec).await;
            completed += outcome.0.completed.len();
            self.note(&spec, &outcome);
        }
        completed
    }

    /// Starts the jobs that are due and have room.
    async fn look(&self, jobs: &mut Jobs) {
        let jobs_max = self.config.jobs_per_level;
        if (0..FINAL_LEVEL).all(|level| jobs.of_level(level) >= jobs_max) {
            return;
        }
        for spec in self.due().await {
            if jobs.of_level(spec.from_level) < jobs_max {
                jobs.start(Arc::clone(&self.merger), spec);
            }
        }
    }

    async fn due(&self) -> Vec<JobSpec> {
        let segments = match self.merger.client.segments(FINAL_LEVEL).await {
            Ok(segments) => segments,
            Err(error) => {
                tracing::debug!(%error, "segments cannot be listed now");
                return Vec::new();
            }
        };
        let now = Instant::now();
        let mut damaged = self.damaged();
        damaged.retain(|_, until| *until > now);
        let is_avoided = |commit| damaged.contains_key(&commit);
        let now_ms = self.merger.clock.now_ms();
        plan(&segments, is_avoided, now_ms, &self.config.planner)
    }

    fn note(&self, spec: &JobSpec, outcome: &MergeOutcome) {
        self.metrics.count(spec, outcome);
        let (report, result) = outcome;
        let sources = spec.sources.len();
        let from_level = spec.from_level;
        match result {
            Ok(()) | Err(MergeFailure::Taken | MergeFailure::Stopped) => {}
            Err(error @ (MergeFailure::Metadata(_) | MergeFailure::Unnamed)) => {
                tracing::debug!(from_level, sources, %error, "a merge did not begin or end");
            }
            Err(error @ (MergeFailure::Store(_) | MergeFailure::TooSlow(_))) => {
                tracing::warn!(from_level, sources, %error, "a merge failed, it will be tried again");
            }
        }
        let until = Instant::now() + self.config.damaged_rest;
        let mut damaged = self.damaged();
        for commit in &report.damaged {
            if damaged.len() >= DAMAGED_MAX {
                damaged.pop_first();
            }
            damaged.insert(*commit, until);
        }
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
