//! Rows of groups and of the offsets they have committed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::types::TimestampMs;

use crate::api::groups::CommittedOffset;
use crate::groups::Saved;
use crate::groups::classic::{self, SavedMember};
use crate::state::codec::{Reader, RowError, put_bytes, put_i64, put_len, put_u64};

mod consumer;

/// Of figures and offsets.
const VERSION: u8 = 1;
/// Of groups, by their protocol.
const CLASSIC: u8 = 1;
const CONSUMER: u8 = 2;

/// How many rows there are, so that a lost one is noticed, and the next group's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(in crate::state) struct GroupFigures {
    pub(in crate::state) next_number: u64,
    pub(in crate::state) groups: u64,
    pub(in crate::state) offsets: u64,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::state) struct GroupRow {
    pub(in crate::state) name: Arc<str>,
    /// Since when it has had no members, in cluster time; `None` if it never had one, or has some.
    pub(in crate::state) emptied_ms: Option<TimestampMs>,
    pub(in crate::state) saved: Arc<Saved>,
}

/// An offset.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::state) struct OffsetRow {
    pub(in crate::state) committed: CommittedOffset,
    /// In cluster time.
    pub(in crate::state) committed_ms: TimestampMs,
}

impl GroupFigures {
    pub(in crate::state) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_u64(&mut out, self.next_number);
        put_u64(&mut out, self.groups);
        put_u64(&mut out, self.offsets);
        out
    }

    pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let figures = Self {
            next_number: reader.u64()?,
            groups: reader.u64()?,
            offsets: reader.u64()?,
        };
        reader.finish()?;
        Ok(figures)
    }
}

impl GroupRow {
    pub(in crate::state) fn encode(&self) -> Vec<u8> {
        let version = match &*self.saved {
            Saved::Classic(_) => CLASSIC,
            Saved::Consumer(_) => CONSUMER,
        };
        let mut out = vec![version];
        put_bytes(&mut out, self.name.as_bytes());
        put_len(&mut out, usize::from(self.emptied_ms.is_some()));
        if let Some(emptied_ms) = self.emptied_ms {
            put_i64(&mut out, emptied_ms);
        }
        match &*self.saved {
            Saved::Classic(saved) => put_classic(&mut out, saved),
            Saved::Consumer(saved) => consumer::put(&mut out, saved),
        }
        out
    }

    pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        let name = Arc::from(reader.str()?);
        let emptied_ms = if flag(&mut reader)? {
            Some(reader.i64()?)
        } else {
            None
        };
        let saved = match version {
            CLASSIC => Saved::Classic(classic(&mut reader)?),
            CONSUMER => Saved::Consumer(consumer::read(&mut reader)?),
            other => return Err(RowError::UnknownVersion(other)),
        };
        reader.finish()?;
        Ok(Self {
            name,
            emptied_ms,
            saved: Arc::new(saved),
        })
    }
}

fn put_classic(out: &mut Vec<u8>, saved: &classic::Saved) {
    put_i64(out, i64::from(saved.generation));
    put_text(out, saved.protocol_type.as_ref());
    put_text(out, saved.protocol.as_ref());
    put_text(out, saved.leader.as_ref());
    put_len(out, usize::from(saved.is_assigned));
    put_len(out, saved.members.len());
    for member in &saved.members {
        put_bytes(out, member.id.as_bytes());
        put_text(out, member.instance.as_ref());
        put_bytes(out, member.client_id.as_bytes());
        put_bytes(out, member.client_host.as_bytes());
        put_ms(out, member.session_timeout);
        put_ms(out, member.rebalance_timeout);
        put_len(out, member.protocols.len());
        for (name, metadata) in &member.protocols {
            put_bytes(out, name.as_bytes());
            put_bytes(out, metadata);
        }
        put_bytes(out, &member.assignment);
    }
}

fn classic(reader: &mut Reader<'_>) -> Result<classic::Saved, RowError> {
    let mut saved = classic::Saved {
        generation: epoch(reader)?,
        protocol_type: text(reader)?,
        protocol: text(reader)?,
        leader: text(reader)?,
        is_assigned: flag(reader)?,
        members: Vec::new(),
    };
    for _ in 0..reader.count()? {
        saved.members.push(member(reader)?);
    }
    Ok(saved)
}

/// A generation, or a member's epoch.
fn epoch(reader: &mut Reader<'_>) -> Result<i32, RowError> {
    i32::try_from(reader.i64()?).map_err(|_| RowError::OutOfRange)
}

fn member(reader: &mut Reader<'_>) -> Result<SavedMember, RowError> {
    let mut member = SavedMember {
        id: reader.str()?.to_owned(),
        instance: text(reader)?,
        client_id: reader.str()?.to_owned(),
        client_host: reader.str()?.to_owned(),
        session_timeout: Duration::from_millis(reader.u64()?),
        rebalance_timeout: Duration::from_millis(reader.u64()?),
        protocols: Vec::new(),
        assignment: Bytes::new(),
    };
    for _ in 0..reader.count()? {
        let name = reader.str()?.to_owned();
        let metadata = Bytes::copy_from_slice(reader.bytes()?);
        member.protocols.push((name, metadata));
    }
    member.assignment = Bytes::copy_from_slice(reader.bytes()?);
    Ok(member)
}

impl OffsetRow {
    pub(in crate::state) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_i64(&mut out, self.committed.offset);
        put_i64(&mut out, i64::from(self.committed.leader_epoch));
        put_bytes(&mut out, self.committed.metadata.as_bytes());
        put_i64(&mut out, self.committed_ms);
        out
    }

    pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let offset = reader.i64()?;
        let leader_epoch = i32::try_from(reader.i64()?).map_err(|_| RowError::OutOfRange)?;
        let committed = CommittedOffset {
            offset,
            leader_epoch,
            metadata: Arc::from(reader.str()?),
        };
        let committed_ms = reader.i64()?;
        reader.finish()?;
        Ok(Self {
            committed,
            committed_ms,
        })
    }
}

fn put_ms(out: &mut Vec<u8>, duration: Duration) {
    put_u64(out, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}

/// 0, or 1 and the text.
fn put_text(out: &mut Vec<u8>, text: Option<&String>) {
    put_len(out, usize::from(text.is_some()));
    if let Some(text) = text {
        put_bytes(out, text.as_bytes());
    }
}

fn text(reader: &mut Reader<'_>) -> Result<Option<String>, RowError> {
    Ok(if flag(reader)? {
        Some(reader.str()?.to_owned())
    } else {
        None
    })
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, RowError> {
    match reader.u64()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(RowError::OutOfRange),
    }
}
