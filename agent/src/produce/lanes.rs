//! The lanes of an agent: how many there are, and which connection is served by which.
//!
//! More than one lane pays only when each still fills its segments before the linger ends; then a slow
//! PUT holds up the answers of its own lane alone, and the number of PUTs stays what it was.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use floe_planted::Bug;
use floe_storage::tasks::Tasks;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::batcher::{Batch, Window};
use super::completion::Completion;
use super::flush::FlushRule;
use super::lane::{Lane, LaneDoor};

/// Most lanes an agent has.
const LANES_MAX: usize = 8;
/// The rate is measured over windows of this length.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// How many lanes an agent wants that takes in `bytes_per_second`: one per segment that fills up within
/// a linger, at least one.
fn lanes_wanted(rule: &FlushRule, bytes_per_second: u64) -> usize {
    let linger_us = u64::try_from(rule.linger.as_micros()).unwrap_or(u64::MAX);
    let bytes_per_linger = bytes_per_second.saturating_mul(linger_us) / 1_000_000;
    let filled = bytes_per_linger / rule.segment_bytes.max(1);
    usize::try_from(filled)
        .unwrap_or(LANES_MAX)
        .clamp(1, LANES_MAX)
}

/// Bytes per second over the last one to two windows.
#[derive(Debug)]
struct Rate {
    window_start: Instant,
    current_bytes: u64,
    previous_bytes: u64,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            window_start: now,
            current_bytes: 0,
            previous_bytes: 0,
        }
    }

    /// Counts `bytes` at `now`; returns the greater of the last full window and the present one.
    fn add(&mut self, now: Instant, bytes: u64) -> u64 {
        let passed = now.saturating_duration_since(self.window_start);
        if passed >= RATE_WINDOW {
            let adjacent = passed < RATE_WINDOW * 2;
            self.previous_bytes = if adjacent { self.current_bytes } else { 0 };
            self.current_bytes = 0;
            self.window_start = now;
        }
        self.current_bytes = self.current_bytes.saturating_add(bytes);
        self.current_bytes.max(self.previous_bytes)
    }
}

/// All lanes of an agent.
#[derive(Debug)]
pub(super) struct Lanes {
    shared: Arc<Shared>,
    tasks: Tasks,
    token: CancellationToken,
    doors: Mutex<Vec<Arc<LaneDoor>>>,
    rate: Mutex<Rate>,
    wanted: AtomicUsize,
}

/// What the produce path keeps about a connection: its lane, from its first batch on.
#[derive(Debug, Default)]
pub(crate) struct Seat(Mutex<Option<Place>>);

#[derive(Debug)]
struct Place {
    door: Arc<LaneDoor>,
    window: Window,
    /// How many lanes there should have been when the lane was chosen.
    wanted: usize,
    /// The connection's latest request. A lane answers in order, so with it all others have ended.
    latest: Weak<Completion>,
}

impl Place {
    fn has_nothing_open(&self) -> bool {
        self.latest.upgrade().is_none_or(|latest| latest.is_done())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.door.pinned.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    pub(super) fn new(shared: Arc<Shared>, tasks: Tasks, token: CancellationToken) -> Self {
        Self {
            shared,
            tasks,
            token,
            doors: Mutex::default(),
            rate: Mutex::new(Rate::new(Instant::now())),
            wanted: AtomicUsize::new(1),
        }
    }

    /// Puts the batches of one request in its connection's lane. The lane stays the same while the
    /// connection has anything open in it, so that no partition's batches overtake each other; only
    /// between requests may a connection move to where there is more room.
    pub(super) fn enqueue(&self, seat: &Seat, batches: Vec<Batch>, completion: &Arc<Completion>) {
        self.measure(&batches);
        let wanted = self.wanted.load(Ordering::Relaxed);
        let mut place = seat.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moves = |place: &Place| {
            place.wanted != wanted
                && (place.has_nothing_open() || Bug::LaneChangedInFlight.is_planted())
        };
        if place.as_ref().is_none_or(moves) {
            *place = None;
            *place = Some(self.choose(wanted));
        }
        if let Some(place) = place.as_mut() {
            place.latest = Arc::downgrade(completion);
            place.door.enqueue(&self.shared, &mut place.window, batches);
        }
    }

    fn measure(&self, batches: &[Batch]) {
        let bytes = batches.iter().map(|batch| batch.bytes.len() as u64).sum();
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes_per_second = rate.add(Instant::now(), bytes);
        self.wanted.store(
            lanes_wanted(&self.shared.rule, bytes_per_second),
            Ordering::Relaxed,
        );
    }

    /// The lane with the fewest connections among the first `wanted`, which are started as needed.
    fn choose(&self, wanted: usize) -> Place {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        while doors.len() < wanted {
            doors.push(self.start_lane());
        }
        let fewest = doors
            .iter()
            .take(wanted)
            .min_by_key(|door| door.pinned.load(Ordering::Relaxed));
        let door = fewest.map_or_else(|| self.start_lane(), Arc::clone);
        door.pinned.fetch_add(1, Ordering::Relaxed);
        Place {
            door,
            window: Window::default(),
            wanted,
            latest: Weak::new(),
        }
    }

    fn start_lane(&self) -> Arc<LaneDoor> {
        let door = LaneDoor::new();
        self.shared.activity.add_lane(Arc::clone(&door.wake));
        let lane = Lane::new(Arc::clone(&self.shared), Arc::clone(&door));
        let token = self.token.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = lane.run() => {}
            }
        });
        door
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_lane_more_per_segment_that_fills_within_a_linger() {
        let rows = [
            (0, 1),
            (31 * MIB, 1),
            (32 * MIB, 1),
            (63 * MIB, 1),
            (64 * MIB, 2),
            (100 * MIB, 3),
            (10_000 * MIB, LANES_MAX),
            (u64::MAX, LANES_MAX),
        ];
        for (bytes_per_second, expected) in rows {
            let wanted = lanes_wanted(&FlushRule::BUCKET, bytes_per_second);
            assert_eq!(wanted, expected, "{bytes_per_second} bytes/s");
        }
        let folder = lanes_wanted(&FlushRule::FOLDER, 1000 * MIB);
        assert_eq!(folder, 1, "a folder's linger is too short for more");
    }

    #[tokio::test(start_paused = true)]
    async fn rate_follows_the_last_windows() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::new(start);
        assert_eq!(rate.add(at(0), 100), 100);
        assert_eq!(rate.add(at(900), 100), 200);
        assert_eq!(rate.add(at(1100), 10), 200, "the last full window counts");
        assert_eq!(rate.add(at(2100), 20), 20, "then the one after it");
        assert_eq!(rate.add(at(9000), 5), 5, "silence is forgotten");
    }
}
