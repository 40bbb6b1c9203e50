//! Measures Floe (folder, MinIO, MinIO with slow PUTs) and Apache Kafka 4.2 side by side and writes the
//! table of goals.
//!
//! ```text
//! cargo build --release && cargo run --release -p floe-benches --bin compare -- --out target/compare
//! ```
//!
//! Needs `minio`, `java` and `mvn` on the search path; takes about half an hour on two cores.

#![allow(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use floe_benches::compare::{Samples, Tools, figures, run};
use floe_benches::json;
use floe_tests::components::java::Kafka;

#[derive(Parser)]
#[command(about = "Measures Floe and Apache Kafka 4.2 side by side")]
struct CommandLine {
    /// Folder for the results, and for what servers write: on the disk to be measured
    #[arg(long, default_value = "target/compare")]
    out: PathBuf,
    /// The release build of floe [default: beside this program]
    #[arg(long)]
    floe: Option<PathBuf>,
    /// Folder with the jars of Kafka 4.2, filled by Maven if it is empty
    #[arg(long, default_value = "target/test-artifacts/kafka-4.2")]
    kafka: PathBuf,
    /// Repetitions of each figure
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Share of the usual amount of data, for a quick look
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only these parts: start, cpu, flat-out, java, latency, reads, idle, light
    parts: Vec<String>,
}

fn main() -> ExitCode {
    match measure(CommandLine::parse()) {
        Ok(page) => {
            println!("{page}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(command: CommandLine) -> std::io::Result<String> {
    let here = std::env::current_exe()?;
    let beside = |name: &str| here.with_file_name(name);
    std::fs::create_dir_all(&command.out)?;
    std::fs::create_dir_all(&command.kafka)?;
    let tools = Tools {
        floe: command.floe.unwrap_or_else(|| beside("floe")),
        workload: beside("workload"),
        folder: command.out.canonicalize()?,
        kafka: Kafka::in_folder("4.2", &command.kafka.canonicalize()?)
            .map_err(std::io::Error::other)?,
        repeats: command.repeats,
        scale: command.scale,
    };
    let samples = Samples::default();
    let mut page = String::new();
    for repetition in 1..=tools.repeats {
        eprintln!("compare: repetition {repetition} of {}", tools.repeats);
        run::repetition(&tools, &samples, &command.parts);
        // After each one, so that an interrupted run leaves what it has.
        let figures = samples.figures();
        page = figures::page(&figures);
        json::write(&tools.folder.join("figures.json"), &figures)?;
        std::fs::write(tools.folder.join("figures.md"), &page)?;
    }
    Ok(page)
}
