//! What Floe's tests of real processes are made of: the broker as a child process, the real
//! components around it, faults between them, and a checker of what clients saw.
//!
//! Tests of one process on paused time live beside the code or in `simulation/`; here time, sockets
//! and processes are real.

pub mod cable;
pub mod checker;
pub mod client;
pub mod components;
pub mod config;
pub mod fleet;
pub mod frames;
pub mod history;
pub mod http;
pub mod process;
pub mod program;
pub mod proxy;
pub mod raw;
pub mod sandbox;
pub mod say;
pub mod simulation;
pub mod steady;
pub mod wait;
