//! Objects: names, the segment format, polite access to the store and the block cache.

pub mod segment;
