//! From a request's frame to its handler and back: key and version are checked against what ApiVersions
//! advertises, the body is decoded under its budget, the answer is encoded.
//!
//! Produce and Fetch have taken effect when [`dispatch`] returns and answer later; Join and Sync of a group are
//! on their way then and wait for others; all other requests are finished within it. A panic in a handler costs that request, not the process.

mod admin;
mod later;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use floe_protocol::api::ApiKey;
use floe_protocol::budget::Budget;
use floe_protocol::decoder::Decoder;
use floe_protocol::encoder::Encoder;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::header::{HeaderStart, RequestHeader, encode_response_header};
use floe_protocol::messages::{Message, Request};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::connection::Connection;
use crate::connection::close::CloseCause;
use crate::handlers::{self, Context, Handler, Refuse};
use crate::memory::MemoryPermit;
use crate::panics::guarded_future;

/// The APIs this broker serves: exactly what ApiVersions advertises. Sorted by key.
pub(crate) const HANDLED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeAcls,
    ApiKey::CreateAcls,
    ApiKey::DeleteAcls,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::CreateDelegationToken,
    ApiKey::RenewDelegationToken,
    ApiKey::ExpireDelegationToken,
    ApiKey::DescribeDelegationToken,
    ApiKey::DeleteGroups,
    ApiKey::ElectLeaders,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::OffsetDelete,
    ApiKey::DescribeClientQuotas,
    ApiKey::AlterClientQuotas,
    ApiKey::DescribeUserScramCredentials,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::DescribeCluster,
    ApiKey::DescribeProducers,
    ApiKey::UnregisterBroker,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
];

/// One request as it came from the socket, without its length prefix.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Header and body.
    pub(crate) bytes: Bytes,
    /// The right to hold them.
    pub(crate) permit: MemoryPermit,
    /// When the last byte was read.
    pub(crate) arrived: Instant,
}

/// What is to be written for a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// These bytes, the length prefix included.
    Frame(Vec<Bytes>),
    /// These bytes, and then the connection is closed.
    Last(Vec<Bytes>, CloseCause),
    /// Nothing: a Produce that asked for no acknowledgement.
    Silent,
    /// The connection is closed after the answers before this one.
    Close(CloseCause),
}

/// An answer that is still being worked on.
pub(crate) type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// How far a request got in [`dispatch`].
pub(crate) enum Dispatched {
    /// Done.
    Ready(Answer),
    /// It has taken effect in its turn, its answer comes later.
    Waiting(AnswerFuture),
}

/// Gives a request to its handler.
pub(crate) async fn dispatch(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    frame: Frame,
) -> Dispatched {
    match open(connection, &frame) {
        Ok(Some(opened)) => route(broker, connection, opened, frame).await,
        Ok(None) => Dispatched::Ready(handlers::api_versions::unsupported(&frame.bytes)),
        Err(cause) => Dispatched::Ready(Answer::Close(cause)),
    }
}

/// A request whose header has been read.
struct Opened {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    decoder: Decoder,
}

/// Reads the header; `None` for an ApiVersions request of a version unknown here (KIP-511).
fn open(connection: &Connection, frame: &Frame) -> Result<Option<Opened>, CloseCause> {
    let start = HeaderStart::peek(&frame.bytes).ok_or(CloseCause::FrameShorterThanHeader {
        bytes: frame.bytes.len(),
    })?;
    if start.is_unsupported_api_versions() {
        return Ok(None);
    }
    let api = start
        .api()
        .filter(|api| HANDLED.contains(api))
        .ok_or(CloseCause::UnknownApi {
            key: start.api_key,
            version: start.api_version,
        })?;
    if !api.can_decode(start.api_version) {
        return Err(CloseCause::UnsupportedVersion {
            api,
            version: start.api_version,
        });
    }
    let budget = Budget::for_frame(frame.bytes.len());
    let mut decoder = Decoder::new(frame.bytes.clone(), budget);
    let header = RequestHeader::decode(&mut decoder).map_err(|source| CloseCause::Malformed {
        api,
        version: start.api_version,
        source,
    })?;
    connection.note_client_id(header.client_id.as_ref());
    Ok(Some(Opened {
        api,
        version: start.api_version,
        correlation_id: start.correlation_id,
        decoder,
    }))
}

