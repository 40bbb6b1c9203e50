//! The rows a state is made of: their keys and the layout of their values.
//!
//! A key is one tag byte and fixed-width big-endian fields, so that key order is the order recovery
//! needs: counters, topics, heads, then segments by commit. A value is one version byte and packed
//! fields. `docs/formats/metadata-rows.md` has the byte tables.
//!
//! | tag | row | fields of the key |
//! | --- | --- | --- |
//! | 0x00 | not the state's | |
//! | 0x01 | [`counters`](super::counters) | |
//! | 0x02 | when blocks of producer ids were handed out | |
//! | 0x08 | registered process | incarnation |
//! | 0x10 | topic | topic id |
//! | 0x18 | heads of 64 partitions | topic id, chunk |
//! | 0x20 | segment: index and outcome of one commit | commit |
//! | 0x30 | figures of groups | |
//! | 0x31 | group | number |
//! | 0x32 | committed offset | number of the group, topic id, partition |
//! | 0x40–0x4f | transactions | |
//! | 0x50 | figures of configs | |
//! | 0x51 | configs of what is no topic, quotas among them | number |
//! | 0x52–0x5f | credentials, ACLs | |
//! | 0x60 | figures of objects | |
//! | 0x61 | dead object | commit |
//! | 0x62–0x6f | more about objects | |
//! | 0xf0 | producer state | producer id, topic id, partition |
//! | 0xf1 | deleted topic | topic id |
//!
//! Tags below 0xf0 are **resident**: recovery scans them all. Tags from 0xf0 on are **paged**: rows are
//! read one by one when a command needs them.

pub(super) mod configs;
pub(super) mod group;
pub(super) mod head;
pub(super) mod object;
pub(super) mod process;
pub(super) mod producer;
pub(super) mod segment;
pub(super) mod topic;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use floe_protocol::types::{PartitionIndex, ProducerId, TopicId, TopicPartition};

use super::codec::{Reader, RowError};

const COUNTERS: u8 = 0x01;
const ID_BLOCKS: u8 = 0x02;
const PROCESS: u8 = 0x08;
const TOPIC: u8 = 0x10;
const HEADS: u8 = 0x18;
const SEGMENT: u8 = 0x20;
const GROUP_FIGURES: u8 = 0x30;
const GROUP: u8 = 0x31;
const OFFSET: u8 = 0x32;
const CONFIG_FIGURES: u8 = 0x50;
const CONFIGS: u8 = 0x51;
const OBJECT_FIGURES: u8 = 0x60;
const DEAD_OBJECT: u8 = 0x61;
const PRODUCER: u8 = 0xf0;
const DELETED_TOPIC: u8 = 0xf1;
/// Above all tags there will ever be.
const END: u8 = 0xff;

/// Key of a row in the engine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(Bytes);

/// What a key says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    Counters,
    IdBlocks,
    Process(u32),
    Topic(TopicId),
    DeletedTopic(TopicId),
    Heads {
        topic: TopicId,
        chunk: u32,
    },
    Segment {
        commit: u64,
    },
    GroupFigures,
    Group(u64),
    Offset {
        group: u64,
        partition: TopicPartition,
    },
    ConfigFigures,
    Configs(u64),
    ObjectFigures,
    DeadObject {
        commit: u64,
    },
    Producer {
        id: ProducerId,
        partition: TopicPartition,
    },
}

impl RowKey {
    /// The keys recovery scans, in order.
    #[must_use]
    pub fn resident() -> Range<Bytes> {
        Bytes::from_static(&[COUNTERS])..Bytes::from_static(&[PRODUCER])
    }

    /// The keys of all rows, resident and paged, in order.
    #[must_use]
    pub fn all() -> Range<Bytes> {
        Bytes::from_static(&[COUNTERS])..Bytes::from_static(&[END])
    }

    /// The keys of all producer states, in order.
    #[must_use]
    pub fn producers() -> Range<Bytes> {
        Bytes::from_static(&[PRODUCER])..Bytes::from_static(&[PRODUCER + 1])
    }

    /// The bytes to ask the engine for.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes to ask the engine for.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The range that holds the counters' row alone.
    #[must_use]
    pub fn only_counters() -> Range<Bytes> {
        Bytes::from_static(&[COUNTERS])..Bytes::from_static(&[COUNTERS, 0])
    }

    pub(super) const fn counters() -> Self {
        Self(Bytes::from_static(&[COUNTERS]))
    }

    pub(super) const fn id_blocks() -> Self {
        Self(Bytes::from_static(&[ID_BLOCKS]))
    }

    pub(super) fn process(incarnation: u32) -> Self {
        Self::new(PROCESS, &[&incarnation.to_be_bytes()])
    }

    pub(super) fn topic(id: TopicId) -> Self {
        Self::new(TOPIC, &[id.as_bytes()])
    }

    pub(super) fn deleted_topic(id: TopicId) -> Self {
        Self::new(DELETED_TOPIC, &[id.as_bytes()])
    }

    pub(super) fn heads(topic: TopicId, chunk: u32) -> Self {
        Self::new(HEADS, &[topic.as_bytes(), &chunk.to_be_bytes()])
    }

    pub(super) fn segment(commit: u64) -> Self {
        Self::new(SEGMENT, &[&commit.to_be_bytes()])
    }

    pub(super) const fn group_figures() -> Self {
        Self(Bytes::from_static(&[GROUP_FIGURES]))
    }

