//! Rows about objects that no log leads to: since when they are dead, and how many rows there are.

use floe_protocol::types::TimestampMs;

use crate::state::codec::{Reader, RowError, put_i64, put_u64};

const VERSION: u8 = 1;

/// How many rows there are, and were, so that a lost one is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::state) struct ObjectFigures {
    /// Rows of segments that were removed.
    pub(in crate::state) removed: u64,
    /// Rows of dead objects.
    pub(in crate::state) dead: u64,
}

impl ObjectFigures {
    pub(in crate::state) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_u64(&mut out, self.removed);
        put_u64(&mut out, self.dead);
        out
    }

    pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let figures = Self {
            removed: reader.u64()?,
            dead: reader.u64()?,
        };
        reader.finish()?;
        Ok(figures)
    }
}

/// The row of a dead object: cluster time since which it is.
pub(in crate::state) fn encode_dead(since_ms: TimestampMs) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_i64(&mut out, since_ms);
    out
}

pub(in crate::state) fn decode_dead(bytes: &[u8]) -> Result<TimestampMs, RowError> {
    let mut reader = Reader::versioned(bytes, VERSION)?;
    let since_ms = reader.i64()?;
    reader.finish()?;
    Ok(since_ms)
}
