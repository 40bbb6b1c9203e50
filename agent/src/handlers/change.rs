//! Changes of topics: asked of metadata until the outcome is known, then waited for in the pictures
//! of all agents, so that a client that was told of a change also sees it, wherever it asks next.

use std::future::Future;
use std::time::Duration;

use floe_metadata::api::{RequestError, Revision};
use floe_protocol::error_code::ErrorCode;
use tokio::time::{Instant, timeout_at};

use super::Context;
use crate::error::Failure;

/// A change is given at least this long, whatever the client says: less would only leave it in doubt.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
/// And at most this long.
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// Pause before metadata is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// When a request with this timeout is given up.
pub(super) fn deadline(timeout_ms: i32) -> Instant {
    let asked = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    Instant::now() + asked.clamp(PATIENCE_MIN, PATIENCE_MAX)
}

/// Waits until the change shows wherever a client may look next. An error when that is never known here:
/// then it must not be told, though it happened.
async fn passed(context: &Context, revision: Revision) -> Result<(), RequestError> {
    while context.broker.metadata.passed(revision).await.is_err() {
        tokio::time::sleep(RETRY_PAUSE).await;
        if context.broker.metadata.wait_for_owner().await.is_err() {
            return Err(RequestError::Unavailable);
        }
    }
    Ok(())
}

/// Repeats `ask` until metadata has answered. `ask` is told whether an earlier attempt may have
/// happened, and must be safe to repeat.
pub(super) async fn settle<T, F>(
    context: &Context,
    deadline: Instant,
    mut ask: impl FnMut(bool) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<(T, Option<Revision>), RequestError>>,
{
    let view = &context.broker.view;
    let work = async {
        let mut in_doubt = false;
        loop {
            match ask(in_doubt).await {
                Ok((value, revision)) => {
                    if let Some(revision) = revision {
                        view.wait_revision(revision).await;
                        passed(context, revision).await?;
                    }
                    return Ok(value);
                }
                Err(RequestError::Unavailable) => in_doubt = true,
                Err(error) => return Err(Failure::from(error)),
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            if context.broker.metadata.wait_for_owner().await.is_err() {
                return Err(Failure::from(RequestError::Unavailable));
            }
        }
    };
    timeout_at(deadline, work).await.unwrap_or_else(|_| {
        let message = "the change was not confirmed in time; it may still happen";
        Err(Failure::new(ErrorCode::RequestTimedOut, message))
    })
}
