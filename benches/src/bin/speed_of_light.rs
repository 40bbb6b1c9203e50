//! Measures a store by itself: `speed_of_light --store file:/tmp/x` or `--store s3://bucket`.

#![allow(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use floe_benches::histogram::Percentiles;
use floe_benches::json;
use floe_benches::speed_of_light::{self, Moved, Plan, StoreError};
use serde::Serialize;

#[derive(Parser)]
#[command(about = "Measures a store by itself: parallel PUTs and GETs, and durable writes")]
struct CommandLine {
    /// file:PATH, or s3://BUCKET with AWS_* variables
    #[arg(long)]
    store: String,
    /// Size of an object
    #[arg(long, default_value_t = 8)]
    object_mib: usize,
    /// Objects in all
    #[arg(long, default_value_t = 128)]
    objects: usize,
    /// Requests under way at once
    #[arg(long, default_value_t = 4)]
    parallel: usize,
    /// A process of the store; may be repeated
    #[arg(long)]
    store_pid: Vec<u32>,
    /// Also write the results to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    store: String,
    plan: Plan,
    put: Moved,
    get: Moved,
    durable_write: Vec<(usize, Percentiles)>,
}

fn main() -> ExitCode {
    let command = CommandLine::parse();
    let done = measure(&command)
        .map_err(|error| error.to_string())
        .and_then(|report| {
            tell(&report);
            let written = command.json.map(|file| json::write(&file, &report));
            written.transpose().map_err(|error| error.to_string())
        });
    match done {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speed_of_light: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(command: &CommandLine) -> Result<Report, StoreError> {
    let store = speed_of_light::open(&command.store)?;
    let plan = Plan {
        object_bytes: command.object_mib << 20,
        objects: command.objects,
        parallel: command.parallel,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (put, get) = runtime.block_on(speed_of_light::run(&*store, plan, &command.store_pid))?;
    let mut durable_write = Vec::new();
    if let Some(path) = command.store.strip_prefix("file:") {
        for (size, count) in [(4 << 10, 200), (256 << 10, 100), (8 << 20, 30)] {
            let folder = Path::new(path).join("durable");
            durable_write.push((size, speed_of_light::durable_write(&folder, size, count)?));
        }
    }
    Ok(Report {
        store: command.store.clone(),
        plan,
        put,
        get,
        durable_write,
    })
}

fn tell(report: &Report) {
    for (name, moved) in [("PUT", &report.put), ("GET", &report.get)] {
        println!(
            "{name} {:7.1} MiB/s, CPU-s per GiB: client {:.2}, store {:.2}; {}",
            moved.mib_per_s, moved.client_cpu_s_per_gib, moved.store_cpu_s_per_gib, moved.latency
        );
    }
    for (size, latency) in &report.durable_write {
        println!(
            "write, fsync, rename, fsync of {:5} KiB: {latency}",
            size / 1024
        );
    }
}
