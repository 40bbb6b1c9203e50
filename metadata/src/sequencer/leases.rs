//! Which processes are there. Each beats; one that was not heard of for a while is taken off the list of
//! those that clients are told, and soon after that it is certain that it serves nobody.
//!
//! ```text
//! beat … beat           silent: off the list               lapsed: serves nobody
//! └──────┴──── SILENT ──┴───────────── until LEASE ────────┴──▶
//! ```
//!
//! A lease is held by the process itself as well: one that was not answered for [`LEASE`] since it sent
//! its last answered beat serves nobody until it is heard again. Pure: the time is handed in.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::{Process, Revision};

/// How often a process beats.
pub const BEAT: Duration = Duration::from_millis(500);
/// After how long without a beat clients are no longer sent to a process.
const SILENT: Duration = Duration::from_secs(2);
/// The same while a new owner waits for processes to find it.
const SILENT_AFTER_TAKE_OVER: Duration = Duration::from_secs(4);
/// The same once its connection broke: it may come back on another.
const BROKEN: Duration = Duration::from_millis(400);
/// How long a process may serve clients from its view without being answered.
pub const LEASE: Duration = Duration::from_secs(5);

/// The leases of one term.
#[derive(Debug, Default)]
pub(super) struct Leases(BTreeMap<u32, Lease>);

#[derive(Debug)]
struct Lease {
    /// Of the process's start.
    nonce: [u8; 16],
    passed: Revision,
    /// When it is taken off the list; `None` once it was.
    silent_at: Option<Duration>,
    /// When it serves nobody any more.
    lapses_at: Duration,
}

impl Leases {
    /// All processes a new owner finds: they get time to find the owner, but for the one that `ended`.
    pub(super) fn of(processes: &[Process], ended: Option<[u8; 16]>, now: Duration) -> Self {
        let lease = |process: &Process| {
            let has_ended = ended == Some(process.told.nonce);
            let left = |time| if has_ended { Duration::ZERO } else { time };
            let lease = Lease {
                nonce: process.told.nonce,
                passed: 0,
                silent_at: Some(now + left(SILENT_AFTER_TAKE_OVER)),
                lapses_at: now + left(LEASE),
            };
            (process.incarnation, lease)
        };
        Self(processes.iter().map(lease).collect())
    }

    /// The processes that are registered from now on.
    pub(super) fn registered(&mut self, processes: &[Process], now: Duration) {
        let is_there = |incarnation: &u32| {
            processes
                .binary_search_by_key(incarnation, |process| process.incarnation)
                .is_ok()
        };
        for (incarnation, lease) in &mut self.0 {
            if !is_there(incarnation) {
                lease.silent_at = None;
            }
        }
        for process in processes {
            self.0.entry(process.incarnation).or_insert(Lease {
                nonce: process.told.nonce,
                passed: 0,
                silent_at: Some(now + SILENT),
                lapses_at: now + LEASE,
            });
        }
    }

    /// Notes a beat; `false` when the process has to register again.
    pub(super) fn beat(&mut self, incarnation: u32, passed: Revision, now: Duration) -> bool {
        let Some(lease) = self.0.get_mut(&incarnation) else {
            return false;
        };
        lease.passed = lease.passed.max(passed);
        if lease.silent_at.is_none() {
            return false;
        }
        lease.silent_at = Some(now + SILENT);
        lease.lapses_at = now + LEASE;
        true
    }

    /// A process was heard: its next beat may be some time away.
    pub(super) fn connected(&mut self, nonce: [u8; 16], now: Duration) {
        for lease in self.0.values_mut().filter(|lease| lease.nonce == nonce) {
            if let Some(silent_at) = &mut lease.silent_at {
                *silent_at = (*silent_at).max(now + SILENT);
            }
        }
    }

    /// A process cannot be heard until it connects again, or has ended.
    pub(super) fn disconnected(&mut self, nonce: [u8; 16], has_ended: bool, now: Duration) {
        let patience = if has_ended { Duration::ZERO } else { BROKEN };
        for lease in self.0.values_mut().filter(|lease| lease.nonce == nonce) {
            if let Some(silent_at) = &mut lease.silent_at {
                *silent_at = (*silent_at).min(now + patience);
            }
            if has_ended {
                lease.lapses_at = now;
            }
        }
    }

    /// When to look again.
    pub(super) fn next(&self) -> Option<Duration> {
        let next = |lease: &Lease| lease.silent_at.unwrap_or(lease.lapses_at);
        self.0.values().map(next).min()
    }

