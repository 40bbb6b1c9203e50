//! Writes Kafka's primitive types into a list of chunks (protocol guide, "Protocol Primitive Types"; KIP-482).
//! Small fields gather in a buffer; records are appended as the chunks they are, so that what was read from a
//! cache goes to the socket without a copy. The first four bytes are kept free for the frame's length.

mod composite;

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::decoder::STRING_BYTES_MAX;
use crate::records::Records;
use crate::str::Str;

/// Record chunks below this size are copied into the buffer: a copy of a patched batch head is cheaper than one
/// more piece in a vectored write.
pub const COPY_BELOW_BYTES: usize = 128;
/// The largest body that is written; 1 MiB below what the int32 length can say, as room for a header and fields.
pub const BODY_BYTES_MAX: usize = 0x7ff0_0000;

const LENGTH_BYTES: usize = 4;
const FIRST_BUFFER_BYTES: usize = 256;

/// Why a message cannot be written. Nothing was sent; it is a fault of the caller, not of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field is null that may not be null in this version.
    #[error("field {field} is null in version {version}, which does not allow it")]
    UnexpectedNull {
        /// Kafka's name of the field.
        field: &'static str,
        /// The version written.
        version: i16,
    },
    /// A string, array or frame is longer than its length prefix can say.
    #[error("{length} is too long for a length of at most {max}")]
    TooLong {
        /// The length or count.
        length: usize,
        /// What the prefix can hold.
        max: usize,
    },
    /// A version this message's schema does not have.
    #[error("version {0} of this message is not known")]
    UnknownVersion(i16),
}

