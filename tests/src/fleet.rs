//! Several brokers over one store: one cluster, and the means to trouble it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::client::{self, Recorder};
use crate::sandbox::{Sandbox, Setup};
use crate::wait;

/// In which time brokers must have found each other.
const MEET_LIMIT: Duration = Duration::from_secs(30);

/// Running and ended brokers of one cluster.
#[derive(Debug)]
pub struct Fleet {
    brokers: Vec<Sandbox>,
}

impl Fleet {
    /// Starts `count` brokers, each on ports of its own, and waits until all know of each other.
    ///
    /// # Panics
    ///
    /// If they do not.
    pub fn start(setup: &Setup, count: usize) -> Fleet {
        Fleet::start_beside(setup, count, 0)
    }

    /// The same in a cluster that `others` processes are part of already.
    ///
    /// # Panics
    ///
    /// If they do not know of each other.
    pub fn start_beside(setup: &Setup, count: usize, others: usize) -> Fleet {
        let brokers = (0..count).map(|_| setup.clone().start()).collect();
        let fleet = Fleet { brokers };
        fleet.wait_for(count + others);
        fleet
    }

    /// Adds a broker that was started otherwise.
    pub fn add(&mut self, broker: Sandbox) {
        self.brokers.push(broker);
    }

    /// Waits until every broker that answers sees `count` processes.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub fn wait_for(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        wait::until("brokers that know of each other", MEET_LIMIT, || {
            let seen = |broker: &Sandbox| figure(broker, "floe_cluster_processes");
            let seen: Vec<_> = self.brokers.iter().filter_map(seen).collect();
            seen.iter().all(|seen| *seen == count).then_some(())
        });
    }

    /// The feature level that every broker shows.
    ///
    /// # Panics
    ///
    /// If they differ for long.
    pub fn feature_level(&self) -> u64 {
        wait::until("one feature level", MEET_LIMIT, || {
            let shown = |broker: &Sandbox| figure(broker, "floe_cluster_feature_level");
            let mut shown = self.brokers.iter().map(shown);
            let first = shown.next()??;
            shown.all(|level| level == Some(first)).then_some(first)
        })
    }

    /// The brokers.
    pub fn brokers(&mut self) -> &mut [Sandbox] {
        &mut self.brokers
    }

    /// All their addresses, as clients are given them.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<_> = self.brokers.iter().map(Sandbox::bootstrap).collect();
        addresses.join(",")
    }

    /// Waits until some broker owns the metadata, and says which.
    ///
    /// # Panics
    ///
    /// If none does for long.
    pub fn owner(&self) -> usize {
        let owns = |broker: &Sandbox| figure(broker, "floe_metadata_is_owner") == Some(1);
        wait::until("an owner of the metadata", MEET_LIMIT, || {
            self.brokers.iter().position(owns)
        })
    }

    /// The broker that clients of the tests' kind are sent to.
    ///
    /// # Panics
    ///
    /// If no broker answers, or with another than those of the fleet.
    pub fn leader(&self, topic: &str) -> usize {
        self.at_port(client::leader_port(&self.bootstrap(), topic))
    }

    /// The broker that is being written to.
    ///
    /// # Panics
    ///
    /// If none is for long.
    pub fn written_to(&self) -> usize {
        let records = || {
            let of = |broker: &Sandbox| figure(broker, "floe_produce_records_total");
            self.brokers.iter().map(of).collect::<Vec<_>>()
        };
        let mut before = records();
        wait::until("a broker that is written to", MEET_LIMIT, || {
            let now = records();
            let more = now
                .iter()
                .zip(&before)
                .map(|(now, before)| now.as_ref()?.checked_sub((*before)?));
            let busiest = more.enumerate().max_by_key(|(_, more)| *more);
            before = now;
            busiest
                .filter(|(_, more)| more.is_some_and(|more| more > 0))
                .map(|(which, _)| which)
        })
    }

    fn at_port(&self, port: u16) -> usize {
        let is_there = |broker: &Sandbox| broker.address().port() == port;
        let found = self.brokers.iter().position(is_there);
        found.expect("the leader is a broker of the fleet")
    }
}

/// A figure of a broker that answers.
fn figure(broker: &Sandbox, name: &str) -> Option<u64> {
    let (_, text) = crate::http::get(broker.http_address(), "/metrics").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

/// The longest times without any acknowledgement, measured beside a producer that never rests.
#[derive(Debug, Default)]
pub struct Stalls {
    longest: Vec<Duration>,
}

impl Stalls {
    /// Runs `trouble` and notes the longest time without an acknowledgement from its beginning until
    /// `progress` records more are acknowledged after its end.
    ///
    /// # Panics
    ///
    /// If nothing more is acknowledged for `limit`.
    pub fn during(
        &mut self,
        recorder: &Recorder,
        progress: usize,
        limit: Duration,
        trouble: impl FnOnce() + Send,
    ) {
        let has_ended = std::sync::atomic::AtomicBool::new(false);
        let order = std::sync::atomic::Ordering::SeqCst;
        let longest = std::thread::scope(|scope| {
            let watching = scope.spawn(|| {
                let (mut acked, mut last) = (recorder.acked(), wait::now());
                let (mut longest, mut after) = (Duration::ZERO, None);
                loop {
                    let now = recorder.acked();
                    longest = longest.max(last.elapsed());
                    if now != acked {
                        (acked, last) = (now, wait::now());
                    }
                    if after.is_none() && has_ended.load(order) {
                        after = Some(now);
                    }
                    if after.is_some_and(|after| now >= after + progress) {
                        return longest;
                    }
                    assert!(last.elapsed() < limit, "nothing is acknowledged any more");
                    wait::pause(Duration::from_millis(2));
                }
            });
            // A trouble that failed must not leave the watch behind.
            let outcome = catch_unwind(AssertUnwindSafe(trouble));
            has_ended.store(true, order);
            let longest = watching.join();
            outcome.and(longest)
        });
        self.longest
            .push(longest.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    }

    /// Median, 99th percentile and longest, in ms.
    pub fn figures(&self) -> (u128, u128, u128) {
        let mut sorted: Vec<_> = self.longest.iter().map(Duration::as_millis).collect();
        sorted.sort_unstable();
        let at = |share: usize| {
            sorted.get((sorted.len() * share / 100).min(sorted.len().saturating_sub(1)))
        };
        let at = |share| at(share).copied().unwrap_or(0);
        (at(50), at(99), at(100))
    }
}
