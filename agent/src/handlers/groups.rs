//! What the handlers of groups share: asking metadata, where all groups live, until it answers.
//!
//! A request that metadata could not answer, since its owner was lost, is repeated with the same ids to the
//! next one: clients and their groups notice nothing but the time it takes.

use std::time::Duration;

use floe_metadata::api::groups::{GroupReply, GroupRequest};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::str::Str;
use tokio::time::{Instant, sleep, timeout_at};

use super::Context;

/// How long a request waits for an owner of the metadata; below the request timeouts of clients, 30 s and more.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts while there is an owner.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer that comes soon.
///
/// # Errors
/// `CoordinatorLoadInProgress`: no answer in time; clients ask again.
pub(super) async fn ask(
    context: &Context,
    request: GroupRequest,
    patience: Duration,
) -> Result<GroupReply, ErrorCode> {
    let asked = ask_in_doubt(context, request, patience).await;
    asked.map(|(reply, _)| reply)
}

/// Has something removed, with one code per thing. What an earlier attempt may have removed already is answered
/// by `gone`: then it is done.
///
/// # Errors
/// As [`ask`].
pub(super) async fn remove(
    context: &Context,
    request: GroupRequest,
    count: usize,
    gone: ErrorCode,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    let (reply, in_doubt) = ask_in_doubt(context, request, PATIENCE).await?;
    let codes = codes(Ok(reply), count);
    Ok(if in_doubt { done(codes, gone) } else { codes })
}

/// What a repeat finds gone has been removed.
fn done(codes: Vec<ErrorCode>, gone: ErrorCode) -> Vec<ErrorCode> {
    let code = |code| if code == gone { ErrorCode::None } else { code };
    codes.into_iter().map(code).collect()
}

/// The reply, and whether an earlier attempt may have happened.
pub(super) async fn ask_in_doubt(
    context: &Context,
    request: GroupRequest,
    patience: Duration,
) -> Result<(GroupReply, bool), ErrorCode> {
    let deadline = Instant::now() + patience;
    let mut request = request;
    let asking = async {
        let mut in_doubt = false;
        loop {
            if let Ok(reply) = context.broker.metadata.group(request.clone()).await {
                return Ok((reply, in_doubt));
            }
            in_doubt = true;
            request = request.repeated();
            wait_for_owner(context).await?;
        }
    };
    let asked = timeout_at(deadline, asking).await;
    asked.unwrap_or(Err(ErrorCode::CoordinatorLoadInProgress))
}

/// Asks until there is an answer, which may depend on others: only the absence of an owner is bounded.
///
/// # Errors
/// `CoordinatorLoadInProgress`: no owner in time. `NotCoordinator`: this process stops; another one is to be
/// asked.
pub(super) async fn ask_and_wait(
    context: &Context,
    request: GroupRequest,
) -> Result<GroupReply, ErrorCode> {
    let asking = async {
        loop {
            if let Ok(reply) = context.broker.metadata.group(request.clone()).await {
                return Ok(reply);
            }
            let found = timeout_at(Instant::now() + PATIENCE, wait_for_owner(context)).await;
            found.unwrap_or(Err(ErrorCode::CoordinatorLoadInProgress))?;
        }
    };
    tokio::select! {
        biased;
        reply = asking => reply,
        () = context.broker.stopping.cancelled() => Err(ErrorCode::NotCoordinator),
    }
}

async fn wait_for_owner(context: &Context) -> Result<(), ErrorCode> {
    sleep(PAUSE).await;
    let found = context.broker.metadata.wait_for_owner().await;
    found.map_err(|_| ErrorCode::NotCoordinator)
}

/// The codes of an answer that has `count` of them; one for all if there is none.
pub(super) fn codes(reply: Result<GroupReply, ErrorCode>, count: usize) -> Vec<ErrorCode> {
    match reply {
        Ok(GroupReply::Codes(codes)) if codes.len() == count => codes,
        Ok(_) => vec![ErrorCode::UnknownServerError; count],
        Err(code) => vec![code; count],
    }
}

/// A string of its own: one from a request would keep the frame in memory.
pub(super) fn owned(text: Option<&Str>) -> Option<String> {
    text.map(|text| text.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_repeat_finds_gone_is_done() {
        use ErrorCode::{GroupIdNotFound, NonEmptyGroup, None};
        let found = vec![GroupIdNotFound, NonEmptyGroup, None];
        assert_eq!(done(found, GroupIdNotFound), [None, NonEmptyGroup, None]);
    }
}
