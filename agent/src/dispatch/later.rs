//! Requests whose answers come later: Produce and Fetch, which have taken effect when this returns, and those that
//! wait for other clients.

use std::sync::Arc;

use floe_protocol::api::ApiKey;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::fetch::FetchRequest;
use floe_protocol::messages::produce::{ProduceRequest, ProduceResponse};

use super::{Answer, Dispatched, Frame, Opened, decode_body, encode, failure};
use crate::connection::close::CloseCause;
use crate::handlers::produce::Answered;
use crate::handlers::{self, Context, Handler};
use crate::panics::{guarded, guarded_future};

/// Begins a request whose answer depends on other clients and may come minutes later. Holds no memory of the
/// frame meanwhile.
pub(super) fn park<R: Handler + Send + 'static>(
    context: Context,
    mut opened: Opened,
    frame: Frame,
) -> Dispatched
where
    R::Response: Send,
{
    let request: R = match decode_body(&context, &mut opened) {
        Ok(request) => request,
        Err(cause) => return Dispatched::Ready(Answer::Close(cause)),
    };
    let (version, correlation_id) = (opened.version, opened.correlation_id);
    let arrived = frame.arrived;
    drop((opened, frame));
    Dispatched::Waiting(Box::pin(async move {
        let handled = guarded_future(request.handle(&context)).await;
        let metrics = &context.broker.metrics;
        metrics.request_took(R::KEY, arrived.elapsed());
        let answer = match handled {
            Ok(response) => encode::<R>(version, correlation_id, &response),
            Err(_) => {
                metrics.handler_panics.inc();
                None
            }
        };
        answer.unwrap_or(Answer::Close(CloseCause::HandlerFailed {
            api: R::KEY,
            version,
        }))
    }))
}

/// Enqueues the batches of a Produce request; its answer waits for their commit.
pub(super) fn produce(context: &Context, mut opened: Opened, frame: Frame) -> Dispatched {
    let request: ProduceRequest = match decode_body(context, &mut opened) {
        Ok(request) => request,
        Err(cause) => return Dispatched::Ready(Answer::Close(cause)),
    };
    let (version, correlation_id) = (opened.version, opened.correlation_id);
    drop(opened);
    let wants_answer = request.acks != 0;
    let Frame {
        bytes,
        permit,
        arrived,
    } = frame;
    let taken = guarded(|| {
        handlers::produce::handle(
            &context.broker,
            &context.connection,
            version,
            request,
            permit,
        )
    });
    let Ok(response) = taken else {
        return Dispatched::Ready(failure::<ProduceRequest>(context, &bytes));
    };
    // From here on only the batches hold the frame.
    drop(bytes);
    let broker = Arc::clone(&context.broker);
    Dispatched::Waiting(Box::pin(async move {
        let response = guarded_future(response).await;
        broker
            .metrics
            .request_took(ApiKey::Produce, arrived.elapsed());
        let answer = match response {
            Ok(Answered { response, is_last }) if wants_answer => {
                match encode::<ProduceRequest>(version, correlation_id, &response) {
                    Some(Answer::Frame(pieces)) if is_last => {
                        Some(Answer::Last(pieces, CloseCause::ProduceUndecided))
                    }
                    answer => answer,
                }
            }
            // Nobody can be told of an error but by closing the connection (protocol guide, Produce).
            Ok(Answered { response, .. }) => match first_error(&response) {
                Some(code) => Some(Answer::Close(CloseCause::UnacknowledgedProduceFailed {
                    code,
                })),
                None => Some(Answer::Silent),
            },
            Err(_) => {
                broker.metrics.handler_panics.inc();
                None
            }
        };
        answer.unwrap_or(Answer::Close(CloseCause::HandlerFailed {
            api: ApiKey::Produce,
            version,
        }))
    }))
}

/// Starts a Fetch; its answer waits for data or time.
pub(super) fn fetch(context: &Context, mut opened: Opened, frame: Frame) -> Dispatched {
    let request: FetchRequest = match decode_body(context, &mut opened) {
        Ok(request) => request,
        Err(cause) => return Dispatched::Ready(Answer::Close(cause)),
    };
    let (version, correlation_id) = (opened.version, opened.correlation_id);
    let Frame {
        bytes,
        permit,
        arrived,
    } = frame;
    let taken = guarded(|| {
        handlers::fetch::handle(
            &context.broker,
            &context.connection,
            version,
            request,
            permit,
        )
    });
    let Ok(response) = taken else {
        return Dispatched::Ready(failure::<FetchRequest>(context, &bytes));
    };
    drop((opened, bytes));
    let broker = Arc::clone(&context.broker);
    Dispatched::Waiting(Box::pin(async move {
        let response = guarded_future(response).await;
        broker
            .metrics
            .request_took(ApiKey::Fetch, arrived.elapsed());
        let answer = match response {
            Ok(response) => encode::<FetchRequest>(version, correlation_id, &response),
            Err(_) => {
                broker.metrics.handler_panics.inc();
                None
            }
        };
        answer.unwrap_or(Answer::Close(CloseCause::HandlerFailed {
            api: ApiKey::Fetch,
            version,
        }))
    }))
}

/// The first error in a response.
fn first_error(response: &ProduceResponse) -> Option<ErrorCode> {
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    partitions
        .map(|partition| partition.error_code)
        .find(|code| *code != ErrorCode::None.code())
        .map(|code| ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError))
}
