//! What administrators ask, to messages and back.

use std::sync::Arc;

use super::convert::{Malformed, array, id_bytes, need, number, offset, topic_id, unsigned};
use super::proto::{self, admin_answer, admin_call, altered_resource};
use crate::api::admin::{
    ActiveProducer, AdminReply, AdminRequest, AlterConfigs, ConfigKind, ConfigResource,
    NamedConfigs, QuorumFacts,
};

impl From<&NamedConfigs> for proto::NamedConfigs {
    fn from(configs: &NamedConfigs) -> Self {
        Self {
            kind: u32::from(configs.kind.number()),
            name: configs.name.to_string(),
            values: configs.values.as_ref().clone(),
        }
    }
}

impl TryFrom<proto::NamedConfigs> for NamedConfigs {
    type Error = Malformed;

    fn try_from(configs: proto::NamedConfigs) -> Result<Self, Malformed> {
        Ok(Self {
            kind: need(ConfigKind::of_number(number(configs.kind)?))?,
            name: Arc::from(configs.name),
            values: Arc::new(configs.values),
        })
    }
}

impl From<AdminRequest> for proto::AdminCall {
    fn from(request: AdminRequest) -> Self {
        use admin_call::What;
        let partitions = |partitions: Vec<_>| proto::BoundsRequest {
            partitions: partitions.into_iter().map(Into::into).collect(),
        };
        let what = match request {
            AdminRequest::AlterConfigs(change) => What::AlterConfigs(change.into()),
            AdminRequest::MoveLogStarts(moves) => {
                let moves = moves.into_iter().map(|(partition, to)| {
                    let partition = Some(partition.into());
                    let log_start = unsigned(to);
                    proto::LogStartMoved {
                        partition,
                        log_start,
                    }
                });
                What::MoveLogStarts(proto::LogStarts {
                    moves: moves.collect(),
                })
            }
            AdminRequest::Sizes(asked) => What::Sizes(partitions(asked)),
            AdminRequest::Producers(asked) => What::Producers(partitions(asked)),
            AdminRequest::Quorum => What::Quorum(proto::Empty {}),
        };
        Self { what: Some(what) }
    }
}

impl TryFrom<proto::AdminCall> for AdminRequest {
    type Error = Malformed;

    fn try_from(call: proto::AdminCall) -> Result<Self, Malformed> {
        use admin_call::What;
        let partitions = |asked: proto::BoundsRequest| {
            let partitions = asked.partitions.into_iter().map(TryInto::try_into);
            partitions.collect::<Result<Vec<_>, _>>()
        };
        Ok(match need(call.what)? {
            What::AlterConfigs(change) => Self::AlterConfigs(change.try_into()?),
            What::MoveLogStarts(all) => {
                let moves = all.moves.into_iter().map(|it| {
                    let partition = need(it.partition)?.try_into()?;
                    Ok((partition, offset(it.log_start)?))
                });
                Self::MoveLogStarts(moves.collect::<Result<_, Malformed>>()?)
            }
            What::Sizes(asked) => Self::Sizes(partitions(asked)?),
            What::Producers(asked) => Self::Producers(partitions(asked)?),
            What::Quorum(_) => Self::Quorum,
        })
    }
}

impl From<AlterConfigs> for proto::AlterConfigs {
    fn from(change: AlterConfigs) -> Self {
        use altered_resource::What;
        let what = match change.resource {
            ConfigResource::Topic(id) => What::Topic(id_bytes(id)),
            ConfigResource::Named(kind, name) => What::Named(proto::NamedConfigs {
                kind: u32::from(kind.number()),
                name: name.to_string(),
                ..proto::NamedConfigs::default()
            }),
        };
        Self {
            resource: Some(proto::AlteredResource { what: Some(what) }),
            before: change.before,
            after: change.after,
        }
    }
}

impl TryFrom<proto::AlterConfigs> for AlterConfigs {
    type Error = Malformed;

    fn try_from(change: proto::AlterConfigs) -> Result<Self, Malformed> {
        use altered_resource::What;
        let resource = match need(need(change.resource)?.what)? {
            What::Topic(id) => ConfigResource::Topic(topic_id(&id)?),
            What::Named(named) => {
                let NamedConfigs { kind, name, .. } = named.try_into()?;
                ConfigResource::Named(kind, name)
            }
        };
        Ok(Self {
            resource,
            before: change.before,
            after: change.after,
        })
    }
}

impl proto::AdminAnswer {
    /// The answer of the process that calls itself `here`.
    pub(super) fn new(reply: AdminReply, here: [u8; 16]) -> Self {
        use admin_answer::What;
        let what = match reply {
            AdminReply::Altered(revision) => What::Altered(revision),
            AdminReply::LogStarts(bounds, revision) => What::LogStarts(proto::MovedLogStarts {
                bounds: Some(proto::BoundsReply {
                    bounds: bounds
                        .into_iter()
                        .map(|bounds| proto::MaybeBounds {
                            bounds: bounds.map(Into::into),
                        })
                        .collect(),
                }),
                revision,
            }),
            AdminReply::Sizes(sizes) => What::Sizes(proto::SizesReply {
                // 0 for a partition that does not exist, else one more than the size.
                sizes_and_one: sizes
                    .into_iter()
                    .map(|size| size.map_or(0, |size| size.saturating_add(1)))
                    .collect(),
            }),
            AdminReply::Producers(all) => What::Producers(proto::ProducersReply {
                partitions: all
                    .into_iter()
                    .map(|producers| proto::ProducersOfPartition {
                        exists: producers.is_some(),
                        producers: producers
                            .unwrap_or_default()
                            .into_iter()
                            .map(Into::into)
                            .collect(),
                    })
                    .collect(),
            }),
            AdminReply::Quorum(facts) => What::Quorum(proto::QuorumReply {
                owner: bytes::Bytes::copy_from_slice(&facts.owner.unwrap_or(here)),
                write_epoch: facts.write_epoch,
                revision: facts.revision,
            }),
        };
        Self { what: Some(what) }
    }
}

