//! When producer ids were handed out, as far back as producer states live: an id younger than that
//! cannot have lost its state to expiry.

use std::collections::VecDeque;

use floe_protocol::types::{ProducerId, TimestampMs};

use super::codec::{Reader, RowError, put_delta, put_len};

const VERSION: u8 = 1;

/// Blocks handed out within this time of each other count as one, as young as its youngest, so that the
/// row stays small: 1440 entries a day.
const GRAIN_MS: TimestampMs = 60 * 1000;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Issue {
    first_id: ProducerId,
    first_ms: TimestampMs,
    last_ms: TimestampMs,
}

/// Issues of producer ids, oldest first.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct IdBlocks {
    issues: VecDeque<Issue>,
}

impl IdBlocks {
    /// A block that begins with `first_id` is handed out; issues before `forget_before_ms` are dropped.
    pub(super) fn issue(
        &mut self,
        first_id: ProducerId,
        now_ms: TimestampMs,
        forget_before_ms: TimestampMs,
    ) {
        match self.issues.back_mut() {
            Some(last) if now_ms.saturating_sub(last.first_ms) < GRAIN_MS => last.last_ms = now_ms,
            _ => self.issues.push_back(Issue {
                first_id,
                first_ms: now_ms,
                last_ms: now_ms,
            }),
        }
        while self
            .issues
            .pop_front_if(|issue| issue.last_ms < forget_before_ms)
            .is_some()
        {}
    }

    /// When an id that was handed out was handed out at the latest; long ago if that is forgotten.
    pub(super) fn issued_ms(&self, id: ProducerId) -> TimestampMs {
        let after = self.issues.partition_point(|issue| issue.first_id <= id);
        let issue = after.checked_sub(1).and_then(|at| self.issues.get(at));
        issue.map_or(TimestampMs::MIN, |issue| issue.last_ms)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_len(&mut out, self.issues.len());
        let (mut id, mut ms) = (0, 0);
        for issue in &self.issues {
            put_delta(&mut out, issue.first_id, id);
            put_delta(&mut out, issue.first_ms, ms);
            put_delta(&mut out, issue.last_ms, issue.first_ms);
            (id, ms) = (issue.first_id, issue.last_ms);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let mut issues = VecDeque::new();
        let (mut id, mut ms) = (0, 0);
        for _ in 0..reader.count()? {
            let first_id = reader.delta(id)?;
            let first_ms = reader.delta(ms)?;
            let last_ms = reader.delta(first_ms)?;
            let in_order = first_id >= id && first_ms >= ms && last_ms >= first_ms;
            if !in_order && !issues.is_empty() {
                return Err(RowError::OutOfRange);
            }
            issues.push_back(Issue {
                first_id,
                first_ms,
                last_ms,
            });
            (id, ms) = (first_id, last_ms);
        }
        reader.finish()?;
        Ok(Self { issues })
    }
}
