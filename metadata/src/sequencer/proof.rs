//! Until when we may answer from memory. A proof of ownership is a moment at which nobody newer had
//! acquired the engine; a new owner answers nobody until a window has passed since it acquired, so a
//! proof is good for as long.
//!
//! ```text
//! we:   write starts ─────── durable        answer from memory
//!       └ proof                             └ earlier than proof + window
//! next:            fence (after the proof)                              first answer
//!                  └───────────── window and a margin for the clocks ───┘
//! ```

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use floe_planted::Bug;
use futures::future::{BoxFuture, FutureExt, poll_fn};

use crate::engine::{EngineError, Session};
use crate::steady_clock::SteadyClock;

/// How long a proof is good for.
pub(crate) const WINDOW: Duration = Duration::from_millis(400);
/// How long a new owner waits, when the one before it may still be answering: clocks of two machines
/// do not drift apart by an eighth.
pub(crate) const SUCCESSOR_WAITS: Duration = Duration::from_millis(450);

/// How old the proof may be when a beat is answered: an idle owner proves itself this often while
/// processes beat. A new owner gives those it finds as much longer, see [`super::leases`].
pub(crate) const BEAT_WINDOW: Duration = Duration::from_secs(2);

pub(crate) struct Proof {
    clock: SteadyClock,
    /// The latest moment at which we surely owned the engine.
    proven: Duration,
    running: Option<Barrier>,
}

struct Barrier {
    started: Duration,
    outcome: BoxFuture<'static, Result<(), EngineError>>,
}

impl Proof {
    /// We owned the engine at `proven`.
    pub(crate) fn new(clock: SteadyClock, proven: Duration) -> Self {
        Self {
            clock,
            proven,
            running: None,
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Something that began at `started` and only an owner can do was done.
    pub(crate) fn raise(&mut self, started: Duration) {
        self.proven = self.proven.max(started);
    }

    /// Whether what was read from memory at `read` was current then. Call it after the read.
    pub(crate) fn covers(&self, read: Duration) -> bool {
        self.proven >= read
            || self.clock.now() < self.proven + WINDOW
            || Bug::ReadsUnproven.is_planted()
    }

    /// Whether a beat may be answered now.
    pub(super) fn covers_beats(&self) -> bool {
        self.clock.now() < self.proven + BEAT_WINDOW
    }

    /// Begins a barrier, unless one is running.
    pub(crate) fn ask(&mut self, session: &Arc<dyn Session>) {
        if self.running.is_none() {
            let session = Arc::clone(session);
            let outcome = async move { session.barrier().await }.boxed();
            self.running = Some(Barrier {
                started: self.clock.now(),
                outcome,
            });
        }
    }

    /// The outcome of the running barrier; never, while none runs. Cancel-safe.
    pub(crate) fn barrier(&mut self) -> impl Future<Output = Result<(), EngineError>> {
        poll_fn(|context| {
            let Some(barrier) = &mut self.running else {
                return Poll::Pending;
            };
            let started = barrier.started;
            let Poll::Ready(outcome) = barrier.outcome.poll_unpin(context) else {
                return Poll::Pending;
            };
            self.running = None;
            if outcome.is_ok() {
                self.raise(started);
            }
            Poll::Ready(outcome)
        })
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof")
            .field("proven", &self.proven)
            .finish_non_exhaustive()
    }
}
