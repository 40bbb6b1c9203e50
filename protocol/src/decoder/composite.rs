//! Arrays, structs and tagged fields.

use super::{DecodeError, Decoder, HEADER_TAGS_MAX, STRUCT_TAGS_MAX};
use crate::messages::Message;
use crate::str::Str;

impl Decoder {
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
