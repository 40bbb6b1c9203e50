//! What all lanes of the agent have under way, for the flush rule and for draining.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::flush::UnderWay;

/// How much may be on its way to the store at once, all lanes together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UploadLimits {
    /// Segments. Default 32: enough for a PUT of 300 ms at 800 MiB/s.
    pub count_max: usize,
    /// Their bytes. Default 256 MiB; the memory budget of Produce requests binds earlier on small
    /// machines.
    pub bytes_max: u64,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self {
            count_max: 32,
            bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// Counters over all lanes.
#[derive(Debug)]
pub(crate) struct Activity {
    limits: UploadLimits,
    puts: AtomicUsize,
    put_bytes: AtomicU64,
    commits: AtomicUsize,
    /// When the last PUT or commit ended.
    ended: Mutex<Instant>,
    /// Batches that were enqueued and have no outcome.
    open_batches: AtomicUsize,
    settled: Notify,
    draining: AtomicBool,
    /// Woken when something ended that the flush rule looks at.
    wakes: Mutex<Vec<Arc<Notify>>>,
}

impl Activity {
    pub(crate) fn new(limits: UploadLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            puts: AtomicUsize::new(0),
            put_bytes: AtomicU64::new(0),
            commits: AtomicUsize::new(0),
            ended: Mutex::new(Instant::now()),
            open_batches: AtomicUsize::new(0),
            settled: Notify::new(),
            draining: AtomicBool::new(false),
            wakes: Mutex::default(),
        })
    }

    /// From now on `wake` is notified when a PUT or the last commit ends.
    pub(crate) fn add_lane(&self, wake: Arc<Notify>) {
        self.wakes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(wake);
    }

    /// Makes all lanes look again.
    pub(crate) fn wake_lanes(&self) {
        let wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.iter().for_each(|wake| wake.notify_one());
    }

    pub(crate) fn under_way(&self, now: Instant) -> UnderWay {
        UnderWay {
            puts: self.puts.load(Ordering::Acquire),
            commits: self.commits.load(Ordering::Acquire),
            ended: now.saturating_duration_since(*self.ended()),
        }
    }

    fn ended(&self) -> MutexGuard<'_, Instant> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more PUT fits the limits; the first always does. Several lanes may ask at once and
    /// overshoot by a segment each.
    pub(crate) fn admits_put(&self) -> bool {
        let puts = self.puts.load(Ordering::Acquire);
        puts == 0
            || puts < self.limits.count_max
                && self.put_bytes.load(Ordering::Acquire) < self.limits.bytes_max
    }

    /// Counts a segment from the start of its PUT until the trip is dropped.
    pub(crate) fn begin(self: &Arc<Self>, bytes: u64) -> Trip {
        self.puts.fetch_add(1, Ordering::AcqRel);
        self.put_bytes.fetch_add(bytes, Ordering::AcqRel);
        Trip {
            activity: Arc::clone(self),
            bytes,
            stored: false,
        }
    }

    pub(crate) fn batches_opened(&self, count: usize) {
        self.open_batches.fetch_add(count, Ordering::AcqRel);
    }

    pub(crate) fn batches_settled(&self, count: usize) {
        if self.open_batches.fetch_sub(count, Ordering::AcqRel) == count {
            self.settled.notify_waiters();
        }
    }

    /// Whether segments are sealed without waiting for company.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Stops waiting for company and returns once every enqueued batch has an outcome. Cancel-safe.
    pub(crate) async fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.wake_lanes();
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // Registered before the look, so that the last settlement cannot slip in between.
            settled.as_mut().enable();
            if self.open_batches.load(Ordering::Acquire) == 0 {
                return;
            }
            settled.await;
        }
    }
}

/// One segment on its way: first to the store, then through its commit.
#[derive(Debug)]
pub(crate) struct Trip {
    activity: Arc<Activity>,
    bytes: u64,
    stored: bool,
}

impl Trip {
    /// The PUT is over and the commit comes next.
    pub(crate) fn stored(&mut self) {
        assert!(!self.stored, "a segment is stored once");
        self.stored = true;
        // First up, then down: in between the agent must not look idle.
        self.activity.commits.fetch_add(1, Ordering::AcqRel);
        self.end_put();
    }

    fn end_put(&self) {
        self.activity
            .put_bytes
            .fetch_sub(self.bytes, Ordering::AcqRel);
        self.activity.puts.fetch_sub(1, Ordering::AcqRel);
        self.activity.wake_lanes();
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        *self.activity.ended() = Instant::now();
        if !self.stored {
            self.end_put();
        } else if self.activity.commits.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.activity.wake_lanes();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_trip_counts_as_put_then_as_commit() {
        let activity = Activity::new(UploadLimits {
            count_max: 2,
            bytes_max: 100,
        });
        let wake = Arc::new(Notify::new());
        activity.add_lane(Arc::clone(&wake));
        let mut first = activity.begin(10);
        assert!(activity.admits_put());
        let second = activity.begin(10);
        assert!(!activity.admits_put(), "two at once");
        let counts = || {
            let UnderWay { puts, commits, .. } = activity.under_way(Instant::now());
            (puts, commits)
        };
        assert_eq!(counts(), (2, 0));
        assert!(wake.notified().now_or_never().is_none());
        first.stored();
        assert!(
            wake.notified().now_or_never().is_some(),
            "the end of a PUT wakes lanes"
        );
        assert_eq!(counts(), (1, 1));
        drop(second);
        drop(first);
        assert_eq!(counts(), (0, 0));
        assert!(
            wake.notified().now_or_never().is_some(),
            "the last commit wakes lanes"
        );
        assert_eq!(activity.put_bytes.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_segment_above_the_byte_limit_goes_alone() {
        let activity = Activity::new(UploadLimits {
            count_max: 9,
            bytes_max: 5,
        });
        assert!(activity.admits_put());
        let trip = activity.begin(10);
        assert!(!activity.admits_put());
        drop(trip);
        assert!(activity.admits_put());
    }

    #[test]
    fn drain_waits_for_the_last_outcome() {
        let activity = Activity::new(UploadLimits::default());
        assert!(activity.drain().now_or_never().is_some(), "nothing is open");
        activity.batches_opened(3);
        let mut drain = Box::pin(activity.drain());
        assert!(drain.as_mut().now_or_never().is_none());
        activity.batches_settled(2);
        assert!(drain.as_mut().now_or_never().is_none());
        activity.batches_settled(1);
        assert!(drain.now_or_never().is_some());
        assert!(activity.is_draining());
    }
}
