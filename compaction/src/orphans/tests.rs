use floe_metadata::api::CommitError;
use floe_storage::key::{self, EarlierLineage, Lineage};
use floe_storage::store::fault::FaultPlan;
use object_store::path::Path;

use super::*;
use crate::testing::{LINEAGE, Rig, START_MS, id};

#[test]
fn a_name_is_ours_only_in_the_life_that_gave_it() {
    let (old, other) = (Lineage([1; 16]), Lineage([2; 16]));
    let earlier = [EarlierLineage {
        lineage: old,
        last_write_epoch: 5,
    }];
    let lineages = Lineages::new(LINEAGE, &earlier);
    let us = |level, id| Owner::Us { level, id };
    let cases = [
        (key::segment(LINEAGE, 0, id(6, 1)), us(0, id(6, 1))),
        (key::segment(old, 2, id(5, 1)), us(2, id(5, 1))),
        // The old life ended with epoch 5, the present one began with 6.
        (key::segment(old, 0, id(6, 1)), Owner::Foreign),
        (key::segment(LINEAGE, 0, id(5, 1)), Owner::Foreign),
        (key::segment(other, 0, id(1, 1)), Owner::Foreign),
        (Path::from("segments/0/00/notes.txt"), Owner::Unreadable),
        (Path::from("meta/x"), Owner::Unreadable),
    ];
    for (path, expected) in cases {
        assert_eq!(owner_of(&lineages, &path), expected, "{path}");
    }
}

#[test]
fn what_an_upload_leaves_in_a_folder_is_told_from_what_is_not_ours() {
    let lineages = Lineages::from(LINEAGE);
    let name = key::segment(LINEAGE, 0, id(6, 1)).to_string();
    let foreign = key::segment(Lineage([1; 16]), 0, id(6, 1));
    assert_eq!(
        unfinished_of(&lineages, &format!("{name}#12")),
        Some(id(6, 1))
    );
    for other in [
        name.clone(),
        format!("{name}#"),
        format!("{name}#x"),
        format!("{name}#1x"),
        format!("{name}1#1"),
        format!("{foreign}#1"),
        "segments/0/00/notes#1".to_owned(),
        "#1".to_owned(),
    ] {
        assert_eq!(unfinished_of(&lineages, &other), None, "{other}");
    }
}

const EVERY: Duration = Duration::from_secs(3600);
const MARGIN: Duration = Duration::from_secs(600);
/// Time in which every round that has begun has ended, and another.
const TWO_ROUNDS: Duration = Duration::from_secs(3 * 3600);

fn parts(rig: &Rig) -> OrphansParts {
    OrphansParts {
        client: rig.client.clone(),
        store: rig.bucket.store.clone(),
        folder: None,
        lineages: rig.lineages.clone(),
        every: EVERY,
        margin: MARGIN,
        is_dry_run: false,
        figures: Arc::default(),
    }
}

fn start(rig: &Rig, parts: OrphansParts) -> CancellationToken {
    let stopping = CancellationToken::new();
    rig.tasks.spawn(run(parts, stopping.clone()));
    stopping
}

