//! The clock of the measurements.

use std::time::{Duration, Instant};

/// The present instant of the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits until `at`, not longer.
pub fn sleep_until(at: Instant) {
    while let Some(rest) = at
        .checked_duration_since(now())
        .filter(|rest| !rest.is_zero())
    {
        std::thread::park_timeout(rest);
    }
}

/// Runs `work` and measures it.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = now();
    let value = work();
    (value, start.elapsed())
}

/// CPU time of the calling thread so far.
pub fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}
