//! Order, offsets and ownership: the metadata service.

pub mod api;
pub mod client;
pub mod cluster;
pub mod engine;
pub mod feature_level;
pub mod groups;
pub mod ownership;
pub mod rpc;
mod sequencer;
pub mod service;
pub mod state;
pub mod steady_clock;
#[cfg(test)]
mod testing;
pub mod transfer;
