//! OffsetFetch: what groups have committed, from metadata itself, so that it never goes back on any agent. There
//! are no transactions, so every offset is stable.

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_metadata::api::groups::{
    FetchedOffset, GroupReply, GroupRequest, OffsetsOf, PAGE_ITEMS, TopicRef,
};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use floe_protocol::str::Str;
use floe_protocol::types::{PartitionIndex, TopicId, TopicPartition};
use futures::{StreamExt as _, stream};

use super::groups::{PATIENCE, ask};
use super::{Context, Handler, Refuse};

/// The first version with an error for the whole answer.
const WITH_ERROR: i16 = 2;
/// The first version with several groups.
const BATCHED: i16 = 8;
/// The first version with topic ids (KIP-848).
const BY_ID: i16 = 10;

/// Groups that are asked for at once.
const GROUPS_AT_ONCE_MAX: usize = 16;

/// The partitions of topics, in the order of the request.
type Asked = Vec<(TopicRef, Vec<PartitionIndex>)>;

/// Who asks: member id and epoch (KIP-848).
type By = (Option<String>, i32);

impl Handler for OffsetFetchRequest {
    async fn handle(self, context: &Context) -> OffsetFetchResponse {
        if context.version < BATCHED {
            let asked = self.topics.as_ref().map(|topics| {
                let topics = topics.iter();
                let topic = topics.map(|topic| (by_name(&topic.name), &topic.partition_indexes));
                topic
                    .map(|(name, indexes)| (name, indexes.clone()))
                    .collect()
            });
            let nobody = (None, -1);
            return match fetch(context, &self.group_id, nobody, asked).await {
                Ok(topics) => single(topics),
                Err(code) => self.refuse(context.version, code).unwrap_or_default(),
            };
        }
        let groups = self.groups.into_iter();
        let groups = groups.map(|group| async move { fetch_group(context, &group).await });
        OffsetFetchResponse {
            groups: stream::iter(groups)
                .buffered(GROUPS_AT_ONCE_MAX)
                .collect()
                .await,
            ..OffsetFetchResponse::default()
        }
    }
}

impl Refuse for OffsetFetchRequest {
    fn refuse(&self, version: i16, code: ErrorCode) -> Option<OffsetFetchResponse> {
        if version >= BATCHED {
            let groups = self.groups.iter().map(|group| failed(group, code));
            return Some(OffsetFetchResponse {
                groups: groups.collect(),
                ..OffsetFetchResponse::default()
            });
        }
        if version >= WITH_ERROR {
            return Some(OffsetFetchResponse {
                error_code: code.code(),
                ..OffsetFetchResponse::default()
            });
        }
        let topics = self.topics.iter().flatten();
        let topics = topics.map(|topic| OffsetFetchResponseTopics {
            name: topic.name.clone(),
            partitions: topic
                .partition_indexes
                .iter()
                .map(|index| partition(*index, Err(code)))
                .collect(),
            ..OffsetFetchResponseTopics::default()
        });
        Some(single(topics.collect()))
    }
}

async fn fetch_group(
    context: &Context,
    group: &OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let topic = |topic: &OffsetFetchRequestTopics| {
        let named = if context.version >= BY_ID {
            TopicRef::Id(TopicId(topic.topic_id))
        } else {
            by_name(&topic.name)
        };
        (named, topic.partition_indexes.clone())
    };
    let topics = group.topics.as_ref();
    let asked = topics.map(|topics| topics.iter().map(topic).collect());
    let member_id = group.member_id.as_ref().map(|id| id.as_str().to_owned());
    let by = (member_id, group.member_epoch);
    match fetch(context, &group.group_id, by, asked).await {
        Ok(topics) => OffsetFetchResponseGroup {
            group_id: group.group_id.clone(),
            topics,
            error_code: ErrorCode::None.code(),
        },
        Err(code) => failed(group, code),
    }
}

fn by_name(name: &Str) -> TopicRef {
    TopicRef::Name(name.as_str().to_owned())
}

/// The offsets asked for, or all there are.
async fn fetch(
    context: &Context,
    group: &str,
    by: By,
    asked: Option<Asked>,
) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
    match asked {
        Some(asked) => fetch_some(context, group, by, asked).await,
        None => fetch_all(context, group, by).await,
    }
}

