//! How long commits of offsets wait for company before they are written, [decision 24]. Pure: the time is handed
//! in, on any clock that never falls.
//!
//! ```text
//!         write       write              write              write
//! few     ├─▪         ├─▪                ├─▪                           each at once
//! many    ├─▪ ▪▪▪▪▪▪▪▪├─▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪├─▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪├─…         one write per window
//!                     └───── WINDOW ─────┘
//! ```
//!
//! A bucket gathers by itself: whatever comes during a write is in the next one. A folder writes in half a
//! millisecond, so that thousands of consumers would cost thousands of writes a second.
//!
//! [decision 24]: ../../../docs/decisions/0024-commits-of-offsets-wait-for-company.md

use std::time::Duration;

/// Under load one write begins per window, as long as a lane lingers on a folder. Longer: fewer writes, and as much
/// more latency for busy groups.
pub(super) const WINDOW: Duration = Duration::from_millis(4);
/// As many commits within a window are load: more than one consumer makes that commits again on each answer.
pub(super) const COMPANY: usize = 16;
/// As many offsets, or more, wait no longer.
pub(super) const OFFSETS_MAX: usize = 16_384;

/// What waits, what came lately, and how the writes go.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Since when commits are counted in `came`.
    counted_from: Duration,
    came: usize,
    /// As many came in the window before that.
    came_before: usize,
    /// Offsets of the commits that wait.
    offsets: usize,
    /// Something else waits too, which takes the commits along.
    is_hurried: bool,
    /// When the latest write was asked for.
    started: Option<Duration>,
    /// How long the latest that ended took.
    took: Duration,
}

impl Gathering {
    /// A commit of `offsets` offsets waits.
    pub(super) fn commit_came(&mut self, now: Duration, offsets: usize) {
        self.count(now);
        self.came += 1;
        self.offsets += offsets;
    }

    /// Something else waits, which goes at once.
    pub(super) const fn hurry(&mut self) {
        self.is_hurried = true;
    }

    /// All that waits is being written.
    pub(super) const fn started(&mut self, now: Duration) {
        self.started = Some(now);
        self.offsets = 0;
        self.is_hurried = false;
    }

    /// A write has ended.
    pub(super) const fn ended(&mut self, took: Duration) {
        self.took = took;
    }

    /// Until when what waits goes on waiting; `None`: not at all.
    pub(super) fn until(&mut self, now: Duration) -> Option<Duration> {
        self.count(now);
        let is_lonely = self.came.max(self.came_before) < COMPANY;
        // What waited for one write and then took part in the next took two: then each takes a window or more.
        let is_slow = self.took >= WINDOW * 2;
        if self.is_hurried || is_lonely || is_slow || self.offsets >= OFFSETS_MAX {
            return None;
        }
        let until = self.started? + WINDOW;
        (until > now).then_some(until)
    }

    /// Goes on to the window that `now` lies in.
    fn count(&mut self, now: Duration) {
        let since = now.saturating_sub(self.counted_from);
        if since < WINDOW {
            return;
        }
        let is_next = since < WINDOW * 2;
        self.came_before = if is_next { self.came } else { 0 };
        (self.counted_from, self.came) = (now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn after(micros: u64) -> Duration {
        START + Duration::from_micros(micros)
    }

    /// A write just began; `commits` of one offset each came since.
    fn busy(commits: usize) -> Gathering {
        let mut gathering = Gathering::default();
        gathering.started(START);
        gathering.ended(Duration::from_micros(500));
        for _ in 0..commits {
            gathering.commit_came(after(600), 1);
        }
        gathering
    }

    #[test]
    fn many_wait_until_a_window_has_passed_since_the_last_write() {
        let mut gathering = busy(COMPANY);
        assert_eq!(gathering.until(after(600)), Some(START + WINDOW));
        assert_eq!(gathering.until(after(3_999)), Some(START + WINDOW));
        assert_eq!(gathering.until(after(4_000)), None);
        // The next ones are fewer at first: it is known that many come.
        gathering.started(after(4_000));
        gathering.commit_came(after(5_000), 1);
        assert_eq!(gathering.until(after(5_000)), Some(after(4_000) + WINDOW));
    }

    #[test]
    fn the_first_after_a_while_waits_for_nobody() {
        let mut gathering = Gathering::default();
        for _ in 0..COMPANY {
            gathering.commit_came(START, 1);
        }
        assert_eq!(gathering.until(START), None, "nothing was written yet");
        let mut gathering = busy(0);
        for _ in 0..COMPANY {
            gathering.commit_came(after(9_000), 1);
        }
        assert_eq!(gathering.until(after(9_000)), None);
    }

    #[test]
    fn few_never_wait() {
        let mut gathering = busy(COMPANY - 1);
        assert_eq!(gathering.until(after(600)), None);
        // One that commits again on each answer, to a store that takes 300 µs.
        let mut gathering = Gathering::default();
        for number in 0..1_000 {
            let now = after(number * 300);
            gathering.commit_came(now, 1);
            assert_eq!(gathering.until(now), None, "commit {number}");
            gathering.started(now);
            gathering.ended(Duration::from_micros(300));
        }
    }

    #[test]
    fn load_that_has_passed_is_forgotten() {
        let mut gathering = busy(10 * COMPANY);
        gathering.started(after(4_000));
        gathering.commit_came(after(7_000), 1);
        assert!(gathering.until(after(7_000)).is_some());
        gathering.started(after(8_000));
        gathering.commit_came(after(11_500), 1);
        gathering.started(after(11_500));
        gathering.commit_came(after(13_000), 1);
        assert_eq!(gathering.until(after(13_000)), None);
        // Nor are two counts taken for one after a pause.
        let mut gathering = busy(10 * COMPANY);
        gathering.started(after(20_000));
        gathering.commit_came(after(20_100), 1);
        assert_eq!(gathering.until(after(20_100)), None);
    }

    #[test]
    fn what_cannot_wait_takes_all_along() {
        let mut gathering = busy(COMPANY);
        gathering.hurry();
        assert_eq!(gathering.until(after(700)), None);
        gathering.started(after(700));
        gathering.commit_came(after(800), 1);
        assert_eq!(gathering.until(after(800)), Some(after(700) + WINDOW));
        gathering.commit_came(after(900), OFFSETS_MAX);
        assert_eq!(gathering.until(after(900)), None, "too much to hold");
    }

    #[test]
    fn a_slow_store_gathers_by_itself() {
        let mut gathering = busy(COMPANY);
        gathering.ended(Duration::from_millis(60));
        assert_eq!(gathering.until(after(700)), None);
        gathering.ended(Duration::from_millis(7));
        assert_eq!(gathering.until(after(700)), Some(START + WINDOW));
    }
}
