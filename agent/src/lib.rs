//! Floe's agent: connections, dispatch, one handler per Kafka API, the produce and fetch paths, and the
//! process around them. The `floe` binary is a thin shell over this library, so that tests run several
//! agents in one process.

mod admin;
pub mod ask;
pub mod broker;
mod brokers;
pub mod command;
pub mod compaction;
pub mod config;
pub mod connection;
mod dispatch;
mod error;
pub mod fetch;
pub mod fsck;
mod handlers;
pub mod loopback;
pub mod memory;
pub mod meta;
pub mod metrics;
mod node;
pub mod object;
pub mod panics;
mod peers;
mod presence;
pub mod produce;
mod rendezvous;
mod server;
pub mod start;
#[cfg(test)]
mod testing;
pub mod topic_config;
pub mod topic_name;
mod verify;
