//! Kafka's requests and responses, generated from `protocol/schema` at build time: a module per API with Kafka's
//! struct and field names. Decoded under a [`Budget`](crate::budget::Budget) only. A field that a version lacks has
//! its default after decoding and is not written when encoding, which is no error.

use crate::api::ApiKey;
use crate::decoder::{DecodeError, Decoder};
use crate::encoder::{EncodeError, Encoder};

/// A struct of the protocol that is read and written in versions.
pub trait Message: Sized {
    /// Reads the fields of `version`.
    ///
    /// # Errors
    /// The bytes are malformed or cost more than their budget: close the connection.
    fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError>;

    /// Writes the fields of `version`.
    ///
    /// # Errors
    /// A field is null or too long for this version.
    fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError>;

    /// The fewest bytes this struct takes in `version`, each of its strings and arrays being empty.
    fn smallest_wire_bytes(version: i16) -> usize;
}

/// The body of a request.
pub trait Request: Message {
    /// Its API.
    const KEY: ApiKey;
    /// What answers it, in the same version.
    type Response: Message;
}

/// The value of a field that must not be null in `version`.
fn required<'a, T: ?Sized>(
    value: Option<&'a T>,
    field: &'static str,
    version: i16,
) -> Result<&'a T, EncodeError> {
    value.ok_or(EncodeError::UnexpectedNull { field, version })
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));
