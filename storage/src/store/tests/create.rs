//! Whose bytes a name holds, however the answers were lost.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode};

use super::{bytes, faulty, ms};
use crate::store::fault::{Fate, FaultPlan};
use crate::store::{Caller, Created, Operation, Outcome, StoreError, StoreErrorKind, StoreOptions};

const CALLER: Caller = Caller::Metadata;

#[tokio::test(start_paused = true)]
async fn the_first_bytes_stay_and_everyone_learns_whose_they_are() {
    let (_, store) = faulty(FaultPlan::none(), &StoreOptions::default(), 1);
    let path = Path::from("epochs/1");
    let create = |text: &'static str| store.put_create(&path, bytes(text), CALLER);
    assert_eq!(create("process a").await.unwrap(), Created::New);
    assert_eq!(
        create("process a").await.unwrap(),
        Created::New,
        "repeated by the same"
    );
    assert_eq!(
        create("process b").await.unwrap(),
        Created::Existed,
        "as long, other bytes"
    );
    assert_eq!(
        create("process a and more").await.unwrap(),
        Created::Existed,
        "longer"
    );
    assert_eq!(create("a").await.unwrap(), Created::Existed, "its end only");
    assert_eq!(create("").await.unwrap(), Created::Existed, "nothing");
    assert_eq!(store.get_whole(&path, CALLER).await.unwrap(), "process a");
}

#[tokio::test(start_paused = true)]
async fn an_empty_object_can_be_ours_too() {
    let (_, store) = faulty(FaultPlan::none(), &StoreOptions::default(), 1);
    let path = Path::from("empty");
    for _ in 0..2 {
        assert_eq!(
            store.put_create(&path, vec![], CALLER).await.unwrap(),
            Created::New
        );
    }
}

#[tokio::test(start_paused = true)]
async fn large_objects_are_told_apart_by_size_and_end_without_reading_them() {
    let (_, store) = faulty(FaultPlan::none(), &StoreOptions::default(), 1);
    let path = Path::from("segments/x");
    let pieces = |last: u8| {
        let end = Bytes::copy_from_slice(&[1, 2, last]);
        vec![
            Bytes::from(vec![7; 1 << 20]),
            Bytes::from(vec![8; 300]),
            end,
        ]
    };
    for (last, expected) in [(3, Created::New), (3, Created::New), (4, Created::Existed)] {
        assert_eq!(
            store.put_create(&path, pieces(last), CALLER).await.unwrap(),
            expected
        );
    }
    let counts = store.request_counts().snapshot();
    let gets = counts
        .iter()
        .find(|c| c.operation == Operation::Get && c.caller == CALLER)
        .unwrap();
    assert_eq!((gets.requests, gets.bytes), (2, 2 * 64 * 1024));
}

