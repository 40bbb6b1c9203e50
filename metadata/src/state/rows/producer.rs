//! Rows of producer states, one per producer id and partition.

use crate::state::codec::{Reader, RowError, put_delta, put_i64, put_len, put_u32};
use crate::state::producer::{PastBatch, ProducerState, REMEMBERED};

const VERSION: u8 = 1;

/// Writes the row to `out`, which is emptied first: there may be thousands in a group.
pub(in crate::state) fn encode(state: &ProducerState, out: &mut Vec<u8>) {
    out.clear();
    out.push(VERSION);
    put_i64(out, i64::from(state.epoch()));
    put_i64(out, i64::from(state.last_sequence()));
    put_i64(out, state.used_ms);
    put_len(out, state.len());
    let mut before = PastBatch {
        max_timestamp_ms: state.used_ms,
        ..PastBatch::default()
    };
    for batch in state.batches() {
        put_delta(out, batch.base_offset, before.base_offset);
        put_delta(out, batch.max_timestamp_ms, before.max_timestamp_ms);
        put_u32(out, batch.count);
        before = batch;
    }
}

pub(in crate::state) fn decode(bytes: &[u8]) -> Result<ProducerState, RowError> {
    let mut reader = Reader::versioned(bytes, VERSION)?;
    let epoch = i16::try_from(reader.i64()?).map_err(|_| RowError::OutOfRange)?;
    let last_sequence = i32::try_from(reader.i64()?).map_err(|_| RowError::OutOfRange)?;
    let used_ms = reader.i64()?;
    let len = reader.count()?;
    if len == 0 || len > REMEMBERED || last_sequence < 0 {
        return Err(RowError::OutOfRange);
    }
    let mut before = PastBatch {
        max_timestamp_ms: used_ms,
        ..PastBatch::default()
    };
    let mut batches = Vec::with_capacity(len);
    for _ in 0..len {
        before = PastBatch {
            base_offset: reader.delta(before.base_offset)?,
            max_timestamp_ms: reader.delta(before.max_timestamp_ms)?,
            count: reader.u32()?,
        };
        batches.push(before);
    }
    reader.finish()?;
    Ok(ProducerState::restore(
        epoch,
        last_sequence,
        used_ms,
        batches,
    ))
}
