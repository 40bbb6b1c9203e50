//! The numbers of the whole cluster, one row: written with every group of commands.

use std::hash::{Hash, Hasher};

use floe_protocol::types::{LeaderEpoch, ProducerId, TimestampMs};

use super::codec::{Reader, RowError, put_i64, put_u32, put_u64};
use crate::api::Revision;

/// Without processes: no release writes it any more.
const WITHOUT_PROCESSES: u8 = 1;
/// At feature level 1, which it does not say.
const AT_FIRST_LEVEL: u8 = 2;
/// With the feature level, from 2 on.
const WITH_LEVEL: u8 = 3;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Counters {
    pub(super) revision: Revision,
    /// Cluster time.
    pub(super) now_ms: TimestampMs,
    /// Commits there have been; they are numbered from 1.
    pub(super) commits: u64,
    /// Heads and producer states changed by commits up to this one are in their rows.
    pub(super) checkpoint: u64,
    /// Incarnations handed out; they are numbered from 1.
    pub(super) incarnations: u32,
    pub(super) write_epoch: u32,
    pub(super) lowest_accepted: u32,
    pub(super) leader_epoch: LeaderEpoch,
    /// Topics that exist; they and the head rows are counted so that a lost row is noticed.
    pub(super) topics: u64,
    /// Rows of heads.
    pub(super) head_rows: u64,
    /// Processes that are registered.
    pub(super) processes: u64,
    /// What all processes understand.
    pub(super) feature_level: u32,
    /// The first producer id that was not handed out.
    pub(super) next_producer_id: ProducerId,
    /// No id that had been handed out at the time and is not below this has a producer row.
    pub(super) paged_end: ProducerId,
    /// The lowest id that has a producer row though it had not been handed out at the time.
    pub(super) foreign_start: ProducerId,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            revision: 0,
            now_ms: 0,
            commits: 0,
            checkpoint: 0,
            incarnations: 0,
            write_epoch: 1,
            lowest_accepted: 1,
            leader_epoch: 0,
            topics: 0,
            head_rows: 0,
            processes: 0,
            feature_level: 1,
            next_producer_id: 0,
            paged_end: 0,
            foreign_start: ProducerId::MAX,
        }
    }
}

impl Counters {
    /// Whether a producer may have rows. `false` is certain, and saves a read for each partition a new
    /// producer writes to.
    pub(super) const fn may_have_row(&self, id: ProducerId) -> bool {
        id < self.paged_end || id >= self.foreign_start || id >= self.next_producer_id
    }

    /// A producer is about to have a row.
    pub(super) fn has_row(&mut self, id: ProducerId) {
        if id < self.next_producer_id {
            self.paged_end = self.paged_end.max(id + 1);
        } else {
            self.foreign_start = self.foreign_start.min(id);
        }
    }

    /// Hashes what can be seen from outside; not how far the rows are behind.
    pub(super) fn hash_logical(&self, hasher: &mut impl Hasher) {
        (self.revision, self.now_ms, self.commits, self.incarnations).hash(hasher);
        (self.write_epoch, self.lowest_accepted, self.leader_epoch).hash(hasher);
        (self.next_producer_id, self.feature_level).hash(hasher);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        let has_level = self.feature_level > 1;
        out.push(if has_level {
            WITH_LEVEL
        } else {
            AT_FIRST_LEVEL
        });
        put_u64(&mut out, self.revision);
        put_i64(&mut out, self.now_ms);
        put_u64(&mut out, self.commits);
        put_u64(&mut out, self.checkpoint);
        put_u32(&mut out, self.incarnations);
        put_u32(&mut out, self.write_epoch);
        put_u32(&mut out, self.lowest_accepted);
        put_i64(&mut out, i64::from(self.leader_epoch));
        put_u64(&mut out, self.topics);
        put_u64(&mut out, self.head_rows);
        put_u64(&mut out, self.processes);
        put_u64(&mut out, self.next_producer_id.cast_unsigned());
        put_u64(&mut out, self.paged_end.cast_unsigned());
        put_u64(&mut out, self.foreign_start.cast_unsigned());
        if has_level {
            put_u32(&mut out, self.feature_level);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if !(WITHOUT_PROCESSES..=WITH_LEVEL).contains(&version) {
            return Err(RowError::UnknownVersion(version));
        }
        let counters = Self {
            revision: reader.u64()?,
            now_ms: reader.i64()?,
            commits: reader.u64()?,
            checkpoint: reader.u64()?,
            incarnations: reader.u32()?,
            write_epoch: reader.u32()?,
            lowest_accepted: reader.u32()?,
            leader_epoch: reader.i64()?.try_into().map_err(|_| RowError::OutOfRange)?,
            topics: reader.u64()?,
            head_rows: reader.u64()?,
            processes: if version == WITHOUT_PROCESSES {
                0
            } else {
                reader.u64()?
            },
            next_producer_id: reader.natural()?,
            paged_end: reader.natural()?,
            foreign_start: reader.natural()?,
            feature_level: if version == WITH_LEVEL {
                reader.u32()?
            } else {
                1
            },
        };
        reader.finish()?;
        if counters.checkpoint > counters.commits || counters.lowest_accepted > counters.write_epoch
        {
            return Err(RowError::OutOfRange);
        }
        Ok(counters)
    }
}
