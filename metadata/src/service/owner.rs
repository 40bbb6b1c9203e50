//! Owning the sequencer: from a claim to an acquired engine and a recovered state, and letting go.

use std::sync::Arc;
use std::time::Duration;

use floe_planted::Bug;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::{RELEASE_TIMEOUT, StartError, StopReason};
use crate::api::Revision;
use crate::engine::{Engine, EngineError, Session};
use crate::ownership::{ClaimError, Ownership, Predecessor};
use crate::sequencer::proof::SUCCESSOR_WAITS;
use crate::state::{RowKey, State, StateConfig};
use crate::steady_clock::SteadyClock;

/// Rows of producers read at once in a recovery.
const ROWS_READ_AT_ONCE: usize = 64;

/// An acquired engine and the state recovered from it.
pub(super) struct Owned {
    pub(super) ownership: Ownership,
    pub(super) session: Arc<dyn Session>,
    pub(super) state: State,
    /// When the engine was surely ours, on the steady clock.
    pub(super) proven: Duration,
    /// The highest mark of what is durable; `None` where none are kept.
    pub(super) marked: Option<Revision>,
    /// The owner before us, if it surely serves nobody any more.
    pub(super) ended: Option<[u8; 16]>,
}

impl Owned {
    /// Acquires the engine under a claim and recovers. `epoch` is the engine's, read before the claim
    /// was made.
    pub(super) async fn acquire(
        ownership: Ownership,
        engine: &Arc<dyn Engine>,
        config: StateConfig,
        steady: &SteadyClock,
        epoch: u64,
        marked: Revision,
        (predecessor, ended): (Predecessor, Option<[u8; 16]>),
    ) -> Result<Self, StartError> {
        let Fenced {
            ownership,
            session,
            proven,
        } = fence(ownership, engine, steady, epoch).await?;
        // From the fence on, which has come before this moment.
        let patience = predecessor.rest();
        let state = recover(&session, config).await?;
        patience.await;
        Ok(Self {
            ownership,
            session,
            state,
            proven,
            marked: engine.is_apart().then_some(marked),
            ended,
        })
    }
}

/// Makes sure that an engine outside of the store has come as far as the mark `durable` says. To be called
/// before it is acquired: a wrong copy is to be left as it is.
pub(super) async fn check_rows(engine: &dyn Engine, durable: Revision) -> Result<(), StartError> {
    if durable == 0 || !engine.is_apart() {
        return Ok(());
    }
    let mut rows = engine.look(RowKey::only_counters());
    let found = match rows.try_next().await? {
        Some((_, counters)) => State::revision_in(&counters)?,
        None => 0,
    };
    if found < durable {
        return Err(ClaimError::RowsBehind { found, durable }.into());
    }
    Ok(())
}

/// An acquired engine.
pub(crate) struct Fenced {
    pub(crate) ownership: Ownership,
    pub(crate) session: Arc<dyn Session>,
    /// When the engine was surely ours, on the steady clock.
    pub(crate) proven: Duration,
}

/// Acquires the engine under a claim. `epoch` is the engine's, read before the claim was made.
pub(crate) async fn fence(
    ownership: Ownership,
    engine: &Arc<dyn Engine>,
    steady: &SteadyClock,
    mut epoch: u64,
) -> Result<Fenced, StartError> {
    loop {
        let proven = steady.now();
        match engine.acquire(epoch).await {
            Ok(session) => {
                return Ok(Fenced {
                    ownership,
                    session,
                    proven,
                });
            }
            Err(EngineError::UnexpectedEpoch { .. }) => {
                epoch = engine.epoch().await?;
                ownership.confirm().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Predecessor {
    /// Until it surely answers no reads any more; to be called when it is fenced.
    pub(crate) fn rest(self) -> tokio::time::Sleep {
        tokio::time::sleep(match self {
            Self::Silent if !Bug::SuccessorDoesNotWait.is_planted() => SUCCESSOR_WAITS,
            Self::Silent | Self::Gone => Duration::ZERO,
        })
    }
}

async fn recover(session: &Arc<dyn Session>, config: StateConfig) -> Result<State, StartError> {
    let resident = RowKey::resident();
    let mut recovery = State::recover(config);
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

/// Makes everything submitted durable, lets go of the engine and leaves the mark for a successor.
pub(crate) async fn let_go(
    ownership: &Ownership,
    session: &Arc<dyn Session>,
) -> Result<(), StartError> {
    session.release().await?;
    Ok(ownership.mark_released().await?)
}

/// The same, as far as it gets in time.
pub(super) async fn release(ownership: &Ownership, session: &Arc<dyn Session>) -> StopReason {
    match tokio::time::timeout(RELEASE_TIMEOUT, let_go(ownership, session)).await {
        Ok(Ok(())) => StopReason::Released,
        Ok(Err(error)) => StopReason::NotMarked(error.to_string()),
        Err(_) => StopReason::NotMarked("it took too long".to_owned()),
    }
}