/// Calls the handler of a key in [`HANDLED`].
async fn route(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    opened: Opened,
    frame: Frame,
) -> Dispatched {
    use floe_protocol::messages as m;
    let context = Context {
        broker: Arc::clone(broker),
        connection: Arc::clone(connection),
        version: opened.version,
    };
    // What is asked of metadata anyway needs no lease, nor what is the same everywhere.
    let needs_lease = !is_asked_of_metadata(opened.api) && opened.api != ApiKey::ApiVersions;
    if needs_lease && !broker.presence.may_serve().await {
        return Dispatched::Ready(Answer::Close(CloseCause::NoLease));
    }
    if let Some(handler) = admin::handler(opened.api) {
        return Dispatched::Ready(handler(context, opened, frame).await);
    }
    // One boxed future per API: the connection's own future stays small.
    let answer: AnswerFuture = match opened.api {
        ApiKey::Produce => return later::produce(&context, opened, frame),
        ApiKey::Fetch => return later::fetch(&context, opened, frame),
        ApiKey::JoinGroup => {
            return later::park::<m::join_group::JoinGroupRequest>(context, opened, frame);
        }
        ApiKey::SyncGroup => {
            return later::park::<m::sync_group::SyncGroupRequest>(context, opened, frame);
        }
        ApiKey::ListOffsets => Box::pin(serve::<m::list_offsets::ListOffsetsRequest>(
            context, opened, frame,
        )),
        ApiKey::Metadata => Box::pin(serve::<m::metadata::MetadataRequest>(
            context, opened, frame,
        )),
        ApiKey::FindCoordinator => Box::pin(serve::<m::find_coordinator::FindCoordinatorRequest>(
            context, opened, frame,
        )),
        ApiKey::ApiVersions => Box::pin(serve::<m::api_versions::ApiVersionsRequest>(
            context, opened, frame,
        )),
        ApiKey::CreateTopics => Box::pin(serve::<m::create_topics::CreateTopicsRequest>(
            context, opened, frame,
        )),
        ApiKey::DeleteTopics => Box::pin(serve::<m::delete_topics::DeleteTopicsRequest>(
            context, opened, frame,
        )),
        ApiKey::InitProducerId => Box::pin(serve::<m::init_producer_id::InitProducerIdRequest>(
            context, opened, frame,
        )),
        ApiKey::DescribeConfigs => Box::pin(serve::<m::describe_configs::DescribeConfigsRequest>(
            context, opened, frame,
        )),
        ApiKey::CreatePartitions => Box::pin(
            serve::<m::create_partitions::CreatePartitionsRequest>(context, opened, frame),
        ),
        ApiKey::UpdateFeatures => Box::pin(serve::<m::update_features::UpdateFeaturesRequest>(
            context, opened, frame,
        )),
        ApiKey::DescribeCluster => Box::pin(serve::<m::describe_cluster::DescribeClusterRequest>(
            context, opened, frame,
        )),
        ApiKey::DescribeTopicPartitions => Box::pin(serve::<
            m::describe_topic_partitions::DescribeTopicPartitionsRequest,
        >(context, opened, frame)),
        key => match of_groups(context, opened, frame) {
            Ok(answer) => answer,
            Err(version) => {
                let cause = CloseCause::UnknownApi {
                    key: key.to_wire(),
                    version,
                };
                return Dispatched::Ready(Answer::Close(cause));
            }
        },
    };
    Dispatched::Ready(answer.await)
}

/// Whether metadata itself decides about a request: its owner answers, or nobody.
const fn is_asked_of_metadata(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::Produce
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::JoinGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::SyncGroup
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups
            | ApiKey::OffsetDelete
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::ConsumerGroupDescribe
    )
}