#[tokio::test(start_paused = true)]
async fn a_landing_that_was_answered_already_exists_is_ours() {
    let plan = FaultPlan {
        own_conflict_rate: 1.0,
        ..FaultPlan::healthy()
    };
    let (faults, store) = faulty(plan, &StoreOptions::default(), 1);
    let path = Path::from("claim");
    assert_eq!(
        store.put_create(&path, bytes("a"), CALLER).await.unwrap(),
        Created::New
    );
    assert_eq!(faults.fates().get(&Fate::OwnConflict), Some(&1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_settled_by_the_next_attempt() {
    let plan = FaultPlan {
        lost_reply_rate: 1.0,
        ..FaultPlan::healthy()
    };
    let (faults, store) = faulty(plan, &StoreOptions::default(), 1);
    let path = Path::from("claim");
    let heal = async {
        tokio::time::sleep(ms(100)).await;
        faults.set_plan(FaultPlan::healthy());
    };
    let (created, ()) = tokio::join!(store.put_create(&path, bytes("a"), CALLER), heal);
    assert_eq!(created.unwrap(), Created::New);
    assert!(faults.fates()[&Fate::LostReply] >= 1);
    let other = store.put_create(&path, bytes("b"), CALLER).await.unwrap();
    assert_eq!(other, Created::Existed);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_nothing_there_is_tried_again() {
    // Half of the conflicts claim that the object exists: the GET that settles it finds none.
    let plan = FaultPlan {
        conflict_rate: 0.7,
        ..FaultPlan::healthy()
    };
    let (faults, store) = faulty(plan, &StoreOptions::default(), 5);
    for number in 0..20 {
        let path = Path::from(format!("claim/{number}"));
        match store.put_create(&path, bytes("a"), CALLER).await {
            Ok(created) => assert_eq!(created, Created::New),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Conflict),
        }
    }
    let fates = faults.fates();
    assert!(
        fates[&Fate::Conflict] > 5 && fates[&Fate::ConflictAsExists] > 5,
        "{fates:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_overwrites_is_found_out_and_keeps_its_bytes() {
    let (faults, store) = faulty(FaultPlan::none(), &StoreOptions::default(), 1);
    let path = Path::from("epochs/1");
    let claim = Bytes::from_static(b"claim of process a");
    store
        .put_create(&path, vec![claim.clone()], CALLER)
        .await
        .unwrap();
    assert!(store.honours_create(&path, claim.clone()).await.unwrap());

    let careless = super::careless::Careless(std::sync::Arc::new(faults));
    let options = StoreOptions::default();
    let store = crate::store::Store::new(
        std::sync::Arc::new(careless),
        &Path::from("prefix"),
        &options,
        1,
    );
    assert!(!store.honours_create(&path, claim.clone()).await.unwrap());
    assert_eq!(store.get_whole(&path, CALLER).await.unwrap(), claim);
}

/// What two writers with different bytes were told about one name each, on a bad day, against what
/// the name holds in the end.
#[tokio::test(start_paused = true)]
async fn nobody_is_ever_told_wrong() {
    let mut told = [0; 4];
    for seed in 0..300 {
        let options = StoreOptions {
            attempt_timeout: ms(400),
            total_timeout: ms(2_000),
            ..StoreOptions::default()
        };
        let plan = FaultPlan {
            late_max: ms(5_000),
            ..FaultPlan::harsh()
        };
        let plan = FaultPlan {
            lost_reply_rate: 0.1,
            throttled_rate: if seed % 2 == 0 { 0.75 } else { 0.15 },
            late_effect_rate: 0.05,
            hang_rate: 0.05,
            own_conflict_rate: 0.02,
            // A damaged look at our own object shows somebody else's: the safe side, but wrong.
            damaged_get_rate: 0.0,
            ..plan
        };
        let (faults, store) = faulty(plan, &options, seed);
        for round in 0..4 {
            let path = Path::from(format!("epochs/{round}"));
            let write = |who: &'static str| store.put_create(&path, bytes(who), CALLER);
            let (a, b) = tokio::join!(write("a"), write("bb"));
            faults.settled().await;
            let held = inner_bytes(&faults, &path).await;
            for (who, answer) in [("a", a), ("bb", b)] {
                let seen = check(seed, who, &answer, held.as_deref());
                told[seen] += 1;
            }
        }
    }
    assert!(
        told.iter().all(|times| *times > 20),
        "every answer was met: {told:?}"
    );
}

/// Checks one answer against what is there after everything landed; says which kind of answer it was.
fn check(seed: u64, who: &str, answer: &Result<Created, StoreError>, held: Option<&[u8]>) -> usize {
    let is_ours = held == Some(who.as_bytes());
    match answer {
        Ok(Created::New) => {
            assert!(
                is_ours,
                "seed {seed}: {who} was told new, there is {held:?}"
            );
            0
        }
        Ok(Created::Existed) => {
            assert!(
                held.is_some() && !is_ours,
                "seed {seed}: {who} was told existed: {held:?}"
            );
            1
        }
        Err(error) if error.outcome() == Outcome::DidNotHappen => {
            assert!(
                !is_ours,
                "seed {seed}: {who} was told that nothing happened: {error}"
            );
            2
        }
        Err(_) => 3,
    }
}

async fn inner_bytes(faults: &crate::store::fault::FaultStore, path: &Path) -> Option<Vec<u8>> {
    let healthy = crate::store::fault::FaultPlan::none();
    let plan = faults.set_plan(healthy);
    let path = Path::from(format!("prefix/{path}"));
    let found = faults
        .get_opts(&path, object_store::GetOptions::default())
        .await;
    faults.set_plan(plan);
    Some(found.ok()?.bytes().await.ok()?.to_vec())
}

#[tokio::test(start_paused = true)]
async fn the_engines_stack_leaves_refused_creates_to_the_engine() {
    let (_, store) = faulty(FaultPlan::none(), &StoreOptions::default(), 1);
    let engine = store.object_store();
    let path = Path::from("meta/wal/1");
    let put = || engine.put_opts(&path, "x".into(), PutMode::Create.into());
    put().await.unwrap();
    assert!(matches!(
        put().await,
        Err(object_store::Error::AlreadyExists { .. })
    ));
}
