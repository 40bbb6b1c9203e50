//! `floe meta`: a cluster is moved between engines as a user does it, and its clients go on.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::components::postgres::Postgres;
use floe_tests::sandbox::{Sandbox, Setup};

use crate::start::expect_refusal;
use crate::target::BINARY;

const TOPIC: &str = "moved";
const LIMIT: Duration = Duration::from_secs(60);
/// Where the metadata is kept.
const VARIABLE: &str = "FLOE_METADATA";

/// What `floe meta` said.
#[derive(Debug)]
struct Finished {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Runs `floe meta …` on a store.
fn meta(store: &str, engine: &str, args: &[&str]) -> Finished {
    let binary = floe_tests::config::binary().unwrap_or_else(|| BINARY.into());
    let output = Command::new(binary)
        .arg("meta")
        .args(args)
        .args(["--store", store])
        .env(VARIABLE, engine)
        .output()
        .unwrap();
    Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn expect_done(what: &str, finished: &Finished, words: &[&str]) {
    assert!(finished.status.success(), "{what}: {finished:?}");
    expect_words(what, &finished.stdout, words);
    assert_eq!(finished.stderr, "", "{what}");
}

/// One line that says it all.
fn expect_failed(what: &str, finished: &Finished, code: i32, words: &[&str]) {
    assert_eq!(finished.status.code(), Some(code), "{what}: {finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{what}: {finished:?}");
    expect_words(what, &finished.stderr, words);
}

fn expect_words(what: &str, text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{what}: no '{word}' in {text:?}");
    }
}

fn file_name(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Moves a stopped cluster.
fn move_over(store: &str, from: &str, to: &str, file: &Path) {
    let file = file_name(file);
    let words = ["exported cluster", "rows, SHA-256"];
    expect_done("export", &meta(store, from, &["export", file]), &words);
    let words = ["imported cluster", "rows, SHA-256"];
    expect_done("import", &meta(store, to, &["import", file]), &words);
}

/// Starts the broker with its metadata in `engine` where its clients know it.
fn start(before: &Sandbox, engine: &str) -> Sandbox {
    let setup = before.setup().clone();
    setup.variable(VARIABLE, engine).start()
}

/// Sends more of the same producer, and checks everything that was ever acknowledged.
fn go_on(broker: &Sandbox, producer: &mut RecordingProducer, recorder: &Recorder, what: &str) {
    (0..400).for_each(|number| producer.send(number % 2, 100));
    producer.flush(LIMIT).expect("all is acknowledged");
    assert_eq!(producer.fatal_error(), None, "{what}");
    recorder.read_back(&broker.bootstrap(), TOPIC);
    for (partition, history) in recorder.lock().iter() {
        checker::check(history).expect_clean(&format!("{what}, partition {partition}"));
    }
}

#[test]
fn a_cluster_moves_to_postgres_and_back() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let schema = postgres.create_schema();
    let database = schema.url();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name);
    let mut broker = Setup::on_folder(BINARY)
        .variable(VARIABLE, "store:")
        .start();
    let store = broker.setup().store().to_owned();
    client::create_topic(&broker.bootstrap(), TOPIC, 2);
    let recorder = Recorder::default();
    let config = client::producer_config(&broker.bootstrap());
    let mut producer = RecordingProducer::new(&config, TOPIC, 1, &recorder);
    go_on(&broker, &mut producer, &recorder, "in the folder");

    let there = file("there");
    let refused = meta(&store, "store:", &["export", file_name(&there)]);
    expect_failed("running", &refused, 1, &["is running", "answers", "stop"]);
    assert!(!there.exists(), "nothing is left of it");
    let shown = meta(&store, "store:", &["inspect"]);
    let words = [
        "engine             slatedb",
        "which answers",
        "1, with 2 partitions",
    ];
    expect_done("inspect while it runs", &shown, &words);
    assert!(broker.terminate().success());

    move_over(&store, "store:", &database, &there);
    let words = ["'postgres'", "'slatedb'", "--metadata"];
    expect_refusal("the old engine", Setup::on_store(BINARY, &store), 1, &words);
    let mut broker = start(&broker, &database);
    go_on(&broker, &mut producer, &recorder, "in PostgreSQL");
    let shown = meta(&store, &database, &["inspect"]);
    let words = [
        "engine             postgres",
        "earlier lineage",
        "which answers",
        "write epoch        2",
    ];
    expect_done("inspect a moved one", &shown, &words);
    broker.kill();

    let again = meta(&store, &database, &["import", file_name(&there)]);
    expect_failed("twice", &again, 1, &["imported already"]);
    let exists = meta(&store, &database, &["export", file_name(&there)]);
    expect_failed("the file is there", &exists, 1, &["File exists"]);

    move_over(&store, &database, "store:", &file("back"));
    let broker = start(&broker, "store:");
    go_on(&broker, &mut producer, &recorder, "back in the folder");
    assert_eq!(recorder.acked(), 1200);
}

#[test]
fn files_and_stores_that_cannot_be_used() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| file_name(&files.path().join(name)).to_owned();
    let mut broker = Setup::on_folder(BINARY).start();
    let store = broker.setup().store().to_owned();
    assert!(broker.terminate().success());
    let good = file("good");
    let done = meta(&store, "store:", &["export", &good]);
    expect_done("export", &done, &["exported cluster"]);

    let failed = |what: &str, args: &[&str], code: i32, words: &[&str]| {
        expect_failed(what, &meta(&store, "store:", args), code, words);
    };
    failed("no command", &["explode"], 2, &["explode", "floe --help"]);
    failed("no file", &["export"], 2, &["FILE"]);
    failed(
        "missing",
        &["import", &file("missing")],
        1,
        &["missing", "No such file"],
    );
    let bytes = std::fs::read(&good).unwrap();
    let (cut, other) = (file("cut"), file("other"));
    std::fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    failed("cut", &["import", &cut], 1, &["cut short"]);
    std::fs::write(&other, "hello").unwrap();
    failed("other", &["import", &other], 1, &["no export"]);
    let nowhere = format!("file:{}", file("nowhere"));
    for args in [&["inspect"][..], &["import", &good]] {
        let finished = meta(&nowhere, "store:", args);
        expect_failed("no store", &finished, 1, &["nowhere"]);
    }
    assert!(!files.path().join("nowhere").exists());
    // Of all this the cluster has noticed nothing.
    broker.restart();
    broker.kill();
    failed(
        "stale",
        &["import", &good],
        1,
        &["started since", "export again"],
    );
}
