//! The runs: which servers, which load, which figures are taken from it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use floe_storage::cache::CHUNK_BYTES;
use floe_storage::key;
use floe_tests::client;
use floe_tests::components::s3::{self, Bucket};
use floe_tests::program::Program;
use floe_tests::proxy::Proxy;
use floe_tests::sandbox::Setup;
use floe_tests::wait;
use futures::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStore as _};
use serde_json::Value;

use super::{Samples, Tools};
use crate::memory;
use crate::servers::{Broker, Minio, floe_on_folder};
use crate::speed_of_light;
use floe_tests::components::kafka::Server;

/// What "a slow store" means in all figures.
const PUT_DELAY: Duration = Duration::from_millis(60);

/// GiB touched before each measured phase.
const TOUCH_GIB: &str = "4";

/// A phase of the workload ends within this time or has failed.
const PHASE_LIMIT: Duration = Duration::from_secs(900);

/// Where a broker keeps its data in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    FloeFolder,
    FloeMinio,
    FloeSlowMinio,
    KafkaFolder,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Place::FloeFolder => "floe folder",
            Place::FloeMinio => "floe minio",
            Place::FloeSlowMinio => "floe minio+60ms",
            Place::KafkaFolder => "kafka folder",
        }
    }
}

/// A broker and its store, fresh for one repetition.
struct Bench {
    broker: Broker,
    minio: Option<Minio>,
    proxy: Option<Proxy>,
    bucket: Option<Bucket>,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Chunks of 4 MiB that the bucket's segments consist of: ⌈size ÷ 4 MiB⌉ of each.
    fn chunks(&self) -> u32 {
        let Some(bucket) = &self.bucket else {
            return 0;
        };
        let store = bucket.object_store();
        let listed = store.list(Some(&key::segments(0)));
        let objects: Vec<_> = s3::run(listed.try_collect()).expect("the bucket can be listed");
        let chunks = |object: &ObjectMeta| object.size.div_ceil(CHUNK_BYTES);
        u32::try_from(objects.iter().map(chunks).sum::<u64>()).unwrap_or(u32::MAX)
    }
}

impl Tools {
    fn start(&self, place: Place) -> Bench {
        let folder = tempfile::tempdir_in(&self.folder).expect("the folder can be written");
        let data = folder.path().join("data");
        fs::create_dir_all(&data).expect("the folder can be written");
        match place {
            Place::FloeFolder => {
                let broker = Broker::Floe(Box::new(floe_on_folder(&self.floe, &data).start()));
                Bench {
                    broker,
                    minio: None,
                    proxy: None,
                    bucket: None,
                    _folder: folder,
                }
            }
            Place::KafkaFolder => {
                let broker = Broker::Kafka(Server::start(&self.kafka, &data));
                Bench {
                    broker,
                    minio: None,
                    proxy: None,
                    bucket: None,
                    _folder: folder,
                }
            }
            Place::FloeMinio | Place::FloeSlowMinio => {
                let minio = Minio::start(&data);
                let bucket = minio.bucket();
                // Through the proxy only where it delays: else its cost would be measured.
                let proxy = Proxy::start(minio.address()).expect("an ephemeral port is free");
                if place == Place::FloeSlowMinio {
                    proxy.delay_puts(PUT_DELAY);
                }
                let direct = place == Place::FloeMinio;
                let environment = if direct {
                    bucket.environment()
                } else {
                    bucket.environment_through(proxy.address())
                };
                let setup = Setup::on_bucket(&self.floe, &bucket).environment(environment);
                let broker = Broker::Floe(Box::new(setup.start()));
                Bench {
                    broker,
                    minio: Some(minio),
                    proxy: Some(proxy),
                    bucket: Some(bucket),
                    _folder: folder,
                }
            }
        }
    }

