//! Becoming the owner, staying it, and becoming it again.

use std::sync::Arc;
use std::time::Duration;

use floe_storage::clock::Clock;
use floe_storage::key::Lineage;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{RELEASE_TIMEOUT, ServiceConfig, StartError, StopReason};
use crate::client::{self, Call, ClientsEnd};
use crate::engine::{Engine, EngineError, Session};
use crate::ownership::{ClaimError, FolderLock, Ownership, Predecessor};
use crate::sequencer::proof::{Proof, SUCCESSOR_WAITS};
use crate::sequencer::{End, Sequencer};
use crate::state::{RowKey, State, StateConfig};
use crate::steady_clock::SteadyClock;

/// Pauses between attempts to get the engine back.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);
/// Rows of producers read at once in a recovery.
const ROWS_READ_AT_ONCE: usize = 64;

/// A claim and what is needed to acquire the engine under it.
pub(super) struct Owner {
    ownership: Ownership,
    engine: Arc<dyn Engine>,
    state: StateConfig,
    clock: Clock,
    steady: SteadyClock,
    rng: SmallRng,
    /// Held for as long as the process may write.
    _lock: Option<FolderLock>,
}

/// An acquired engine and the state recovered from it.
pub(super) struct Owned {
    session: Arc<dyn Session>,
    state: State,
    /// When the engine was surely ours, on the steady clock.
    proven: Duration,
}

impl Owner {
    /// The first ownership of this process.
    pub(super) async fn first(
        config: &ServiceConfig,
        lineage: Lineage,
        engine: Arc<dyn Engine>,
        lock: Option<FolderLock>,
    ) -> Result<(Self, Owned), StartError> {
        let epoch = engine.epoch().await?;
        let (ownership, predecessor) = Ownership::claim(
            &config.store,
            lineage,
            config.owner.clone(),
            &config.exclusion,
            epoch,
        )
        .await?;
        let owner = Self {
            ownership,
            engine,
            state: config.state.clone(),
            clock: config.clock.clone(),
            steady: config.steady.clone(),
            rng: SmallRng::seed_from_u64(config.seed),
            _lock: lock,
        };
        let checked = async { Ok::<_, StartError>(owner.ownership.check_store().await?) };
        let owned = owner.own(epoch, predecessor);
        let ((), owned) = futures::future::try_join(checked, owned).await?;
        Ok((owner, owned))
    }

