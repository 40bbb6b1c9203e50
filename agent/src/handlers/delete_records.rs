//! DeleteRecords (KIP-107): moves the start of a log up. It is told when no agent serves what lies below any more.

use floe_metadata::api::{PartitionBounds, Topic};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use floe_protocol::types::{Offset, TopicPartition};
use tokio::time::Instant;

use super::change::{deadline, settle};
use super::{Context, Handler, Refuse};

/// Stands for the high watermark.
const HIGH_WATERMARK: Offset = -1;

/// Where a log starts afterwards.
type Outcome = Result<Offset, ErrorCode>;

impl Handler for DeleteRecordsRequest {
    async fn handle(self, context: &Context) -> DeleteRecordsResponse {
        let deadline = deadline(self.timeout_ms);
        let asked = resolve_all(&self, context);
        let outcomes = delete_all(asked, deadline, context).await;
        response(&self, outcomes)
    }
}

impl Refuse for DeleteRecordsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DeleteRecordsResponse> {
        let count = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        Some(response(self, vec![Err(code); count]))
    }
}

type Asked = Result<(TopicPartition, Offset), ErrorCode>;

/// The partitions of a request, in its order.
fn resolve_all(request: &DeleteRecordsRequest, context: &Context) -> Vec<Asked> {
    let view = &context.broker.view;
    let settings = context.broker.settings_now();
    let of_topic = |name: &str| {
        let topic = view.topic_by_name(name);
        let may_drop = topic.as_ref().map(|it| settings.topic(it).drops_old);
        (topic, may_drop)
    };
    let mut asked = Vec::new();
    for data in &request.topics {
        let (topic, may_drop) = of_topic(&data.name);
        for partition in &data.partitions {
            let index = partition.partition_index;
            let holds = |topic: &Topic| (0..topic.partition_count).contains(&index);
            let topic = topic.as_deref().filter(|topic| holds(topic));
            asked.push(match (topic, may_drop) {
                (Some(_), Some(false)) => Err(ErrorCode::PolicyViolation),
                (Some(topic), _) => Ok((TopicPartition::new(topic.id, index), partition.offset)),
                (None, _) => Err(ErrorCode::UnknownTopicOrPartition),
            });
        }
    }
    asked
}

/// Where to move a log's start, within its bounds.
fn checked(offset: Offset, bounds: PartitionBounds) -> Result<Offset, ErrorCode> {
    match offset {
        HIGH_WATERMARK => Ok(bounds.high_watermark),
        // A high watermark never falls, so that an offset it has reached may be moved to later, too.
        offset if (0..=bounds.high_watermark).contains(&offset) => Ok(offset),
        _ => Err(ErrorCode::OffsetOutOfRange),
    }
}

async fn delete_all(asked: Vec<Asked>, deadline: Instant, context: &Context) -> Vec<Outcome> {
    let metadata = &context.broker.metadata;
    let partitions: Vec<_> = asked.iter().flatten().map(|(at, _)| *at).collect();
    let bounds = settle(context, deadline, async |_| {
        let bounds = metadata.bounds(partitions.clone()).await?;
        Ok((bounds, None))
    });
    let all = |code: ErrorCode, asked: &[Asked]| {
        let failed = asked.iter().map(|asked| asked.and(Err(code)));
        failed.collect()
    };
    let bounds = match bounds.await {
        Ok(bounds) => bounds,
        Err(failure) => return all(failure.code, &asked),
    };
    let mut bounds = bounds.into_iter();
    let moves: Vec<Asked> = asked
        .into_iter()
        .map(|asked| {
            let (partition, offset) = asked?;
            let bounds = bounds.next().flatten();
            let bounds = bounds.ok_or(ErrorCode::UnknownTopicOrPartition)?;
            checked(offset, bounds).map(|to| (partition, to))
        })
        .collect();
    let wanted: Vec<_> = moves.iter().flatten().copied().collect();
    if wanted.is_empty() {
        return moves.into_iter().map(|it| it.map(|(_, to)| to)).collect();
    }
    let moved = settle(context, deadline, async |_| {
        let (bounds, revision) = metadata.move_log_starts(wanted.clone()).await?;
        Ok((bounds, Some(revision)))
    });
    let moved = match moved.await {
        Ok(moved) => moved,
        Err(failure) => return all(failure.code, &moves),
    };
    let mut moved = moved.into_iter();
    let outcome = |asked: Asked| {
        asked?;
        let bounds = moved.next().flatten();
        bounds
            .map(|bounds| bounds.log_start)
            .ok_or(ErrorCode::UnknownTopicOrPartition)
    };
    moves.into_iter().map(outcome).collect()
}

/// The response that says `outcomes`, one per partition of `request`, in its order.
fn response(request: &DeleteRecordsRequest, outcomes: Vec<Outcome>) -> DeleteRecordsResponse {
    let mut outcomes = outcomes.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(outcomes.by_ref());
        let partitions = partitions.map(|(partition, outcome)| DeleteRecordsPartitionResult {
            partition_index: partition.partition_index,
            low_watermark: outcome.unwrap_or(-1),
            error_code: outcome.err().unwrap_or(ErrorCode::None).code(),
        });
        DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions: partitions.collect(),
        }
    });
    DeleteRecordsResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}
