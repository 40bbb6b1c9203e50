//! The index in its columnar form: one column after another, all values of a column together, small
//! differences as varints, so that many alike batches cost a byte or less each once compressed.
//!
//! ```text
//! packed     0 codec u8 (0 plain, 1 zstd) | 1 length of the columns u32, big-endian | 5 the columns
//! columns    column version u8 = 1 | topic count | per topic: id 16 bytes, extent count
//!            per extent: partition (difference to the one before in the topic)
//!            per extent: batch count | gap before its bytes | base offset + 1 (0: none) | crc 4 bytes
//!            per batch: length | offsets | attributes
//!            per batch: base time (difference to the batch before) | max time - base time
//!            per batch: producer id, producer epoch (differences to the batch before)
//!            per batch: base sequence (difference to what would follow the batch before)
//! ```
//!
//! Numbers are LEB128 varints of at most ten bytes, signed ones zigzag. The bytes have no checksum of
//! their own: a segment's footer has one, and so has whatever else stores them. Decoding never takes
//! more memory than a small multiple of the bytes at hand, whatever they claim.

mod decode;
mod encode;
mod varint;

use std::io::Read;

use super::{Index, IndexBatch};

/// What a packed index spends before its columns.
const PACKED_HEAD_BYTES: usize = 5;
/// The version of the column layout.
const COLUMNS_VERSION: u8 = 1;
/// Below this, zstd's own frame costs more than it saves.
const ZSTD_FROM_BYTES: usize = 256;
/// Fast: the index of a full segment is on the path of an acknowledgement.
const ZSTD_LEVEL: i32 = 1;
/// The smallest record batch there can be: its header alone.
pub(crate) const BATCH_BYTES_MIN: u32 = 61;

/// Why bytes are no index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IndexError {
    /// The bytes end in the middle of something, or claim more than they can hold.
    #[error("index is cut off")]
    CutOff,
    /// Bytes are left over.
    #[error("index has {0} bytes too many")]
    TrailingBytes(usize),
    /// Written by a later release.
    #[error("index version {0} is not known to this release")]
    Version(u8),
    /// Written by a later release.
    #[error("index codec {0} is not known to this release")]
    Codec(u8),
    /// The zstd frame is damaged.
    #[error("index cannot be decompressed")]
    Compression,
    /// The columns would take more memory than the object they describe allows.
    #[error("index of {claimed} bytes passes its limit of {limit}")]
    TooLarge {
        /// Bytes of the columns.
        claimed: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A number does not fit the field it is for.
    #[error("index has a number that does not fit its field")]
    Number,
    /// Extents are not sorted by topic id, then partition, or overlap.
    #[error("index is out of order")]
    Order,
    /// An extent without batches, a batch without bytes or offsets.
    #[error("index has an empty extent or batch")]
    Empty,
}

impl Index {
    /// The columns of this index, neither compressed nor checked.
    #[must_use]
    pub fn encode_columns(&self) -> Vec<u8> {
        encode::columns(self)
    }

    /// Reads what [`Self::encode_columns`] wrote, and proves it in order: extents sorted, batches at
    /// least as large as their headers, no sum that wraps. Takes at most about six times the memory
    /// of `columns`.
    ///
    /// # Errors
    /// The bytes are no index this release knows.
    pub fn decode_columns(columns: &[u8]) -> Result<Self, IndexError> {
        decode::columns(columns)
    }

    /// The columns, compressed where that is worth it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let columns = self.encode_columns();
        let mut packed = Vec::with_capacity(PACKED_HEAD_BYTES + columns.len());
        let length = u32::try_from(columns.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        let compressed = (columns.len() >= ZSTD_FROM_BYTES)
            .then(|| zstd::bulk::compress(&columns, ZSTD_LEVEL).ok())
            .flatten()
            .filter(|compressed| compressed.len() < columns.len());
        match compressed {
            Some(compressed) => {
                packed.push(Codec::Zstd as u8);
                packed.extend_from_slice(&length);
                packed.extend_from_slice(&compressed);
            }
            None => {
                packed.push(Codec::Plain as u8);
                packed.extend_from_slice(&length);
                packed.extend_from_slice(&columns);
            }
        }
        packed
    }

    /// Reads what [`Self::encode`] wrote. The columns may take up to `columns_bytes_max` bytes; see
    /// [`columns_bytes_max`] for a limit that no true index passes.
    ///
    /// # Errors
    /// The bytes are no index this release knows, or too large a one.
    pub fn decode(packed: &[u8], columns_bytes_max: u64) -> Result<Self, IndexError> {
        let (head, stored) = packed
            .split_at_checked(PACKED_HEAD_BYTES)
            .ok_or(IndexError::CutOff)?;
        let [codec, length @ ..] = head else {
            return Err(IndexError::CutOff);
        };
        let length: [u8; 4] = length.try_into().map_err(|_| IndexError::CutOff)?;
        let claimed = u64::from(u32::from_be_bytes(length));
        if claimed > columns_bytes_max {
            return Err(IndexError::TooLarge {
                claimed,
                limit: columns_bytes_max,
            });
        }
        if *codec == Codec::Plain as u8 {
            if stored.len() as u64 != claimed {
                return Err(IndexError::CutOff);
            }
            return Self::decode_columns(stored);
        }
        if *codec != Codec::Zstd as u8 {
            return Err(IndexError::Codec(*codec));
        }
        Self::decode_columns(&decompress(stored, claimed)?)
    }
}

/// A limit for the columns of an index over `body_bytes` bytes of batches: no index whose batches have
/// at least a header each needs more.
#[must_use]
pub const fn columns_bytes_max(body_bytes: u64) -> u64 {
    // A batch takes at most 51 bytes in its columns and an extent at most 55 in its own; each extent
    // has a batch and each batch at least the 61 bytes of its header in the body: 106 < 2 * 61.
    body_bytes.saturating_mul(2).saturating_add(64)
}

#[derive(Clone, Copy)]
enum Codec {
    Plain = 0,
    Zstd = 1,
}

/// The sequence the batch after `batch` most likely has; both sides of the codec agree on it.
fn sequence_after(batch: &IndexBatch) -> i64 {
    let base = i64::from(batch.base_sequence);
    if base < 0 {
        base
    } else {
        base + i64::from(batch.record_count)
    }
}

/// Grows with what comes out, never with what is claimed, and stops one byte past the claim.
fn decompress(stored: &[u8], claimed: u64) -> Result<Vec<u8>, IndexError> {
    let decoder = zstd::Decoder::with_buffer(stored).map_err(|_| IndexError::Compression)?;
    let mut columns = Vec::new();
    let read = decoder
        .take(claimed.saturating_add(1))
        .read_to_end(&mut columns)
        .map_err(|_| IndexError::Compression)?;
    if read as u64 == claimed {
        Ok(columns)
    } else {
        Err(IndexError::Compression)
    }
}
