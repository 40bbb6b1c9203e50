//! Fetches beside writes: waiting, waking, bounds and errors.

use std::time::Duration;

use floe_protocol::error_code::ErrorCode;
use floe_storage::store::fault::FaultPlan;
use tokio::time::Instant;

use super::*;
use crate::memory::Share;
use crate::produce::FlushRule;
use crate::produce::testing::{Rig, Trouble, batch};

mod old_records;

const MINUTE: Duration = Duration::from_secs(60);

async fn fetch_one(path: &FetchPath, fetch: &Fetch) -> Answered {
    let mut answers = path.fetch(fetch).await;
    assert_eq!(answers.len(), fetch.positions.len());
    answers.remove(0)
}

/// A store whose PUTs take a while, so that writes and fetches overlap.
async fn slow() -> Rig {
    let store = FaultPlan {
        latency_median: Duration::from_millis(20),
        ..FaultPlan::none()
    };
    Rig::new(
        FlushRule::BUCKET,
        u64::MAX,
        Trouble {
            store,
            ..Trouble::none()
        },
    )
    .await
}

#[tokio::test(start_paused = true)]
async fn a_commit_wakes_a_waiting_fetch_at_once() {
    let rig = slow().await;
    let fetch = rig.fetch_of(0, 0, MINUTE);
    let ((answer, woken), written) = tokio::join!(
        async { (fetch_one(&rig.fetch, &fetch).await, Instant::now()) },
        async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            rig.write(0, &batch("a")).await;
            Instant::now()
        },
    );
    assert_eq!((answer.error, answer.offset_count), (ErrorCode::None, 1));
    assert!(
        woken.duration_since(written) < Duration::from_millis(5),
        "woken at once"
    );
}

