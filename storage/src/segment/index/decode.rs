//! Columns to index, from bytes nobody vouches for: every count is checked against the bytes that are
//! left before it sizes anything.

use floe_protocol::types::{TopicId, TopicPartition};

use super::{BATCH_BYTES_MIN, COLUMNS_VERSION, IndexError, sequence_after, varint};
use crate::segment::{Index, IndexBatch, IndexExtent};

/// Each batch has at least one byte in each of its columns.
const BATCH_COLUMNS: usize = 8;
/// Each extent has at least a partition, a batch count, a gap, an offset and a CRC, and one batch.
const EXTENT_COLUMNS_BYTES_MIN: usize = 8 + BATCH_COLUMNS;
/// Each topic has an id, an extent count and one extent.
const TOPIC_COLUMNS_BYTES_MIN: usize = 17 + EXTENT_COLUMNS_BYTES_MIN;

pub(super) fn columns(columns: &[u8]) -> Result<Index, IndexError> {
    let mut bytes = columns;
    let [version] = take(&mut bytes)?;
    if version != COLUMNS_VERSION {
        return Err(IndexError::Version(version));
    }
    let mut extents = topics(&mut bytes)?;
    partitions(&mut extents, &mut bytes)?;
    batch_counts(&mut extents, &mut bytes)?;
    let gaps: Vec<u64> = extents
        .iter()
        .map(|_| varint::take(&mut bytes))
        .collect::<Result<_, _>>()?;
    for extent in &mut extents {
        extent.base_offset = base_offset(varint::take(&mut bytes)?)?;
    }
    for extent in &mut extents {
        extent.crc = u32::from_be_bytes(take(&mut bytes)?);
    }
    batches(&mut extents, &mut bytes)?;
    producers(&mut extents, &mut bytes)?;
    if !bytes.is_empty() {
        return Err(IndexError::TrailingBytes(bytes.len()));
    }
    positions(&mut extents, &gaps)?;
    check_order(&extents)?;
    Ok(Index { extents })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], IndexError> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(IndexError::CutOff)?;
    *bytes = rest;
    Ok(*taken)
}

/// A count of things of which each, and each of the `so_far` before them, needs `bytes_each` of what
/// is left.
fn take_count(bytes: &mut &[u8], so_far: usize, bytes_each: usize) -> Result<usize, IndexError> {
    let count = usize::try_from(varint::take(bytes)?).map_err(|_| IndexError::CutOff)?;
    match so_far.checked_add(count) {
        Some(total) if total <= bytes.len() / bytes_each => Ok(count),
        _ => Err(IndexError::CutOff),
    }
}

fn topics(bytes: &mut &[u8]) -> Result<Vec<IndexExtent>, IndexError> {
    let topic_count = take_count(bytes, 0, TOPIC_COLUMNS_BYTES_MIN)?;
    let mut extents: Vec<IndexExtent> = Vec::new();
    for _ in 0..topic_count {
        let topic = TopicId::from_bytes(take(bytes)?);
        let count = take_count(bytes, extents.len(), EXTENT_COLUMNS_BYTES_MIN)?;
        if count == 0 {
            return Err(IndexError::Empty);
        }
        extents.extend(std::iter::repeat_n(empty_extent(topic), count));
    }
    Ok(extents)
}

const fn empty_extent(topic: TopicId) -> IndexExtent {
    IndexExtent {
        partition: TopicPartition::new(topic, 0),
        position_bytes: 0,
        crc: 0,
        base_offset: None,
        batches: Vec::new(),
    }
}

fn partitions(extents: &mut [IndexExtent], bytes: &mut &[u8]) -> Result<(), IndexError> {
    let mut before: Option<TopicPartition> = None;
    for extent in extents {
        let same_topic = before.filter(|before| before.topic == extent.partition.topic);
        let base = same_topic.map_or(0, |before| i64::from(before.partition));
        let partition = base
            .checked_add(varint::take_signed(bytes)?)
            .ok_or(IndexError::Number)?;
        extent.partition.partition = partition.try_into().map_err(|_| IndexError::Number)?;
        before = Some(extent.partition);
    }
    Ok(())
}

/// Makes room for each extent's batches.
fn batch_counts(extents: &mut [IndexExtent], bytes: &mut &[u8]) -> Result<(), IndexError> {
    let mut total = 0;
    for extent in extents {
        let count = take_count(bytes, total, BATCH_COLUMNS)?;
        if count == 0 {
            return Err(IndexError::Empty);
        }
        total += count;
        extent.batches = vec![EMPTY_BATCH; count];
    }
    Ok(())
}

