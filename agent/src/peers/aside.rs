//! When a peer that failed may be asked again. Pure: times in, decisions out.

use std::time::Duration;

use tokio::time::Instant;

/// Pause after the first failure; each further one doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// Without a failure for this long, the next one is a first one.
const FORGIVEN_AFTER: Duration = Duration::from_secs(16);

/// What is remembered of a peer's failures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aside {
    last: Option<Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    at: Instant,
    pause: Duration,
    /// Whether it has answered since.
    is_over: bool,
    /// Since when somebody tries whether it answers again.
    tried: Option<Instant>,
}

impl Aside {
    /// Whether to ask it at `now`. Of all who want to know after a pause, one is sent to try.
    pub(super) fn may_ask(&mut self, now: Instant) -> bool {
        let Some(last) = self.last.as_mut().filter(|last| !last.is_over) else {
            return true;
        };
        let since = last.tried.unwrap_or(last.at);
        let is_due = now.saturating_duration_since(since) >= last.pause;
        if is_due {
            last.tried = Some(now);
        }
        is_due
    }

    /// Notes that it answered.
    pub(super) fn answered(&mut self) {
        if let Some(last) = &mut self.last {
            last.is_over = true;
        }
    }

    /// Notes at `now` that it failed somebody who began to ask at `asked`. Many may wait for it when it
    /// fails: that is one failure.
    pub(super) fn failed(&mut self, asked: Instant, now: Instant) {
        let pause = match self.last {
            Some(last) if asked <= last.at && !last.is_over => return,
            Some(last) if now.saturating_duration_since(last.at) < FORGIVEN_AFTER => {
                (last.pause * 2).min(PAUSE_MAX)
            }
            Some(_) | None => PAUSE_MIN,
        };
        self.last = Some(Failure {
            at: now,
            pause,
            is_over: false,
            tried: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_failure_is_a_pause_that_doubles() {
        let (mut aside, start) = (Aside::default(), Instant::now());
        assert!(aside.may_ask(start) && aside.may_ask(start));
        let mut at = start;
        for pause in [250, 500, 1000, 2000, 4000, 4000] {
            aside.failed(at, at + 75 * MS);
            // Others waited for the same.
            aside.failed(at, at + 76 * MS);
            at += 75 * MS;
            assert!(!aside.may_ask(at + (pause - 1) * MS), "{pause}");
            at += pause * MS;
            assert!(aside.may_ask(at), "{pause}");
            assert!(!aside.may_ask(at), "one tries");
        }
        aside.answered();
        assert!(aside.may_ask(at) && aside.may_ask(at));
    }

    #[test]
    fn old_failures_are_forgiven() {
        let (mut aside, start) = (Aside::default(), Instant::now());
        for _ in 0..9 {
            aside.failed(start, start);
            aside.answered();
        }
        let later = start + FORGIVEN_AFTER;
        aside.failed(later, later);
        assert!(aside.may_ask(later + PAUSE_MIN));
    }

    #[test]
    fn one_who_tried_and_never_came_back_holds_up_nobody_for_long() {
        let (mut aside, start) = (Aside::default(), Instant::now());
        aside.failed(start, start);
        assert!(aside.may_ask(start + PAUSE_MIN));
        assert!(aside.may_ask(start + 2 * PAUSE_MIN));
    }

    proptest! {
        #[test]
        fn a_dead_peer_is_asked_seldom(asks in prop::collection::vec(0_u32..200, 1..400)) {
            let (mut aside, start) = (Aside::default(), Instant::now());
            let (mut now, mut cost) = (start, 0);
            for after in asks {
                now += after * MS;
                if aside.may_ask(now) {
                    cost += 1;
                    aside.failed(now, now + 75 * MS);
                }
            }
            let most = 6 + (now - start).as_millis() / 4000;
            prop_assert!(cost <= most, "{} times in {:?}", cost, now - start);
        }
    }
}