    pub(super) fn group(number: u64) -> Self {
        Self::new(GROUP, &[&number.to_be_bytes()])
    }

    pub(super) fn offset(group: u64, partition: TopicPartition) -> Self {
        let parts: [&[u8]; 3] = [
            &group.to_be_bytes(),
            partition.topic.as_bytes(),
            &partition.partition.to_be_bytes(),
        ];
        Self::new(OFFSET, &parts)
    }

    pub(super) const fn config_figures() -> Self {
        Self(Bytes::from_static(&[CONFIG_FIGURES]))
    }

    pub(super) fn configs(number: u64) -> Self {
        Self::new(CONFIGS, &[&number.to_be_bytes()])
    }

    pub(super) const fn object_figures() -> Self {
        Self(Bytes::from_static(&[OBJECT_FIGURES]))
    }

    pub(super) fn dead_object(commit: u64) -> Self {
        Self::new(DEAD_OBJECT, &[&commit.to_be_bytes()])
    }

    pub(super) fn producer(id: ProducerId, partition: TopicPartition) -> Self {
        let parts: [&[u8]; 3] = [
            &id.to_be_bytes(),
            partition.topic.as_bytes(),
            &partition.partition.to_be_bytes(),
        ];
        Self::new(PRODUCER, &parts)
    }

    fn new(tag: u8, fields: &[&[u8]]) -> Self {
        let mut key = Vec::with_capacity(1 + fields.iter().map(|field| field.len()).sum::<usize>());
        key.push(tag);
        for field in fields {
            key.extend_from_slice(field);
        }
        Self(Bytes::from(key))
    }

    pub(super) fn place(&self) -> Result<Place, RowError> {
        let mut reader = Reader::new(&self.0);
        let place = Self::read_place(&mut reader).map_err(|error| match error {
            RowError::UnknownTag(_) => error,
            _ => RowError::MalformedKey,
        })?;
        reader.finish().map_err(|_| RowError::MalformedKey)?;
        Ok(place)
    }

    fn read_place(reader: &mut Reader<'_>) -> Result<Place, RowError> {
        Ok(match reader.u8()? {
            COUNTERS => Place::Counters,
            ID_BLOCKS => Place::IdBlocks,
            PROCESS => Place::Process(u32::from_be_bytes(reader.array()?)),
            TOPIC => Place::Topic(TopicId::from_bytes(reader.array()?)),
            DELETED_TOPIC => Place::DeletedTopic(TopicId::from_bytes(reader.array()?)),
            HEADS => {
                let topic = TopicId::from_bytes(reader.array()?);
                Place::Heads {
                    topic,
                    chunk: u32::from_be_bytes(reader.array()?),
                }
            }
            SEGMENT => Place::Segment {
                commit: u64::from_be_bytes(reader.array()?),
            },
            GROUP_FIGURES => Place::GroupFigures,
            GROUP => Place::Group(u64::from_be_bytes(reader.array()?)),
            OFFSET => {
                let group = u64::from_be_bytes(reader.array()?);
                let topic = TopicId::from_bytes(reader.array()?);
                let index = PartitionIndex::from_be_bytes(reader.array()?);
                Place::Offset {
                    group,
                    partition: TopicPartition::new(topic, index),
                }
            }
            CONFIG_FIGURES => Place::ConfigFigures,
            CONFIGS => Place::Configs(u64::from_be_bytes(reader.array()?)),
            OBJECT_FIGURES => Place::ObjectFigures,
            DEAD_OBJECT => Place::DeadObject {
                commit: u64::from_be_bytes(reader.array()?),
            },
            PRODUCER => {
                let id = ProducerId::from_be_bytes(reader.array()?);
                let topic = TopicId::from_bytes(reader.array()?);
                let index = PartitionIndex::from_be_bytes(reader.array()?);
                Place::Producer {
                    id,
                    partition: TopicPartition::new(topic, index),
                }
            }
            tag => return Err(RowError::UnknownTag(tag)),
        })
    }
}

impl From<Bytes> for RowKey {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            Ok(Place::Counters) => f.write_str("counters"),
            Ok(Place::IdBlocks) => f.write_str("producer id blocks"),
            Ok(Place::Process(incarnation)) => write!(f, "process {incarnation}"),
            Ok(Place::Topic(id)) => write!(f, "topic {id}"),
            Ok(Place::DeletedTopic(id)) => write!(f, "deleted topic {id}"),
            Ok(Place::Heads { topic, chunk }) => write!(f, "heads of {topic}, chunk {chunk}"),
            Ok(Place::Segment { commit }) => write!(f, "segment of commit {commit}"),
            Ok(Place::GroupFigures) => f.write_str("figures of groups"),
            Ok(Place::Group(number)) => write!(f, "group {number}"),
            Ok(Place::Offset { group, partition }) => {
                write!(f, "offset of group {group} in {partition}")
            }
            Ok(Place::ConfigFigures) => f.write_str("figures of configs"),
            Ok(Place::Configs(number)) => write!(f, "configs {number}"),
            Ok(Place::ObjectFigures) => f.write_str("figures of objects"),
            Ok(Place::DeadObject { commit }) => write!(f, "dead object of commit {commit}"),
            Ok(Place::Producer { id, partition }) => write!(f, "producer {id} in {partition}"),
            Err(_) => write!(f, "{:?}", self.0),
        }
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
