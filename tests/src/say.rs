//! Words that reach the reader of a test run even when the test passes.
//!
//! The test harness keeps what the print macros write of a passing test to itself. Which component
//! a test used, and that one was skipped, must be seen, so it is written past the harness.

use std::io::Write;

/// Writes one line to standard error, past the capture of the test harness.
pub fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    // A closed standard error is no reason to fail a test.
    writeln!(out, "floe-tests: {line}").ok();
}