async fn fetch_some(
    context: &Context,
    group: &str,
    by: By,
    asked: Asked,
) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
    let mut topics = Vec::with_capacity(asked.len());
    // What fits one answer at a time: mostly all of it.
    let mut rest = asked.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut page, mut count) = (Asked::new(), 0);
        while let Some((topic, indexes)) =
            rest.next_if(|(_, indexes)| count == 0 || count + indexes.len() <= PAGE_ITEMS)
        {
            count += indexes.len();
            page.push((topic, indexes));
        }
        let lengths: Vec<_> = page.iter().map(|(_, indexes)| indexes.len()).collect();
        let refs: Vec<_> = page.iter().map(|(topic, _)| topic.clone()).collect();
        let mut offsets = Vec::with_capacity(count);
        for page in pages_of(page) {
            offsets.extend(
                page_of(context, group, &by, OffsetsOf::Partitions(page))
                    .await?
                    .0,
            );
        }
        let mut offsets = offsets.into_iter();
        for (topic, length) in refs.into_iter().zip(lengths) {
            let (name, topic_id) = match topic {
                TopicRef::Name(name) => (Str::from(name), TopicId::ZERO),
                TopicRef::Id(id) => (Str::new(), id),
            };
            let partitions = offsets.by_ref().take(length);
            topics.push(OffsetFetchResponseTopics {
                name,
                topic_id: topic_id.0,
                partitions: partitions
                    .map(|it| partition(it.partition, it.committed))
                    .collect(),
            });
        }
    }
    Ok(topics)
}

/// A page, or what one topic of too many partitions is cut into.
fn pages_of(page: Asked) -> Vec<Asked> {
    match page.as_slice() {
        [(topic, indexes)] if indexes.len() > PAGE_ITEMS => indexes
            .chunks(PAGE_ITEMS)
            .map(|indexes| vec![(topic.clone(), indexes.to_vec())])
            .collect(),
        _ => vec![page],
    }
}

async fn fetch_all(
    context: &Context,
    group: &str,
    by: By,
) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
    let mut topics: BTreeMap<Arc<str>, OffsetFetchResponseTopics> = BTreeMap::new();
    let mut after = None;
    loop {
        let (offsets, is_last) = page_of(context, group, &by, OffsetsOf::All(after)).await?;
        let last = offsets.last();
        after = last.map(|last| TopicPartition::new(last.topic, last.partition));
        for offset in offsets {
            let topic =
                topics
                    .entry(offset.name)
                    .or_insert_with_key(|name| OffsetFetchResponseTopics {
                        name: Str::from(name.to_string()),
                        topic_id: offset.topic.0,
                        partitions: Vec::new(),
                    });
            let found = partition(offset.partition, offset.committed);
            topic.partitions.push(found);
        }
        if is_last || after.is_none() {
            return Ok(topics.into_values().collect());
        }
    }
}

async fn page_of(
    context: &Context,
    group: &str,
    by: &By,
    which: OffsetsOf,
) -> Result<(Vec<FetchedOffset>, bool), ErrorCode> {
    let request = GroupRequest::FetchOffsets {
        group: group.to_owned(),
        which,
        by: by.clone(),
    };
    match ask(context, request, PATIENCE).await? {
        GroupReply::Code(code) => Err(code),
        GroupReply::Offsets { offsets, is_last } => Ok((offsets, is_last)),
        _ => Err(ErrorCode::UnknownServerError),
    }
}

type Committed = Result<Option<floe_metadata::api::groups::CommittedOffset>, ErrorCode>;

fn partition(index: PartitionIndex, committed: Committed) -> OffsetFetchResponsePartitions {
    let (committed, code) = match committed {
        Ok(committed) => (committed, ErrorCode::None),
        Err(code) => (None, code),
    };
    let nothing = OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::new()),
        error_code: code.code(),
    };
    match committed {
        None => nothing,
        Some(committed) => OffsetFetchResponsePartitions {
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(Str::from(committed.metadata.to_string())),
            ..nothing
        },
    }
}

fn failed(group: &OffsetFetchRequestGroup, code: ErrorCode) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup {
        group_id: group.group_id.clone(),
        topics: Vec::new(),
        error_code: code.code(),
    }
}

/// The answer of the versions with one group.
fn single(topics: Vec<OffsetFetchResponseTopics>) -> OffsetFetchResponse {
    let partition = |it: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: it.partition_index,
        committed_offset: it.committed_offset,
        committed_leader_epoch: it.committed_leader_epoch,
        metadata: it.metadata,
        error_code: it.error_code,
    };
    let topics = topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    });
    OffsetFetchResponse {
        topics: topics.collect(),
        ..OffsetFetchResponse::default()
    }
}