    /// Nobody could be heard for a while that ends `now`, and for which the sequencer was `late`: all get
    /// as much longer, and time to be heard.
    pub(super) fn deaf(&mut self, late: Duration, now: Duration) {
        for lease in self.0.values_mut() {
            if let Some(silent_at) = &mut lease.silent_at {
                *silent_at = (*silent_at + late).max(now + BEAT);
            }
            lease.lapses_at += late;
        }
    }

    /// Processes to take off the list; leases that have lapsed are dropped.
    pub(super) fn silent(&mut self, now: Duration) -> Vec<u32> {
        self.0
            .retain(|_, lease| lease.silent_at.is_some() || now < lease.lapses_at);
        let mut silent = Vec::new();
        for (incarnation, lease) in &mut self.0 {
            if lease.silent_at.is_some_and(|silent_at| silent_at <= now) {
                lease.silent_at = None;
                silent.push(*incarnation);
            }
        }
        silent
    }

    /// Whether everybody who may serve clients shows `revision`.
    pub(super) fn have_passed(&self, revision: Revision) -> bool {
        self.0.values().all(|lease| lease.passed >= revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::new_process;

    fn processes(incarnations: &[u32]) -> Vec<Process> {
        let process = |incarnation: &u32| Process {
            incarnation: *incarnation,
            told: new_process(u8::try_from(*incarnation).unwrap()),
        };
        incarnations.iter().map(process).collect()
    }

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn silence_takes_off_the_list_and_later_off_the_lease() {
        let mut leases = Leases::default();
        leases.registered(&processes(&[1, 2]), at(0));
        assert!(leases.beat(1, 7, at(1500)));
        assert_eq!(leases.next(), Some(at(2000)));
        assert_eq!(leases.silent(at(1999)), Vec::<u32>::new());
        assert_eq!(leases.silent(at(2000)), [2]);
        assert!(!leases.have_passed(7), "2 may still serve from an old view");
        assert!(!leases.beat(2, 0, at(2100)), "it has to register again");
        assert_eq!(leases.silent(at(3500)), [1]);
        assert_eq!(leases.silent(at(5000)), Vec::<u32>::new());
        assert!(leases.have_passed(7), "2 serves nobody any more");
        assert_eq!(leases.next(), Some(at(6500)));
        assert_eq!(leases.silent(at(6500)), Vec::<u32>::new());
        assert_eq!(leases.next(), None);
    }

    #[test]
    fn a_broken_connection_is_silence_soon_unless_it_comes_back() {
        let mut leases = Leases::of(&processes(&[1, 2, 3]), None, at(0));
        leases.disconnected([1; 16], false, at(100));
        leases.disconnected([2; 16], false, at(100));
        leases.disconnected([3; 16], false, at(100));
        assert!(leases.beat(2, 0, at(300)));
        leases.connected([3; 16], at(350));
        assert_eq!(leases.silent(at(500)), [1]);
        assert_eq!(leases.silent(at(2299)), Vec::<u32>::new());
        assert_eq!(leases.silent(at(2300)), [2]);
        assert_eq!(leases.silent(at(2350)), [3]);
    }

    #[test]
    fn a_process_that_has_ended_is_waited_for_no_longer() {
        let mut leases = Leases::of(&processes(&[1, 2]), None, at(0));
        assert!(leases.beat(2, 7, at(50)));
        leases.disconnected([1; 16], true, at(100));
        assert_eq!(leases.next(), Some(at(100)));
        assert_eq!(leases.silent(at(100)), [1]);
        assert_eq!(leases.silent(at(100)), Vec::<u32>::new());
        assert!(leases.have_passed(7));
    }

    #[test]
    fn who_could_not_be_heard_is_not_silent() {
        let mut leases = Leases::default();
        leases.registered(&processes(&[1, 2]), at(0));
        assert_eq!(leases.next(), Some(at(2000)));
        leases.deaf(at(10_000) - at(2000), at(10_000));
        assert_eq!(leases.silent(at(10_000)), Vec::<u32>::new());
        assert!(leases.beat(1, 0, at(10_100)));
        assert_eq!(leases.next(), Some(at(10_500)));
        assert_eq!(leases.silent(at(10_500)), [2]);
        assert!(!leases.have_passed(1));
    }

    #[test]
    fn a_process_that_left_still_holds_its_lease() {
        let mut leases = Leases::of(&processes(&[1]), None, at(0));
        leases.registered(&[], at(10));
        assert!(!leases.have_passed(1));
        assert_eq!(leases.silent(at(4000)), Vec::<u32>::new());
        assert_eq!(leases.silent(at(5000)), Vec::<u32>::new());
        assert!(leases.have_passed(1));
    }
}
