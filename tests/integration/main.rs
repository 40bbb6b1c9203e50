//! A real `floe` process, real clients, real stores: what a user sees, on a folder and on S3.
//!
//! Client tests run once per store; with `FLOE_TEST_BOOTSTRAP` they run against that broker instead,
//! which is how their expectations are checked against Apache Kafka.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and says where"
)]

mod target;

/// Makes a test of each function for a broker on a folder and for one on S3.
macro_rules! on_each_store {
    ($($test:ident),+ $(,)?) => {
        mod on_folder {
            $(#[test] fn $test() { super::$test(&crate::target::Target::folder()); })+
        }
        mod on_s3 {
            $(#[test] fn $test() { super::$test(&crate::target::Target::s3()); })+
        }
    };
}

mod admin;
mod bad_frames;
mod clock;
mod cluster;
mod consume;
mod deletion;
mod disk;
mod drain;
mod engine;
mod groups;
mod kill;
mod meta;
mod metadata;
mod network;
mod outage;
mod peers;
mod produce;
mod start;
mod stores;
mod upgrade;