/// A frame being written.
#[derive(Debug)]
pub struct Encoder {
    // The piece that starts with the length, once record chunks follow it.
    first: Option<BytesMut>,
    // Pieces after the first one, in order.
    chunks: Vec<Bytes>,
    chunks_bytes: usize,
    // The piece that grows.
    tail: BytesMut,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An empty frame.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(FIRST_BUFFER_BYTES)
    }

    /// An empty frame with room for `bytes` of small fields.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut tail = BytesMut::with_capacity(bytes.saturating_add(LENGTH_BYTES));
        tail.put_bytes(0, LENGTH_BYTES);
        Self {
            first: None,
            chunks: Vec::new(),
            chunks_bytes: 0,
            tail,
        }
    }

    /// The bytes written so far, without the length prefix.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        let first = self.first.as_ref().map_or(0, BytesMut::len);
        (first + self.chunks_bytes + self.tail.len()).saturating_sub(LENGTH_BYTES)
    }

    /// The frame as pieces in order, its int32 length first.
    ///
    /// # Panics
    /// If the frame exceeds 2 GiB, which the checks on every array, string and record set rule out.
    #[must_use]
    pub fn finish(self) -> Vec<Bytes> {
        let length = i32::try_from(self.len_bytes());
        assert!(
            length.is_ok(),
            "a frame is within the limits checked while writing it"
        );
        self.into_pieces(length.unwrap_or_default())
    }

    fn into_pieces(mut self, length: i32) -> Vec<Bytes> {
        let first = self.first.get_or_insert_with(|| self.tail.split());
        if let Some(prefix) = first.first_chunk_mut::<LENGTH_BYTES>() {
            *prefix = length.to_be_bytes();
        }
        let mut pieces = Vec::with_capacity(self.chunks.len() + 2);
        pieces.extend(self.first.map(BytesMut::freeze));
        pieces.append(&mut self.chunks);
        if !self.tail.is_empty() {
            pieces.push(self.tail.freeze());
        }
        pieces
    }

    /// The bytes without the length prefix, in one piece; copies if records were appended.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        let mut pieces = self.into_pieces(0).into_iter();
        let head = pieces
            .next()
            .map_or_else(Bytes::new, |first| first.slice(LENGTH_BYTES..));
        std::iter::once(head)
            .chain(pieces)
            .collect::<Records>()
            .into_bytes()
    }

    fn seal_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let piece = self.tail.split();
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.chunks_bytes += piece.len();
            self.chunks.push(piece.freeze());
        }
    }

    fn check_size(&self) -> Result<(), EncodeError> {
        let length = self.len_bytes();
        if length > BODY_BYTES_MAX {
            return Err(EncodeError::TooLong {
                length,
                max: BODY_BYTES_MAX,
            });
        }
        Ok(())
    }

    /// Writes a bool.
    pub fn bool(&mut self, value: bool) {
        self.tail.put_u8(u8::from(value));
    }

    /// Writes an int8.
    pub fn i8(&mut self, value: i8) {
        self.tail.put_i8(value);
    }

    /// Writes an int16.
    pub fn i16(&mut self, value: i16) {
        self.tail.put_i16(value);
    }

    /// Writes a uint16.
    pub fn u16(&mut self, value: u16) {
        self.tail.put_u16(value);
    }

    /// Writes an int32.
    pub fn i32(&mut self, value: i32) {
        self.tail.put_i32(value);
    }

    /// Writes a uint32.
    pub fn u32(&mut self, value: u32) {
        self.tail.put_u32(value);
    }

    /// Writes an int64.
    pub fn i64(&mut self, value: i64) {
        self.tail.put_i64(value);
    }

    /// Writes a float64.
    pub fn f64(&mut self, value: f64) {
        self.tail.put_f64(value);
    }

    /// Writes a uuid.
    pub fn uuid(&mut self, value: Uuid) {
        self.tail.put_slice(value.as_bytes());
    }

    /// Writes an unsigned varint in its shortest form.
    pub fn uvarint(&mut self, mut value: u32) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.tail.put_u8(low & 0x7f);
                return;
            }
            self.tail.put_u8(low | 0x80);
        }
    }

    /// The length or count of anything but a plain string; `None` is null.
    fn length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        let Some(length) = length else {
            if flexible {
                self.uvarint(0);
            } else {
                self.i32(-1);
            }
            return Ok(());
        };
        let max = BODY_BYTES_MAX;
        let value = i32::try_from(length).map_err(|_| EncodeError::TooLong { length, max })?;
        if flexible {
            self.uvarint(value.unsigned_abs().saturating_add(1));
        } else {
            self.i32(value);
        }
        Ok(())
    }

    fn string_length(&mut self, length: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        // Kafka holds compact strings to the limit of plain ones.
        let max = STRING_BYTES_MAX;
        let value = match length {
            None => -1,
            Some(length) => {
                i16::try_from(length).map_err(|_| EncodeError::TooLong { length, max })?
            }
        };
        if flexible {
            return self.length(length, true);
        }
        self.i16(value);
        Ok(())
    }

    /// Writes a string.
    ///
    /// # Errors
    /// It is longer than 32,767 bytes.
    pub fn string(&mut self, value: &Str, flexible: bool) -> Result<(), EncodeError> {
        self.nullable_string(Some(value), flexible)
    }

    /// Writes a string or null.
    ///
    /// # Errors
    /// As [`string`](Self::string).
    pub fn nullable_string(
        &mut self,
        value: Option<&Str>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.string_length(value.map(|text| text.as_bytes().len()), flexible)?;
        if let Some(text) = value {
            self.tail.put_slice(text.as_bytes());
        }
        self.check_size()
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// The frame becomes too long.
    pub fn bytes(&mut self, value: &Bytes, flexible: bool) -> Result<(), EncodeError> {
        self.nullable_bytes(Some(value), flexible)
    }

    /// Writes bytes or null.
    ///
    /// # Errors
    /// The frame becomes too long.
    pub fn nullable_bytes(
        &mut self,
        value: Option<&Bytes>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.length(value.map(Bytes::len), flexible)?;
        if let Some(bytes) = value {
            self.append(bytes);
        }
        self.check_size()
    }

    /// Writes records or null; their chunks become chunks of the frame.
    ///
    /// # Errors
    /// The frame becomes too long.
    pub fn nullable_records(
        &mut self,
        value: Option<&Records>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.length(value.map(Records::len_bytes), flexible)?;
        for chunk in value.map_or(&[][..], Records::chunks) {
            self.append(chunk);
        }
        self.check_size()
    }

    fn append(&mut self, bytes: &Bytes) {
        if bytes.len() < COPY_BELOW_BYTES {
            self.tail.put_slice(bytes);
            return;
        }
        self.seal_tail();
        self.chunks_bytes += bytes.len();
        self.chunks.push(bytes.clone());
    }
}

#[cfg(test)]
mod tests;