    fn records(&self) -> String {
        // A GiB of 1 KiB records.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count"
        )]
        let records = (1_048_576.0 * self.scale) as u64;
        records.max(1000).to_string()
    }

    /// Runs the workload program against a broker and reads its report.
    fn workload(&self, bench: &mut Bench, args: &[&str]) -> Value {
        let report = self.folder.join("report.json");
        let mut program = Program::new(&self.workload)
            .args(args)
            .args([
                "--bootstrap",
                &bench.broker.bootstrap(),
                "--touch-gib",
                TOUCH_GIB,
            ])
            .args(["--server-pid", &bench.broker.id().to_string(), "--json"])
            .arg(&report)
            .limit(PHASE_LIMIT);
        if let Some(minio) = &bench.minio {
            program = program.args(["--store-pid", &minio.id().to_string()]);
        }
        if let Some(http) = bench.broker.http() {
            program = program.args(["--http", &http.to_string()]);
        }
        program.run();
        let text = fs::read_to_string(&report).expect("the workload wrote its report");
        serde_json::from_str(&text).expect("a report is JSON")
    }
}

/// A group of figures that are taken together.
type Part = fn(&Tools, &Samples);

/// Measures everything once, one repetition.
pub fn repetition(tools: &Tools, samples: &Samples, only: &[String]) {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| part == name);
    let parts: [(&str, Part); 8] = [
        ("start", start),
        ("cpu", cpu),
        ("flat-out", flat_out),
        ("java", java),
        ("latency", latency),
        ("reads", reads),
        ("idle", idle),
        ("light", light),
    ];
    for (name, part) in parts {
        if wanted(name) {
            eprintln!("compare: {name}");
            part(tools, samples);
        }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Start to ready: clean, and after kill -9 with a GiB in the folder.
fn start(tools: &Tools, samples: &Samples) {
    let mut bench = tools.start(Place::FloeFolder);
    let Broker::Floe(sandbox) = &bench.broker else {
        return;
    };
    samples.add("start clean, floe folder: ms", ms(sandbox.ready_after()));
    tools.workload(&mut bench, &["produce", "--records", &tools.records()]);
    let Broker::Floe(sandbox) = &mut bench.broker else {
        return;
    };
    sandbox.kill();
    samples.add(
        "start after kill -9 with 1 GiB, floe folder: ms",
        ms(sandbox.restart()),
    );
    let mut bench = tools.start(Place::KafkaFolder);
    if let Broker::Kafka(kafka) = &mut bench.broker {
        samples.add("start clean, kafka folder: ms", ms(kafka.ready_after));
    }
}

/// CPU per GiB produced, fetched, and both at once.
fn cpu(tools: &Tools, samples: &Samples) {
    for place in [Place::FloeFolder, Place::KafkaFolder, Place::FloeMinio] {
        let mut bench = tools.start(place);
        let mut peak = 0.0_f64;
        for (mode, topic) in [("produce", "a"), ("fetch", "a"), ("tail", "b")] {
            let args = [mode, "--topic", topic, "--records", &tools.records()];
            let report = tools.workload(&mut bench, &args);
            let name = |what: &str| format!("{mode}, {}: {what}", place.name());
            for (what, path) in [
                ("server CPU-s/GiB", "cost.server.cpu_s_per_gib"),
                ("server user CPU-s/GiB", "cost.server.user_s_per_gib"),
                ("store CPU-s/GiB", "cost.store.cpu_s_per_gib"),
                ("client CPU-s/GiB", "cost.client.cpu_s_per_gib"),
                ("produced MiB/s", "produced.mib_per_s"),
                ("consumed MiB/s", "consumed.mib_per_s"),
                ("end to end p99 ms", "consumed.latency.p99_ms"),
                ("store PUTs/GiB", "cost.requests_per_gib.put"),
                ("store GETs/GiB", "cost.requests_per_gib.get"),
            ] {
                samples.add_from(&name(what), &report, path);
            }
            let now = report
                .pointer("/cost/peak_mib")
                .and_then(Value::as_f64)
                .unwrap_or(0.0);
            peak = peak.max(now);
        }
        samples.add(&format!("peak memory, {}: MiB", place.name()), peak);
    }
}

/// Four default producers flat out to MinIO: is anything waited for that need not be?
fn flat_out(tools: &Tools, samples: &Samples) {
    let mut bench = tools.start(Place::FloeMinio);
    let args = ["produce", "--producers", "4", "--records", &tools.records()];
    let report = tools.workload(&mut bench, &args);
    let number = |path: &str| {
        report
            .pointer(path)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN)
    };
    let sum = number("/cost/client/cpu_s_per_gib")
        + number("/cost/server/cpu_s_per_gib")
        + number("/cost/store/cpu_s_per_gib");
    let gib_per_s = number("/produced/mib_per_s") / 1024.0;
    samples.add(
        "4 producers flat out, floe minio: MiB/s",
        number("/produced/mib_per_s"),
    );
    samples.add("4 producers flat out, floe minio: sum of CPU-s/GiB", sum);
    samples.add(
        "4 producers flat out, floe minio: share of 2 / sum",
        gib_per_s / (2.0 / sum),
    );
    samples.add(
        "4 producers flat out, floe minio: peak MiB",
        number("/cost/peak_mib"),
    );
}

