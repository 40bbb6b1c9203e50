//! Kafka's wire: messages generated from our own schema text, the record batch view, compression and
//! the words every crate shares. No I/O, no async, no clock.

pub mod api;
#[cfg(any(test, feature = "arbitrary"))]
pub mod arbitrary;
pub mod budget;
pub mod checksum;
pub mod compression;
pub mod decoder;
pub mod encoder;
pub mod error_code;
pub mod frame;
pub mod header;
pub mod messages;
pub mod record_batch;
pub mod records;
pub mod str;
pub mod types;

#[cfg(test)]
mod fuzzing;
