//! The fixed ends of a segment: its header and its footer. All numbers are big-endian.
//!
//! ```text
//! header   0 magic "FLOE-SEG" | 8 version u16 | 10 flags u16 | 12 write epoch u32 | 16 incarnation u32
//!          20 counter u64 | 28 created ms i64 | 36 crc u32                                  = 40 bytes
//! footer   0 index position u64 | 8 index length u32 | 12 index crc u32 | 16 level u8 | 17 0 u8
//!          18 flags u16 | 20 extents u32 | 24 batches u32 | 28 records u64 | 36 write epoch u32
//!          40 incarnation u32 | 44 counter u64 | 52 created ms i64 | 60 crc u32 | 64 version u16
//!          66 magic "FLOEFT"                                                                = 72 bytes
//! ```
//!
//! The footer repeats what the header says, so that one read of an object's end tells all of it.

use bytes::{Buf, BufMut};
use floe_protocol::checksum;
use floe_protocol::types::TimestampMs;

use super::{Index, IndexExtent, SegmentId};

/// The version that is written.
pub const VERSION: u16 = 1;

pub(crate) const HEADER_BYTES: usize = 40;
pub(crate) const FOOTER_BYTES: usize = 72;

const HEADER_MAGIC: [u8; 8] = *b"FLOE-SEG";
const FOOTER_MAGIC: [u8; 6] = *b"FLOEFT";
/// What the header's CRC covers.
const HEADER_CRC_BYTES: usize = 36;
/// What the footer's CRC covers; version and magic after it are checked by value.
const FOOTER_CRC_BYTES: usize = 60;

/// What a segment's footer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Footer {
    /// The segment's name.
    pub id: SegmentId,
    /// 0 as ingested, 1 and up merged.
    pub level: u8,
    /// When the writer sealed it.
    pub created_ms: TimestampMs,
    /// First byte of the index; the body ends there.
    pub index_position_bytes: u64,
    /// Bytes of the index as stored.
    pub index_length_bytes: u32,
    /// CRC32C of the index as stored.
    pub index_crc: u32,
    /// Extents in the index.
    pub extent_count: u32,
    /// Batches in the index.
    pub batch_count: u32,
    /// Offsets that all batches take together.
    pub record_count: u64,
}

/// Why bytes are no header or footer of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FooterError {
    /// Too few bytes to hold one.
    #[error("{0} bytes are too few for a segment")]
    TooShort(u64),
    /// Not a segment, or cut off.
    #[error("magic bytes are wrong: no segment, or cut off")]
    Magic,
    /// Written by a later release.
    #[error("segment format version {0} is not known to this release")]
    Version(u16),
    /// Flags of a later release, which this one must not ignore.
    #[error("segment flags {0:#06x} are not known to this release")]
    Flags(u16),
    /// The checksum does not match.
    #[error("checksum {found:08x} should be {expected:08x}")]
    Crc {
        /// Of the bytes.
        found: u32,
        /// As written.
        expected: u32,
    },
    /// The index does not lie between body and footer.
    #[error("index at {position} of {length} bytes does not fit an object of {size} bytes")]
    IndexPlace {
        /// Where it should start.
        position: u64,
        /// How long it should be.
        length: u32,
        /// Bytes of the object.
        size: u64,
    },
}

/// Writes the header of segment `id`.
pub(crate) fn encode_header(id: SegmentId, created_ms: TimestampMs, out: &mut Vec<u8>) {
    let start = out.len();
    out.put_slice(&HEADER_MAGIC);
    out.put_u16(VERSION);
    out.put_u16(0);
    put_id(id, out);
    out.put_i64(created_ms);
    let crc = checksum::crc32c(out.get(start..).unwrap_or_default());
    out.put_u32(crc);
}

/// Index and footer of a segment whose body ends at `body_end_bytes`.
///
/// # Panics
/// When the index would pass 4 GiB.
pub(crate) fn encode_tail(
    (id, level, created_ms): (SegmentId, u8, TimestampMs),
    index: &Index,
    body_end_bytes: u64,
) -> Vec<u8> {
    let mut tail = index.encode();
    let footer = Footer {
        id,
        level,
        created_ms,
        index_position_bytes: body_end_bytes,
        index_length_bytes: u32::try_from(tail.len()).expect("an index is below 4 GiB"),
        index_crc: checksum::crc32c(&tail),
        extent_count: u32::try_from(index.extents.len()).expect("fewer than its bytes"),
        batch_count: u32::try_from(index.batch_count()).expect("fewer than its bytes"),
        record_count: index.extents.iter().map(IndexExtent::record_count).sum(),
    };
    footer.encode(&mut tail);
    tail
}

