//! Clocks that jump by an hour, forward and back, under load: brokers of one cluster whose time of day a library
//! between them and the system makes up.
//!
//! Order, ownership and leases rest on time that passes, not on the time of day, so a jump costs nothing but
//! timestamps. A store may refuse signatures of another hour; then the broker waits for its clock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::components::missing;
use floe_tests::fleet::Fleet;
use floe_tests::sandbox::Setup;
use floe_tests::say::say;
use floe_tests::wait;

use crate::cluster::{AGENTS, on_s3};
use crate::target::BINARY;

const TOPIC: &str = "clock";
const LIMIT: Duration = Duration::from_secs(60);
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];

/// A clock that a test sets.
struct FakeClock {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl FakeClock {
    /// The right time at first. `None` after saying that the test is skipped.
    fn or_skip() -> Option<FakeClock> {
        let library = LIBRARIES
            .map(Path::new)
            .into_iter()
            .find(|path| path.exists());
        let Some(library) = library else {
            missing("faketime", "libfaketime is not installed");
            return None;
        };
        let clock = FakeClock {
            folder: tempfile::tempdir().unwrap(),
            library: library.to_owned(),
        };
        clock.set("+0");
        Some(clock)
    }

    /// By how much it is wrong, such as `-3600`.
    fn set(&self, offset_seconds: &str) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, format!("{offset_seconds}\n")).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    fn of(&self, setup: Setup) -> Setup {
        setup
            .variable("LD_PRELOAD", self.library.display().to_string())
            .variable("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string())
            .variable("FAKETIME_NO_CACHE", "1")
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    }
}

fn jump(what: &str, clock: &FakeClock, fleet: &Fleet) {
    let bootstrap = fleet.bootstrap();
    client::create_topic(&bootstrap, TOPIC, 1);
    let recorder = Recorder::default();
    let config = client::producer_config(&bootstrap);
    let mut producer = RecordingProducer::new(&config, TOPIC, 0, &recorder);
    let mut longest = Duration::ZERO;
    for offset in ["+0", "+3600", "-3600", "+3600", "+0"] {
        clock.set(offset);
        let end = wait::now() + Duration::from_secs(1);
        while wait::now() < end {
            producer.send(0, 100);
            wait::pause(Duration::from_millis(1));
        }
        clock.set("+0");
        let started = wait::now();
        producer.flush(LIMIT).unwrap();
        longest = longest.max(started.elapsed());
    }
    assert_eq!(producer.fatal_error(), None);
    fleet.wait_for(AGENTS);
    recorder.read_back(&bootstrap, TOPIC);
    let history = recorder.lock();
    let history = history.get(&0).unwrap();
    checker::check(history).expect_clean(what);
    assert_eq!(recorder.acked(), history.sent.len());
    say(&format!(
        "{what}: {} records, none lost, doubled or reordered; {} ms after the clock was right again all was \
         acknowledged",
        history.sent.len(),
        longest.as_millis()
    ));
}

#[test]
fn all_clocks_jump_on_a_folder() {
    let Some(clock) = FakeClock::or_skip() else {
        return;
    };
    let fleet = Fleet::start(&clock.of(Setup::on_folder(BINARY)), AGENTS);
    jump(
        "clocks of 3 agents jump by an hour on a folder",
        &clock,
        &fleet,
    );
}

#[test]
fn one_clock_jumps_on_s3() {
    let Some(clock) = FakeClock::or_skip() else {
        return;
    };
    let setup = on_s3();
    let mut fleet = Fleet::start(&setup, AGENTS - 1);
    fleet.add(clock.of(setup).start());
    fleet.wait_for(AGENTS);
    jump(
        "the clock of 1 of 3 agents jumps by an hour on S3",
        &clock,
        &fleet,
    );
}
