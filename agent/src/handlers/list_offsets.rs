//! ListOffsets: where logs begin and end, and which record is the first of a time (protocol guide,
//! "ListOffsets"). Bounds come from metadata itself, so that they never go back on any agent.

mod search;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::{PartitionBounds, Topic};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic, ListOffsetsTopicResponse,
};
use floe_protocol::types::{LeaderEpoch, Offset, TimestampMs, TopicPartition};
use futures::{StreamExt as _, stream};

use self::search::{Search, Wanted};
use super::{Context, Handler, Refuse};
use crate::fetch::Isolation;

/// Partitions that are searched for a time at once.
const SEARCHES_AT_ONCE_MAX: usize = 16;
/// How long a request may take that does not say so itself (before version 10).
const TIMEOUT: Duration = Duration::from_secs(30);
/// Records and bounds carry this epoch, as batches do: it never changes afterwards.
const RECORD_LEADER_EPOCH: LeaderEpoch = 0;

/// What a request's timestamp stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    /// -1: the end of what may be read.
    Latest,
    /// -2, and -4: the start of what is kept here, which is all there is.
    Earliest,
    /// -3: the record with the greatest time (KIP-734).
    MaxTimestamp,
    /// -5, -6: what lies in another tier (KIP-1005, KIP-1023); there is none.
    OtherTier,
    /// The first record at or after this time.
    Time(TimestampMs),
}

impl Target {
    /// The target of `timestamp`, if this version knows it.
    const fn of(timestamp: i64, version: i16) -> Option<Self> {
        let (target, since_version) = match timestamp {
            -1 => (Self::Latest, 0),
            -2 => (Self::Earliest, 0),
            -3 => (Self::MaxTimestamp, 7),
            -4 => (Self::Earliest, 8),
            -5 => (Self::OtherTier, 9),
            -6 => (Self::OtherTier, 11),
            0.. => (Self::Time(timestamp), 0),
            _ => return None,
        };
        if version >= since_version {
            Some(target)
        } else {
            None
        }
    }
}

/// One partition of the request, resolved.
struct Asked {
    topic: Arc<Topic>,
    partition: TopicPartition,
    target: Target,
}

type Found = Result<Option<Position>, ErrorCode>;

/// An offset and, for a record found by time, its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Position {
    offset: Offset,
    timestamp_ms: TimestampMs,
}

impl Position {
    const fn bound(offset: Offset) -> Self {
        Self {
            offset,
            timestamp_ms: -1,
        }
    }
}

impl Handler for ListOffsetsRequest {
    async fn handle(self, context: &Context) -> ListOffsetsResponse {
        let Some(isolation) = Isolation::from_wire(self.isolation_level) else {
            return self
                .refuse(context.version, ErrorCode::InvalidRequest)
                .unwrap_or_default();
        };
        let timeout = u64::try_from(self.timeout_ms).ok().filter(|ms| *ms > 0);
        let timeout = timeout.map_or(TIMEOUT, Duration::from_millis);
        let finding = find_all(&self, isolation, context);
        match tokio::time::timeout(timeout, finding).await {
            Ok(found) => response(&self, found),
            Err(_) => self
                .refuse(context.version, unsure(context.version))
                .unwrap_or_default(),
        }
    }
}

impl Refuse for ListOffsetsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ListOffsetsResponse> {
        let count = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        Some(response(self, vec![Err(code); count]))
    }
}

/// What is said when metadata does not answer (KIP-207 has a code for it since version 5).
fn unsure(version: i16) -> ErrorCode {
    if version >= 5 {
        ErrorCode::OffsetNotAvailable
    } else {
        ErrorCode::LeaderNotAvailable
    }
}

/// The answers for all partitions, in the order of the request.
async fn find_all(
    request: &ListOffsetsRequest,
    isolation: Isolation,
    context: &Context,
) -> Vec<Found> {
    let resolved = resolve_all(request, context);
    let partitions = resolved
        .iter()
        .flatten()
        .map(|asked| asked.partition)
        .collect();
    let bounds = context.broker.metadata.bounds(partitions).await;
    let Ok(bounds) = bounds else {
        let code = unsure(context.version);
        return resolved
            .into_iter()
            .map(|asked| asked.and(Err(code)))
            .collect();
    };
    let mut bounds = bounds.into_iter();
    let asked: Vec<_> = resolved
        .into_iter()
        .map(|asked| {
            let asked = asked?;
            match bounds.next().flatten() {
                Some(bounds) => Ok((asked, bounds)),
                None => Err(ErrorCode::UnknownTopicOrPartition),
            }
        })
        .collect();
    let finding = asked.into_iter().map(|asked| async {
        match asked {
            Ok((asked, bounds)) => find(asked, bounds, isolation, context).await,
            Err(code) => Err(code),
        }
    });
    stream::iter(finding)
        .buffered(SEARCHES_AT_ONCE_MAX)
        .collect()
        .await
}