const EMPTY_BATCH: IndexBatch = IndexBatch {
    length_bytes: 0,
    record_count: 0,
    attributes: 0,
    base_timestamp_ms: 0,
    max_timestamp_ms: 0,
    producer_id: 0,
    producer_epoch: 0,
    base_sequence: 0,
};

fn base_offset(stored: u64) -> Result<Option<i64>, IndexError> {
    let Some(offset) = stored.checked_sub(1) else {
        return Ok(None);
    };
    Ok(Some(i64::try_from(offset).map_err(|_| IndexError::Number)?))
}

fn batches(extents: &mut [IndexExtent], bytes: &mut &[u8]) -> Result<(), IndexError> {
    column(extents, bytes, |batch, bytes| {
        batch.length_bytes = number(varint::take(bytes)?)?;
        if batch.length_bytes < BATCH_BYTES_MIN {
            Err(IndexError::Empty)
        } else {
            Ok(())
        }
    })?;
    column(extents, bytes, |batch, bytes| {
        batch.record_count = number(varint::take(bytes)?)?;
        if batch.record_count == 0 {
            Err(IndexError::Empty)
        } else {
            Ok(())
        }
    })?;
    column(extents, bytes, |batch, bytes| {
        batch.attributes = number(varint::take(bytes)?)?;
        Ok(())
    })?;
    let mut before = 0_i64;
    column(extents, bytes, |batch, bytes| {
        before = before.wrapping_add(varint::take_signed(bytes)?);
        batch.base_timestamp_ms = before;
        Ok(())
    })?;
    column(extents, bytes, |batch, bytes| {
        let span = varint::take_signed(bytes)?;
        batch.max_timestamp_ms = batch.base_timestamp_ms.wrapping_add(span);
        Ok(())
    })
}

fn producers(extents: &mut [IndexExtent], bytes: &mut &[u8]) -> Result<(), IndexError> {
    let mut before = 0_i64;
    column(extents, bytes, |batch, bytes| {
        before = before.wrapping_add(varint::take_signed(bytes)?);
        batch.producer_id = before;
        Ok(())
    })?;
    let mut before = 0_i64;
    column(extents, bytes, |batch, bytes| {
        before = before.wrapping_add(varint::take_signed(bytes)?);
        batch.producer_epoch = before.try_into().map_err(|_| IndexError::Number)?;
        Ok(())
    })?;
    let mut expected = 0_i64;
    column(extents, bytes, |batch, bytes| {
        let sequence = expected.wrapping_add(varint::take_signed(bytes)?);
        batch.base_sequence = sequence.try_into().map_err(|_| IndexError::Number)?;
        expected = sequence_after(batch);
        Ok(())
    })
}

fn column(
    extents: &mut [IndexExtent],
    bytes: &mut &[u8],
    mut read: impl FnMut(&mut IndexBatch, &mut &[u8]) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    extents
        .iter_mut()
        .flat_map(|extent| &mut extent.batches)
        .try_for_each(|batch| read(batch, bytes))
}

fn number<T: TryFrom<u64>>(value: u64) -> Result<T, IndexError> {
    T::try_from(value).map_err(|_| IndexError::Number)
}

fn positions(extents: &mut [IndexExtent], gaps: &[u64]) -> Result<(), IndexError> {
    let mut end = 0_u64;
    for (extent, gap) in extents.iter_mut().zip(gaps) {
        extent.position_bytes = end.checked_add(*gap).ok_or(IndexError::Number)?;
        end = extent
            .position_bytes
            .checked_add(extent.length_bytes())
            .ok_or(IndexError::Number)?;
    }
    Ok(())
}

/// Level 0 has one extent per partition. From level 1 on a partition may have several, where its
/// offsets have holes; these follow each other by offset.
fn check_order(extents: &[IndexExtent]) -> Result<(), IndexError> {
    let in_order = extents.is_sorted_by(|a, b| match a.partition.cmp(&b.partition) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => a.base_offset.is_some() && a.base_offset < b.base_offset,
        std::cmp::Ordering::Greater => false,
    });
    if in_order {
        Ok(())
    } else {
        Err(IndexError::Order)
    }
}
