//! Rows of groups and of the offsets they have committed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::types::TimestampMs;

use crate::api::groups::CommittedOffset;
use crate::groups::classic::{Saved, SavedMember};
use crate::state::codec::{Reader, RowError, put_bytes, put_i64, put_len, put_u64};

const VERSION: u8 = 1;

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
        let Self {
            name,
            emptied_ms,
            saved,
        } = self;
        let mut out = vec![VERSION];
        put_bytes(&mut out, name.as_bytes());
        put_len(&mut out, usize::from(emptied_ms.is_some()));
        if let Some(emptied_ms) = emptied_ms {
            put_i64(&mut out, *emptied_ms);
        }
        put_i64(&mut out, i64::from(saved.generation));
        put_text(&mut out, saved.protocol_type.as_ref());
        put_text(&mut out, saved.protocol.as_ref());
        put_text(&mut out, saved.leader.as_ref());
        put_len(&mut out, usize::from(saved.is_assigned));
        put_len(&mut out, saved.members.len());
        for member in &saved.members {
            put_bytes(&mut out, member.id.as_bytes());
            put_text(&mut out, member.instance.as_ref());
            put_bytes(&mut out, member.client_id.as_bytes());
            put_bytes(&mut out, member.client_host.as_bytes());
            put_ms(&mut out, member.session_timeout);
            put_ms(&mut out, member.rebalance_timeout);
            put_len(&mut out, member.protocols.len());
            for (name, metadata) in &member.protocols {
                put_bytes(&mut out, name.as_bytes());
                put_bytes(&mut out, metadata);
            }
            put_bytes(&mut out, &member.assignment);
        }
        out
    }

    pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let name = Arc::from(reader.str()?);
        let emptied_ms = if flag(&mut reader)? {
            Some(reader.i64()?)
        } else {
            None
        };
        let mut saved = Saved {
            generation: i32::try_from(reader.i64()?).map_err(|_| RowError::OutOfRange)?,
            protocol_type: text(&mut reader)?,
            protocol: text(&mut reader)?,
            leader: text(&mut reader)?,
            is_assigned: flag(&mut reader)?,
            members: Vec::new(),
        };
        for _ in 0..reader.count()? {
            saved.members.push(member(&mut reader)?);
        }
        reader.finish()?;
        Ok(Self {
            name,
            emptied_ms,
            saved: Arc::new(saved),
        })
    }
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