async fn find(
    asked: Asked,
    bounds: PartitionBounds,
    isolation: Isolation,
    context: &Context,
) -> Found {
    let upper = isolation.upper(&bounds);
    let wanted = match asked.target {
        Target::Latest => return Ok(Some(Position::bound(upper))),
        Target::Earliest => return Ok(Some(Position::bound(bounds.log_start))),
        Target::OtherTier => return Ok(None),
        Target::MaxTimestamp => Wanted::Greatest,
        Target::Time(timestamp_ms) => Wanted::AtOrAfter(timestamp_ms),
    };
    let settings = context.broker.settings_now().topic(&asked.topic);
    let search = Search {
        context,
        partition: asked.partition,
        offsets: bounds.log_start..upper,
        max_message_bytes: settings.max_message_bytes,
    };
    search.run(wanted).await
}

fn resolve_all(request: &ListOffsetsRequest, context: &Context) -> Vec<Result<Asked, ErrorCode>> {
    let named = || {
        request.topics.iter().flat_map(|topic| {
            let name = topic.name.as_str();
            topic
                .partitions
                .iter()
                .map(move |partition| (name, partition.partition_index))
        })
    };
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<_> = named()
        .filter(|partition| !seen.insert(*partition))
        .collect();
    let resolve_topic = |data: &ListOffsetsTopic| {
        let topic = context.broker.view.topic_by_name(&data.name);
        let resolve = |partition: &ListOffsetsPartition| {
            if twice.contains(&(data.name.as_str(), partition.partition_index)) {
                return Err(ErrorCode::InvalidRequest);
            }
            resolve(topic.as_ref(), partition, context)
        };
        data.partitions.iter().map(resolve).collect::<Vec<_>>()
    };
    request.topics.iter().flat_map(resolve_topic).collect()
}

fn resolve(
    topic: Option<&Arc<Topic>>,
    partition: &ListOffsetsPartition,
    context: &Context,
) -> Result<Asked, ErrorCode> {
    let index = partition.partition_index;
    let topic = topic
        .filter(|topic| (0..topic.partition_count).contains(&index))
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    // Epochs up to ours are served, see `fetch::look`.
    if partition.current_leader_epoch > context.broker.view.leader_epoch() {
        return Err(ErrorCode::UnknownLeaderEpoch);
    }
    let target =
        Target::of(partition.timestamp, context.version).ok_or(ErrorCode::UnsupportedVersion)?;
    let partition = TopicPartition::new(topic.id, index);
    Ok(Asked {
        topic: Arc::clone(topic),
        partition,
        target,
    })
}

/// The response that says `found`, one entry per partition of `request`, in its order.
fn response(request: &ListOffsetsRequest, found: Vec<Found>) -> ListOffsetsResponse {
    let mut found = found.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let answers = topic.partitions.iter().zip(found.by_ref());
        ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: answers
                .map(|(partition, found)| answer(partition.partition_index, found))
                .collect(),
        }
    });
    ListOffsetsResponse {
        topics: topics.collect(),
        ..ListOffsetsResponse::default()
    }
}

fn answer(partition_index: i32, found: Found) -> ListOffsetsPartitionResponse {
    let nothing = ListOffsetsPartitionResponse {
        partition_index,
        error_code: ErrorCode::None.code(),
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
    };
    match found {
        Ok(Some(Position {
            offset,
            timestamp_ms,
        })) => ListOffsetsPartitionResponse {
            timestamp: timestamp_ms,
            offset,
            leader_epoch: RECORD_LEADER_EPOCH,
            ..nothing
        },
        Ok(None) => nothing,
        Err(code) => ListOffsetsPartitionResponse {
            error_code: code.code(),
            ..nothing
        },
    }
}

#[cfg(test)]
mod tests;
