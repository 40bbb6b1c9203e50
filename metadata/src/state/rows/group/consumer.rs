//! What is kept of a group of the consumer protocol.

use std::time::Duration;

use bytes::Bytes;
use floe_protocol::types::{PartitionIndex, TopicId, TopicPartition};

use super::{epoch, flag, put_ms, put_text, text};
use crate::groups::consumer::{Assignor, ClassicMember, Partitions, Saved, SavedMember};
use crate::state::codec::{Reader, RowError, put_bytes, put_i64, put_len, put_u64};

pub(super) fn put(out: &mut Vec<u8>, saved: &Saved) {
    put_i64(out, i64::from(saved.epoch));
    put_len(out, saved.members.len());
    for member in &saved.members {
        put_member(out, member);
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<Saved, RowError> {
    let mut saved = Saved {
        epoch: epoch(reader)?,
        members: Vec::new(),
    };
    for _ in 0..reader.count()? {
        saved.members.push(member(reader)?);
    }
    Ok(saved)
}

fn put_member(out: &mut Vec<u8>, member: &SavedMember) {
    put_bytes(out, member.id.as_bytes());
    put_text(out, member.instance.as_ref());
    put_text(out, member.rack.as_ref());
    put_bytes(out, member.client_id.as_bytes());
    put_bytes(out, member.client_host.as_bytes());
    put_ms(out, member.rebalance_timeout);
    put_len(out, member.names.len());
    for name in &member.names {
        put_bytes(out, name.as_bytes());
    }
    put_text(out, member.regex.as_ref());
    put_u64(out, assignor_number(member.assignor));
    put_i64(out, i64::from(member.epoch));
    put_i64(out, i64::from(member.previous_epoch));
    put_partitions(out, &member.assigned);
    put_partitions(out, &member.revoking);
    // Mostly what it has.
    let is_there = member.target == member.assigned;
    put_len(out, usize::from(!is_there));
    if !is_there {
        put_partitions(out, &member.target);
    }
    put_len(out, usize::from(member.classic.is_some()));
    if let Some(classic) = &member.classic {
        put_ms(out, classic.session_timeout);
        put_len(out, classic.protocols.len());
        for (name, metadata) in &classic.protocols {
            put_bytes(out, name.as_bytes());
            put_bytes(out, metadata);
        }
    }
}

fn member(reader: &mut Reader<'_>) -> Result<SavedMember, RowError> {
    let mut member = SavedMember {
        id: reader.str()?.to_owned(),
        instance: text(reader)?,
        rack: text(reader)?,
        client_id: reader.str()?.to_owned(),
        client_host: reader.str()?.to_owned(),
        rebalance_timeout: Duration::from_millis(reader.u64()?),
        ..SavedMember::default()
    };
    for _ in 0..reader.count()? {
        member.names.insert(reader.str()?.to_owned());
    }
    member.regex = text(reader)?;
    member.assignor = assignor(reader.u64()?)?;
    member.epoch = epoch(reader)?;
    member.previous_epoch = epoch(reader)?;
    member.assigned = partitions(reader)?;
    member.revoking = partitions(reader)?;
    member.target = if flag(reader)? {
        partitions(reader)?
    } else {
        member.assigned.clone()
    };
    if flag(reader)? {
        let mut classic = ClassicMember {
            session_timeout: Duration::from_millis(reader.u64()?),
            protocols: Vec::new(),
        };
        for _ in 0..reader.count()? {
            let name = reader.str()?.to_owned();
            let metadata = Bytes::copy_from_slice(reader.bytes()?);
            classic.protocols.push((name, metadata));
        }
        member.classic = Some(classic);
    }
    Ok(member)
}

fn assignor_number(assignor: Option<Assignor>) -> u64 {
    match assignor {
        None => 0,
        Some(Assignor::Uniform) => 1,
        Some(Assignor::Range) => 2,
    }
}

fn assignor(number: u64) -> Result<Option<Assignor>, RowError> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(Assignor::Uniform)),
        2 => Ok(Some(Assignor::Range)),
        _ => Err(RowError::OutOfRange),
    }
}

/// Topic by topic, each number as its distance from the one before.
fn put_partitions(out: &mut Vec<u8>, partitions: &Partitions) {
    let partitions: Vec<_> = partitions.iter().collect();
    let topics: Vec<_> = partitions
        .chunk_by(|one, next| one.topic == next.topic)
        .collect();
    put_len(out, topics.len());
    for of_topic in topics {
        let topic = of_topic.first().map_or(TopicId::ZERO, |it| it.topic);
        out.extend_from_slice(topic.as_bytes());
        put_len(out, of_topic.len());
        let mut last = 0;
        for partition in of_topic {
            put_i64(out, i64::from(partition.partition) - last);
            last = i64::from(partition.partition);
        }
    }
}

fn partitions(reader: &mut Reader<'_>) -> Result<Partitions, RowError> {
    let mut partitions = Partitions::new();
    for _ in 0..reader.count()? {
        let topic = TopicId::from_bytes(reader.array()?);
        let mut last = 0_i64;
        for _ in 0..reader.count()? {
            last = reader.delta(last)?;
            let index = PartitionIndex::try_from(last).map_err(|_| RowError::OutOfRange)?;
            partitions.insert(TopicPartition::new(topic, index));
        }
    }
    Ok(partitions)
}
