//! The whole agent and its metadata service in a seeded, deterministic simulation.
//!
//! ```text
//! producers, consumers ──frames──▶ dispatch … lanes … sequencer        one or two processes, killed and
//!        │                              │         │                    started again over the same
//!     observed                    FaultStore   MemoryEngine            store and engine
//!        └────────▶ checker
//! ```
//!
//! Everything is the real code but three things: sockets, SlateDB and the clock. One seed draws settings,
//! faults, crashes and what clients do; the same seed gives the same run, to the last request.
//!
//! What is looked for: every acknowledged record is at its offset and stays there, nothing is doubled,
//! reordered or made up, offsets are dense, the high watermark never falls and is never passed, ListOffsets
//! is linearizable, an idempotent producer is never refused for what the cluster did, a record whose
//! refusal was final is not in the log, no generation of a group has two leaders or falls, no partition has two
//! readers in a group, no committed offset is lost, and once faults stop everyone finishes.

#![allow(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a simulation stops at whatever cannot be"
)]

pub mod administrator;
pub mod consumer;
pub mod member;
pub mod observed;
pub mod plan;
pub mod producer;
pub mod reader;
pub mod run;
pub mod topics;
pub mod wire;
pub mod world;
