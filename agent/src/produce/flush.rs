//! When a lane seals what it has gathered: one pure function and the price of each of its answers.

use std::time::Duration;

/// The knobs of [`decide`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushRule {
    /// A segment is sealed at this many record bytes. Default 8 MiB. Larger: fewer PUTs under load,
    /// more memory and a longer PUT.
    pub segment_bytes: u64,
    /// A segment is sealed at this many batches, whatever their size, so that one commit keeps the
    /// sequencer busy for no more than about 50 ms. Default 50,000.
    pub segment_batches: usize,
    /// Nothing waits longer than this for company. Default 250 ms on a bucket, a few ms on a folder,
    /// where a PUT costs nothing. Smaller: lower latency, more PUTs under light and steady load.
    pub linger: Duration,
    /// Early: enough bytes to be worth a PUT while the store has nothing to do. Default 1 MiB.
    pub early_bytes: u64,
    /// Early: this many requests of one connection are half of its window, beyond which its client
    /// would soon stand still. Default 2, for the 5 requests a stock client keeps in flight: they
    /// then travel in two turns, one being stored while the other is being committed.
    pub early_requests: u32,
}

impl FlushRule {
    /// Early: while the store has nothing to do, nothing waits longer than this part of the linger.
    const EARLY_PART: u32 = 4;

    /// The defaults for a bucket, whose PUTs cost money and some ten milliseconds.
    pub const BUCKET: Self = Self {
        segment_bytes: 8 * 1024 * 1024,
        segment_batches: 50_000,
        linger: Duration::from_millis(250),
        early_bytes: 1024 * 1024,
        early_requests: 2,
    };

    /// The defaults for a local folder, whose PUTs cost an fsync.
    pub const FOLDER: Self = Self {
        linger: Duration::from_millis(4),
        ..Self::BUCKET
    };

    const fn early_wait(&self) -> Duration {
        match self.linger.checked_div(Self::EARLY_PART) {
            Some(wait) => wait,
            None => self.linger,
        }
    }
}

/// What waits in a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Gathered {
    /// Record bytes.
    pub(crate) bytes: u64,
    /// Batches.
    pub(crate) batches: usize,
    /// The most requests that wait from one connection.
    pub(crate) requests_of_one_connection: u32,
    /// Age of the oldest batch.
    pub(crate) waited: Duration,
}

/// What this agent, all lanes together, has under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct UnderWay {
    /// Segments on their way to the store.
    pub(crate) puts: usize,
    /// Stored segments whose commit is not answered.
    pub(crate) commits: usize,
}

/// What a lane should do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// Nothing waits.
    Empty,
    /// Seal a segment now.
    Seal(Cause),
    /// Ask again after this long, or when something arrives or ends.
    Wait(Duration),
}

/// Why a segment was sealed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Cause {
    /// It reached its size.
    Full,
    /// Its oldest batch waited long enough.
    Linger,
    /// The agent had nothing under way.
    Idle,
    /// The store was idle and enough waited.
    Early,
    /// The agent is shutting down.
    Drain,
}

/// Decides whether a lane seals what it gathered. In order, with what each answer costs:
///
/// - *full*: 128 PUTs per GiB, the least there is;
/// - *linger*: up to `1 / linger` PUTs a second and lane however little is written: 4 a second on a
///   bucket, some 50 USD a month at 5 USD per million;
/// - *idle*, nothing of this agent is being stored or committed: a lone synchronous producer costs one
///   PUT per round trip of PUT and commit (7 a second at 150 ms) and gains up to the linger each time;
/// - *early*, no PUT is under way, and enough bytes wait, or half of some client's window does, or
///   something has waited for a quarter of the linger: up to one PUT per duration of a PUT (16 a second
///   at 60 ms, some 200 USD a month) while producers would otherwise stand still, and 8 a second for
///   many producers that send little. Without it a stock producer, which has 5 requests in flight,
///   would be held to them per linger, whatever the store's latency.
pub(crate) fn decide(rule: &FlushRule, gathered: Gathered, under_way: UnderWay) -> Decision {
    if gathered.batches == 0 {
        return Decision::Empty;
    }
    if gathered.bytes >= rule.segment_bytes || gathered.batches >= rule.segment_batches {
        return Decision::Seal(Cause::Full);
    }
    let Some(rest) = left(rule.linger, gathered.waited) else {
        return Decision::Seal(Cause::Linger);
    };
    if under_way.puts > 0 {
        return Decision::Wait(rest);
    }
    if under_way.commits == 0 {
        return Decision::Seal(Cause::Idle);
    }
    let half_a_window = gathered.requests_of_one_connection >= rule.early_requests;
    if gathered.bytes >= rule.early_bytes || half_a_window {
        return Decision::Seal(Cause::Early);
    }
    match left(rule.early_wait(), gathered.waited) {
        Some(rest) => Decision::Wait(rest),
        None => Decision::Seal(Cause::Early),
    }
}

