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
    /// While nothing at all is under way, a segment is sealed as soon as nothing has arrived or ended for
    /// this long: requests that a client sends in one burst, often on an answer, then travel together
    /// instead of the first alone and the others a PUT later. Default 2 ms on a bucket, none on a
    /// folder. Larger: fewer PUTs, and as much more latency for everybody who finds the agent idle.
    pub idle_quiet: Duration,
    /// Early: enough bytes to be worth a PUT while the store has nothing to do. Default 1 MiB.
    pub early_bytes: u64,
    /// Early: this many requests of one connection are half of its window, beyond which its client
    /// would soon stand still. Default 2, for the 5 requests a stock client keeps in flight: they
    /// then travel in two turns, one being stored while the other is being committed.
    pub early_requests: u32,
}

impl FlushRule {
    /// Early: while the store has nothing to do, nothing waits longer than this part of the linger. Longer
    /// than a commit usually takes: what waits for the end of one travels with what its answers bring in.
    const EARLY_PART: u32 = 2;

    /// Idle: nothing waits longer than this many times `idle_quiet`, however much keeps arriving.
    const IDLE_PARTS: u32 = 4;

    /// The defaults for a bucket, whose PUTs cost money and some ten milliseconds.
    pub const BUCKET: Self = Self {
        segment_bytes: 8 * 1024 * 1024,
        segment_batches: 50_000,
        linger: Duration::from_millis(250),
        idle_quiet: Duration::from_millis(2),
        early_bytes: 1024 * 1024,
        early_requests: 2,
    };

    /// The defaults for a local folder, whose PUTs cost an fsync.
    pub const FOLDER: Self = Self {
        linger: Duration::from_millis(4),
        idle_quiet: Duration::ZERO,
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
    /// Age of the newest batch.
    pub(crate) quiet: Duration,
}

/// What this agent, all lanes together, has under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct UnderWay {
    /// Segments on their way to the store.
    pub(crate) puts: usize,
    /// Stored segments whose commit is not answered.
    pub(crate) commits: usize,
    /// How long ago the last of all these ended.
    pub(crate) ended: Duration,
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
/// - *idle*, nothing of this agent is being stored or committed, and nothing more arrives at once: a lone
///   synchronous producer costs one PUT per round trip of PUT and commit (7 a second at 150 ms) and
///   gains up to the linger each time;
/// - *early*, no PUT is under way, and enough bytes wait, or half of some client's window does, or
///   something has waited for half of the linger: up to one PUT per duration of a PUT (16 a second at
///   60 ms, some 200 USD a month) while producers would otherwise stand still, and 8 a second for many
///   producers that send little. Without it a stock producer, which has 5 requests in flight,
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
        // The answers that have just gone out bring in the next requests.
        let (quiet, waited) = (
            gathered.quiet.min(under_way.ended),
            gathered.waited.min(under_way.ended),
        );
        let until_quiet = left(rule.idle_quiet, quiet);
        let until_late = left(rule.idle_quiet * FlushRule::IDLE_PARTS, waited);
        return match until_quiet.zip(until_late) {
            Some((quiet, late)) => Decision::Wait(quiet.min(late).min(rest)),
            None => Decision::Seal(Cause::Idle),
        };
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
            quiet: Duration::from_millis(waited_ms),
        }
    }

    const fn under_way(puts: usize, commits: usize) -> UnderWay {
        UnderWay {
            puts,
            commits,
            ended: Duration::from_secs(9),
        }
    }

    const NOTHING: UnderWay = under_way(0, 0);
    const A_PUT: UnderWay = under_way(1, 0);
    const A_COMMIT: UnderWay = under_way(0, 1);
    const BOTH: UnderWay = under_way(2, 3);

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
                wait(2),
            ),
            (
                "nothing followed it",
                gathered(100, 1, 1, 2),
                NOTHING,
                Decision::Seal(Cause::Idle),
            ),
            (
                "a commit ended a moment ago",
                gathered(100, 1, 1, 60),
                UnderWay {
                    ended: Duration::from_millis(1),
                    ..NOTHING
                },
                wait(1),
            ),
            (
                "more followed a moment ago",
                Gathered {
                    quiet: Duration::from_millis(1),
                    ..gathered(MIB, 5, 5, 6)
                },
                NOTHING,
                wait(1),
            ),
            (
                "more follows all the time",
                Gathered {
                    quiet: Duration::ZERO,
                    ..gathered(MIB, 5, 5, 8)
                },
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
                wait(115),
            ),
            (
                "half of the linger beside a commit",
                gathered(100, 1, 1, 125),
                A_COMMIT,
                Decision::Seal(Cause::Early),
            ),
            (
                "half of the linger beside a PUT",
                gathered(100, 1, 1, 125),
                A_PUT,
                wait(125),
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
                wait(124),
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
                wait(124),
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
    fn a_folder_that_is_idle_does_not_wait() {
        assert_eq!(
            decide(&FlushRule::FOLDER, gathered(1, 1, 1, 0), NOTHING),
            Decision::Seal(Cause::Idle)
        );
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
