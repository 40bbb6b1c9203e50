//! Engines that are lost and owners that are killed: nothing acknowledged is lost, nothing doubled.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use floe_protocol::types::TopicPartition;

use super::{offsets, with_topic};
use crate::api::CommitError;
use crate::client::{self, Client, CommitLane};
use crate::engine::memory::Faults;
use crate::service::StopReason;
use crate::testing::{World, calm, commit, idempotent_commit, partition};

/// A lane that has several commits under way when the engine is lost.
pub(super) async fn commit_all(
    client: &Client,
    lane: &mut CommitLane,
    (incarnation, to): (u32, TopicPartition),
    count: u64,
) -> Vec<i64> {
    let request = |counter| {
        idempotent_commit(
            (incarnation, counter),
            to,
            77,
            i32::try_from(counter).unwrap(),
        )
    };
    let mut found = Vec::new();
    let mut under_way = VecDeque::new();
    let mut next = 0;
    while found.len() < usize::try_from(count).unwrap() {
        while next < count && under_way.len() < 5 {
            under_way.push_back((next, lane.enqueue(request(next)).await));
            next += 1;
        }
        let (counter, reply) = under_way.pop_front().unwrap();
        match reply.await {
            Ok(reply) => found.extend(offsets(&reply)),
            Err(CommitError::Unavailable) => {
                // All that is unanswered goes again, oldest first.
                next = counter;
                for (_, reply) in under_way.drain(..) {
                    assert_eq!(
                        reply.await,
                        Err(CommitError::Unavailable),
                        "a lane has no holes"
                    );
                }
                client.wait_for_owner().await.unwrap();
                lane.restart().await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_lost_engine_is_recovered_and_nothing_is_doubled() {
    let mut terms = BTreeSet::new();
    for seed in 0..40 {
        let world = World::new(seed, calm());
        let (service, incarnation) = with_topic(&world, 1).await;
        let client = service.client();
        world.engine.set_faults(Faults {
            lost_reply: 0.05,
            lost_batch: 0.05,
            failed_read: 0.02,
            failed_acquisition: 0.3,
            ..calm()
        });
        let mut lane = client.lane();
        let found = commit_all(&client, &mut lane, (incarnation, partition(1, 0)), 60).await;
        assert_eq!(found, (0..60).collect::<Vec<_>>(), "seed {seed}");
        let client::Owner::Ready { term, .. } = client.owner() else {
            panic!("no owner");
        };
        terms.insert(term);
    }
    assert!(terms.len() > 4, "engines were lost: {terms:?}");
}

#[tokio::test(start_paused = true)]
async fn a_killed_owner_is_replaced_at_any_moment() {
    for seed in 0..40_u64 {
        let world = World::new(seed, calm());
        let (mut service, incarnation) = with_topic(&world, 1).await;
        let mut acknowledged = Vec::new();
        let mut alive = 1;
        for process in [3, 5, 7, 9] {
            let client = service.client();
            let mut lane = client.lane();
            let mut under_way = Vec::new();
            for counter in 0..40 {
                let counter = u64::from(process) * 1000 + counter;
                under_way.push(
                    lane.enqueue(commit(incarnation, counter, &[partition(1, 1)], 1))
                        .await,
                );
            }
            tokio::time::sleep(Duration::from_millis(7 + seed)).await;
            world.kill(alive, &service);
            alive = process;
            for reply in under_way {
                if let Ok(reply) = reply.await {
                    acknowledged.extend(offsets(&reply));
                }
            }
            service = world.start(process).await.unwrap();
            let bounds = service
                .client()
                .bounds(vec![partition(1, 1)])
                .await
                .unwrap();
            let end = bounds[0].unwrap().high_watermark;
            assert!(
                acknowledged.iter().all(|offset| *offset < end),
                "seed {seed}"
            );
        }
        let distinct: BTreeSet<_> = acknowledged.iter().collect();
        assert_eq!(
            distinct.len(),
            acknowledged.len(),
            "seed {seed}: an offset was given twice"
        );
        assert!(matches!(service.release().await, StopReason::Released));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_never_slips_into_a_later_term() {
    let world = World::calm();
    let (service, incarnation) = with_topic(&world, 1).await;
    let client = service.client();
    let mut lane = client.lane();
    world.engine.set_faults(Faults {
        lost_batch: 1.0,
        ..calm()
    });
    let lost = lane
        .enqueue(commit(incarnation, 0, &[partition(1, 0)], 1))
        .await;
    assert_eq!(lost.await, Err(CommitError::Unavailable));
    world.engine.set_faults(calm());
    client.wait_for_owner().await.unwrap();
    let later = lane
        .enqueue(commit(incarnation, 1, &[partition(1, 0)], 1))
        .await;
    assert_eq!(
        later.await,
        Err(CommitError::Unavailable),
        "the lane was not restarted"
    );
    lane.restart().await.unwrap();
    let again = lane
        .enqueue(commit(incarnation, 0, &[partition(1, 0)], 1))
        .await;
    assert_eq!(offsets(&again.await.unwrap()), [0]);
}
