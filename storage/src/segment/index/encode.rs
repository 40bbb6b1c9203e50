//! Index to columns.

use super::{COLUMNS_VERSION, sequence_after, varint};
use crate::segment::{Index, IndexBatch, IndexExtent};

pub(super) fn columns(index: &Index) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + index.extents.len() * 12 + index.batch_count() * 12);
    out.push(COLUMNS_VERSION);
    topics(&index.extents, &mut out);
    for extent in &index.extents {
        varint::put(extent.batches.len() as u64, &mut out);
    }
    let mut end = 0;
    for extent in &index.extents {
        varint::put(extent.position_bytes.wrapping_sub(end), &mut out);
        end = extent.position_bytes.wrapping_add(extent.length_bytes());
    }
    for extent in &index.extents {
        let offset = extent
            .base_offset
            .map_or(0, |offset| offset.cast_unsigned().wrapping_add(1));
        varint::put(offset, &mut out);
    }
    for extent in &index.extents {
        out.extend_from_slice(&extent.crc.to_be_bytes());
    }
    batches(index, &mut out);
    out
}

/// Topic ids once each, then each extent's partition.
fn topics(extents: &[IndexExtent], out: &mut Vec<u8>) {
    let topics = || extents.chunk_by(|a, b| a.partition.topic == b.partition.topic);
    varint::put(topics().count() as u64, out);
    for topic in topics() {
        if let Some(extent) = topic.first() {
            out.extend_from_slice(extent.partition.topic.as_bytes());
        }
        varint::put(topic.len() as u64, out);
    }
    for topic in topics() {
        let mut before = 0;
        for extent in topic {
            let partition = i64::from(extent.partition.partition);
            varint::put_signed(partition - before, out);
            before = partition;
        }
    }
}

fn batches(index: &Index, out: &mut Vec<u8>) {
    let all = || index.extents.iter().flat_map(|extent| &extent.batches);
    for batch in all() {
        varint::put(u64::from(batch.length_bytes), out);
    }
    for batch in all() {
        varint::put(u64::from(batch.record_count), out);
    }
    for batch in all() {
        varint::put(u64::from(batch.attributes), out);
    }
    differences(all(), |batch| batch.base_timestamp_ms, out);
    for batch in all() {
        let span = batch.max_timestamp_ms.wrapping_sub(batch.base_timestamp_ms);
        varint::put_signed(span, out);
    }
    differences(all(), |batch| batch.producer_id, out);
    differences(all(), |batch| i64::from(batch.producer_epoch), out);
    let mut expected = 0;
    for batch in all() {
        varint::put_signed(i64::from(batch.base_sequence) - expected, out);
        expected = sequence_after(batch);
    }
}

fn differences<'a>(
    batches: impl Iterator<Item = &'a IndexBatch>,
    value: impl Fn(&IndexBatch) -> i64,
    out: &mut Vec<u8>,
) {
    let mut before = 0;
    for batch in batches {
        varint::put_signed(value(batch).wrapping_sub(before), out);
        before = value(batch);
    }
}
