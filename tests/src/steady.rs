//! Applications with stock clients in other languages that write all the time and check what they wrote:
//! the programs in `steady/`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::components::java::Kafka;
use crate::components::python;
use crate::process::Process;
use crate::program::Program;
use crate::wait;

/// What is sent when told to end, and read back, takes no longer.
const END_LIMIT: Duration = Duration::from_secs(300);

/// A running application.
#[derive(Debug)]
pub struct Steady {
    name: &'static str,
    process: Process,
    folder: TempDir,
}

impl Steady {
    /// Java's producer and consumer 4.2. `None` after saying what is missing.
    pub fn java(bootstrap: &str, topic: &str, partitions: i32) -> Option<Steady> {
        let program = Kafka::or_skip("4.2")?.class(&source("Steady.java").to_string_lossy());
        Some(Steady::start("Java", program, bootstrap, topic, partitions))
    }

    /// librdkafka 2.5 in Python. `None` after saying what is missing.
    pub fn librdkafka_2_5(bootstrap: &str, topic: &str, partitions: i32) -> Option<Steady> {
        let python = python::interpreter_or_skip("librdkafka-2.5", &source("requirements.txt"))?;
        let program = Program::new(python).arg(source("steady.py"));
        Some(Steady::start(
            "librdkafka 2.5",
            program,
            bootstrap,
            topic,
            partitions,
        ))
    }

    fn start(
        name: &'static str,
        program: Program,
        bootstrap: &str,
        topic: &str,
        partitions: i32,
    ) -> Steady {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let process = program
            .args([bootstrap, topic, &partitions.to_string()])
            .arg(folder.path().join("stop"))
            .spawn();
        Steady {
            name,
            process,
            folder,
        }
    }

    /// The client's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Records acknowledged so far, as it last said.
    pub fn acked(&self) -> usize {
        let lines = self.process.lines();
        let mut said = lines.iter().rev().filter_map(|line| after(line, "acked "));
        said.next().unwrap_or(0)
    }

    /// Waits until `progress` more records are acknowledged.
    ///
    /// # Panics
    ///
    /// If they are not within `limit`.
    pub fn progress(&self, progress: usize, limit: Duration) {
        let before = self.acked();
        let what = format!("acknowledgements of {}", self.name);
        wait::until(&what, limit, || {
            (self.acked() >= before + progress).then_some(())
        });
    }

    /// Times longer than 100 ms without an acknowledgement, in the order they ended.
    pub fn stalls(&self) -> Vec<Duration> {
        let lines = self.process.lines();
        let stalls = lines.iter().filter_map(|line| after(line, "stall "));
        stalls.map(Duration::from_millis).collect()
    }

    /// Ends it and lets it check what it wrote. Returns how many records were acknowledged, and read back
    /// once each, in order, where they were said to be.
    ///
    /// # Panics
    ///
    /// If an error reached it, or a record is lost, doubled or out of order.
    pub fn finish(mut self) -> usize {
        std::fs::write(self.folder.path().join("stop"), "").expect("its folder can be written");
        let status = self.process.wait(END_LIMIT);
        let text = self.process.text();
        assert!(status.success(), "{}: {status}\n{text}", self.name);
        let lines = self.process.lines();
        let records = lines.iter().find_map(|line| after(line, "OK "));
        records.unwrap_or_else(|| panic!("{}: {text}", self.name))
    }
}

/// The number after a word at a line's beginning.
fn after<N: std::str::FromStr>(line: &str, word: &str) -> Option<N> {
    line.strip_prefix(word)?.trim().parse().ok()
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("steady")
        .join(name)
}
