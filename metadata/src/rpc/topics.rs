//! Topics and processes to messages and back.

use std::sync::Arc;

use bytes::Bytes;

use super::convert::{Malformed, array, id_bytes, need, number, topic_id};
use super::proto;
use crate::api::{BrokerAddress, NewProcess, NewTopic, Process, Revision, Topic};

impl From<&Topic> for proto::Topic {
    fn from(topic: &Topic) -> Self {
        Self {
            id: id_bytes(topic.id),
            name: topic.name.to_string(),
            partition_count: topic.partition_count,
            replication_factor: i32::from(topic.replication_factor),
            configs: topic.configs.as_ref().clone(),
            created_ms: topic.created_ms,
        }
    }
}

impl TryFrom<proto::Topic> for Topic {
    type Error = Malformed;

    fn try_from(topic: proto::Topic) -> Result<Self, Malformed> {
        Ok(Self {
            id: topic_id(&topic.id)?,
            name: Arc::from(topic.name),
            partition_count: topic.partition_count,
            replication_factor: number(topic.replication_factor)?,
            configs: Arc::new(topic.configs),
            created_ms: topic.created_ms,
        })
    }
}

impl From<NewTopic> for proto::NewTopic {
    fn from(new: NewTopic) -> Self {
        Self {
            id: id_bytes(new.id),
            name: new.name,
            partition_count: new.partition_count,
            replication_factor: i32::from(new.replication_factor),
            configs: new.configs,
        }
    }
}

impl TryFrom<proto::NewTopic> for NewTopic {
    type Error = Malformed;

    fn try_from(new: proto::NewTopic) -> Result<Self, Malformed> {
        Ok(Self {
            id: topic_id(&new.id)?,
            name: new.name,
            partition_count: new.partition_count,
            replication_factor: number(new.replication_factor)?,
            configs: new.configs,
        })
    }
}

impl From<(Arc<Topic>, Revision)> for proto::TopicReply {
    fn from((topic, revision): (Arc<Topic>, Revision)) -> Self {
        Self {
            topic: Some(topic.as_ref().into()),
            revision,
        }
    }
}

impl TryFrom<proto::TopicReply> for (Arc<Topic>, Revision) {
    type Error = Malformed;

    fn try_from(reply: proto::TopicReply) -> Result<Self, Malformed> {
        let topic = Topic::try_from(need(reply.topic)?)?;
        Ok((Arc::new(topic), reply.revision))
    }
}

impl From<&NewProcess> for proto::NewProcess {
    fn from(told: &NewProcess) -> Self {
        let broker = |broker: &BrokerAddress| proto::BrokerAddress {
            listener: broker.listener.clone(),
            node_id: broker.node_id,
            host: broker.host.clone(),
            port: u32::from(broker.port),
        };
        Self {
            nonce: Bytes::copy_from_slice(&told.nonce),
            attempt: told.attempt,
            internal: told.internal.clone(),
            zone: told.zone.clone(),
            brokers: told.brokers.iter().map(broker).collect(),
            feature_level: told.feature_level,
        }
    }
}

impl TryFrom<proto::NewProcess> for NewProcess {
    type Error = Malformed;

    fn try_from(told: proto::NewProcess) -> Result<Self, Malformed> {
        let broker = |broker: proto::BrokerAddress| {
            Ok(BrokerAddress {
                listener: broker.listener,
                node_id: broker.node_id,
                host: broker.host,
                port: number(broker.port)?,
            })
        };
        Ok(Self {
            nonce: array(&told.nonce)?,
            attempt: told.attempt,
            internal: told.internal,
            zone: told.zone,
            brokers: told
                .brokers
                .into_iter()
                .map(broker)
                .collect::<Result<_, _>>()?,
            feature_level: told.feature_level,
        })
    }
}

impl From<&Process> for proto::Process {
    fn from(process: &Process) -> Self {
        Self {
            incarnation: process.incarnation,
            told: Some((&process.told).into()),
        }
    }
}

impl TryFrom<proto::Process> for Process {
    type Error = Malformed;

    fn try_from(process: proto::Process) -> Result<Self, Malformed> {
        Ok(Self {
            incarnation: process.incarnation,
            told: need(process.told)?.try_into()?,
        })
    }
}
