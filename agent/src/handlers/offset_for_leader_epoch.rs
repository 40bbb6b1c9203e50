//! OffsetForLeaderEpoch (KIP-101, KIP-320): where the records of a leader epoch end. All batches carry epoch 0 and no
//! log is ever cut back, so that every epoch there has been ends where the log does.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};
use floe_protocol::types::{LeaderEpoch, Offset, TopicPartition};

use super::{Context, Handler, Refuse};

/// An epoch and its end; `None` for an epoch there has not been.
type Outcome = Result<Option<(LeaderEpoch, Offset)>, ErrorCode>;

impl Handler for OffsetForLeaderEpochRequest {
    async fn handle(self, context: &Context) -> OffsetForLeaderEpochResponse {
        let outcomes = find_all(&self, context).await;
        response(&self, outcomes)
    }
}

impl Refuse for OffsetForLeaderEpochRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<OffsetForLeaderEpochResponse> {
        let count = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        Some(response(self, vec![Err(code); count]))
    }
}

async fn find_all(request: &OffsetForLeaderEpochRequest, context: &Context) -> Vec<Outcome> {
    let view = &context.broker.view;
    let present = view.leader_epoch();
    let mut asked = Vec::new();
    for data in &request.topics {
        let topic = view.topic_by_name(&data.topic);
        let resolve = |it: &OffsetForLeaderPartition| {
            let topic = topic.as_ref();
            let topic = topic.filter(|topic| (0..topic.partition_count).contains(&it.partition));
            let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
            // Epochs up to ours are served, see `fetch::look`.
            if it.current_leader_epoch > present {
                return Err(ErrorCode::UnknownLeaderEpoch);
            }
            let partition = TopicPartition::new(topic.id, it.partition);
            Ok((partition, it.leader_epoch))
        };
        asked.extend(data.partitions.iter().map(resolve));
    }
    let partitions = asked.iter().flatten().map(|(at, _)| *at).collect();
    let Ok(bounds) = context.broker.metadata.bounds(partitions).await else {
        let unsure = Err(ErrorCode::OffsetNotAvailable);
        return asked.into_iter().map(|it| it.and(unsure)).collect();
    };
    let mut bounds = bounds.into_iter();
    let find = |asked: Result<(TopicPartition, LeaderEpoch), ErrorCode>| {
        let (_, epoch) = asked?;
        let bounds = bounds.next().flatten();
        let bounds = bounds.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok((0..=present)
            .contains(&epoch)
            .then_some((epoch, bounds.high_watermark)))
    };
    asked.into_iter().map(find).collect()
}

fn response(
    request: &OffsetForLeaderEpochRequest,
    outcomes: Vec<Outcome>,
) -> OffsetForLeaderEpochResponse {
    let mut outcomes = outcomes.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(outcomes.by_ref());
        let partitions = partitions.map(|(asked, outcome)| {
            let (leader_epoch, end_offset) = outcome.ok().flatten().unwrap_or((-1, -1));
            EpochEndOffset {
                error_code: outcome.err().unwrap_or(ErrorCode::None).code(),
                partition: asked.partition,
                leader_epoch,
                end_offset,
            }
        });
        OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: partitions.collect(),
        }
    });
    OffsetForLeaderEpochResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}
