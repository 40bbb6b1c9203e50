//! Records and objects leave a real process's folder, and nothing else does: everything small, kill -9 in between,
//! `floe fsck` at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::sandbox::Setup;
use floe_tests::wait;

use crate::target::BINARY;

const KEPT: &str = "kept";
const LIMIT: Duration = Duration::from_secs(60);

/// Everything that usually takes minutes takes seconds.
fn setup() -> Setup {
    let settings = [
        ("log.retention.check.interval.ms", "500"),
        ("floe.sweep.interval.ms", "300"),
        ("floe.delete.grace.ms", "2000"),
        ("floe.orphans.interval.ms", "500"),
        ("floe.orphans.margin.ms", "3000"),
        ("floe.merge.interval.ms", "300"),
        ("floe.merge.level0.segments", "4"),
        ("floe.merge.level0.wait.ms", "1000"),
        ("floe.merge.level0.quiet.ms", "2000"),
        ("floe.merge.level1.segments", "3"),
        ("floe.merge.level1.wait.ms", "4000"),
    ];
    let setup = Setup::on_folder(BINARY);
    let set = settings.into_iter();
    set.fold(setup, |setup, (name, value)| setup.set(name, value))
}

fn folder(setup: &Setup) -> PathBuf {
    let store = setup.store();
    PathBuf::from(store.strip_prefix("file:").unwrap_or(store))
}

/// All files among the segments.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.join("segments")];
    while let Some(at) = folders.pop() {
        // Files may go while they are looked at.
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

fn floe(store: &str, args: &[&str]) -> Output {
    let binary = floe_tests::config::binary().unwrap_or_else(|| BINARY.into());
    let mut command = Command::new(binary);
    let command = command.args(args).args(["--store", store]);
    command.output().unwrap()
}

fn expect_clean(store: &str, when: &str) {
    let checked = floe(store, &["fsck", "--deep"]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{when}: {checked:?}");
    assert!(said.ends_with("\nclean\n"), "{when}: {said}");
}

/// A copy of some segment under a name that was given up long ago: what an upload leaves whose process died. The
/// name's shard follows from its CRC32C.
fn plant_orphan(folder: &Path) -> PathBuf {
    use floe_storage::key;
    use object_store::path::Path as Key;
    let of = |file: &PathBuf| {
        let key = file.strip_prefix(folder).unwrap().to_str().unwrap();
        key::parse_segment(&Key::from(key))
    };
    let found = segments(folder).into_iter().find_map(|file| {
        let (lineage, _, id) = of(&file)?;
        Some((file, lineage, id))
    });
    let (file, lineage, mut id) = found.unwrap();
    id.write_epoch = 0;
    let orphan = folder.join(key::segment(lineage, 0, id).as_ref());
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::copy(file, &orphan).unwrap();
    orphan
}

#[test]
fn what_nobody_needs_goes_and_the_rest_is_there() {
    let mut broker = setup().start();
    let store = broker.setup().store().to_owned();
    let folder = folder(broker.setup());
    let bootstrap = broker.bootstrap();
    client::create_topic(&bootstrap, KEPT, 1);
    client::create_topic_with(&bootstrap, "short", 1, &[("retention.ms", "1000")]);
    let (recorder, others) = (Recorder::default(), Recorder::default());
    let config = client::producer_config(&bootstrap);
    let mut kept = RecordingProducer::new(&config, KEPT, 0, &recorder);
    let mut short = RecordingProducer::new(&config, "short", 0, &others);
    let mut orphan = None;
    for round in 0..40 {
        kept.send(0, 200);
        short.send(0, 200);
        kept.flush(LIMIT).unwrap();
        short.flush(LIMIT).unwrap();
        if round % 10 == 5 {
            broker.kill();
            broker.restart();
        }
        orphan.get_or_insert_with(|| plant_orphan(&folder));
    }
    let orphan = orphan.unwrap();
    expect_clean(&store, "while it runs");
    wait::until("old records leave", LIMIT, || {
        let (low, high) = client::watermarks(&bootstrap, "short", 0);
        (high == 40 && low == high).then_some(())
    });
    wait::until("the orphan goes", LIMIT, || {
        (!orphan.exists()).then_some(())
    });
    wait::until("few objects are left of eighty", LIMIT, || {
        (segments(&folder).len() <= 12).then_some(())
    });
    let (_, metrics) = broker.http_get("/metrics");
    for name in ["floe_retention_logs_total", "floe_objects_deleted_total"] {
        let figure = floe_tests::http::metric(&metrics, name, &[]);
        assert!(figure.is_some_and(|figure| figure > 0.0), "{name}");
    }
    recorder.read_back(&bootstrap, KEPT);
    for history in recorder.lock().values() {
        checker::check(history).expect_clean("kept");
    }
    assert_eq!(recorder.acked(), 40);
    expect_clean(&store, "at the end");
    broker.terminate();
    expect_clean(&store, "stopped");
    let refused = floe(&store, &["object", "inspect", "segments/0/00/nothing"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let some = segments(&folder).swap_remove(0);
    let key = some.strip_prefix(&folder).unwrap().to_str().unwrap();
    let shown = floe(&store, &["object", "inspect", "--verify", key]);
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    fs::remove_file(&some).unwrap();
    let broken = floe(&store, &["fsck"]);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    let said = String::from_utf8_lossy(&broken.stdout);
    assert!(
        said.contains(&format!("MISSING            {key}")),
        "{said}"
    );
}