/// The handlers of groups and offsets that answer soon; the version of a request that is none of these.
fn of_groups(context: Context, opened: Opened, frame: Frame) -> Result<AnswerFuture, i16> {
    use floe_protocol::messages as m;
    Ok(match opened.api {
        ApiKey::OffsetCommit => Box::pin(serve::<m::offset_commit::OffsetCommitRequest>(
            context, opened, frame,
        )),
        ApiKey::OffsetFetch => Box::pin(serve::<m::offset_fetch::OffsetFetchRequest>(
            context, opened, frame,
        )),
        ApiKey::Heartbeat => Box::pin(serve::<m::heartbeat::HeartbeatRequest>(
            context, opened, frame,
        )),
        ApiKey::LeaveGroup => Box::pin(serve::<m::leave_group::LeaveGroupRequest>(
            context, opened, frame,
        )),
        ApiKey::DescribeGroups => Box::pin(serve::<m::describe_groups::DescribeGroupsRequest>(
            context, opened, frame,
        )),
        ApiKey::ListGroups => Box::pin(serve::<m::list_groups::ListGroupsRequest>(
            context, opened, frame,
        )),
        ApiKey::DeleteGroups => Box::pin(serve::<m::delete_groups::DeleteGroupsRequest>(
            context, opened, frame,
        )),
        ApiKey::ConsumerGroupHeartbeat => Box::pin(serve::<
            m::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest,
        >(context, opened, frame)),
        ApiKey::ConsumerGroupDescribe => Box::pin(serve::<
            m::consumer_group_describe::ConsumerGroupDescribeRequest,
        >(context, opened, frame)),
        ApiKey::OffsetDelete => Box::pin(serve::<m::offset_delete::OffsetDeleteRequest>(
            context, opened, frame,
        )),
        _ => return Err(opened.version),
    })
}

/// Decodes the body of a request; bytes after it are ignored, as by Kafka, and counted.
fn decode_body<R: Request>(context: &Context, opened: &mut Opened) -> Result<R, CloseCause> {
    let version = opened.version;
    let request =
        R::decode(&mut opened.decoder, version).map_err(|source| CloseCause::Malformed {
            api: R::KEY,
            version,
            source,
        })?;
    let trailing = opened.decoder.remaining_bytes();
    if trailing > 0 {
        let counted = u64::try_from(trailing).unwrap_or(u64::MAX);
        context.broker.metrics.trailing_bytes.inc_by(counted);
    }
    Ok(request)
}

/// Decodes, handles and answers one request of an API whose answers do not overlap.
async fn serve<R: Handler>(context: Context, mut opened: Opened, frame: Frame) -> Answer {
    let request: R = match decode_body(&context, &mut opened) {
        Ok(request) => request,
        Err(cause) => return Answer::Close(cause),
    };
    let (version, correlation_id) = (opened.version, opened.correlation_id);
    drop(opened);
    let handled = guarded_future(request.handle(&context)).await;
    let answer = match handled {
        Ok(response) => encode::<R>(version, correlation_id, &response),
        Err(_) => None,
    };
    let answer = answer.unwrap_or_else(|| failure::<R>(&context, &frame.bytes));
    context
        .broker
        .metrics
        .request_took(R::KEY, frame.arrived.elapsed());
    answer
}

/// The frame of a response; `None` if it cannot be written in this version, which is a bug.
fn encode<R: Request>(version: i16, correlation_id: i32, response: &R::Response) -> Option<Answer> {
    let mut encoder = Encoder::new();
    encode_response_header(&mut encoder, R::KEY, version, correlation_id);
    match response.encode(&mut encoder, version) {
        Ok(()) => Some(Answer::Frame(encoder.finish())),
        Err(error) => {
            tracing::error!(api = %R::KEY, version, %error, "an answer could not be written");
            None
        }
    }
}

/// What a request gets whose handler panicked: `UNKNOWN_SERVER_ERROR` where its response has room for
/// it, else a closed connection. Reads the request again, so that nobody keeps a copy for this.
fn failure<R: Refuse>(context: &Context, frame: &Bytes) -> Answer {
    context.broker.metrics.handler_panics.inc();
    let version = context.version;
    let mut decoder = Decoder::new(frame.clone(), Budget::for_frame(frame.len()));
    let answer = RequestHeader::decode(&mut decoder).ok().and_then(|header| {
        let request = R::decode(&mut decoder, version).ok()?;
        let response = request.refuse(version, ErrorCode::UnknownServerError)?;
        encode::<R>(version, header.correlation_id, &response)
    });
    answer.unwrap_or(Answer::Close(CloseCause::HandlerFailed {
        api: R::KEY,
        version,
    }))
}
