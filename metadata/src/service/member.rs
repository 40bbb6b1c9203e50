//! A process as a member of its cluster: it owns the sequencer, or carries its calls to the owner, or
//! looks for one; and becomes the owner where there is none.
//!
//! ```text
//!            ┌─ the newest claim's owner answers ─▶ carry its calls ──── lost ───┐
//! look ──────┤                                                                  ├─▶ look
//!   ▲        └─ gone or silent ─▶ claim ─▶ acquire, recover ─▶ serve ── lost ───┘
//!   └── somebody was faster ─────────┘
//! ```

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::StopReason;
use super::owner::{Owned, release};
use super::seeker::Seeker;
use crate::client::{Call, ClientsEnd, Owner};
use crate::engine::{EngineError, Session};
use crate::ownership::{DurableMarks, Ownership};
use crate::rpc::{Carrier, Connection};
use crate::sequencer::proof::Proof;
use crate::sequencer::{End, Sequencer};

/// What this process is in the cluster for now.
pub(super) enum Standing {
    /// The owner of the sequencer.
    Owner(Box<Owned>),
    /// One that carries its calls to the owner.
    Follower(Box<Connection>),
}

/// A process as a part of its cluster.
pub(super) struct Member {
    seeker: Seeker,
    clients: ClientsEnd,
    stop: CancellationToken,
    term: u64,
}

impl Member {
    pub(super) const fn new(seeker: Seeker, clients: ClientsEnd, stop: CancellationToken) -> Self {
        Self {
            seeker,
            clients,
            stop,
            term: 0,
        }
    }

    /// Takes part until stopped, or until something is found damaged.
    pub(super) async fn run(mut self, first: Standing) -> StopReason {
        let mut next = Ok(Some(first));
        let reason = loop {
            let standing = match next {
                Ok(Some(standing)) => standing,
                Ok(None) => break StopReason::Released,
                Err(reason) => break reason,
            };
            match standing {
                Standing::Owner(owned) => {
                    if let Some(reason) = self.serve(*owned).await {
                        break reason;
                    }
                }
                Standing::Follower(connection) => self.follow(connection).await,
            }
            next = self.look_again().await;
        };
        self.clients.owner.set(Owner::Stopped);
        reason
    }

    /// Looks until there is an owner, for as long as it takes; `None` when stopped. Meanwhile calls are
    /// refused: who waits for an owner repeats them then.
    async fn look_again(&mut self) -> Result<Option<Standing>, StopReason> {
        let Self {
            seeker,
            clients,
            stop,
            ..
        } = self;
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(None),
            found = seeker.find() => found.map(Some),
            never = refuse(&mut clients.calls) => match never {},
        }
    }

    /// One term as the owner, to its end; why the process must stop, if it must.
    async fn serve(&mut self, owned: Owned) -> Option<StopReason> {
        let Owned {
            ownership,
            session,
            state,
            proven,
            marked,
            ended,
        } = owned;
        self.term += 1;
        let proof = Proof::new(self.seeker.config.steady.clone(), proven);
        let clock = self.seeker.config.clock.clone();
        let session_of = Arc::clone(&session);
        let mut sequencer = Sequencer::new(state, session_of, clock, proof, self.term, ended);
        tracing::info!(epoch = ownership.epoch(), "owner of the metadata");
        self.clients.owner.set(Owner::Ready {
            term: self.term,
            is_here: true,
        });
        let mut marks = marked.map(|marked| {
            let (store, lineage) = (self.seeker.config.store.clone(), self.seeker.lineage);
            DurableMarks::new(store, lineage, sequencer.durable(), marked)
        });
        let end = tokio::select! {
            biased;
            end = sequencer.run(&mut self.clients.calls, &self.stop) => end,
            never = keep(&mut marks) => match never {},
        };
        self.term_over();
        drop(sequencer);
        self.drop_waiting();
        self.ended(end, &ownership, &session, &mut marks).await
    }

    async fn ended(
        &mut self,
        end: End,
        ownership: &Ownership,
        session: &Arc<dyn Session>,
        marks: &mut Option<DurableMarks>,
    ) -> Option<StopReason> {
        match end {
            End::Drained => {
                if let Some(marks) = marks
                    && let Err(error) = marks.mark().await
                {
                    tracing::warn!(%error, "how far the metadata has come is not marked");
                }
                Some(release(ownership, session).await)
            }
            End::Damaged(error) => Some(StopReason::Damaged(error.into())),
            End::Lost(error @ EngineError::Damaged(_)) => Some(StopReason::Damaged(error.into())),
            End::Lost(error) => {
                tracing::warn!(%error, "metadata engine lost");
                None
            }
        }
    }

    /// One term of another owner, to its end.
    async fn follow(&mut self, connection: Box<Connection>) {
        // Who follows does not claim; another process may.
        self.seeker.give_up_lock();
        self.term += 1;
        tracing::info!("the owner of the metadata is another process");
        let mut carrier = Carrier::new(connection, self.term);
        carrier.run(&mut self.clients, &self.stop).await;
        self.term_over();
        drop(carrier);
        self.drop_waiting();
    }

    /// First nobody owns, then all who wait learn that their outcome is unknown: a lane that starts
    /// again must not find the term that just ended.
    fn term_over(&self) {
        self.clients.owner.set(Owner::Absent);
    }

    fn drop_waiting(&mut self) {
        while self.clients.calls.try_recv().is_ok() {}
    }
}

/// Keeps marks where there are any.
async fn keep(marks: &mut Option<DurableMarks>) -> std::convert::Infallible {
    match marks {
        Some(marks) => marks.keep().await,
        None => std::future::pending().await,
    }
}

/// Answers `Unavailable` to every call.
async fn refuse(calls: &mut mpsc::Receiver<Call>) -> std::convert::Infallible {
    while calls.recv().await.is_some() {}
    // All clients are gone.
    std::future::pending().await
}
