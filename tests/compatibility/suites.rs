//! The test suites that clients are tested with by those who write them, against our broker. Every test of a suite runs
//! and must pass, but those in its list in `suites/`, each with the reason why it is left out. A list may only shrink.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use floe_tests::components::python::interpreter_or_skip;
use floe_tests::components::{missing, program_or_skip};
use floe_tests::program::{Program, artifacts, made_once};
use floe_tests::say::say;

use crate::{Broker, source};

const BUILD_LIMIT: Duration = Duration::from_secs(600);
const SUITE_LIMIT: Duration = Duration::from_secs(600);

/// Tests that are left out, with their reasons: lines of `NAME: reason`.
fn left_out(list: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(source("suites").join(list)).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |line: &str| {
        let (name, reason) = line.split_once(": ").expect("`NAME: reason`");
        (name.trim().to_owned(), reason.to_owned())
    };
    lines.map(entry).collect()
}

/// Names that a suite's output says passed and skipped, judged by the list.
fn judge(left_out: &BTreeMap<String, String>, passed: &[&str], skipped: &[&str], at_least: usize) {
    let mut wrong = String::new();
    for name in skipped.iter().filter(|name| !left_out.contains_key(**name)) {
        writeln!(wrong, "skipped without a reason in the list: {name}").unwrap();
    }
    for name in passed.iter().filter(|name| left_out.contains_key(**name)) {
        writeln!(wrong, "passes, and must leave the list: {name}").unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(passed.len() >= at_least, "only {} tests ran", passed.len());
    say(&format!(
        "{} tests passed, {} are left out",
        passed.len(),
        left_out.len()
    ));
}

/// franz-go's `pkg/kgo` with 50,000 records through groups of every balancer.
#[test]
fn franz_go_kgo() {
    let Some(go) = program_or_skip("go", "go") else {
        return;
    };
    let package = "github.com/twmb/franz-go/pkg/kgo";
    let program = artifacts("go").join("kgo.test");
    let folder = source("go");
    let built = Program::new(&go)
        .args(["test", "-c", "-o"])
        .arg(&program)
        .arg(package)
        .folder(&folder)
        .limit(BUILD_LIMIT)
        .try_run();
    if let Err(why) = built {
        missing("go", &format!("the suite could not be built: {why}"));
        return;
    }
    // Its tests read files beside them.
    let listed = Program::new(&go).args(["list", "-f", "{{.Dir}}", package]);
    let sources = listed.folder(&folder).run().output;
    let left_out = left_out("kgo.txt");
    let names = left_out
        .keys()
        .map(|name| name.split('/').collect::<Vec<_>>());
    // A test within another is skipped by itself, where its broker lacks something.
    let skipped: Vec<_> = names.filter(|parts| parts.len() == 1).flatten().collect();
    let broker = Broker::on_folder();
    let finished = Program::new(&program)
        .args(["-test.v", "-test.timeout", "590s", "-test.skip"])
        .arg(format!("^({})$", skipped.join("|")))
        .env("KGO_SEEDS", &broker.bootstrap)
        .env("KGO_TEST_RF", "1")
        .env("KGO_TEST_RECORDS", "50000")
        .env("KGO_LOG_LEVEL", "none")
        .folder(std::path::Path::new(sources.trim()))
        .limit(SUITE_LIMIT)
        .run();
    let named = |mark: &'static str| {
        let lines = finished.output.lines();
        let lines = lines.filter_map(move |line| line.trim_start().strip_prefix(mark));
        lines
            .map(|rest| rest.split(' ').next().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    judge(&left_out, &named("--- PASS: "), &named("--- SKIP: "), 140);
}

/// kafka-python's integration tests, from its source distribution.
#[test]
fn kafka_python() {
    let Some(python) = interpreter_or_skip("python-suite", &source("suites/requirements.txt"))
    else {
        return;
    };
    let recipe = std::fs::read_to_string(source("suites/requirements.txt")).unwrap();
    let folder = artifacts("kafka-python-suite");
    let made = made_once(&folder, &recipe, || {
        Program::new(&python)
            .arg(source("suites/unpack.py"))
            .arg(&folder)
            .limit(BUILD_LIMIT)
            .try_run()
            .map(drop)
    });
    if let Err(why) = made {
        missing("python", &format!("the suite could not be had: {why}"));
        return;
    }
    let left_out = left_out("kafka_python.txt");
    let broker = Broker::on_folder();
    let deselected = left_out
        .keys()
        .flat_map(|name| ["--deselect".to_owned(), format!("test/integration/{name}")]);
    let finished = Program::new(&python)
        .args([
            "-m",
            "pytest",
            "test/integration",
            "-q",
            "-rA",
            "--show-capture=no",
            "--tb=short",
        ])
        .args(["--timeout", "120", "-p", "no:cacheprovider"])
        .args(deselected)
        // It looks for a Kafka to start, although it is told of a running broker.
        .env("KAFKA_ROOT", &folder)
        .env("KAFKA_URI", format!("kafka://{}", broker.bootstrap))
        .env("KAFKA_VERSION", "4.2.0")
        .folder(&folder)
        .limit(SUITE_LIMIT)
        .run();
    let named = |mark: &'static str| {
        let lines = finished.output.lines();
        let lines = lines
            .filter_map(move |line| line.strip_prefix(mark)?.strip_prefix("test/integration/"));
        lines.collect::<Vec<_>>()
    };
    judge(&left_out, &named("PASSED "), &named("SKIPPED "), 50);
}
