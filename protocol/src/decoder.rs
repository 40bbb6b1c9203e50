//! Reads Kafka's primitive types from a frame (protocol guide, "Protocol Primitive Types"; KIP-482 for the
//! compact forms and tagged fields).
//! Owns every check on lengths and counts: none of them sizes an allocation before it was compared with what
//! remains of the frame and charged to the [`Budget`]. Never panics, whatever the bytes.

mod composite;
mod error;

use bytes::Bytes;
use uuid::Uuid;

pub use self::error::DecodeError;
use crate::budget::Budget;
use crate::records::Records;
use crate::str::Str;

/// The most tagged fields a request or response header may carry.
pub const HEADER_TAGS_MAX: u32 = 64;
/// The most tagged fields a struct may carry.
pub const STRUCT_TAGS_MAX: u32 = 1024;
/// The longest string on the wire, compact or not.
pub const STRING_BYTES_MAX: usize = 0x7fff;

/// A cursor over one frame.
#[derive(Debug)]
pub struct Decoder {
    frame: Bytes,
    position: usize,
    // Where the frame, or the tagged field being read, ends; never beyond the frame.
    end: usize,
    budget: Budget,
}

impl Decoder {
    /// A decoder at the first byte of `frame`, which holds what follows the length prefix.
    #[must_use]
    pub fn new(frame: Bytes, budget: Budget) -> Self {
        let end = frame.len();
        Self {
            frame,
            position: 0,
            end,
            budget,
        }
    }

    /// The bytes that were not read yet; after a body, those the client sent beyond it.
    #[must_use]
    pub fn remaining_bytes(&self) -> usize {
        self.end.saturating_sub(self.position)
    }

    /// The position of the next byte, from the start of the frame.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What of the budget is left.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    fn advance(&mut self, count: usize) -> Result<usize, DecodeError> {
        let start = self.position;
        let remaining_bytes = self.remaining_bytes();
        if count > remaining_bytes {
            return Err(DecodeError::Truncated {
                wanted_bytes: count,
                remaining_bytes,
            });
        }
        self.position = start.saturating_add(count);
        Ok(start)
    }

    fn take(&mut self, count: usize) -> Result<Bytes, DecodeError> {
        let start = self.advance(count)?;
        if count == 0 {
            // An empty value must not keep the frame alive.
            return Ok(Bytes::new());
        }
        Ok(self.frame.slice(start..self.position))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let start = self.advance(N)?;
        let bytes = self
            .frame
            .get(start..self.position)
            .and_then(|slice| slice.first_chunk::<N>());
        bytes.copied().ok_or(DecodeError::Truncated {
            wanted_bytes: N,
            remaining_bytes: 0,
        })
    }

    /// Reads a bool; every byte but 0 is true, as in Kafka.
    ///
    /// # Errors
    /// The frame ends early. So for all fixed-size types below.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// Reads an int8.
    ///
    /// # Errors
    /// The frame ends early.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    /// Reads an int16.
    ///
    /// # Errors
    /// The frame ends early.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    /// Reads a uint16.
    ///
    /// # Errors
    /// The frame ends early.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    /// Reads an int32.
    ///
    /// # Errors
    /// The frame ends early.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Reads a uint32.
    ///
    /// # Errors
    /// The frame ends early.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Reads an int64.
    ///
    /// # Errors
    /// The frame ends early.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// Reads a float64.
    ///
    /// # Errors
    /// The frame ends early.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    /// Reads a uuid; zero stands for none.
    ///
    /// # Errors
    /// The frame ends early.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(Uuid::from_bytes)
    }

    /// Reads an unsigned varint of up to five bytes; needlessly long forms are accepted, as in Kafka.
    ///
    /// # Errors
    /// The frame ends early, or the value does not fit 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed::<1>()?;
            let bits = u32::from(byte & 0x7f);
            // Kafka drops what the fifth byte has above bit 31; such a number is never meant.
            if shift == 28 && bits > 0x0f {
                return Err(DecodeError::VarintTooLong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// The length of a compact value or the count of a compact array: one less than written, 0 means null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.uvarint()?.checked_sub(1) {
            None => Ok(None),
            Some(length) => usize::try_from(length)
                .map(Some)
                .map_err(|_| DecodeError::VarintTooLong),
        }
    }

    fn plain_length(length: i32) -> Result<Option<usize>, DecodeError> {
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(DecodeError::NegativeLength(length)),
        }
    }

    fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if !flexible {
            return Self::plain_length(self.i16()?.into());
        }
        match self.compact_length()? {
            Some(length) if length > STRING_BYTES_MAX => Err(DecodeError::StringTooLong(length)),
            length => Ok(length),
        }
    }

    /// The length of bytes or records, or the count of an array.
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            self.compact_length()
        } else {
            Self::plain_length(self.i32()?)
        }
    }

    /// Reads a string that may be null.
    ///
    /// # Errors
    /// The length is below -1 or reaches beyond the frame, or the bytes are not UTF-8.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Str>, DecodeError> {
        let Some(length) = self.string_length(flexible)? else {
            return Ok(None);
        };
        let bytes = self.take(length)?;
        Str::from_utf8(bytes)
            .map(Some)
            .map_err(|_| DecodeError::NotUtf8)
    }

    /// Reads a string.
    ///
    /// # Errors
    /// As [`nullable_string`](Self::nullable_string), and null.
    pub fn string(&mut self, flexible: bool) -> Result<Str, DecodeError> {
        self.nullable_string(flexible)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads a plain string that may be null and need not be UTF-8: malformed parts become U+FFFD, in a copy
    /// that is charged.
    ///
    /// # Errors
    /// The length is below -1 or reaches beyond the frame, or the copy exceeds the budget.
    pub fn nullable_string_lossy(&mut self) -> Result<Option<Str>, DecodeError> {
        let Some(length) = self.string_length(false)? else {
            return Ok(None);
        };
        let bytes = self.take(length)?;
        if std::str::from_utf8(&bytes).is_err() {
            // Each malformed byte can become the three bytes of U+FFFD, and the copy grows by doubling.
            self.budget.charge_bytes(length.saturating_mul(6))?;
        }
        Ok(Some(Str::from_utf8_lossy(bytes)))
    }

    /// Reads bytes that may be null.
    ///
    /// # Errors
    /// The length is below -1 or reaches beyond the frame.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible)? {
            None => Ok(None),
            Some(length) => self.take(length).map(Some),
        }
    }

    /// Reads bytes.
    ///
    /// # Errors
    /// As [`nullable_bytes`](Self::nullable_bytes), and null.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads records that may be null: one slice of the frame.
    ///
    /// # Errors
    /// As [`nullable_bytes`](Self::nullable_bytes), or the list of pieces exceeds the budget.
    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<Records>, DecodeError> {
        let Some(bytes) = self.nullable_bytes(flexible)? else {
            return Ok(None);
        };
        self.budget.charge::<Bytes>(1)?;
        Ok(Some(Records::from(bytes)))
    }

    /// Reads records.
    ///
    /// # Errors
    /// As [`nullable_records`](Self::nullable_records), and null.
    pub fn records(&mut self, flexible: bool) -> Result<Records, DecodeError> {
        self.nullable_records(flexible)?
            .ok_or(DecodeError::UnexpectedNull)
    }
}
