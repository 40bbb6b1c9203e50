//! Kafka's wire: messages generated from our own schema text, the record batch view, compression and
//! the words every crate shares. No I/O, no async, no clock.

pub mod checksum;
pub mod compression;
pub mod record_batch;
pub mod types;