#[tokio::test(start_paused = true)]
async fn no_wake_up_is_lost() {
    let rig = slow().await;
    for number in 0..200_u64 {
        let offset = i64::try_from(number).unwrap();
        let fetch = rig.fetch_of(0, offset, MINUTE);
        let start = Instant::now();
        // Some fetches come before the write, some while it is under way, some after it.
        let (answer, _) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_micros(number * 700 % 50_000)).await;
                fetch_one(&rig.fetch, &fetch).await
            },
            async { rig.write(0, &batch("a")).await },
        );
        assert_eq!(
            (answer.error, answer.offset_count),
            (ErrorCode::None, 1),
            "offset {offset}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "offset {offset}: a lost wake-up"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn time_up_answers_with_bounds_and_nothing_else() {
    let rig = Rig::calm().await;
    rig.write(0, &batch("a")).await;
    let start = Instant::now();
    let answer = fetch_one(&rig.fetch, &rig.fetch_of(0, 1, Duration::from_millis(500))).await;
    assert_eq!(start.elapsed().as_millis(), 500);
    assert!(answer.records.is_empty());
    assert_eq!(
        (answer.error, answer.bounds.unwrap().high_watermark),
        (ErrorCode::None, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn waits_for_as_many_bytes_as_are_asked_for() {
    let rig = slow().await;
    let size = batch("a").len() as u64;
    let fetch = Fetch {
        min_bytes: 3 * size,
        ..rig.fetch_of(0, 0, MINUTE)
    };
    let (answer, ()) = tokio::join!(fetch_one(&rig.fetch, &fetch), async {
        for _ in 0..3 {
            rig.write(0, &batch("a")).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(answer.offset_count, 3);
    let at_once = Fetch {
        min_bytes: 0,
        ..rig.fetch_of(0, 3, MINUTE)
    };
    let start = Instant::now();
    assert!(fetch_one(&rig.fetch, &at_once).await.records.is_empty());
    assert!(
        rig.fetch
            .fetch(&Fetch {
                positions: Vec::new(),
                ..fetch
            })
            .await
            .is_empty()
    );
    assert!(start.elapsed() < Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn out_of_range_is_said_of_what_is_out_of_range() {
    let rig = Rig::calm().await;
    for _ in 0..3 {
        rig.write(0, &batch("a")).await;
    }
    let start = Instant::now();
    for offset in [-1, -7, 4, i64::MAX] {
        let answer = fetch_one(&rig.fetch, &rig.fetch_of(0, offset, MINUTE)).await;
        assert_eq!(answer.error, ErrorCode::OffsetOutOfRange, "offset {offset}");
        assert!(answer.bounds.is_none() && answer.records.is_empty());
    }
    let unknown = rig.fetch_of(4, 0, MINUTE);
    let answer = fetch_one(&rig.fetch, &unknown).await;
    assert_eq!(answer.error, ErrorCode::UnknownTopicOrPartition);
    let mut newer = rig.fetch_of(0, 0, MINUTE);
    let Ok(position) = &mut newer.positions[0] else {
        panic!("a position")
    };
    position.current_leader_epoch = i32::MAX;
    let answer = fetch_one(&rig.fetch, &newer).await;
    assert_eq!(answer.error, ErrorCode::UnknownLeaderEpoch);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "errors are answered at once"
    );
}

#[tokio::test(start_paused = true)]
async fn one_partition_s_error_does_not_hold_up_or_hide_the_others() {
    let rig = Rig::calm().await;
    rig.write(1, &batch("a")).await;
    let mut fetch = rig.fetch_of(1, 0, MINUTE);
    fetch.positions.push(Err(ErrorCode::UnknownTopicId));
    fetch.positions.extend(rig.fetch_of(2, 0, MINUTE).positions);
    let answers = rig.fetch.fetch(&fetch).await;
    let seen: Vec<_> = answers
        .iter()
        .map(|answer| (answer.error, answer.records.is_empty()))
        .collect();
    let expected = [
        (ErrorCode::None, false),
        (ErrorCode::UnknownTopicId, true),
        (ErrorCode::None, true),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_wait() {
    let rig = Rig::calm().await;
    let fetch = rig.fetch_of(0, 0, MINUTE);
    let start = Instant::now();
    let (answer, ()) = tokio::join!(fetch_one(&rig.fetch, &fetch), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.stopping.cancel();
    });
    assert_eq!(
        (answer.error, start.elapsed().as_secs()),
        (ErrorCode::None, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn old_records_are_looked_up_once_for_many_fetches() {
    let rig = Rig::calm().await;
    for number in 0..50 {
        rig.write(0, &batch(&number.to_string())).await;
    }
    let newcomer = rig.newcomer().await;
    let mut at = 0;
    while at < 50 {
        let mut fetch = rig.fetch_of(0, at, MINUTE);
        fetch.max_bytes = 150;
        let answer = fetch_one(&newcomer, &fetch).await;
        assert_eq!(answer.error, ErrorCode::None);
        assert!(answer.offset_count > 0, "no progress at {at}");
        at += i64::try_from(answer.offset_count).unwrap();
    }
    assert!(
        newcomer
            .plans
            .find(Instant::now(), rig.partition(0), 0)
            .is_some()
    );
}

#[tokio::test(start_paused = true)]
async fn damaged_bytes_are_an_error_and_never_an_answer() {
    let rig = Rig::calm().await;
    rig.write(0, &batch("a")).await;
    let newcomer = rig.newcomer().await;
    rig.store.set_plan(FaultPlan {
        damaged_get_rate: 1.0,
        ..FaultPlan::none()
    });
    for _ in 0..20 {
        let answer = fetch_one(&newcomer, &rig.fetch_of(0, 0, MINUTE)).await;
        // A flipped bit in another part of the object does no harm.
        if answer.error == ErrorCode::None {
            assert_eq!(answer.records.into_bytes(), rig.read(0, 0).await);
        } else {
            assert_eq!(answer.error, ErrorCode::KafkaStorageError);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_charged_until_they_are_gone() {
    let rig = Rig::calm().await;
    rig.write(0, &batch(&"x".repeat(1000))).await;
    let answer = fetch_one(&rig.fetch, &rig.fetch_of(0, 0, MINUTE)).await;
    assert_eq!(
        rig.memory.used_bytes(Share::Answers),
        answer.records.len_bytes()
    );
    drop(answer);
    assert_eq!(rig.memory.used_bytes(Share::Answers), 0);
}
