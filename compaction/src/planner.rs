//! Which segments are merged next. Pure: takes what is alive and the time, starts nothing.
//!
//! ```text
//! level 0   s s s s s s s s L L s s s      commit order; L: leased by somebody, cuts the row into runs
//!           └──── a job ───┘     └ waits
//! level 1        S     S    S              each replaces a run
//! level 2              B                   final
//! ```
//!
//! Every byte is written once as it comes in, once into level 1 and once into level 2: a segment is merged
//! once per level, whatever its size. What is waited for is therefore a matter of how many objects a
//! reader meets, never of how often bytes are copied.

use floe_metadata::api::objects::SegmentSummary;
use floe_protocol::types::TimestampMs;

#[cfg(test)]
mod tests;

/// The level that is never merged again.
pub const FINAL_LEVEL: u8 = 2;

/// When merging is worth it, and how much one job takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlannerConfig {
    /// As many level 0 segments make a job. Default 32.
    pub level0_segments: usize,
    /// As many bytes of level 0 make a job, and are about what one takes. Default 256 MiB.
    pub level0_bytes: u64,
    /// After so long fewer will do, but not fewer than `level0_segments_min`. Default 10 s.
    pub level0_wait_ms: TimestampMs,
    /// Default 8: a reader who meets fewer gains next to nothing, and level 1 gets an object for each job.
    pub level0_segments_min: usize,
    /// After so long any number will do, even a single one. Default 10 minutes: a quiet cluster comes to rest
    /// with final offsets and nothing in level 0, which metadata keeps in memory. It costs no more than a
    /// merge with others would have cost, for each byte is written once per level either way.
    pub level0_quiet_ms: TimestampMs,
    /// Level 0 jobs of so many bytes go to the last level at once. Default 512 MiB; met when merging fell
    /// behind, where it saves a third of the work.
    pub level0_direct_bytes: u64,
    /// As many level 1 segments make a job, if they are `level1_bytes_min` together. Default 8.
    pub level1_segments_min: usize,
    /// Default 256 MiB.
    pub level1_bytes_min: u64,
    /// As many level 1 segments make a job in any case. Default 32: on a cluster of little load objects of
    /// the last level hold the more time.
    pub level1_segments: usize,
    /// As many bytes of level 1 make a job. Default 1 GiB.
    pub level1_bytes: u64,
    /// After so long two level 1 segments will do. Default 1 hour. A single one stays: nothing is gained by
    /// copying it.
    pub level1_wait_ms: TimestampMs,
    /// Sources of a job. Default 256: each has a window of its own in memory.
    pub job_sources_max: usize,
    /// Live extents of a job's sources, which are held in memory, unless two segments have more. Default
    /// 250,000.
    pub job_extents_max: u64,
    /// How many times the usual bytes a job takes when more than twice as much waits. Default 4.
    pub behind_factor: u64,
}

impl Default for PlannerConfig {
    fn default() -> Self {
        Self {
            level0_segments: 32,
            level0_bytes: 256 << 20,
            level0_wait_ms: 10_000,
            level0_segments_min: 8,
            level0_quiet_ms: 600_000,
            level0_direct_bytes: 512 << 20,
            level1_segments_min: 8,
            level1_bytes_min: 256 << 20,
            level1_segments: 32,
            level1_bytes: 1 << 30,
            level1_wait_ms: 3_600_000,
            job_sources_max: 256,
            job_extents_max: 250_000,
            behind_factor: 4,
        }
    }
}

/// A merge to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobSpec {
    /// Commits, rising; a run of one level.
    pub sources: Vec<u64>,
    /// The level of the sources.
    pub from_level: u8,
    /// The level of what is written.
    pub level: u8,
    /// Bytes of the sources' objects.
    pub size_bytes: u64,
}

/// The jobs that are due at `now_ms`, the oldest sources of each level first, level 0 before level 1.
/// `segments` are all that live below [`FINAL_LEVEL`], by commit; those that are leased or `is_avoided`, by
/// commit, take part in none.
pub fn plan(
    segments: &[SegmentSummary],
    is_avoided: impl Fn(u64) -> bool,
    now_ms: TimestampMs,
    config: &PlannerConfig,
) -> Vec<JobSpec> {
    let mut jobs = Vec::new();
    for level in 0..FINAL_LEVEL {
        let row: Vec<_> = segments
            .iter()
            .filter(|segment| segment.level == level)
            .collect();
        let runs = row.split(|segment| segment.is_leased || is_avoided(segment.commit));
        for mut run in runs {
            while let Some(count) = due(run, level, now_ms, config) {
                let (now, later) = run.split_at(count);
                jobs.push(job(now, level, config));
                run = later;
            }
        }
    }
    jobs
}

fn job(sources: &[&SegmentSummary], from_level: u8, config: &PlannerConfig) -> JobSpec {
    let size_bytes = bytes_of(sources);
    let is_direct = size_bytes >= config.level0_direct_bytes;
    JobSpec {
        sources: sources.iter().map(|segment| segment.commit).collect(),
        from_level,
        level: if is_direct {
            FINAL_LEVEL
        } else {
            from_level + 1
        },
        size_bytes,
    }
}

fn bytes_of(segments: &[&SegmentSummary]) -> u64 {
    segments.iter().map(|segment| segment.size_bytes).sum()
}

/// How many segments from the front of `run` are to be merged now, if any.
fn due(
    run: &[&SegmentSummary],
    level: u8,
    now_ms: TimestampMs,
    config: &PlannerConfig,
) -> Option<usize> {
    let oldest = run.first()?;
    let age_ms = now_ms.saturating_sub(oldest.committed_ms);
    let (count, bytes) = (run.len(), bytes_of(run));
    let (is_due, usual_bytes, least) = if level == 0 {
        let is_due = count >= config.level0_segments
            || bytes >= config.level0_bytes
            || age_ms >= config.level0_wait_ms && count >= config.level0_segments_min
            || age_ms >= config.level0_quiet_ms;
        (is_due, config.level0_bytes, 1)
    } else {
        let is_due = count >= config.level1_segments
            || bytes >= config.level1_bytes
            || count >= config.level1_segments_min && bytes >= config.level1_bytes_min
            || age_ms >= config.level1_wait_ms;
        (is_due, config.level1_bytes, 2)
    };
    let is_behind = bytes > usual_bytes.saturating_mul(2);
    let factor = if is_behind { config.behind_factor } else { 1 };
    let taken = fit(run, usual_bytes.saturating_mul(factor), least, config);
    (is_due && taken >= least).then_some(taken)
}

/// How many segments from the front of `run` one job takes: up to and with the one that passes
/// `bytes_max`, so that what made the job due does not leave a rest behind; at least `least`, if there are.
fn fit(run: &[&SegmentSummary], bytes_max: u64, least: usize, config: &PlannerConfig) -> usize {
    let (mut bytes, mut extents) = (0_u64, 0_u64);
    let mut taken = 0;
    for segment in run.iter().take(config.job_sources_max.max(least)) {
        extents = extents.saturating_add(segment.live_extents);
        let is_full = bytes >= bytes_max || extents > config.job_extents_max;
        if is_full && taken >= least {
            break;
        }
        bytes = bytes.saturating_add(segment.size_bytes);
        taken += 1;
    }
    taken
}
