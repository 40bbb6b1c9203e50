//! `floe` as a release that understands one feature level more.

use std::process::ExitCode;

use floe_metadata::api::FEATURE_LEVEL;

fn main() -> ExitCode {
    floe_agent::command::run(FEATURE_LEVEL + 1)
}