/// What is left of a wait, if anything.
fn left(wait: Duration, waited: Duration) -> Option<Duration> {
    wait.checked_sub(waited).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;

    fn gathered(bytes: u64, batches: usize, requests: u32, waited_ms: u64) -> Gathered {
        Gathered {
            bytes,
            batches,
            requests_of_one_connection: requests,
            waited: Duration::from_millis(waited_ms),
        }
    }

    const NOTHING: UnderWay = UnderWay {
        puts: 0,
        commits: 0,
    };
    const A_PUT: UnderWay = UnderWay {
        puts: 1,
        commits: 0,
    };
    const A_COMMIT: UnderWay = UnderWay {
        puts: 0,
        commits: 1,
    };
    const BOTH: UnderWay = UnderWay {
        puts: 2,
        commits: 3,
    };

    fn wait(ms: u64) -> Decision {
        Decision::Wait(Duration::from_millis(ms))
    }

    #[test]
    fn table() {
        let rows = [
            (
                "nothing waits",
                gathered(0, 0, 0, 900),
                NOTHING,
                Decision::Empty,
            ),
            (
                "first batch of an idle agent",
                gathered(100, 1, 1, 0),
                NOTHING,
                Decision::Seal(Cause::Idle),
            ),
            (
                "one batch beside a PUT",
                gathered(100, 1, 1, 0),
                A_PUT,
                wait(250),
            ),
            (
                "one batch beside a commit",
                gathered(100, 1, 1, 10),
                A_COMMIT,
                Decision::Wait(Duration::from_micros(52_500)),
            ),
            (
                "a quarter of the linger beside a commit",
                gathered(100, 1, 1, 63),
                A_COMMIT,
                Decision::Seal(Cause::Early),
            ),
            (
                "a quarter of the linger beside a PUT",
                gathered(100, 1, 1, 63),
                A_PUT,
                wait(187),
            ),
            (
                "half a window beside a commit",
                gathered(100, 2, 2, 1),
                A_COMMIT,
                Decision::Seal(Cause::Early),
            ),
            (
                "less than half a window",
                gathered(100, 2, 1, 1),
                A_COMMIT,
                Decision::Wait(Duration::from_micros(61_500)),
            ),
            (
                "half a window beside a PUT",
                gathered(100, 3, 3, 1),
                A_PUT,
                wait(249),
            ),
            (
                "1 MiB beside a commit",
                gathered(MIB, 1, 1, 1),
                A_COMMIT,
                Decision::Seal(Cause::Early),
            ),
            (
                "just below 1 MiB",
                gathered(MIB - 1, 1, 1, 1),
                A_COMMIT,
                Decision::Wait(Duration::from_micros(61_500)),
            ),
            (
                "7 MiB beside a PUT",
                gathered(7 * MIB, 99, 5, 1),
                A_PUT,
                wait(249),
            ),
            (
                "8 MiB whatever is under way",
                gathered(8 * MIB, 1, 1, 0),
                BOTH,
                Decision::Seal(Cause::Full),
            ),
            (
                "many small batches",
                gathered(4 * MIB, 50_000, 1, 0),
                BOTH,
                Decision::Seal(Cause::Full),
            ),
            (
                "full beats late",
                gathered(9 * MIB, 1, 1, 400),
                BOTH,
                Decision::Seal(Cause::Full),
            ),
            (
                "late whatever is under way",
                gathered(1, 1, 1, 250),
                BOTH,
                Decision::Seal(Cause::Linger),
            ),
            (
                "very late",
                gathered(1, 1, 1, 10_000),
                BOTH,
                Decision::Seal(Cause::Linger),
            ),
        ];
        for (name, gathered, under_way, expected) in rows {
            assert_eq!(
                decide(&FlushRule::BUCKET, gathered, under_way),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn without_linger_nothing_ever_waits() {
        let rule = FlushRule {
            linger: Duration::ZERO,
            ..FlushRule::BUCKET
        };
        assert_eq!(
            decide(&rule, gathered(1, 1, 1, 0), BOTH),
            Decision::Seal(Cause::Linger)
        );
        assert_eq!(decide(&rule, gathered(0, 0, 0, 0), BOTH), Decision::Empty);
    }

    #[test]
    fn the_wait_ends_when_the_linger_does() {
        let waited = gathered(10, 1, 1, 249);
        let Decision::Wait(left) = decide(&FlushRule::BUCKET, waited, BOTH) else {
            panic!("one batch beside a PUT waits");
        };
        let later = Gathered {
            waited: waited.waited + left,
            ..waited
        };
        assert_eq!(
            decide(&FlushRule::BUCKET, later, BOTH),
            Decision::Seal(Cause::Linger)
        );
    }
}
