//! Order, offsets and ownership: the metadata service.

pub mod api;
pub mod client;
pub mod engine;
pub mod state;
