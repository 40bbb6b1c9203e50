//! A folder that a broker wrote and that was damaged by hand.

use std::fs;
use std::path::{Path as FilePath, PathBuf};

use floe_protocol::compression::Compression;
use floe_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use floe_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use floe_protocol::record_batch::BatchBuilder;
use floe_protocol::records::Records;
use floe_storage::key::{self, Lineage};
use floe_storage::segment::SegmentId;

use super::*;
use crate::config::ObjectTask;
use crate::object::{self, ObjectError};
use crate::start::{RunningAgent, start};
use crate::testing::{Client, config};

const SEGMENTS: usize = 4;

fn on_folder(folder: &FilePath) -> Config {
    Config {
        store: StoreUrl::Folder(folder.to_owned()),
        ..config(&[])
    }
}

fn produce() -> ProduceRequest {
    let mut batch = BatchBuilder::new(Compression::None);
    let now_ms = Clock::system().now_ms();
    batch.append(now_ms, Some(b"key"), Some(&[7; 500]));
    ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::from(batch.build().unwrap())),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

async fn write(folder: &FilePath) -> RunningAgent {
    let agent = start(on_folder(folder)).await.unwrap();
    let mut client = Client::connect(&agent).await;
    let metadata = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("t".into()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    client.call(9, &metadata).await;
    for _ in 0..SEGMENTS {
        let written = client.call(9, &produce()).await;
        assert_eq!(written.responses[0].partition_responses[0].error_code, 0);
    }
    agent
}

/// The keys of all segments, sorted.
fn keys(folder: &FilePath) -> Vec<String> {
    let mut keys = Vec::new();
    let mut folders = vec![folder.join("segments")];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(folder).unwrap();
                keys.push(key.to_str().unwrap().to_owned());
            }
        }
    }
    keys.sort_unstable();
    keys
}

async fn check(folder: &FilePath, is_deep: bool, orphan_age: Option<Duration>) -> Report {
    let task = FsckTask {
        is_deep,
        orphan_age,
    };
    run(&on_folder(folder), task, &|_| {}).await.unwrap()
}

fn flip(file: &PathBuf, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// What is told of a key.
fn told<'a>(report: &'a Report, key: &str) -> Option<&'a Finding> {
    report.findings.iter().find(|it| it.path.as_ref() == key)
}

#[tokio::test]
async fn what_was_damaged_by_hand_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let agent = write(folder).await;
    let running = check(folder, true, None).await;
    assert!(running.is_clean(), "a cluster that runs: {running}");
    agent.shutdown().await.unwrap();
    let keys = keys(folder);
    assert_eq!(keys.len(), SEGMENTS);
    for is_deep in [false, true] {
        let report = check(folder, is_deep, Some(Duration::ZERO)).await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.objects, SEGMENTS);
        assert!(report.to_string().ends_with("clean\n"), "{report}");
    }

    let [gone, cut, flipped, whole] = keys.try_into().unwrap();
    fs::remove_file(folder.join(&gone)).unwrap();
    let file = fs::File::options().write(true).open(folder.join(&cut));
    file.unwrap().set_len(300).unwrap();
    // In the middle of the record.
    flip(&folder.join(&flipped), 300);

    let report = check(folder, false, None).await;
    assert!(!report.is_clean());
    assert!(told(&report, &gone).unwrap().is_missing);
    let faults = &told(&report, &cut).unwrap().faults;
    assert!(faults[0].contains("it has 300 bytes"), "{faults:?}");
    assert_eq!(told(&report, &flipped), None, "bodies are not read");
    assert_eq!(told(&report, &whole), None);

    let report = check(folder, true, None).await;
    let faults = &told(&report, &flipped).unwrap().faults;
    assert!(faults[0].contains("checksum"), "{faults:?}");
    assert_eq!(told(&report, &whole), None);
    assert_eq!(report.findings.len(), 3);
    let text = report.to_string();
    assert!(
        text.contains(&format!("MISSING            {gone}")),
        "{text}"
    );
    assert!(text.contains("1 missing, 2 damaged"), "{text}");
    assert!(text.ends_with("NOT CLEAN\n"), "{text}");

    // Its index and footer.
    let file = folder.join(&whole);
    let at = fs::read(&file).unwrap().len() - 30;
    flip(&file, at);
    let report = check(folder, false, None).await;
    let faults = &told(&report, &whole).unwrap().faults;
    assert!(faults[0].contains("checksum"), "{faults:?}");
}

#[tokio::test]
async fn what_nobody_needs_is_found_and_what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder).await.shutdown().await.unwrap();
    let written = keys(folder);
    let first = Path::from(written[0].as_str());
    let (lineage, _, known) = key::parse_segment(&first).unwrap();
    let of = |lineage, write_epoch| {
        let id = SegmentId {
            write_epoch,
            ..known
        };
        key::segment(lineage, 0, id)
    };
    let orphan = of(lineage, 0);
    let under_way = of(lineage, u32::MAX);
    let foreign = of(Lineage([9; 16]), 0);
    for path in [&orphan, &under_way, &foreign] {
        let file = folder.join(path.as_ref());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::copy(folder.join(&written[0]), file).unwrap();
    }
    let report = check(folder, false, None).await;
    assert!(report.is_clean(), "it may still be there: {report}");
    assert_eq!(report.young, 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let report = check(folder, false, Some(Duration::ZERO)).await;
    assert!(!report.is_clean());
    let left: Vec<_> = report.leftovers.iter().map(|it| &it.path).collect();
    assert_eq!(left, [&orphan]);
    let text = report.to_string();
    assert!(
        text.contains(&format!("ORPHAN             {orphan}")),
        "{text}"
    );
}

#[tokio::test]
async fn an_object_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder).await.shutdown().await.unwrap();
    let key = keys(folder).swap_remove(0);
    let inspect = async |key: &str| {
        let task = ObjectTask::Inspect {
            key: key.to_owned(),
            is_verified: true,
        };
        object::run(&on_folder(folder), &task).await
    };
    let whole = inspect(&key).await.unwrap();
    assert!(!whole.is_damaged);
    for fact in [
        key.as_str(),
        "level              0",
        "1 extents, 1 batches, 1 offsets",
        "offsets given at its commit",
        "None, times",
        "every checksum matches",
    ] {
        assert!(whole.text.contains(fact), "{fact}: {}", whole.text);
    }
    flip(&folder.join(&key), 300);
    let damaged = inspect(&key).await.unwrap();
    assert!(damaged.is_damaged);
    assert!(damaged.text.contains("DAMAGED"), "{}", damaged.text);
    for wrong in ["", "cluster", "segments/0/00/x", "../x"] {
        let refused = inspect(wrong).await;
        assert!(
            matches!(refused, Err(ObjectError::NoSegment(_))),
            "{wrong}: {refused:?}"
        );
    }
    fs::remove_file(folder.join(&key)).unwrap();
    assert!(matches!(inspect(&key).await, Err(ObjectError::Read(_))));
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let task = FsckTask {
        is_deep: false,
        orphan_age: None,
    };
    let refused = run(&on_folder(&missing), task, &|_| {}).await;
    assert!(matches!(refused, Err(FsckError::NoFolder { .. })));
    assert!(!missing.exists());
}
