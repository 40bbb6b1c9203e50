//! Real time for tests of real processes: deadlines and waiting for a condition.
//!
//! Everything that runs in one process is tested on paused time instead. Nothing here sleeps for a
//! fixed time and hopes: a wait ends when its condition holds, and fails by name when it does not.

use std::time::{Duration, Instant};

/// The pause between two looks at a condition.
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// The present instant of the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes are watched here, and they do not live on paused time"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock in milliseconds since 1970, as record timestamps have it.
///
/// # Panics
///
/// If the clock stands before 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "records of other processes carry the wall clock"
)]
pub fn wall_ms() -> i64 {
    let elapsed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("the clock stands after 1970");
    i64::try_from(elapsed.as_millis()).expect("milliseconds fit into 63 bits")
}

/// Looks until `condition` gives a value and returns it.
///
/// # Panics
///
/// If there is none within `limit`; the message names `what`.
pub fn until<T>(what: &str, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    within(limit, condition).unwrap_or_else(|| panic!("{what}: not within {limit:?}"))
}

/// Looks until `condition` gives a value, or `None` after `limit`.
pub fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let start = now();
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if start.elapsed() >= limit {
            return None;
        }
        std::thread::park_timeout(POLL_PAUSE);
    }
}

/// Keeps the calling thread still for `pause`: the gap between two faults of a torture loop, never
/// a guess about how long something takes.
pub fn pause(pause: Duration) {
    let start = now();
    while let Some(rest) = pause.checked_sub(start.elapsed()) {
        std::thread::park_timeout(rest);
    }
}
