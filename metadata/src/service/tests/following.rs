//! Calls of a process that follows: each is answered as it is where the owner is, and the watch goes on
//! over broken connections.

use std::fmt::Debug;

use super::*;
use floe_protocol::types::TopicPartition;
use floe_storage::segment::SegmentId;
use tokio_util::sync::CancellationToken;

use crate::api::admin::{AlterConfigs, ConfigKind, ConfigResource};
use crate::api::objects::{DeadObject, MergeRequest, MergedExtent, Retention, SegmentSummary};
use crate::api::{Snapshot, WatchEvent};
use crate::client::WatchBatch;
use crate::client::view::{Tail, View};
use crate::testing::owner;

/// One of each kind of call, and of each kind of answer; the answers in words.
async fn answers(client: Client) -> Vec<String> {
    let mut said = Vec::new();
    let mut say = |answer: &dyn Debug| said.push(format!("{answer:?}"));
    let in_short = |topic: Result<(Arc<crate::api::Topic>, u64), RequestError>| {
        topic.map(|(topic, revision)| {
            let topic = (*topic).clone();
            (
                topic.id,
                topic.name,
                topic.partition_count,
                topic.configs,
                revision,
            )
        })
    };
    let mut new = new_topic(1, 4);
    new.configs = [("retention.ms".to_owned(), "1000".to_owned())].into();
    say(&in_short(client.create_topic(new.clone()).await));
    say(&in_short(client.create_topic(new).await));
    let mut rival = new_topic(2, 1);
    rival.name = "topic-1".to_owned();
    say(&in_short(client.create_topic(rival).await));
    say(&in_short(client.create_topic(new_topic(3, i32::MAX)).await));
    say(&in_short(client.create_partitions(topic_id(1), 5).await));
    say(&in_short(client.create_partitions(topic_id(1), 5).await));
    say(&in_short(client.create_partitions(topic_id(9), 5).await));
    say(&client.register(new_process(9)).await);
    say(&client.register(new_process(9)).await);
    say(&client.beat(1, 0).await);
    say(&client.beat(77, 0).await);
    say(&client.allocate_producer_ids().await);
    let (known, unknown) = (partition(1, 4), partition(9, 0));
    let both = commit(1, 0, &[known, unknown], 3);
    say(&client.commit(both.clone()).await);
    say(&client.commit(both).await);
    for (counter, sequence) in [(1, 0), (2, 0), (3, 7)] {
        let batch = idempotent_commit((1, counter), partition(1, 0), 5, sequence);
        say(&client.commit(batch).await);
    }
    say(&client.commit(commit(77, 0, &[known], 1)).await);
    say(&client.bounds(vec![known, unknown, partition(1, 0)]).await);
    say(&client.bounds(Vec::new()).await);
    for at in [known, unknown, partition(1, 1)] {
        say(&client.look_up(at, 0, 10).await);
        say(&client.look_up(at, 1, 0).await);
        say(&client.extent_for_timestamp(at, 0).await);
        say(&client.extent_for_timestamp(at, i64::MAX).await);
        say(&client.extent_with_max_timestamp(at).await);
    }
    for request in super::groups::one_of_each() {
        say(&client.group(request).await);
    }
    for resource in [
        ConfigResource::Topic(topic_id(1)),
        ConfigResource::Topic(topic_id(9)),
        ConfigResource::Named(ConfigKind::Group, Arc::from("g")),
    ] {
        let alter = |before: &str, after: &str| {
            let values = |value: &str| [("a".to_owned(), value.to_owned())].into();
            let (before, after) = (values(before), values(after));
            client.alter_configs(AlterConfigs {
                resource: resource.clone(),
                before,
                after,
            })
        };
        say(&alter("1", "2").await);
        say(&alter("3", "4").await);
    }
    let moves = vec![(known, 1), (unknown, 1), (partition(1, 0), i64::MAX)];
    say(&client.move_log_starts(moves).await);
    say(&client.sizes(vec![known, unknown, partition(1, 0)]).await);
    say(&client
        .producers(vec![known, unknown, partition(1, 0)])
        .await);
    say(&client
        .quorum()
        .await
        .map(|facts| (facts.write_epoch, facts.revision)));
    objects(&client, &mut say).await;
    say(&client.ended(55).await);
    say(&client.leave(1).await);
    say(&client.leave(1).await);
    say(&client.beat(1, 0).await);
    say(&client.passed(1).await);
    say(&client.delete_topic(topic_id(1)).await);
    say(&client.delete_topic(topic_id(1)).await);
    say(&client.delete_topic(topic_id(9)).await);
    said
}

