//! Rows of partition heads, 64 partitions of a topic in each.

use floe_protocol::types::Offset;

use crate::state::codec::{Reader, RowError, put_len, put_u64};

const VERSION: u8 = 1;

/// Partitions whose heads share a row.
pub(in crate::state) const HEADS_PER_ROW: usize = 64;

/// Where a partition's log starts, and one past its last offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(in crate::state) struct Head {
    pub(in crate::state) log_start: Offset,
    pub(in crate::state) high_watermark: Offset,
}

pub(in crate::state) fn encode(heads: impl ExactSizeIterator<Item = Head>) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + 8 * heads.len());
    out.push(VERSION);
    put_len(&mut out, heads.len());
    for head in heads {
        put_u64(&mut out, head.log_start.cast_unsigned());
        put_u64(
            &mut out,
            head.high_watermark
                .wrapping_sub(head.log_start)
                .cast_unsigned(),
        );
    }
    out
}

pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Vec<Head>, RowError> {
    let mut reader = Reader::versioned(bytes, VERSION)?;
    let count = reader.count()?;
    if count > HEADS_PER_ROW {
        return Err(RowError::OutOfRange);
    }
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        let log_start = reader.natural()?;
        let high_watermark = log_start
            .checked_add(reader.natural()?)
            .ok_or(RowError::OutOfRange)?;
        heads.push(Head {
            log_start,
            high_watermark,
        });
    }
    reader.finish()?;
    Ok(heads)
}
