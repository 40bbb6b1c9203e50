//! Owning the sequencer: from a claim to an acquired engine and a recovered state, and letting go.

use std::sync::Arc;
use std::time::Duration;

use floe_planted::Bug;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::{RELEASE_TIMEOUT, StartError, StopReason};
use crate::engine::{Engine, EngineError, Session};
use crate::ownership::{Ownership, Predecessor};
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
        mut epoch: u64,
        (predecessor, ended): (Predecessor, Option<[u8; 16]>),
    ) -> Result<Self, StartError> {
        let (proven, session) = loop {
            let started = steady.now();
            match engine.acquire(epoch).await {
                Ok(session) => break (started, session),
                Err(EngineError::UnexpectedEpoch { .. }) => {
                    epoch = engine.epoch().await?;
                    ownership.confirm().await?;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let waited = match predecessor {
            Predecessor::Silent if !Bug::SuccessorDoesNotWait.is_planted() => SUCCESSOR_WAITS,
            Predecessor::Silent | Predecessor::Gone => Duration::ZERO,
        };
        // From the fence on, which has come before this moment.
        let patience = tokio::time::sleep(waited);
        let state = recover(&session, config).await?;
        patience.await;
        Ok(Self {
            ownership,
            session,
            state,
            proven,
            ended,
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

/// Lets go of the engine and leaves the mark for a successor.
pub(super) async fn release(ownership: &Ownership, session: &Arc<dyn Session>) -> StopReason {
    let released = async {
        session.release().await.map_err(|error| error.to_string())?;
        ownership
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
