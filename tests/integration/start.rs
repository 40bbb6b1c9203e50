//! Starting: the ready line, and what is refused, each with one clear line and its exit code.

use std::net::{SocketAddr, TcpListener};

use floe_tests::client;
use floe_tests::components::s3::S3;
use floe_tests::program::Program;
use floe_tests::sandbox::Setup;

use crate::target::BINARY;

/// Runs a broker that must refuse. Its output must be one line that holds all of `words`.
pub(crate) fn expect_refusal(case: &str, setup: Setup, code: i32, words: &[&str]) {
    let (status, lines) = setup.run_to_end();
    let text = lines.join("\n");
    assert_eq!(status.code(), Some(code), "{case}: {text}");
    let said: Vec<&String> = lines
        .iter()
        .filter(|line| !line.contains(" INFO ") && !line.is_empty())
        .collect();
    assert_eq!(said.len(), 1, "{case}: one clear line:\n{text}");
    for word in words {
        assert!(
            said[0].contains(word),
            "{case}: {word:?} is not in: {}",
            said[0]
        );
    }
}

#[test]
fn errors_of_use_exit_with_2() {
    for (case, args, words) in [
        ("unknown flag", vec!["--lisen", "x"], vec!["--lisen"]),
        ("no value", vec!["--zone"], vec!["--zone"]),
        ("listener", vec!["--listen", "nonsense"], vec!["nonsense"]),
        ("memory", vec!["--memory-limit", "lots"], vec!["lots"]),
        (
            "setting",
            vec!["--set", "no.such.setting=1"],
            vec!["no.such.setting"],
        ),
        (
            "value",
            vec!["--set", "num.partitions=many"],
            vec!["num.partitions", "many"],
        ),
    ] {
        let setup = args.into_iter().fold(Setup::on_folder(BINARY), Setup::arg);
        expect_refusal(case, setup, 2, &words);
    }
    expect_refusal("scheme", Setup::on_store(BINARY, "ftp://x"), 2, &["ftp"]);
    expect_refusal("bucket", Setup::on_store(BINARY, "s3://"), 2, &["s3://"]);
}

#[test]
fn a_folder_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in-the-way");
    std::fs::write(&file, "not a folder").unwrap();
    let store = format!("file:{}", file.join("store").display());
    expect_refusal(
        "a file in the way",
        Setup::on_store(BINARY, &store),
        1,
        &["in-the-way"],
    );
    // Refused to anyone, root included.
    expect_refusal(
        "proc",
        Setup::on_store(BINARY, "file:/proc/floe"),
        1,
        &["/proc/floe"],
    );
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    expect_refusal(
        "port",
        Setup::on_folder(BINARY).listen(address),
        1,
        &[&port],
    );
}

#[test]
fn a_bucket_that_cannot_be_used() {
    let s3 = S3::shared();
    let bucket = s3.create_bucket();
    let setup = || Setup::on_bucket(BINARY, &bucket);

    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let unreachable = setup().environment(bucket.environment_through(closed));
    expect_refusal("unreachable", unreachable, 1, &[&closed.port().to_string()]);

    let mut keys = bucket.environment();
    for (name, value) in &mut keys {
        if name == "AWS_SECRET_ACCESS_KEY" {
            *value = "wrong".to_owned();
        }
    }
    let name = bucket.url();
    let name = name.trim_start_matches("s3://");
    expect_refusal("wrong keys", setup().environment(keys), 1, &[name, "AWS_"]);

    let missing = Setup::on_store(BINARY, "s3://floe-test-no-such-bucket");
    let missing = missing.environment(bucket.environment());
    expect_refusal("no bucket", missing, 1, &["floe-test-no-such-bucket"]);
}

#[test]
fn health_and_metrics() {
    let broker = Setup::on_folder(BINARY).start();
    assert_eq!(broker.http_get("/livez").0, 200);
    assert_eq!(broker.http_get("/readyz").0, 200);
    let (status, text) = broker.http_get("/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("# TYPE floe_"), "{text}");
    assert_eq!(broker.http_get("/nothing").0, 404);
}

#[test]
fn a_broker_is_asked_for_its_health() {
    let mut broker = Setup::on_folder(BINARY).start();
    let http = broker.http_address().to_string();
    let ask = || Program::new(BINARY).args(["health", "--http", &http]);
    ask().run();
    broker.kill();
    let error = ask().try_run().unwrap_err();
    assert!(error.contains(&http), "{error}");
}

#[test]
fn a_free_port_is_taken_for_port_0() {
    let broker = Setup::on_folder(BINARY)
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .start();
    assert_ne!(broker.address().port(), 0);
    client::create_topic(&broker.bootstrap(), "advertised-under-its-real-port", 1);
}
