//! Objects: names, the segment format, polite access to the store and the block cache.

pub mod cache;
pub mod clock;
pub mod error;
pub mod key;
pub mod latest;
pub mod segment;
pub mod store;
pub mod tasks;
