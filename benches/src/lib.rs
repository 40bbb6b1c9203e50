//! Measuring Floe and what stands beside it: micro benchmarks, the raw store, and a workload that
//! drives any Kafka broker.
//!
//! On a small machine client, broker and store share the cores, so MiB/s alone says little: every
//! figure comes with the CPU-seconds per GiB of each party, user time beside the total.

pub mod compare;
pub mod cpu;
pub mod groups;
pub mod histogram;
pub mod json;
pub mod load;
pub mod memory;
pub mod micro;
pub mod sample;
pub mod servers;
pub mod speed_of_light;
pub mod time;
pub mod wire;
