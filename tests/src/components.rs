//! Real components that tests run against: found in a fixed order, named aloud, never guessed.
//!
//! A component that is missing skips its test with a line that says so, unless `FLOE_TEST_REQUIRE`
//! names it: then its absence is the failure.

use std::path::PathBuf;

use crate::config;
use crate::say::say;

pub mod azurite;
pub mod docker;
pub mod emulated;
pub mod gcs;
mod gcs_front;
pub mod java;
pub mod kafka;
mod keeper;
pub mod postgres;
mod postgres_docker;
mod postgres_program;
pub mod python;
pub mod s3;
mod s3_docker;
mod s3_in_process;
mod s3_minio;

/// A program on the search path.
pub fn program(name: &str) -> Option<PathBuf> {
    config::search_path()
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The program that the test needs, or `None` after saying that the test is skipped.
///
/// # Panics
///
/// If it is missing although `FLOE_TEST_REQUIRE` names `component`.
pub fn program_or_skip(component: &str, name: &str) -> Option<PathBuf> {
    let path = program(name);
    match &path {
        Some(path) => say(&format!("{component}: {}", path.display())),
        None => missing(component, &format!("no `{name}` on the PATH")),
    }
    path
}

/// Says that a component is missing and what follows: a skipped test.
///
/// # Panics
///
/// If `FLOE_TEST_REQUIRE` names `component`.
pub fn missing(component: &str, why: &str) {
    assert!(
        !config::is_required(component),
        "FLOE_TEST_REQUIRE names {component}, but {why}"
    );
    say(&format!("skipped: needs {component}: {why}"));
}
