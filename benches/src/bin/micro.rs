//! Runs the micro benchmarks: `micro [NAME…]` for those whose module is named, else all.

#![allow(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use floe_benches::json;
use floe_benches::micro::{Measurement, batch, codec, commit, segment, state};

type Module = (&'static str, fn() -> Vec<Measurement>);

const MODULES: [Module; 5] = [
    ("codec", codec::run),
    ("batch", batch::run),
    ("segment", segment::run),
    ("state", state::run),
    ("commit", commit::run),
];

#[derive(Parser)]
#[command(about = "Runs the micro benchmarks, each on one core")]
struct CommandLine {
    /// Only these: codec, batch, segment, state, commit
    modules: Vec<String>,
    /// Also write the results to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let CommandLine {
        modules,
        json: file,
    } = CommandLine::parse();
    let mut measured = Vec::new();
    for (name, run) in MODULES {
        if modules.is_empty() || modules.iter().any(|module| module == name) {
            for measurement in run() {
                let Measurement { name, value, unit } = &measurement;
                println!("{name:<64} {value:>14.2} {unit}");
                measured.push(measurement);
            }
        }
    }
    match file.map(|file| json::write(&file, &measured)) {
        Some(Err(error)) => {
            eprintln!("micro: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
