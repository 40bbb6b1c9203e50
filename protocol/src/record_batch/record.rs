//! One record as it lies in the (decompressed) records of a batch (protocol guide, "Record").
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//! | key length varint (-1 null), key | value length varint (-1 null), value
//! | header count varint | per header: key length varint, key, value length varint (-1 null), value
//! ```
//!
//! Varints are zigzag. Nothing read here sizes an allocation.

use std::num::TryFromIntError;

use super::RecordFault;

/// Smallest header: an empty key and a null value.
const HEADER_BYTES_MIN: usize = 2;

/// A record borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordView<'a> {
    pub(super) attributes: i8,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) header_count: i32,
    /// That many well-formed headers.
    pub(super) headers: &'a [u8],
}

/// The unread rest of a batch's records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    /// Takes the next record and checks all of its lengths.
    pub(super) fn record(&mut self) -> Result<RecordView<'a>, RecordFault> {
        let length = self.varint()?;
        let size_bytes = usize::try_from(length).map_err(|_| RecordFault::Length(length))?;
        let mut fields = Cursor(self.take(size_bytes)?);
        let attributes = i8::from_be_bytes([fields.byte()?]);
        let timestamp_delta = fields.varlong()?;
        let offset_delta = fields.varint()?;
        let key = fields.nullable()?;
        let value = fields.nullable()?;
        let header_count = fields.varint()?;
        let headers = fields.0;
        fields.headers(header_count)?;
        if !fields.0.is_empty() {
            return Err(RecordFault::Surplus(fields.0.len()));
        }
        Ok(RecordView {
            attributes,
            timestamp_delta,
            offset_delta,
            key,
            value,
            header_count,
            headers,
        })
    }

    fn headers(&mut self, count: i32) -> Result<(), RecordFault> {
        let fits = usize::try_from(count).is_ok_and(|n| n <= self.0.len() / HEADER_BYTES_MIN);
        if !fits {
            return Err(RecordFault::HeaderCount(count));
        }
        for _ in 0..count {
            self.header()?;
        }
        Ok(())
    }

    /// Takes the key and value of the next header.
    pub(super) fn header(&mut self) -> Result<(&'a [u8], Option<&'a [u8]>), RecordFault> {
        let key = self.nullable()?.ok_or(RecordFault::Length(-1))?;
        Ok((key, self.nullable()?))
    }

    fn nullable(&mut self) -> Result<Option<&'a [u8]>, RecordFault> {
        let length = self.varint()?;
        if length == -1 {
            return Ok(None);
        }
        let size_bytes = usize::try_from(length).map_err(|_| RecordFault::Length(length))?;
        self.take(size_bytes).map(Some)
    }

    fn take(&mut self, size_bytes: usize) -> Result<&'a [u8], RecordFault> {
        let (taken, rest) = self
            .0
            .split_at_checked(size_bytes)
            .ok_or(RecordFault::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, RecordFault> {
        let (&byte, rest) = self.0.split_first().ok_or(RecordFault::Truncated)?;
        self.0 = rest;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<i32, RecordFault> {
        let unsigned = u32::try_from(self.unsigned(5)?).map_err(|_| RecordFault::Varint)?;
        Ok((unsigned >> 1).cast_signed() ^ -(unsigned & 1).cast_signed())
    }

    fn varlong(&mut self) -> Result<i64, RecordFault> {
        let unsigned = self.unsigned(10)?;
        Ok((unsigned >> 1).cast_signed() ^ -(unsigned & 1).cast_signed())
    }

    /// Seven bits a byte, lowest first, in at most `bytes_max` bytes.
    fn unsigned(&mut self, bytes_max: u32) -> Result<u64, RecordFault> {
        let mut value = 0_u64;
        for position in 0..bytes_max {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * position);
            if shifted >> (7 * position) != bits {
                return Err(RecordFault::Varint);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordFault::Varint)
    }
}

/// Appends `value` as a zigzag varint.
pub(super) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_unsigned(
        out,
        u64::from(((value << 1) ^ (value >> 31)).cast_unsigned()),
    );
}

/// Appends `value` as a zigzag varlong.
pub(super) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [bits, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(bits & 0x7f);
            return;
        }
        out.push(bits | 0x80);
    }
}

/// Appends `bytes` behind their length, -1 for none.
pub(super) fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), TryFromIntError> {
    let Some(bytes) = bytes else {
        put_varint(out, -1);
        return Ok(());
    };
    put_varint(out, i32::try_from(bytes.len())?);
    out.extend_from_slice(bytes);
    Ok(())
}