/// A stock Java producer: `kafka-producer-perf-test` with its defaults and acks=all.
fn java(tools: &Tools, samples: &Samples) {
    for (place, partitions, gib) in [
        (Place::FloeFolder, 16, 1.0),
        (Place::KafkaFolder, 16, 1.0),
        (Place::FloeFolder, 1, 0.25),
        (Place::KafkaFolder, 1, 0.25),
        (Place::FloeSlowMinio, 64, 0.5),
    ] {
        let bench = tools.start(place);
        client::create_topic(&bench.broker.bootstrap(), "java", partitions);
        memory::touch(4);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count"
        )]
        let records = ((1_048_576.0 * gib * tools.scale) as u64).max(1000);
        let puts = |bench: &Bench| {
            let seen = bench
                .proxy
                .as_ref()
                .map(Proxy::requests)
                .unwrap_or_default();
            seen.get("PUT").copied().unwrap_or(0)
        };
        let (before, start) = (puts(&bench), wait::now());
        let finished = tools
            .kafka
            .class("org.apache.kafka.tools.ProducerPerformance")
            .args([
                "--topic",
                "java",
                "--record-size",
                "1024",
                "--throughput",
                "-1",
            ])
            .args([
                "--num-records",
                &records.to_string(),
                "--producer-props",
                "acks=all",
            ])
            .arg(format!("bootstrap.servers={}", bench.broker.bootstrap()))
            .limit(PHASE_LIMIT)
            .run();
        let seconds = start.elapsed().as_secs_f64();
        let name = format!("java producer, {partitions} partitions, {}", place.name());
        let Some(result) = perf_result(&finished.output) else {
            panic!("no result in: {}", finished.output);
        };
        samples.add(&format!("{name}: MiB/s"), result.mib_per_s);
        samples.add(&format!("{name}: mean latency ms"), result.mean_ms);
        if place == Place::FloeSlowMinio {
            let count = u32::try_from(puts(&bench) - before).unwrap_or(u32::MAX);
            samples.add(&format!("{name}: PUTs/s"), f64::from(count) / seconds);
        }
    }
}

struct PerfResult {
    mib_per_s: f64,
    mean_ms: f64,
}

/// The last line of `ProducerPerformance`: `N records sent, R records/sec (M MB/sec), L ms avg …`.
fn perf_result(output: &str) -> Option<PerfResult> {
    let line = output.lines().rfind(|line| line.contains("99.9th"))?;
    let mib_per_s = line.split_once('(')?.1.split(' ').next()?.parse().ok()?;
    let mean_ms = line.split_once("), ")?.1.split(' ').next()?.parse().ok()?;
    Some(PerfResult { mib_per_s, mean_ms })
}

/// Acknowledgement and end-to-end latency at 500 records a second.
fn latency(tools: &Tools, samples: &Samples) {
    for place in [
        Place::FloeFolder,
        Place::KafkaFolder,
        Place::FloeMinio,
        Place::FloeSlowMinio,
    ] {
        let mut bench = tools.start(place);
        let report = tools.workload(&mut bench, &["latency"]);
        let name = format!("500 records/s, {}", place.name());
        for (what, path) in [
            ("ack p50 ms", "produced.latency.p50_ms"),
            ("ack p99 ms", "produced.latency.p99_ms"),
            ("end to end p50 ms", "consumed.latency.p50_ms"),
            ("end to end p99 ms", "consumed.latency.p99_ms"),
        ] {
            samples.add_from(&format!("{name}: {what}"), &report, path);
        }
        let puts = report.pointer("/cost/requests/put").and_then(Value::as_f64);
        let seconds = report.pointer("/produced/seconds").and_then(Value::as_f64);
        if let (Some(puts), Some(seconds)) = (puts, seconds) {
            samples.add(&format!("{name}: PUTs/s"), puts / seconds);
        }
    }
}

