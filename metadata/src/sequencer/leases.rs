//! Which processes are there. Each beats; one that was not heard of for a while is taken off the list of
//! those that clients are told, and soon after that it is certain that it serves nobody.
//!
//! ```text
//! beat … beat           silent: off the list               lapsed: serves nobody, forgotten
//! └──────┴──── SILENT ──┴───────────── until LEASE ────────┴──▶
//! ```
//!
//! A lease is held by the process itself as well: one that was not answered for [`LEASE`] since it sent
//! its last answered beat serves nobody until it is heard again. Pure: the time is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::proof::BEAT_WINDOW;
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
/// How long after a take-over a process may serve that found no new owner: the one before may have answered
/// its beat this long after the last proof of ownership, and clocks drift.
const LEASE_AFTER_TAKE_OVER: Duration = LEASE
    .saturating_add(BEAT_WINDOW)
    .saturating_add(Duration::from_millis(500));

/// The leases of one term.
#[derive(Debug, Default)]
pub(super) struct Leases(BTreeMap<u32, Lease>);

/// Processes whose time is up.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Due {
    /// To take off the list.
    pub(super) silent: Vec<u32>,
    /// To forget: they serve nobody any more.
    pub(super) lapsed: Vec<u32>,
}

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
    pub(super) fn of<'a>(
        listed: &[Process],
        unlisted: impl IntoIterator<Item = &'a Process>,
        ended: Option<[u8; 16]>,
        now: Duration,
    ) -> Self {
        let lease = |process: &Process, silent_after: Option<Duration>| {
            let has_ended = ended == Some(process.told.nonce);
            let left = |time| if has_ended { Duration::ZERO } else { time };
            let lease = Lease {
                nonce: process.told.nonce,
                passed: 0,
                silent_at: silent_after.map(|after| now + left(after)),
                lapses_at: now + left(LEASE_AFTER_TAKE_OVER),
            };
            (process.incarnation, lease)
        };
        let listed = listed.iter();
        let listed = listed.map(|process| lease(process, Some(SILENT_AFTER_TAKE_OVER)));
        let unlisted = unlisted.into_iter().map(|process| lease(process, None));
        Self(listed.chain(unlisted).collect())
    }

    /// The processes that are registered from now on; who is neither listed nor unlisted serves nobody.
    pub(super) fn registered<'a>(
        &mut self,
        listed: &[Process],
        unlisted: impl IntoIterator<Item = &'a Process>,
        now: Duration,
    ) {
        let unlisted: BTreeSet<u32> = unlisted.into_iter().map(|it| it.incarnation).collect();
        self.0.retain(|incarnation, lease| {
            if unlisted.contains(incarnation) {
                lease.silent_at = None;
                return true;
            }
            let listed = listed.binary_search_by_key(incarnation, |it| it.incarnation);
            listed.is_ok()
        });
        for process in listed {
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

    /// A process cannot be heard until it connects again.
    pub(super) fn disconnected(&mut self, nonce: [u8; 16], now: Duration) {
        for lease in self.0.values_mut().filter(|lease| lease.nonce == nonce) {
            if let Some(silent_at) = &mut lease.silent_at {
                *silent_at = (*silent_at).min(now + BROKEN);
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

    /// What has become due; each is told once.
    pub(super) fn due(&mut self, now: Duration) -> Due {
        let mut due = Due::default();
        self.0.retain(|incarnation, lease| {
            if lease.silent_at.is_some_and(|silent_at| silent_at <= now) {
                lease.silent_at = None;
                due.silent.push(*incarnation);
            }
            let has_lapsed = lease.silent_at.is_none() && lease.lapses_at <= now;
            if has_lapsed {
                due.lapsed.push(*incarnation);
            }
            !has_lapsed
        });
        due
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

    fn due(silent: &[u32], lapsed: &[u32]) -> Due {
        Due {
            silent: silent.to_vec(),
            lapsed: lapsed.to_vec(),
        }
    }

    fn found(incarnations: &[u32], ended: Option<[u8; 16]>) -> Leases {
        Leases::of(&processes(incarnations), [], ended, at(0))
    }

    #[test]
    fn silence_takes_off_the_list_and_later_off_the_lease() {
        let mut leases = Leases::default();
        leases.registered(&processes(&[1, 2]), [], at(0));
        assert!(leases.beat(1, 7, at(1500)));
        assert_eq!(leases.next(), Some(at(2000)));
        assert_eq!(leases.due(at(1999)), Due::default());
        assert_eq!(leases.due(at(2000)), due(&[2], &[]));
        assert!(!leases.have_passed(7), "2 may still serve from an old view");
        assert!(!leases.beat(2, 0, at(2100)), "it has to register again");
        assert_eq!(leases.due(at(3500)), due(&[1], &[]));
        assert_eq!(leases.due(at(5000)), due(&[], &[2]));
        assert!(leases.have_passed(7), "2 serves nobody any more");
        assert_eq!(leases.next(), Some(at(6500)));
        assert_eq!(leases.due(at(6500)), due(&[], &[1]));
        assert_eq!(leases.next(), None);
    }

    #[test]
    fn a_broken_connection_is_silence_soon_unless_it_comes_back() {
        let mut leases = found(&[1, 2, 3], None);
        leases.disconnected([1; 16], at(100));
        leases.disconnected([2; 16], at(100));
        leases.disconnected([3; 16], at(100));
        assert!(leases.beat(2, 0, at(300)));
        leases.connected([3; 16], at(350));
        assert_eq!(leases.due(at(500)), due(&[1], &[]));
        assert_eq!(leases.due(at(2299)), Due::default());
        assert_eq!(leases.due(at(2300)), due(&[2], &[]));
        assert_eq!(leases.due(at(2350)), due(&[3], &[]));
    }

    #[test]
    fn the_owner_before_that_has_ended_is_waited_for_no_longer() {
        let mut leases = found(&[1, 2], Some([1; 16]));
        assert!(leases.beat(2, 7, at(50)));
        assert_eq!(leases.next(), Some(at(0)));
        assert_eq!(leases.due(at(50)), due(&[1], &[1]));
        assert!(leases.have_passed(7));
    }

    #[test]
    fn who_could_not_be_heard_is_not_silent() {
        let mut leases = Leases::default();
        leases.registered(&processes(&[1, 2]), [], at(0));
        assert_eq!(leases.next(), Some(at(2000)));
        leases.deaf(at(10_000) - at(2000), at(10_000));
        assert_eq!(leases.due(at(10_000)), Due::default());
        assert!(leases.beat(1, 0, at(10_100)));
        assert_eq!(leases.next(), Some(at(10_500)));
        assert_eq!(leases.due(at(10_500)), due(&[2], &[]));
        assert!(!leases.have_passed(1));
    }

    #[test]
    fn a_process_off_the_list_still_holds_its_lease_until_it_is_forgotten() {
        let mut leases = found(&[1, 2], None);
        leases.registered(&[], &processes(&[1, 2]), at(10));
        assert!(!leases.have_passed(1));
        leases.registered(&[], &processes(&[1]), at(20));
        assert_eq!(leases.due(at(7499)), Due::default());
        assert_eq!(leases.due(at(7500)), due(&[], &[1]));
        assert!(leases.have_passed(1));
    }

    #[test]
    fn a_new_owner_waits_for_those_off_the_list() {
        let mut leases = Leases::of(&[], &processes(&[1]), None, at(0));
        assert!(!leases.have_passed(1));
        assert!(!leases.beat(1, 9, at(10)), "it has to register again");
        assert_eq!(leases.due(at(7500)), due(&[], &[1]));
        assert!(leases.have_passed(10));
    }
}