/// Reads a header: the segment's id and when it was made.
///
/// # Errors
/// The bytes are no header this release knows.
pub fn parse_header(bytes: &[u8]) -> Result<(SegmentId, TimestampMs), FooterError> {
    let too_short = FooterError::TooShort(bytes.len() as u64);
    let Some((mut header, _)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(too_short);
    };
    let found = checksum::crc32c(header.get(..HEADER_CRC_BYTES).unwrap_or_default());
    if !header.starts_with(&HEADER_MAGIC) {
        return Err(FooterError::Magic);
    }
    header.advance(HEADER_MAGIC.len());
    check_version(header.get_u16())?;
    check_flags(header.get_u16())?;
    let id = take_id(&mut header);
    let created_ms = header.get_i64();
    check_crc(found, header.get_u32())?;
    Ok((id, created_ms))
}

impl Footer {
    /// Writes the footer.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u64(self.index_position_bytes);
        out.put_u32(self.index_length_bytes);
        out.put_u32(self.index_crc);
        out.put_u8(self.level);
        out.put_u8(0);
        out.put_u16(0);
        out.put_u32(self.extent_count);
        out.put_u32(self.batch_count);
        out.put_u64(self.record_count);
        put_id(self.id, out);
        out.put_i64(self.created_ms);
        let crc = checksum::crc32c(out.get(start..).unwrap_or_default());
        out.put_u32(crc);
        out.put_u16(VERSION);
        out.put_slice(&FOOTER_MAGIC);
    }

    /// Reads the footer at the end of `tail`, the last bytes of an object of `object_bytes` bytes.
    ///
    /// # Errors
    /// The bytes are no footer this release knows, or it cannot belong to an object of that size.
    pub fn parse(tail: &[u8], object_bytes: u64) -> Result<Self, FooterError> {
        let short = || FooterError::TooShort(tail.len() as u64);
        let start = tail.len().checked_sub(FOOTER_BYTES).ok_or_else(short)?;
        let mut bytes = tail.get(start..).unwrap_or_default();
        let found = checksum::crc32c(bytes.get(..FOOTER_CRC_BYTES).unwrap_or_default());
        if !bytes.ends_with(&FOOTER_MAGIC) {
            return Err(FooterError::Magic);
        }
        let mut end = bytes.get(FOOTER_CRC_BYTES..).unwrap_or_default();
        let crc = end.get_u32();
        check_version(end.get_u16())?;
        check_crc(found, crc)?;
        let index_position_bytes = bytes.get_u64();
        let index_length_bytes = bytes.get_u32();
        let index_crc = bytes.get_u32();
        let level = bytes.get_u8();
        bytes.advance(1);
        check_flags(bytes.get_u16())?;
        let footer = Self {
            extent_count: bytes.get_u32(),
            batch_count: bytes.get_u32(),
            record_count: bytes.get_u64(),
            id: take_id(&mut bytes),
            created_ms: bytes.get_i64(),
            level,
            index_position_bytes,
            index_length_bytes,
            index_crc,
        };
        footer.check_place(object_bytes)?;
        Ok(footer)
    }

    fn check_place(&self, object_bytes: u64) -> Result<(), FooterError> {
        let end = self
            .index_position_bytes
            .checked_add(u64::from(self.index_length_bytes));
        let expected = object_bytes.checked_sub(FOOTER_BYTES as u64);
        if end.is_none() || end != expected || self.index_position_bytes < HEADER_BYTES as u64 {
            return Err(FooterError::IndexPlace {
                position: self.index_position_bytes,
                length: self.index_length_bytes,
                size: object_bytes,
            });
        }
        Ok(())
    }
}

fn put_id(id: SegmentId, out: &mut Vec<u8>) {
    out.put_u32(id.write_epoch);
    out.put_u32(id.incarnation);
    out.put_u64(id.counter);
}

fn take_id(bytes: &mut &[u8]) -> SegmentId {
    SegmentId {
        write_epoch: bytes.get_u32(),
        incarnation: bytes.get_u32(),
        counter: bytes.get_u64(),
    }
}

const fn check_version(version: u16) -> Result<(), FooterError> {
    if version == VERSION {
        Ok(())
    } else {
        Err(FooterError::Version(version))
    }
}

const fn check_flags(flags: u16) -> Result<(), FooterError> {
    if flags == 0 {
        Ok(())
    } else {
        Err(FooterError::Flags(flags))
    }
}

const fn check_crc(found: u32, expected: u32) -> Result<(), FooterError> {
    if found == expected {
        Ok(())
    } else {
        Err(FooterError::Crc { found, expected })
    }
}
