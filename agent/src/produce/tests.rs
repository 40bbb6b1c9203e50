//! The whole path over stores and engines that go wrong.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::type_complexity,
    reason = "tests count in small numbers"
)]

use std::time::Duration;

use floe_metadata::engine::memory::Faults;
use floe_protocol::record_batch::{BatchHeader, RecordIter};
use floe_storage::store::fault::{Fate, FaultPlan};
use tokio::time::Instant;

use super::testing::{Rig, Trouble, batch, sequenced};
use super::*;

/// The values of a log's records, each with its offset.
fn values(log: &[u8]) -> Vec<(i64, String)> {
    let mut rest = bytes::Bytes::copy_from_slice(log);
    let mut values = Vec::new();
    while !rest.is_empty() {
        let size = BatchHeader::parse(&rest).unwrap().size_bytes();
        for record in RecordIter::new(&rest.split_to(size), 1 << 20).unwrap() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            values.push((record.offset, value));
        }
    }
    values
}

fn offset(outcome: Option<Outcome>) -> i64 {
    match outcome {
        Some(Outcome::Written { base_offset, .. }) => base_offset,
        other => panic!("not written: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_written_is_there_to_read() {
    let rig = Rig::calm().await;
    assert_eq!(offset(Some(rig.write(1, &batch("a")).await)), 0);
    assert_eq!(offset(Some(rig.write(1, &batch("b")).await)), 1);
    assert_eq!(offset(Some(rig.write(2, &batch("c")).await)), 0);
    let pairs = |pairs: &[(i64, &str)]| -> Vec<(i64, String)> {
        pairs
            .iter()
            .map(|(offset, value)| (*offset, (*value).to_owned()))
            .collect()
    };
    assert_eq!(values(&rig.read(1, 0).await), pairs(&[(0, "a"), (1, "b")]));
    assert_eq!(values(&rig.read(2, 0).await), pairs(&[(0, "c")]));
    assert_eq!(values(&rig.read(0, 0).await), pairs(&[]));
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_gets_its_first_offset() {
    let rig = Rig::calm().await;
    let first = rig.write(0, &sequenced(5, 0, "a")).await;
    rig.write(0, &sequenced(5, 1, "b")).await;
    let again = rig.write(0, &sequenced(5, 0, "a")).await;
    assert_eq!((offset(Some(first)), offset(Some(again))), (0, 0));
    let gap = rig.write(0, &sequenced(5, 7, "c")).await;
    let out_of_order = floe_metadata::api::BatchRejection::OutOfOrderSequence;
    assert_eq!(gap, Outcome::Rejected(out_of_order));
    assert_eq!(values(&rig.read(0, 0).await).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_idle_agent_writes_at_once_and_a_busy_one_gathers() {
    let rig = Rig::slow().await;
    let start = Instant::now();
    rig.write(0, &batch("alone")).await;
    assert!(
        start.elapsed() < Duration::from_millis(70),
        "took {:?}",
        start.elapsed()
    );
    let first = rig.send(&Seat::default(), &[(0, batch("first"))]);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let gathered: Vec<_> = (0..20)
        .map(|n| rig.send(&Seat::default(), &[(0, batch(&n.to_string()))]))
        .collect();
    first.done().await;
    let start = Instant::now();
    for completion in gathered {
        completion.done().await;
    }
    assert!(
        start.elapsed() < Duration::from_millis(70),
        "one PUT for all of them"
    );
    assert_eq!(values(&rig.read(0, 0).await).len(), 22);
}

/// Many requests of several connections over one troubled store: what is acknowledged is there at its
/// offset, what was refused is not, and each connection's batches keep their order.
async fn keeps_order(seed: u64, plan: FaultPlan, engine: Faults) -> (u64, u64) {
    let rule = FlushRule {
        segment_bytes: 600,
        ..FlushRule::BUCKET
    };
    let rig = Rig::new(
        rule,
        0,
        Trouble {
            seed,
            store: plan,
            engine,
        },
    )
    .await;
    let seats: Vec<_> = (0..3).map(|_| Seat::default()).collect();
    let mut sent = Vec::new();
    for number in 0..60 {
        for (connection, seat) in seats.iter().enumerate() {
            let value = |index| batch(&format!("{connection}-{index}-{number:03}"));
            let batches = [(0, value(0)), (2, value(2))];
            sent.push((connection, number, rig.send(seat, &batches)));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    rig.produce.drain().await;
    rig.store.set_plan(FaultPlan::none());
    rig.engine.set_faults(Faults::none());
    rig.store.settled().await;
    rig.client.wait_for_owner().await.unwrap();
    let mut acknowledged = 0;
    let mut refused = 0;
    for (place, index) in [0, 2].into_iter().enumerate() {
        let log = values(&rig.read(index, 0).await);
        assert!(
            log.iter()
                .enumerate()
                .all(|(at, (offset, _))| at as i64 == *offset),
            "dense"
        );
        let mut last = [-1; 3];
        for (connection, number, completion) in &sent {
            let value = format!("{connection}-{index}-{number:03}");
            let found: Vec<_> = log.iter().filter(|(_, found)| *found == value).collect();
            match completion
                .outcome(place)
                .expect("drained: every batch has its outcome")
            {
                Outcome::Written { base_offset, .. } => {
                    assert_eq!(found, [&(base_offset, value)], "seed {seed}");
                    assert!(
                        base_offset > last[*connection],
                        "seed {seed}: order of {connection}"
                    );
                    last[*connection] = base_offset;
                    acknowledged += 1;
                }
                Outcome::NotStored | Outcome::Rejected(_) => {
                    assert!(
                        found.is_empty(),
                        "seed {seed}: {value} was refused and is there"
                    );
                    refused += 1;
                }
                Outcome::NoResult(error) => panic!("seed {seed}: {error}"),
            }
        }
    }
    (acknowledged, refused)
}

#[tokio::test(start_paused = true)]
async fn order_holds_when_puts_overtake_each_other() {
    let nervous = FaultPlan {
        latency_sigma: 1.5,
        ..FaultPlan::healthy()
    };
    for seed in 0..20 {
        let (acknowledged, refused) = keeps_order(seed, nervous.clone(), Faults::none()).await;
        assert_eq!((acknowledged, refused), (360, 0), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn order_holds_over_failing_puts_and_lost_answers() {
    let mut met = (0, 0);
    for seed in 0..20 {
        let engine = Faults {
            latency: Duration::from_millis(5)..Duration::from_millis(40),
            lost_reply: 0.02,
            lost_batch: 0.02,
            ..Faults::none()
        };
        let (acknowledged, refused) = keeps_order(seed, FaultPlan::harsh(), engine).await;
        met = (met.0 + acknowledged, met.1 + refused);
    }
    assert!(met.0 > 0, "{met:?}");
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_cannot_be_stored_is_answered_and_the_lane_goes_on() {
    let rig = Rig::calm().await;
    rig.write(0, &batch("before")).await;
    let failing = FaultPlan {
        failed_rate: 1.0,
        ..FaultPlan::none()
    };
    rig.store.set_plan(failing);
    let seat = Seat::default();
    let lost = rig.send(&seat, &[(0, batch("lost"))]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    let next = rig.send(&seat, &[(0, batch("next"))]);
    lost.done().await;
    assert_eq!(lost.outcome(0), Some(Outcome::NotStored));
    rig.store.set_plan(FaultPlan::none());
    next.done().await;
    assert!(rig.store.fates().contains_key(&Fate::Failed));
    let after = rig.send(&seat, &[(0, batch("after"))]);
    after.done().await;
    assert!(matches!(after.outcome(0), Some(Outcome::Written { .. })));
    let values: Vec<_> = values(&rig.read(0, 0).await)
        .into_iter()
        .map(|(_, value)| value)
        .collect();
    assert!(!values.contains(&"lost".to_owned()), "{values:?}");
}

#[tokio::test(start_paused = true)]
async fn draining_leaves_nothing_open() {
    let rig = Rig::slow().await;
    let seat = Seat::default();
    let sent: Vec<_> = (0..5)
        .map(|n| rig.send(&seat, &[(n % 4, batch("x"))]))
        .collect();
    let start = Instant::now();
    rig.produce.drain().await;
    assert!(sent.iter().all(|completion| completion.is_done()));
    assert!(
        start.elapsed() < FlushRule::BUCKET.linger,
        "no waiting for company"
    );
}

#[tokio::test(start_paused = true)]
async fn segments_are_named_with_the_newest_write_epoch_that_is_known() {
    let rig = Rig::calm().await;
    rig.write(0, &batch("a")).await;
    let epochs = rig.client.raise_write_epoch(1).await.unwrap();
    assert_eq!((epochs.present, epochs.lowest_accepted), (2, 1));
    while rig.view.write_epoch() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(offset(Some(rig.write(0, &batch("b")).await)), 1);
    let found = rig.client.look_up(rig.partition(0), 0, 10).await.unwrap();
    let names = found.extents.iter().map(|extent| {
        let id = extent.segment;
        (id.write_epoch, id.incarnation)
    });
    assert_eq!(names.collect::<Vec<_>>(), [(1, 1), (2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_has_become_too_old_makes_its_process_register_again() {
    let rig = Rig::slow().await;
    rig.write(0, &batch("a")).await;
    let first = rig.presence.naming().unwrap();
    // While a segment is on its way to the store its write epoch is given up.
    let given_up = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        rig.client.raise_write_epoch(1).await.unwrap();
        let epochs = rig.client.raise_lowest_accepted(2).await.unwrap();
        assert_eq!((epochs.present, epochs.lowest_accepted), (2, 2));
    };
    let late = batch("b");
    let (refused, ()) = tokio::join!(rig.write(0, &late), given_up);
    let unknown = Outcome::NoResult(floe_metadata::api::CommitError::Unavailable);
    assert_eq!(refused, unknown);
    assert_eq!(offset(Some(rig.write(0, &batch("c")).await)), 1);
    let second = rig.presence.naming().unwrap();
    assert_eq!(second.write_epoch, 2);
    assert!(second.incarnation > first.incarnation);
    let log = values(&rig.read(0, 0).await);
    assert_eq!(log, [(0, "a".to_owned()), (1, "c".to_owned())]);
}
