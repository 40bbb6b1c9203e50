//! Kafka is the oracle: the same requests go to a real Kafka 4.2 broker and to ours, and the answers are compared field by
//! field. What differs stands in `differences.txt` with its reason, or fails the test.
//!
//! Scripts are YAML files in `scripts/` ([`script`] has the words). `FLOE_TEST_SCRIPT=topics` runs one of them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and says where"
)]

mod codec;
mod differences;
#[path = "../../protocol/build/model.rs"]
#[expect(
    dead_code,
    reason = "the schema's reader also serves those who make Rust of it"
)]
mod model;
#[path = "../../protocol/build/parse.rs"]
mod parse;
mod records;
mod script;
mod session;
#[path = "../../protocol/build/versions.rs"]
#[expect(
    dead_code,
    reason = "the schema's reader also serves those who make Rust of it"
)]
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use differences::Difference;
use floe_tests::components::java::Kafka;
use floe_tests::components::kafka::Server;
use floe_tests::sandbox::Setup;
use floe_tests::{config, say};
use model::Api;
use script::Script;
use session::Transcript;

const BINARY: &str = env!("CARGO_BIN_EXE_floe-under-test");

#[test]
fn answers_are_those_of_kafka() {
    let Some(jars) = Kafka::or_skip("4.2") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let kafka = Server::start(&jars, folder.path());
    let floe = Setup::on_folder(BINARY).start();
    let floe_address: SocketAddr = floe.bootstrap().parse().unwrap();
    let apis = apis();
    let mut scripts = script::all(&here("scripts"));
    if let Some(wanted) = config::script() {
        scripts.retain(|script| script.name == wanted);
    }
    let on = |address| -> Vec<Transcript> {
        let run = |script: &Script| session::run(&apis, address, script);
        scripts.iter().map(run).collect()
    };
    let (of_kafka, of_floe) = std::thread::scope(|scope| {
        let kafka = scope.spawn(|| on(kafka.address()));
        let floe = scope.spawn(|| on(floe_address));
        (kafka.join().unwrap(), floe.join().unwrap())
    });
    let mut found = Vec::new();
    let mut compared = 0;
    for ((script, kafka), floe) in scripts.iter().zip(&of_kafka).zip(&of_floe) {
        compared += kafka.values().map(BTreeMap::len).sum::<usize>();
        found.extend(between(&script.name, kafka, floe));
    }
    say::say(&format!(
        "{compared} fields compared, {} differ",
        found.len()
    ));
    let text = std::fs::read_to_string(here("differences.txt")).unwrap();
    let (new, stale) = differences::judge(&differences::known(&text), &found);
    let new: Vec<_> = new.iter().map(|it| format!("{it}\n")).collect();
    assert!(
        new.is_empty(),
        "{} new differences:\n{}",
        new.len(),
        new.concat()
    );
    let is_whole = config::script().is_none();
    assert!(
        !is_whole || stale.is_empty(),
        "lines of differences.txt that nothing fits any more: {stale:?}"
    );
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("comparison")
        .join(name)
}

/// Every API of the schema text, by Kafka's name.
fn apis() -> BTreeMap<String, Api> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/schema");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "txt"));
    let read = |path: PathBuf| parse::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    files.map(read).map(|api| (api.name.clone(), api)).collect()
}

/// What differs in a script.
fn between(script: &str, kafka: &Transcript, floe: &Transcript) -> Vec<Difference> {
    let mut found = Vec::new();
    let nothing = BTreeMap::new();
    for (step, of_kafka) in kafka {
        let of_floe = floe.get(step).unwrap_or(&nothing);
        let paths: BTreeSet<_> = of_kafka.keys().chain(of_floe.keys()).collect();
        for path in paths {
            let (kafka, floe) = (of_kafka.get(path).cloned(), of_floe.get(path).cloned());
            if kafka != floe {
                found.push(Difference {
                    place: [script.to_owned(), step.clone(), path.clone()],
                    kafka,
                    floe,
                });
            }
        }
    }
    found
}