impl TryFrom<proto::AdminAnswer> for AdminReply {
    type Error = Malformed;

    fn try_from(answer: proto::AdminAnswer) -> Result<Self, Malformed> {
        use admin_answer::What;
        Ok(match need(answer.what)? {
            What::Altered(revision) => Self::Altered(revision),
            What::LogStarts(moved) => {
                let bounds = need(moved.bounds)?.bounds.into_iter();
                let bounds = bounds.map(|maybe| maybe.bounds.map(TryInto::try_into).transpose());
                Self::LogStarts(bounds.collect::<Result<_, _>>()?, moved.revision)
            }
            What::Sizes(sizes) => {
                let sizes = sizes.sizes_and_one.into_iter();
                Self::Sizes(sizes.map(|size| size.checked_sub(1)).collect())
            }
            What::Producers(all) => {
                let partitions = all.partitions.into_iter().map(|partition| {
                    let producers = partition.producers.into_iter().map(TryInto::try_into);
                    let producers = producers.collect::<Result<Vec<_>, Malformed>>()?;
                    Ok(partition.exists.then_some(producers))
                });
                Self::Producers(partitions.collect::<Result<_, Malformed>>()?)
            }
            What::Quorum(facts) => Self::Quorum(QuorumFacts {
                owner: Some(array(&facts.owner)?),
                write_epoch: facts.write_epoch,
                revision: facts.revision,
            }),
        })
    }
}

impl From<ActiveProducer> for proto::ActiveProducer {
    fn from(producer: ActiveProducer) -> Self {
        Self {
            id: producer.id,
            epoch: i32::from(producer.epoch),
            last_sequence: producer.last_sequence,
            last_timestamp_ms: producer.last_timestamp_ms,
        }
    }
}

impl TryFrom<proto::ActiveProducer> for ActiveProducer {
    type Error = Malformed;

    fn try_from(producer: proto::ActiveProducer) -> Result<Self, Malformed> {
        Ok(Self {
            id: producer.id,
            epoch: number(producer.epoch)?,
            last_sequence: producer.last_sequence,
            last_timestamp_ms: producer.last_timestamp_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PartitionBounds;
    use crate::testing::{partition, topic_id};

    #[test]
    fn requests_survive_the_journey() {
        let values = |value: &str| [("a".to_owned(), value.to_owned())].into();
        let alter = |resource| {
            AdminRequest::AlterConfigs(AlterConfigs {
                resource,
                before: values("b"),
                after: values("c"),
            })
        };
        for request in [
            alter(ConfigResource::Topic(topic_id(3))),
            alter(ConfigResource::Named(ConfigKind::Group, Arc::from("g"))),
            alter(ConfigResource::Named(ConfigKind::Broker, Arc::from(""))),
            AdminRequest::MoveLogStarts(vec![(partition(1, 2), i64::MAX), (partition(2, 0), 0)]),
            AdminRequest::Sizes(vec![partition(1, 2)]),
            AdminRequest::Producers(vec![partition(1, 3), partition(1, 2)]),
            AdminRequest::Quorum,
        ] {
            let call = proto::AdminCall::from(request.clone());
            assert_eq!(AdminRequest::try_from(call), Ok(request));
        }
        let nothing = proto::AdminCall { what: None };
        assert_eq!(AdminRequest::try_from(nothing), Err(Malformed));
    }

    #[test]
    fn replies_survive_the_journey() {
        let producer = ActiveProducer {
            id: 1 << 40,
            epoch: 7,
            last_sequence: i32::MAX,
            last_timestamp_ms: -1,
        };
        let bounds = PartitionBounds {
            log_start: 1,
            high_watermark: 3,
            last_stable: 2,
        };
        for reply in [
            AdminReply::Altered(9),
            AdminReply::LogStarts(vec![Some(bounds), None], 4),
            AdminReply::Sizes(vec![None, Some(0), Some(17)]),
            AdminReply::Producers(vec![None, Some(vec![]), Some(vec![producer])]),
        ] {
            let answer = proto::AdminAnswer::new(reply.clone(), [0; 16]);
            assert_eq!(AdminReply::try_from(answer), Ok(reply));
        }
        let facts = |owner| QuorumFacts {
            owner,
            write_epoch: 3,
            revision: 5,
        };
        let answer = proto::AdminAnswer::new(AdminReply::Quorum(facts(None)), [8; 16]);
        let told = AdminReply::Quorum(facts(Some([8; 16])));
        assert_eq!(
            AdminReply::try_from(answer),
            Ok(told),
            "who answers says who it is"
        );
    }
}
