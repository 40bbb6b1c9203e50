//! How a store is treated: times, limits, hedges.

use std::time::Duration;

/// How the store is treated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreOptions {
    /// Time for one attempt. Default 10 s: far above what a healthy store takes, far below what a
    /// client waits. More lets a stalled connection hold up a segment for longer.
    pub attempt_timeout: Duration,
    /// More time for each MiB that travels. Default 1 s.
    pub attempt_timeout_per_mib: Duration,
    /// Time for all attempts and the pauses between them. Default 30 s, a client's request timeout.
    pub total_timeout: Duration,
    /// Time for all attempts while the store is opened and checked. Default 8 s.
    pub probe_timeout: Duration,
    /// Requests under way at most, 4 or more; fewer while the store asks for fewer. Default 256.
    pub concurrency_max: usize,
    /// Whether a slow create-only PUT gets a second one beside it, at most one in twenty. Default
    /// yes; has no effect on folders, where it would only double the work of one disk.
    pub hedge: bool,
    /// Whether the store answers a range that counts from the end of an object. Default yes; containers
    /// of Azure do not, and there the size is asked for first.
    pub suffix_ranges: bool,
    /// Seed of the jitter between attempts; processes that share a store should not share it.
    pub jitter_seed: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            attempt_timeout: Duration::from_secs(10),
            attempt_timeout_per_mib: Duration::from_secs(1),
            total_timeout: Duration::from_secs(30),
            probe_timeout: Duration::from_secs(8),
            concurrency_max: 256,
            hedge: true,
            suffix_ranges: true,
            jitter_seed: 0,
        }
    }
}
