//! Drives a running Kafka broker and says what it cost.
//!
//! ```text
//! workload produce --bootstrap 127.0.0.1:9092 --records 1048576 --server-pid 4711
//! workload fetch   --bootstrap 127.0.0.1:9092 --server-pid 4711
//! workload tail    --bootstrap 127.0.0.1:9092 --records 1048576 --server-pid 4711 --http 127.0.0.1:9080
//! workload latency --bootstrap 127.0.0.1:9092 --server-pid 4711
//! ```

#![allow(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use floe_benches::load::{Done, Load, LoadError};
use floe_benches::sample::{Before, Cost, Watched};
use floe_benches::{json, memory};
use serde::Serialize;

#[derive(Parser)]
#[command(about = "Drives a running Kafka broker and says what it cost")]
struct CommandLine {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Producers alone
    Produce(Flags),
    /// Consumers alone, over what is in the topic
    Fetch(Flags),
    /// Producers, and consumers that follow at the end of the log
    Tail(Flags),
    /// The same at 500 records a second for 20 s, unless --rate and --records say otherwise
    Latency(Flags),
}

#[derive(Args, Clone)]
struct Flags {
    /// The broker
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Created if it is not there
    #[arg(long, default_value = "workload")]
    topic: String,
    /// Partitions of a new topic
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Producing clients
    #[arg(long, default_value_t = 1)]
    producers: usize,
    /// Consuming clients
    #[arg(long, default_value_t = 1)]
    consumers: usize,
    /// Size of each value
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Records in all [default: 1 GiB worth of them]
    #[arg(long)]
    records: Option<u64>,
    /// Records per second in all [default: flat out]
    #[arg(long)]
    rate: Option<f64>,
    /// A librdkafka setting of the producers, NAME=VALUE; may be repeated
    #[arg(long)]
    producer_setting: Vec<String>,
    /// A librdkafka setting of the consumers, NAME=VALUE; may be repeated
    #[arg(long)]
    consumer_setting: Vec<String>,
    /// A process of the broker, its children included; may be repeated
    #[arg(long)]
    server_pid: Vec<u32>,
    /// A process of the store, counted apart; may be repeated
    #[arg(long)]
    store_pid: Vec<u32>,
    /// Floe's HTTP address, for its requests to the store
    #[arg(long)]
    http: Option<SocketAddr>,
    /// GiB of memory to touch before the measurement
    #[arg(long, default_value_t = 0)]
    touch_gib: usize,
    /// Also write the result to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Flags {
    fn load(&self) -> Load {
        let record = u64::try_from(self.record_bytes.max(1)).unwrap_or(u64::MAX);
        Load {
            bootstrap: self.bootstrap.clone(),
            topic: self.topic.clone(),
            partitions: self.partitions,
            producers: self.producers,
            consumers: self.consumers,
            record_bytes: self.record_bytes,
            records: self.records.unwrap_or((1 << 30) / record),
            rate: self.rate,
            producer_settings: self.producer_setting.clone(),
            consumer_settings: self.consumer_setting.clone(),
        }
    }

    fn watched(&self) -> Watched {
        Watched {
            servers: self.server_pid.clone(),
            stores: self.store_pid.clone(),
            http: self.http,
        }
    }
}

/// The result of a run.
#[derive(Serialize)]
struct Report {
    mode: &'static str,
    load: Load,
    #[serde(skip_serializing_if = "Option::is_none")]
    produced: Option<Done>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed: Option<Done>,
    cost: Cost,
}

fn main() -> ExitCode {
    let (mode, flags) = match CommandLine::parse().mode {
        Mode::Produce(flags) => ("produce", flags),
        Mode::Fetch(flags) => ("fetch", flags),
        Mode::Tail(flags) => ("tail", flags),
        Mode::Latency(flags) => {
            let (rate, records) = (flags.rate.or(Some(500.0)), flags.records.or(Some(10_000)));
            (
                "latency",
                Flags {
                    rate,
                    records,
                    ..flags
                },
            )
        }
    };
    match run(mode, &flags) {
        Ok(report) => finish(&report, flags.json.as_ref()),
        Err(error) => {
            eprintln!("workload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: &'static str, flags: &Flags) -> Result<Report, LoadError> {
    let load = flags.load();
    load.create_topic()?;
    memory::touch(flags.touch_gib);
    let before = Before::now(&flags.watched());
    let (produced, consumed) = match mode {
        "produce" => (Some(load.produce()?), None),
        "fetch" => (None, Some(load.fetch()?)),
        _ => load
            .tail()
            .map(|(produced, consumed)| (Some(produced), Some(consumed)))?,
    };
    let bytes = produced.or(consumed).map_or(0, |done| done.bytes);
    let cost = before.cost(bytes);
    Ok(Report {
        mode,
        load,
        produced,
        consumed,
        cost,
    })
}

fn finish(report: &Report, file: Option<&PathBuf>) -> ExitCode {
    if let Some(produced) = &report.produced {
        println!("produced {produced}");
    }
    if let Some(consumed) = &report.consumed {
        println!("consumed {consumed}");
    }
    println!("{}", report.cost);
    if let Some(Err(error)) = file.map(|file| json::write(file, report)) {
        eprintln!("workload: {error}");
        return ExitCode::FAILURE;
    }
    let failed = report.produced.map_or(0, |done| done.failed);
    if failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