/// Calls about objects; what is said of times is left out.
async fn objects(client: &Client, say: &mut dyn FnMut(&dyn Debug)) {
    // It is not to be taken for silent in the middle of it, sooner in one world than in the other.
    client.beat(1, 0).await.unwrap();
    let segments = client.segments(1).await.unwrap();
    let timeless = |summary: &SegmentSummary| SegmentSummary {
        committed_ms: 0,
        ..*summary
    };
    say(&segments.iter().map(timeless).collect::<Vec<_>>());
    let known: Vec<_> = segments.iter().map(|summary| summary.segment).collect();
    let id = |counter| SegmentId {
        write_epoch: 1,
        incarnation: 1,
        counter,
    };
    let asked: Vec<_> = known.into_iter().chain([id(99)]).collect();
    say(&client.are_known(asked).await);
    let commits: Vec<_> = segments.iter().map(|summary| summary.commit).collect();
    say(&client.begin_merge(vec![u64::MAX], 1000).await);
    let sources = client.begin_merge(commits.clone(), 60_000).await.unwrap();
    let sources = sources.unwrap();
    for source in &sources {
        say(&(timeless(&source.summary), &source.extents));
    }
    say(&client.begin_merge(commits.clone(), 1000).await);
    let alive = sources.iter().flat_map(|source| &source.extents);
    let merged = alive.map(|(partition, extent)| MergedExtent {
        partition: *partition,
        position_bytes: extent.position_bytes,
        length_bytes: extent.length_bytes,
        base_offset: extent.base_offset,
        end_offset: extent.end_offset,
        max_timestamp_ms: extent.max_timestamp_ms,
    });
    let mut extents: Vec<_> = merged.collect();
    extents.sort_by_key(|extent| (extent.partition, extent.base_offset));
    let merge = |counter, level| MergeRequest {
        segment: id(counter),
        level,
        size_bytes: 1000,
        sources: commits.clone(),
        extents: extents.clone(),
    };
    say(&client.complete_merge(merge(500, 0)).await);
    let done = client.complete_merge(merge(500, 1)).await;
    assert!(matches!(done, Ok(Ok(_))), "{done:?}");
    say(&done);
    say(&client.complete_merge(merge(500, 1)).await);
    say(&client.complete_merge(merge(501, 1)).await);
    let keep = |topic, bytes_max| Retention {
        topic: topic_id(topic),
        min_timestamp_ms: None,
        bytes_max,
    };
    say(&client
        .retain(vec![keep(1, Some(0)), keep(1, None), keep(9, Some(0))])
        .await);
    let dead = client.dead_objects(0, 100).await.unwrap();
    let timeless = |object: &DeadObject| DeadObject {
        dead_ms: 0,
        ..*object
    };
    assert!(!dead.is_empty());
    say(&dead.iter().map(timeless).collect::<Vec<_>>());
    say(&client.dead_objects(i64::MAX, 100).await);
    say(&client.dead_objects(0, 0).await);
    let commits = dead.iter().map(|object| object.commit).collect();
    say(&client.forget_objects(commits).await);
    say(&client.are_known(vec![id(0), id(500)]).await);
    say(&client.raise_write_epoch(1).await);
    say(&client.raise_write_epoch(1).await);
    say(&client.raise_lowest_accepted(2).await);
    say(&client.raise_lowest_accepted(9).await);
    say(&client.write_epochs().await);
    say(&client.complete_merge(merge(502, 1)).await);
}

#[tokio::test(start_paused = true)]
async fn a_follower_is_answered_as_the_owner_is() {
    let alone = World::calm();
    let expected = answers(alone.start(1).await.unwrap().client()).await;
    let world = World::calm();
    let _owner = world.start(1).await.unwrap();
    let follower = world.start(2).await.unwrap();
    let found = answers(follower.client()).await;
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

async fn next_until(stream: &mut client::WatchStream, revision: u64) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    loop {
        let batch: Arc<WatchBatch> = stream.next().await.unwrap();
        events.extend(batch.events.iter().cloned());
        if batch.revision >= revision {
            return events;
        }
    }
}

async fn snapshot(client: &Client) -> (Snapshot, client::WatchStream) {
    let subscription = client.subscribe(None).await.unwrap();
    (subscription.snapshot.unwrap(), subscription.stream)
}

