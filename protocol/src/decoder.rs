//! Reads Kafka's primitive types from a frame (protocol guide, "Protocol Primitive Types"; KIP-482 for the
//! compact forms and tagged fields).
//! Owns every check on lengths and counts: none of them sizes an allocation before it was compared with what
//! remains of the frame and charged to the [`Budget`]. Never panics, whatever the bytes.

use bytes::Bytes;
use uuid::Uuid;

use crate::budget::Budget;
use crate::messages::Message;
use crate::records::Records;
use crate::str::Str;

/// The most tagged fields a request or response header may carry.
pub const HEADER_TAGS_MAX: u32 = 64;
/// The most tagged fields a struct may carry.
pub const STRUCT_TAGS_MAX: u32 = 1024;
/// The longest string on the wire, compact or not.
pub const STRING_BYTES_MAX: usize = 0x7fff;

/// Why a frame cannot be decoded. The connection it came from is closed: after an error nobody knows what the
/// client meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A fixed-size value or a length reaches beyond the end.
    #[error("{wanted_bytes} bytes wanted where {remaining_bytes} remain")]
    Truncated {
        /// What the value or its length asks for.
        wanted_bytes: usize,
        /// What the frame, or the tagged field around it, still holds.
        remaining_bytes: usize,
    },
    /// An array claims more elements than could fit into what remains.
    #[error(
        "{count} elements of at least {element_bytes} bytes where {remaining_bytes} bytes remain"
    )]
    CountBeyondFrame {
        /// The claimed number of elements.
        count: usize,
        /// The smallest size of one element on the wire.
        element_bytes: usize,
        /// What the frame still holds.
        remaining_bytes: usize,
    },
    /// A length or count below -1.
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// Null where the schema does not allow it.
    #[error("null where a value is required")]
    UnexpectedNull,
    /// A varint of more than five bytes, or of more than 32 bits.
    #[error("varint does not fit 32 bits")]
    VarintTooLong,
    /// A compact string longer than a plain one could be, which Kafka refuses too.
    #[error("string of {0} bytes is longer than 32767")]
    StringTooLong(usize),
    /// A string that is not UTF-8.
    #[error("string is not utf-8")]
    NotUtf8,
    /// More tagged fields than allowed in one place.
    #[error("{count} tagged fields where {max} are allowed")]
    TooManyTags {
        /// The claimed number.
        count: u32,
        /// The limit of this place.
        max: u32,
    },
    /// Decoding would take more memory than a frame of this size is worth.
    #[error("{wanted_bytes} decoded bytes wanted where the budget has {remaining_bytes} left")]
    OverBudget {
        /// What the next reservation asks for.
        wanted_bytes: usize,
        /// What is left.
        remaining_bytes: usize,
    },
    /// A version this message's schema does not have.
    #[error("version {0} of this message is not known")]
    UnknownVersion(i16),
}

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

    /// Reads an array that may be null, of elements that take at least `element_bytes` each on the wire.
    ///
    /// # Errors
    /// The count is below -1, beyond what remains, or beyond the budget; or an element is malformed.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element_bytes: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible)? else {
            return Ok(None);
        };
        let element_bytes = element_bytes.max(1);
        let remaining_bytes = self.remaining_bytes();
        if count > remaining_bytes / element_bytes {
            return Err(DecodeError::CountBeyondFrame {
                count,
                element_bytes,
                remaining_bytes,
            });
        }
        self.budget.charge::<T>(count)?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// Reads an array.
    ///
    /// # Errors
    /// As [`nullable_array`](Self::nullable_array), and null.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element_bytes: usize,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, element_bytes, element)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads an array of structs that may be null.
    ///
    /// # Errors
    /// As [`nullable_array`](Self::nullable_array).
    pub fn nullable_structs<T: Message>(
        &mut self,
        flexible: bool,
        version: i16,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        self.nullable_array(flexible, T::smallest_wire_bytes(version), |d| {
            T::decode(d, version)
        })
    }

    /// Reads an array of structs.
    ///
    /// # Errors
    /// As [`array`](Self::array).
    pub fn structs<T: Message>(
        &mut self,
        flexible: bool,
        version: i16,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_structs(flexible, version)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads an array of strings that may be null.
    ///
    /// # Errors
    /// As [`nullable_array`](Self::nullable_array).
    pub fn nullable_strings(&mut self, flexible: bool) -> Result<Option<Vec<Str>>, DecodeError> {
        self.nullable_array(flexible, if flexible { 1 } else { 2 }, |d| {
            d.string(flexible)
        })
    }

    /// Reads an array of strings.
    ///
    /// # Errors
    /// As [`array`](Self::array).
    pub fn strings(&mut self, flexible: bool) -> Result<Vec<Str>, DecodeError> {
        self.nullable_strings(flexible)?
            .ok_or(DecodeError::UnexpectedNull)
    }

    /// Reads a struct that may be null: an int8 below zero, or another int8 and the struct.
    ///
    /// # Errors
    /// The struct is malformed or exceeds the budget.
    pub fn nullable_struct<T: Message>(
        &mut self,
        version: i16,
    ) -> Result<Option<Box<T>>, DecodeError> {
        if self.i8()? < 0 {
            return Ok(None);
        }
        self.budget.charge::<T>(1)?;
        Ok(Some(Box::new(T::decode(self, version)?)))
    }

    /// Reads the tagged fields of a struct: `field` gets each tag, reads its value and says true, or says false
    /// for a tag it does not know in this version, which is then skipped. Order and repetition do not matter:
    /// the last one wins. What a known field leaves unread of its size is skipped.
    ///
    /// # Errors
    /// Too many fields, a size beyond the frame, or a malformed value.
    pub fn tagged_fields(
        &mut self,
        field: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        self.tagged_fields_up_to(STRUCT_TAGS_MAX, field)
    }

    /// Reads the tagged fields of a struct whose schema has none.
    ///
    /// # Errors
    /// As [`tagged_fields`](Self::tagged_fields).
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields_up_to(STRUCT_TAGS_MAX, |_, _| Ok(false))
    }

    /// Reads the tagged fields of a header, none of which has a meaning to us.
    ///
    /// # Errors
    /// As [`tagged_fields`](Self::tagged_fields), with the limit of a header.
    pub fn skip_header_tags(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields_up_to(HEADER_TAGS_MAX, |_, _| Ok(false))
    }

    fn tagged_fields_up_to(
        &mut self,
        max: u32,
        mut field: impl FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.uvarint()?;
        if count > max {
            return Err(DecodeError::TooManyTags { count, max });
        }
        for _ in 0..count {
            let tag = self.uvarint()?;
            let size = usize::try_from(self.uvarint()?).map_err(|_| DecodeError::VarintTooLong)?;
            let start = self.advance(size)?;
            let field_end = self.position;
            let outer_end = std::mem::replace(&mut self.end, field_end);
            self.position = start;
            let outcome = field(self, tag);
            self.position = field_end;
            self.end = outer_end;
            outcome?;
        }
        Ok(())
    }
}
