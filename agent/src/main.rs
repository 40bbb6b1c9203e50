//! The `floe` command; see [`floe_agent::command`].

use std::process::ExitCode;

use floe_metadata::api::FEATURE_LEVEL;

fn main() -> ExitCode {
    floe_agent::command::run(FEATURE_LEVEL)
}