/// Reads on MinIO by one consumer: at the tail, and old ones by a broker that has nothing cached.
fn reads(tools: &Tools, samples: &Samples) {
    let mut bench = tools.start(Place::FloeMinio);
    let report = tools.workload(&mut bench, &["tail", "--records", &tools.records()]);
    samples.add_from(
        "tail reads, floe minio: GETs/GiB",
        &report,
        "cost.requests_per_gib.get",
    );
    samples.add("tail reads, floe minio: LISTs", listed(&report));
    let Broker::Floe(sandbox) = &mut bench.broker else {
        return;
    };
    sandbox.terminate();
    sandbox.restart();
    let report = tools.workload(&mut bench, &["fetch"]);
    samples.add_from(
        "old reads, floe minio: MiB/s",
        &report,
        "consumed.mib_per_s",
    );
    let gets = report
        .pointer("/cost/requests/get by fetch")
        .and_then(Value::as_f64)
        .unwrap_or(f64::NAN);
    samples.add(
        "old reads, floe minio: GETs per chunk of the objects",
        gets / f64::from(bench.chunks()),
    );
    samples.add("old reads, floe minio: GETs", gets);
    samples.add_from(
        "old reads, floe minio: server CPU-s/GiB",
        &report,
        "cost.server.cpu_s_per_gib",
    );
    samples.add("old reads, floe minio: LISTs", listed(&report));
}

/// LIST requests of a phase; zero counts are left out of a report.
fn listed(report: &Value) -> f64 {
    report
        .pointer("/cost/requests/list")
        .and_then(Value::as_f64)
        .unwrap_or(0.0)
}

/// Resident memory of an idle broker, empty and with 1,000 topics of 10 partitions.
fn idle(tools: &Tools, samples: &Samples) {
    for place in [Place::FloeFolder, Place::FloeMinio, Place::KafkaFolder] {
        let mut bench = tools.start(place);
        let id = bench.broker.id();
        samples.add(&format!("idle, {}: MiB", place.name()), settled_mib(id));
        if place == Place::FloeFolder {
            let bootstrap = bench.broker.bootstrap();
            for number in 0..1000 {
                client::create_topic(&bootstrap, &format!("topic-{number}"), 10);
            }
            samples.add(
                "idle with 1,000 × 10 partitions, floe folder: MiB",
                settled_mib(id),
            );
            if let Broker::Floe(sandbox) = &mut bench.broker {
                sandbox.terminate();
                samples.add(
                    "start with 1,000 × 10 partitions: ms",
                    ms(sandbox.restart()),
                );
            }
            let id = bench.broker.id();
            let name = "idle with 1,000 × 10 partitions after a restart, floe folder: MiB";
            samples.add(name, settled_mib(id));
        }
    }
}

/// Resident memory after five quiet seconds.
fn settled_mib(id: u32) -> f64 {
    wait::pause(Duration::from_secs(5));
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mib = memory::resident_bytes(&[id]) as f64 / 1_048_576.0;
    mib
}

/// The raw cost of a durable file on this disk, beside the latencies.
fn light(tools: &Tools, samples: &Samples) {
    let folder: PathBuf = tools.folder.join("light");
    for (name, size) in [("4 KiB", 4 << 10), ("8 MiB", 8 << 20)] {
        let latency = speed_of_light::durable_write(&folder, size, 100)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        samples.add(
            &format!("raw write and fsync, {name}: p50 ms"),
            latency.p50_ms,
        );
        samples.add(
            &format!("raw write and fsync, {name}: p99 ms"),
            latency.p99_ms,
        );
    }
    fs::remove_dir_all(&folder).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_producer_performance() {
        let output = "40000 records sent, 7999.2 records/sec (7.81 MB/sec), 1.0 ms avg latency, 2 ms max latency.\n\
                      50000 records sent, 19516.003123 records/sec (19.06 MB/sec), 447.92 ms avg latency, \
                      946.00 ms max latency, 494 ms 50th, 596 ms 95th, 604 ms 99th, 616 ms 99.9th.\n";
        let result = perf_result(output).unwrap();
        assert!((result.mib_per_s - 19.06).abs() < 1e-9);
        assert!((result.mean_ms - 447.92).abs() < 1e-9);
    }
}
