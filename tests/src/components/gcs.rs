//! Google Cloud Storage: `fake-gcs-server` from the search path, behind a front of our own.
//!
//! `fake-gcs-server` (1.56) keeps objects and checks generations, but knows of the XML API, which
//! object stores' clients use, only reading, listing and deleting: it refuses an upload with 400
//! "invalid uploadType" and never looks at `x-goog-if-generation-match`. The front
//! ([`super::gcs_front`]) passes on an upload as one of the JSON API.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::emulated::{EmulatedBucket, free_port, variables};
use super::gcs_front;
use super::keeper::Keeper;
use super::program_or_skip;
use crate::process::Process;

const BUCKET: &str = "floe-test";
const START_LIMIT: Duration = Duration::from_secs(60);

/// A bucket of a `fake-gcs-server` of its own, or `None` after saying that the test is skipped.
///
/// # Panics
///
/// If the program is missing although `FLOE_TEST_REQUIRE` names `gcs`, or does not start.
pub fn bucket_or_skip() -> Option<EmulatedBucket> {
    let path = program_or_skip("gcs", "fake-gcs-server")?;
    let port = free_port().expect("an ephemeral port is free");
    let mut process = Process::spawn(
        "fake-gcs-server",
        Command::new(path)
            .args(["-scheme", "http", "-host", "127.0.0.1"])
            .args(["-port", &port.to_string()])
            .args(["-public-host", "127.0.0.1"])
            .args(["-backend", "memory", "-log-level", "info"]),
    )
    .expect("fake-gcs-server starts");
    process
        .wait_for_line(START_LIMIT, |line| {
            line.contains("server started").then_some(())
        })
        .unwrap_or_else(|error| panic!("fake-gcs-server: {error}"));
    let upstream = SocketAddr::from(([127, 0, 0, 1], port));
    let (front, port) = Keeper::start(START_LIMIT, move |started, stopped| {
        gcs_front::serve(upstream, BUCKET, started, stopped)
    })
    .unwrap_or_else(|error| panic!("front of fake-gcs-server: {error}"));
    Some(EmulatedBucket {
        url: format!("gs://{BUCKET}"),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        environment: |address| variables([("STORAGE_EMULATOR_HOST", address.to_string())]),
        _running: Arc::new((front, process)),
    })
}
