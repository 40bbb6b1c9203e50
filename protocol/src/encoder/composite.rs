//! Arrays, structs and tagged fields.

use super::{BODY_BYTES_MAX, EncodeError, Encoder};
use crate::messages::Message;
use crate::str::Str;

impl Encoder {
    /// Writes an array or null.
    ///
    /// # Errors
    /// An element cannot be written, or the frame becomes too long.
    pub fn nullable_array<T>(
        &mut self,
        elements: Option<&[T]>,
        flexible: bool,
        mut element: impl FnMut(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.length(elements.map(<[T]>::len), flexible)?;
        for value in elements.unwrap_or_default() {
            element(self, value)?;
        }
        self.check_size()
    }

    /// Writes an array of fixed-size values or null.
    ///
    /// # Errors
    /// The frame becomes too long.
    pub fn nullable_values<T: Copy>(
        &mut self,
        elements: Option<&[T]>,
        flexible: bool,
        value: impl Fn(&mut Self, T),
    ) -> Result<(), EncodeError> {
        self.nullable_array(elements, flexible, |e, element| {
            value(e, *element);
            Ok(())
        })
    }

    /// Writes an array of strings or null.
    ///
    /// # Errors
    /// A string or the frame is too long.
    pub fn nullable_strings(
        &mut self,
        elements: Option<&[Str]>,
        flexible: bool,
    ) -> Result<(), EncodeError> {
        self.nullable_array(elements, flexible, |e, text| e.string(text, flexible))
    }

    /// Writes an array of structs or null.
    ///
    /// # Errors
    /// An element cannot be written, or the frame becomes too long.
    pub fn nullable_structs<T: Message>(
        &mut self,
        elements: Option<&[T]>,
        flexible: bool,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.nullable_array(elements, flexible, |e, value| value.encode(e, version))
    }

    /// Writes a struct or null.
    ///
    /// # Errors
    /// The struct cannot be written.
    pub fn nullable_struct<T: Message>(
        &mut self,
        value: Option<&T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        match value {
            None => {
                self.i8(-1);
                Ok(())
            }
            Some(value) => {
                self.i8(1);
                value.encode(self, version)
            }
        }
    }

    /// Writes one tagged field: its tag, its size and what `field` writes. The caller has written the count, and
    /// calls this in ascending order of tags.
    ///
    /// # Errors
    /// The field cannot be written.
    pub fn tagged_field(
        &mut self,
        tag: u32,
        field: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut content = Self::with_capacity(32);
        field(&mut content)?;
        let content = content.into_body();
        self.uvarint(tag);
        // A size is written as it is, a length plus one.
        let length = content.len();
        let size = u32::try_from(length);
        self.uvarint(size.map_err(|_| EncodeError::TooLong {
            length,
            max: BODY_BYTES_MAX,
        })?);
        self.append(&content);
        self.check_size()
    }
}