#[tokio::test(start_paused = true)]
async fn a_large_snapshot_and_what_follows_are_the_same_over_the_network() {
    let world = World::calm();
    let (first, incarnation) = with_topic(&world, 1).await;
    let second = world.start(2).await.unwrap();
    let (here, there) = (first.client(), second.client());
    for (topic, count) in [(2, 20_001), (3, 30_000), (4, 3)] {
        here.create_topic(new_topic(topic, count)).await.unwrap();
    }
    here.commit(commit(incarnation, 0, &[partition(3, 29_999)], 7))
        .await
        .unwrap();
    let (expected, mut expected_stream) = snapshot(&here).await;
    let (found, mut found_stream) = snapshot(&there).await;
    assert_eq!(found, expected);
    assert_eq!(found.bounds[2][29_999].high_watermark, 7);

    there.create_partitions(topic_id(4), 5).await.unwrap();
    there.register(new_process(8)).await.unwrap();
    there
        .commit(commit(
            incarnation,
            1,
            &[partition(1, 0), partition(4, 4)],
            2,
        ))
        .await
        .unwrap();
    for resource in [
        ConfigResource::Topic(topic_id(3)),
        ConfigResource::Named(ConfigKind::Broker, Arc::from("")),
    ] {
        let after = [("a".to_owned(), "b".to_owned())].into();
        let before = [].into();
        let change = AlterConfigs {
            resource,
            before,
            after,
        };
        there.alter_configs(change).await.unwrap();
    }
    let moves = vec![(partition(3, 29_999), 4)];
    there.move_log_starts(moves).await.unwrap();
    let revision = there.delete_topic(topic_id(2)).await.unwrap();
    let found = next_until(&mut found_stream, revision).await;
    assert_eq!(found, next_until(&mut expected_stream, revision).await);
    assert_eq!(found.len(), 8, "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_after_its_connection_broke() {
    let world = World::calm();
    let (first, incarnation) = with_topic(&world, 1).await;
    let second = world.start(2).await.unwrap();
    let (snapshot, mut stream) = snapshot(&second.client()).await;
    world.network.disconnect(&owner(2).address);
    while stream.next().await.is_ok() {}
    let mut revision = 0;
    for counter in 0..1000 {
        let request = commit(incarnation, counter, &[partition(1, 0)], 1);
        revision = first.client().commit(request).await.unwrap().revision;
    }
    second.client().wait_for_owner().await.unwrap();
    let resumed = second
        .client()
        .subscribe(Some(snapshot.revision))
        .await
        .unwrap();
    assert_eq!(resumed.snapshot, None);
    let mut stream = resumed.stream;
    let missed = next_until(&mut stream, revision).await;
    let bases = missed.iter().map(|event| match event {
        WatchEvent::Committed(segment) => segment.extents[0].1.base_offset,
        other => panic!("{other:?}"),
    });
    assert!(bases.eq(0..1000));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_missed_too_much_starts_anew() {
    let world = World::calm();
    let (first, incarnation) = with_topic(&world, 1).await;
    let second = world.start(2).await.unwrap();
    let (before, _) = snapshot(&second.client()).await;
    for counter in 0..1100 {
        let request = commit(incarnation, counter, &[partition(1, 0)], 1);
        first.client().commit(request).await.unwrap();
    }
    let anew = second.client().subscribe(Some(before.revision)).await;
    let after = anew.unwrap().snapshot.unwrap();
    assert_eq!(after.bounds[0][0].high_watermark, 1100);
    // A revision that this owner never had.
    let strange = second.client().subscribe(Some(u64::MAX)).await.unwrap();
    assert_eq!(strange.snapshot, Some(after));
}

/// Whether a look at the beginning of what follows `from` finds its extent in the picture.
fn is_resident(view: &View, at: TopicPartition, from: i64) -> bool {
    match view.tail(at, from, 1) {
        Tail::Extents(extents, _) => extents.first().is_some_and(|it| it.base_offset == from),
        Tail::Older(bounds) => {
            assert!(bounds.high_watermark > from, "{bounds:?}");
            false
        }
        Tail::UnknownPartition => panic!("the view does not know {at:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_view_is_told_where_others_end_and_of_its_readers_extents() {
    let world = World::calm();
    let (first, incarnation) = with_topic(&world, 1).await;
    let second = world.start(2).await.unwrap();
    let view = View::start(second.client(), &world.tasks, CancellationToken::new());
    let here = View::start(first.client(), &world.tasks, CancellationToken::new());
    view.ready().await;
    let (one, other) = (partition(1, 0), partition(1, 1));
    let client = first.client();
    let mut counter = 0;
    let mut more = async |count| {
        let request = commit(incarnation, counter, &[one, other], count);
        counter += 1;
        let revision = client.commit(request).await.unwrap().revision;
        view.wait_revision(revision).await;
        here.wait_revision(revision).await;
    };
    more(5).await;
    // Nobody has looked: only the end is known. The look is what begins to follow.
    assert!(!is_resident(&view, one, 0));
    assert!(is_resident(&here, one, 0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    more(5).await;
    assert!(is_resident(&view, one, 5));
    assert!(!is_resident(&view, one, 0));
    assert!(!is_resident(&view, other, 5));

    // The owner is told again after the connection broke.
    world.network.disconnect(&owner(2).address);
    tokio::time::sleep(Duration::from_secs(1)).await;
    more(5).await;
    assert!(is_resident(&view, one, 10));
    assert!(is_resident(&view, other, 10));

    // Who looks no more is told no more; and what is resident never has a hole.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_ne!(view.tail(one, 15, 1), Tail::UnknownPartition);
    }
    more(5).await;
    assert!(is_resident(&view, one, 15));
    assert!(is_resident(&view, one, 10));
    assert!(!is_resident(&view, other, 10));
    assert!(!is_resident(&view, other, 15));
    assert_eq!(view.bounds(other), here.bounds(other));
}