#[tokio::test(start_paused = true)]
async fn what_was_never_committed_goes_and_what_was_stays() {
    let mut rig = Rig::new(1).await;
    let (_, live) = rig.segment(START_MS).await;
    let (_, dead) = rig.segment(START_MS).await;
    let (_, last) = rig.segment(START_MS).await;
    rig.drop_records(10).await;
    let (lost, orphan) = rig.upload().await;
    let foreign = key::segment(Lineage([1; 16]), 0, id(1, 1));
    let stranger = Path::from("segments/1/00/notes.txt");
    for path in [&foreign, &stranger] {
        rig.bucket.put(path).await;
    }
    let parts = parts(&rig);
    let figures = Arc::clone(&parts.figures);
    let _stopping = start(&rig, parts);
    tokio::time::sleep(MARGIN).await;
    assert!(
        rig.bucket.names().await.contains(&orphan),
        "its commit may still come"
    );
    tokio::time::sleep(TWO_ROUNDS).await;
    let mut stay = vec![live, dead, last, foreign, stranger];
    stay.sort_unstable();
    assert_eq!(rig.bucket.names().await, stay);
    assert_eq!(Figures::read(&figures.orphans_deleted), 1);
    assert_eq!(Figures::read(&figures.names_foreign), 2);
    let late = rig.commit(lost, 0, START_MS).await;
    assert!(
        matches!(late, Err(CommitError::TooOld { .. })),
        "no log may ever lead to what was deleted: {late:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_commit_within_the_margin_counts() {
    let mut rig = Rig::new(1).await;
    let (slow, path) = rig.upload().await;
    let _stopping = start(&rig, parts(&rig));
    tokio::time::sleep(MARGIN).await;
    rig.commit(slow, 0, START_MS).await.unwrap();
    tokio::time::sleep(TWO_ROUNDS).await;
    assert_eq!(rig.bucket.names().await, [path]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_appears_late_goes_in_a_later_round() {
    let mut rig = Rig::new(1).await;
    let (_, orphan) = rig.upload().await;
    let _stopping = start(&rig, parts(&rig));
    for appearance in 0..3 {
        tokio::time::sleep(TWO_ROUNDS).await;
        assert_eq!(rig.bucket.names().await, [], "{appearance}");
        rig.bucket.put(&orphan).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_deletes_nothing() {
    let mut rig = Rig::new(1).await;
    let (_, orphan) = rig.upload().await;
    let parts = OrphansParts {
        is_dry_run: true,
        ..parts(&rig)
    };
    let figures = Arc::clone(&parts.figures);
    let _stopping = start(&rig, parts);
    tokio::time::sleep(TWO_ROUNDS).await;
    assert_eq!(rig.bucket.names().await, [orphan]);
    assert_eq!(Figures::read(&figures.orphans_deleted), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_without_metadata() {
    let mut rig = Rig::new(1).await;
    let (_, orphan) = rig.upload().await;
    let _stopping = start(&rig, parts(&rig));
    rig.service.kill();
    tokio::time::sleep(TWO_ROUNDS).await;
    assert_eq!(rig.bucket.names().await, [orphan]);
}

#[tokio::test(start_paused = true)]
async fn several_processes_at_once_do_no_harm() {
    let mut rig = Rig::new(1).await;
    for seconds in [0, 200, 900] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        start(&rig, parts(&rig));
    }
    let mut live = Vec::new();
    for _ in 0..40 {
        // A process learns of the newest write epoch within seconds; this one as it uploads.
        rig.registration.write_epoch = rig.client.write_epochs().await.unwrap().present;
        let (id, path) = rig.upload().await;
        rig.upload().await;
        tokio::time::sleep(MARGIN / 2).await;
        rig.commit(id, 0, START_MS).await.unwrap();
        live.push(path);
    }
    tokio::time::sleep(TWO_ROUNDS).await;
    live.sort_unstable();
    assert_eq!(rig.bucket.names().await, live);
}

#[tokio::test(start_paused = true)]
async fn a_store_in_trouble_delays_it_only() {
    for seed in 0..4 {
        let mut rig = Rig::new(seed).await;
        let (_, live) = rig.segment(START_MS).await;
        for _ in 0..30 {
            rig.upload().await;
        }
        rig.bucket.faults.set_plan(FaultPlan {
            throttled_rate: 0.2,
            failed_rate: 0.1,
            lost_reply_rate: 0.2,
            hang_rate: 0.05,
            outages: vec![Duration::ZERO..Duration::from_secs(7200)],
            ..FaultPlan::none()
        });
        let _stopping = start(&rig, parts(&rig));
        tokio::time::sleep(4 * TWO_ROUNDS).await;
        assert_eq!(rig.bucket.names().await, [live], "seed {seed}");
    }
}

#[tokio::test]
async fn unfinished_uploads_in_a_folder() {
    let rig = Rig::new(1).await;
    let folder = tempfile::tempdir().unwrap();
    let name = |epoch, counter| key::segment(LINEAGE, 1, id(epoch, counter)).to_string();
    let files = [
        (format!("{}#1", name(1, 1)), false),
        (format!("{}#1", name(2, 2)), true),
        (name(1, 3), true),
        ("segments/0/00/notes#1".to_owned(), true),
        ("segments/0/notes".to_owned(), true),
        (
            format!("{}#1", key::segment(Lineage([1; 16]), 0, id(1, 1))),
            true,
        ),
    ];
    for (file, _) in &files {
        let file = folder.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    let dry = OrphansParts {
        is_dry_run: true,
        ..parts(&rig)
    };
    unfinished::sweep(&dry, folder.path(), 2).await.unwrap();
    for (file, _) in &files {
        assert!(folder.path().join(file).exists(), "dry run: {file}");
    }
    let parts = parts(&rig);
    unfinished::sweep(&parts, folder.path(), 2).await.unwrap();
    for (file, stays) in &files {
        assert_eq!(folder.path().join(file).exists(), *stays, "{file}");
    }
    assert_eq!(Figures::read(&parts.figures.orphan_bytes_deleted), 1);
}
