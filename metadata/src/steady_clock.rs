//! Time that passes, whatever the machine does: it runs on through suspends and is never set. Only
//! differences mean anything.
//!
//! An owner reads from memory for a while after its last proof of ownership. On a clock that stands
//! still in a suspended machine that while would last for ever.

use std::time::Duration;

use tokio::time::Instant;

/// Tells how much time has passed since some moment of its own choice.
#[derive(Clone, Debug)]
pub struct SteadyClock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Simulated(Instant),
}

impl SteadyClock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that follows `tokio::time`.
    #[must_use]
    pub fn simulated() -> Self {
        Self(Source::Simulated(Instant::now()))
    }

    /// The time since that moment; never falls.
    #[must_use]
    pub fn now(&self) -> Duration {
        match self.0 {
            Source::System => machine_time(),
            Source::Simulated(start) => start.elapsed(),
        }
    }
}

fn machine_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    // Elsewhere than on Linux the monotonic clock is the one that counts suspends, or the best there is.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let now = clock_gettime(ClockId::Boottime);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_been_up_and_time_passes() {
        let clock = SteadyClock::system();
        let first = clock.now();
        assert!(first > Duration::ZERO);
        while clock.now() == first {}
        assert!(clock.now() > first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_follows_paused_time() {
        let clock = SteadyClock::simulated();
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(clock.now(), Duration::from_millis(250));
    }
}