    /// Acquires the engine and recovers. `epoch` is the engine's, read before the newest claim was made.
    async fn own(&self, epoch: u64, predecessor: Predecessor) -> Result<Owned, StartError> {
        let mut epoch = epoch;
        let (proven, session) = loop {
            let started = self.steady.now();
            match self.engine.acquire(epoch).await {
                Ok(session) => break (started, session),
                Err(EngineError::UnexpectedEpoch { .. }) => {
                    epoch = self.engine.epoch().await?;
                    self.ownership.confirm().await?;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let waited = match predecessor {
            Predecessor::Gone => Duration::ZERO,
            Predecessor::Silent => SUCCESSOR_WAITS,
        };
        // From the fence on, which has come before this moment.
        let patience = tokio::time::sleep(waited);
        let state = self.recover(&session).await?;
        patience.await;
        Ok(Owned {
            session,
            state,
            proven,
        })
    }

    async fn recover(&self, session: &Arc<dyn Session>) -> Result<State, StartError> {
        let resident = RowKey::resident();
        let mut recovery = State::recover(self.state.clone());
        let mut rows = session.scan(resident);
        while let Some((key, value)) = rows.try_next().await? {
            recovery.row(key, &value)?;
        }
        drop(rows);
        let keys = recovery.missing();
        let mut missing = stream::iter(keys)
            .map(|key| async move {
                let row = session.get(key.as_bytes()).await?;
                Ok::<_, EngineError>((key, row))
            })
            .buffered(ROWS_READ_AT_ONCE);
        while let Some(row) = missing.try_next().await? {
            recovery.admit([row])?;
        }
        Ok(recovery.finish()?)
    }

    /// Becomes the owner again after the engine was lost. Tries for as long as it takes.
    async fn again(&mut self) -> Result<Owned, StopReason> {
        let mut pause = RETRY_FIRST;
        let mut is_claimed = false;
        loop {
            let error = match self.attempt(&mut is_claimed).await {
                Ok(owned) => return Ok(owned),
                Err(error) => error,
            };
            match error {
                StartError::Claim(ClaimError::Overtaken(by)) => {
                    return Err(StopReason::Overtaken(by));
                }
                StartError::Claim(ClaimError::Store(_))
                | StartError::Engine(
                    EngineError::Unavailable(_)
                    | EngineError::Fenced
                    | EngineError::Closed
                    | EngineError::UnexpectedEpoch { .. },
                ) => tracing::warn!(%error, ?pause, "metadata is not available yet; trying again"),
                damaged => return Err(StopReason::Damaged(damaged)),
            }
            tokio::time::sleep(self.rng.random_range(pause / 2..=pause)).await;
            pause = (pause * 2).min(RETRY_LAST);
        }
    }

    async fn attempt(&mut self, is_claimed: &mut bool) -> Result<Owned, StartError> {
        let epoch = self.engine.epoch().await?;
        if *is_claimed {
            self.ownership.confirm().await?;
        } else {
            self.ownership.claim_next(epoch).await?;
            *is_claimed = true;
        }
        // The owner before us was this process, which has stopped answering.
        self.own(epoch, Predecessor::Gone).await
    }
}

/// Serves calls while there is an owner and refuses them while there is none.
pub(super) struct OwnerLoop {
    owner: Owner,
    clients: ClientsEnd,
    stop: CancellationToken,
    term: u64,
}

impl OwnerLoop {
    /// The loop of an owner that is ready to serve: from now on calls are not refused.
    pub(super) fn new(owner: Owner, clients: ClientsEnd, stop: CancellationToken) -> Self {
        let owner_loop = Self {
            owner,
            clients,
            stop,
            term: 1,
        };
        owner_loop.announce();
        owner_loop
    }

    fn announce(&self) {
        let term = self.term;
        self.clients.owner.set(client::Owner::Ready { term });
    }

    pub(super) async fn run(mut self, first: Owned) -> StopReason {
        let mut owned = first;
        let reason = loop {
            let (end, session) = self.serve(owned).await;
            match end {
                End::Drained => break self.release(&session).await,
                End::Damaged(error) => break StopReason::Damaged(error.into()),
                End::Lost(error @ EngineError::Damaged(_)) => {
                    break StopReason::Damaged(error.into());
                }
                End::Lost(error) => {
                    tracing::warn!(%error, "metadata engine lost");
                }
            }
            drop(session);
            match self.recover().await {
                Ok(recovered) => {
                    owned = recovered;
                    self.term += 1;
                    self.announce();
                }
                Err(reason) => break reason,
            }
        };
        self.clients.owner.set(client::Owner::Stopped);
        reason
    }

    /// One term, to its end.
    async fn serve(&mut self, owned: Owned) -> (End, Arc<dyn Session>) {
        let Owned {
            session,
            state,
            proven,
        } = owned;
        let proof = Proof::new(self.owner.steady.clone(), proven);
        let clock = self.owner.clock.clone();
        let mut sequencer = Sequencer::new(state, Arc::clone(&session), clock, proof, self.term);
        tracing::info!(
            epoch = self.owner.ownership.newest().epoch,
            "owner of the metadata"
        );
        let end = sequencer.run(&mut self.clients.calls, &self.stop).await;
        // First nobody owns, then all who wait learn that their outcome is unknown: a lane that starts
        // again must not find the term that just ended.
        self.clients.owner.set(client::Owner::Absent);
        drop(sequencer);
        while self.clients.calls.try_recv().is_ok() {}
        (end, session)
    }

    async fn recover(&mut self) -> Result<Owned, StopReason> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(StopReason::NotMarked("the engine was lost".to_owned())),
            owned = self.owner.again() => owned,
            never = refuse(&mut self.clients.calls) => match never {},
        }
    }

    async fn release(&self, session: &Arc<dyn Session>) -> StopReason {
        let released = async {
            session.release().await.map_err(|error| error.to_string())?;
            self.owner
                .ownership
                .mark_released()
                .await
                .map_err(|error| error.to_string())
        };
        match tokio::time::timeout(RELEASE_TIMEOUT, released).await {
            Ok(Ok(())) => StopReason::Released,
            Ok(Err(error)) => StopReason::NotMarked(error),
            Err(_) => StopReason::NotMarked("it took too long".to_owned()),
        }
    }
}

/// Answers `Unavailable` to every call.
async fn refuse(calls: &mut mpsc::Receiver<Call>) -> std::convert::Infallible {
    while calls.recv().await.is_some() {}
    // All clients are gone.
    std::future::pending().await
}
