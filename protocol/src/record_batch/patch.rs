//! Changing a stored batch without touching its records: offset and leader epoch lie outside of the
//! CRC; the time of log append lies inside, and the CRC is linear, so that a new one costs the header.

use bytes::{BufMut, Bytes, BytesMut};

use super::{BatchHeader, CRC_START_BYTES, HEADER_BYTES, PATCHED_HEAD_BYTES};
use crate::checksum::{crc32c, crc32c_combine};
use crate::types::{LeaderEpoch, Offset, TimestampMs};

/// A copy of a batch's first [`PATCHED_HEAD_BYTES`] bytes with this base offset and leader epoch; the
/// caller chains it with the batch's untouched rest from that position on.
///
/// # Panics
/// `batch` is shorter than that. Only batches whose header was parsed may come here.
#[must_use]
pub fn patched_head(batch: &[u8], base_offset: Offset, leader_epoch: LeaderEpoch) -> Bytes {
    let Some(&[_, _, _, _, _, _, _, _, l0, l1, l2, l3, _, _, _, _, magic]) =
        batch.first_chunk::<PATCHED_HEAD_BYTES>()
    else {
        panic!("batch of {} bytes has no head to patch", batch.len());
    };
    let mut head = BytesMut::with_capacity(PATCHED_HEAD_BYTES);
    head.put_i64(base_offset);
    head.put_slice(&[l0, l1, l2, l3]);
    head.put_i32(leader_epoch);
    head.put_u8(magic);
    head.freeze()
}

/// A copy of a batch's first [`HEADER_BYTES`] bytes with log append time `now_ms` and the CRC that
/// goes with it; the caller chains it with the batch's untouched records. The records are not read: if
/// the batch did not fit its CRC before, it does not afterwards.
///
/// # Panics
/// `batch` is shorter than a header. Only batches whose header was parsed may come here.
#[must_use]
pub fn stamped_head(batch: &[u8], now_ms: TimestampMs) -> Bytes {
    let Some((head, records)) = batch.split_first_chunk::<HEADER_BYTES>() else {
        panic!("batch of {} bytes has no header to stamp", batch.len());
    };
    let mut header = BatchHeader::read(head);
    header.attributes = header.attributes.with_log_append_time();
    header.max_timestamp_ms = now_ms;
    // crc(head || records) is a shift of crc(head) by the records' length, xor crc(records): what the
    // head contributed before is taken out and what it contributes now is put in.
    let changed = crc_of_head(head) ^ crc_of_head(&header.to_bytes());
    header.crc = crc32c_combine(changed, header.crc, records.len());
    Bytes::copy_from_slice(&header.to_bytes())
}

/// A copy of `batch` with log append time `now_ms`, see [`stamped_head`].
///
/// # Panics
/// `batch` is shorter than a header. Only batches whose header was parsed may come here.
#[must_use]
pub fn stamp_log_append_time(batch: &Bytes, now_ms: TimestampMs) -> Bytes {
    let head = stamped_head(batch, now_ms);
    let mut stamped = BytesMut::with_capacity(batch.len());
    stamped.put_slice(&head);
    stamped.put_slice(batch.get(HEADER_BYTES..).unwrap_or_default());
    stamped.freeze()
}

fn crc_of_head(head: &[u8; HEADER_BYTES]) -> u32 {
    crc32c(head.get(CRC_START_BYTES..).unwrap_or_default())
}
