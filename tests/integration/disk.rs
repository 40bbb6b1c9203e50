//! A folder on a disk that is full: nothing is acknowledged, nothing is damaged, and it goes on when
//! there is room again.
//!
//! The disk is a small tmpfs, which takes the right to mount; without it the test is skipped aloud.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::sandbox::Setup;
use floe_tests::say::say;
use floe_tests::wait;

use crate::target::BINARY;

const LIMIT: Duration = Duration::from_secs(60);
const DISK_BYTES: usize = 64 << 20;
const BALLAST_BYTES: usize = 40 << 20;

/// A mounted tmpfs; unmounted on drop.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount() -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK_BYTES}"), "tmpfs"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk { folder }),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                say(&format!(
                    "skipped: a small disk cannot be mounted: {}",
                    why.trim()
                ));
                None
            }
            Err(error) => {
                say(&format!("skipped: a small disk cannot be mounted: {error}"));
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status()
            .ok();
    }
}

#[test]
fn a_full_disk_is_survived() {
    let Some(disk) = Disk::mount() else { return };
    let ballast = disk.path("ballast");
    std::fs::write(&ballast, vec![0; BALLAST_BYTES]).unwrap();
    let store = format!("file:{}", disk.path("store").display());
    let mut broker = Setup::on_store(BINARY, &store).start();
    client::create_topic(&broker.bootstrap(), "full", 1);
    let recorder = Recorder::default();
    let config = client::producer_config(&broker.bootstrap());
    let mut producer = RecordingProducer::new(&config, "full", 0, &recorder);

    // More than fits beside the ballast, less than fits without it.
    let count = (DISK_BYTES - BALLAST_BYTES) / 10_000 + 600;
    (0..count).for_each(|_| producer.send(0, 10_000));
    let stuck = wait::until("a disk that is full", LIMIT, || {
        let acked = recorder.acked();
        let more = wait::within(Duration::from_secs(3), || {
            Some(()).filter(|()| recorder.acked() > acked)
        });
        more.is_none().then_some(acked)
    });
    assert!(
        0 < stuck && stuck < count,
        "{stuck} of {count} were acknowledged"
    );
    assert_eq!(broker.process().try_wait(), None, "the broker lives on");

    std::fs::remove_file(&ballast).unwrap();
    producer
        .flush(LIMIT)
        .expect("all is acknowledged once there is room");
    assert_eq!(producer.fatal_error(), None);
    recorder.read_back(&broker.bootstrap(), "full");
    // And nothing on the disk is damaged.
    broker.kill();
    broker.restart();
    recorder.read_back(&broker.bootstrap(), "full");
    let verdict = checker::check(&recorder.lock()[&0]).expect_clean("full disk");
    assert_eq!(verdict.acked, count);
}
