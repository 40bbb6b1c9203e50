use tokio::time::Instant;

use super::*;
use crate::api::{BatchResult, CommitError, CommitReply, RequestError, WatchEvent};
use crate::client;
use crate::engine::memory::Faults;
use crate::sequencer::proof;
use crate::testing::{
    World, commit, idempotent_commit, new_process, new_topic, partition, topic_id,
};

mod faults;
mod following;
mod groups;
mod presence;
mod stale;
mod storms;
mod takeover;

fn offsets(reply: &CommitReply) -> Vec<i64> {
    let offset = |result: &BatchResult| match result {
        BatchResult::Committed { base_offset, .. } | BatchResult::Duplicate { base_offset, .. } => {
            *base_offset
        }
        BatchResult::Rejected(why) => panic!("rejected: {why}"),
    };
    reply.results.iter().map(offset).collect()
}

/// Asks until it is answered, as an agent does.
async fn until_answered<T, F>(client: &Client, ask: impl Fn(Client) -> F) -> T
where
    F: Future<Output = Result<T, RequestError>>,
{
    loop {
        match ask(client.clone()).await {
            Ok(answer) => return answer,
            Err(RequestError::Unavailable) => client.wait_for_owner().await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn with_topic(world: &World, process: u8) -> (Service, u32) {
    let service = world.start(process).await.unwrap();
    let client = service.client();
    until_answered(&client, |client| async move {
        client.create_topic(new_topic(1, 4)).await
    })
    .await;
    let registration = until_answered(&client, |client| async move {
        client.register(new_process(process)).await
    })
    .await;
    let incarnation = registration.incarnation;
    // It sends no beats, and shall not be forgotten in the middle of a test.
    until_answered(
        &client,
        |client| async move { client.leave(incarnation).await },
    )
    .await;
    (service, incarnation)
}

#[tokio::test(start_paused = true)]
async fn serves_and_remembers() {
    let world = World::calm();
    let (service, incarnation) = with_topic(&world, 1).await;
    let client = service.client();
    let both = [partition(1, 0), partition(1, 2)];
    let first = client
        .commit(commit(incarnation, 0, &both, 10))
        .await
        .unwrap();
    assert_eq!(offsets(&first), [0, 0]);
    let second = client
        .commit(commit(incarnation, 1, &both[..1], 5))
        .await
        .unwrap();
    assert_eq!(offsets(&second), [10]);
    assert!(second.revision > first.revision);
    let bounds = client
        .bounds(vec![both[0], both[1], partition(1, 3), partition(2, 0)])
        .await;
    let ends: Vec<_> = bounds
        .unwrap()
        .iter()
        .map(|bounds| bounds.map(|it| it.high_watermark))
        .collect();
    assert_eq!(ends, [Some(15), Some(10), Some(0), None]);
    let found = client.look_up(both[0], 12, 10).await.unwrap();
    assert_eq!(found.extents.len(), 1);
    assert_eq!(
        (found.extents[0].base_offset, found.extents[0].end_offset),
        (10, 15)
    );
    assert_eq!(
        client.look_up(partition(2, 0), 0, 1).await,
        Err(RequestError::UnknownTopic)
    );
    assert_eq!(
        client.extent_for_timestamp(partition(2, 0), 0).await,
        Err(RequestError::UnknownTopic)
    );
    assert_eq!(
        client.extent_for_timestamp(partition(1, 3), 0).await,
        Ok(None)
    );
    let newest = client
        .extent_with_max_timestamp(both[0])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(newest.base_offset, 0);

    assert!(matches!(service.release().await, StopReason::Released));
    assert_eq!(client.owner(), client::Owner::Stopped);
    assert_eq!(client.bounds(vec![]).await, Err(RequestError::Unavailable));
    assert!(client.wait_for_owner().await.is_err());

    let started = Instant::now();
    let successor = world.start(3).await.unwrap();
    assert!(
        started.elapsed() < Duration::from_millis(200),
        "a released epoch is waited for"
    );
    assert_eq!(successor.cluster(), service.cluster());
    let client = successor.client();
    let repeated = client
        .commit(commit(incarnation, 0, &both, 10))
        .await
        .unwrap();
    assert_eq!(
        repeated, first,
        "a repeat gets the same answer from a later owner"
    );
    let third = client
        .commit(commit(incarnation, 2, &both[..1], 1))
        .await
        .unwrap();
    assert_eq!(offsets(&third), [15]);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_before_it_is_durable() {
    let world = World::calm();
    let (service, incarnation) = with_topic(&world, 1).await;
    let client = service.client();
    let mut watch = client.subscribe(None).await.unwrap().stream;
    let before = world.engine.rows();
    world.engine.set_faults(Faults {
        latency: Duration::from_secs(5)..Duration::from_secs(6),
        ..Faults::none()
    });
    let sent = Instant::now();
    let mut committed = Box::pin(client.commit(commit(incarnation, 0, &[partition(1, 0)], 1)));
    let mut seen = Box::pin(watch.next());
    // Read long after the commit was applied, long before it is durable.
    let mut read = Box::pin(async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.bounds(vec![partition(1, 0)]).await
    });
    let mut subscribed = Box::pin(async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        client.subscribe(None).await
    });
    tokio::select! {
        biased;
        _ = &mut committed => panic!("acknowledged before durable"),
        _ = &mut seen => panic!("watched before durable"),
        _ = &mut read => panic!("read before durable"),
        _ = &mut subscribed => panic!("in a snapshot before durable"),
        () = tokio::time::sleep_until(sent + Duration::from_millis(4_900)) => {}
    }
    assert_eq!(world.engine.rows(), before);
    let (committed, seen, read, subscribed) = tokio::join!(committed, seen, read, subscribed);
    assert_ne!(world.engine.rows(), before);
    let revision = committed.unwrap().revision;
    let seen = seen.unwrap();
    assert_eq!(seen.revision, revision);
    assert!(
        matches!(&seen.events[..], [WatchEvent::Committed(_)]),
        "{seen:?}"
    );
    assert_eq!(read.unwrap()[0].unwrap().high_watermark, 1);
    let snapshot = subscribed.unwrap().snapshot.unwrap();
    assert_eq!(
        (snapshot.revision, snapshot.bounds[0][0].high_watermark),
        (revision, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn one_proof_serves_many_reads() {
    let world = World::calm();
    let (service, _) = with_topic(&world, 1).await;
    world.engine.set_faults(Faults {
        latency: Duration::from_millis(100)..Duration::from_millis(101),
        ..Faults::none()
    });
    // Within the window nothing is asked.
    let started = Instant::now();
    service.client().bounds(vec![]).await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
    tokio::time::sleep(proof::WINDOW).await;
    let reads: Vec<_> = (0..100).map(|_| service.client()).collect();
    let started = Instant::now();
    let reads = reads.iter().map(|client| client.bounds(vec![]));
    futures::future::try_join_all(reads).await.unwrap();
    let took = started.elapsed();
    assert!(
        (200..250).contains(&took.as_millis()),
        "one barrier of two delays, took {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn changes_of_topics_are_answered_by_their_rules() {
    let world = World::calm();
    let (service, _) = with_topic(&world, 1).await;
    let client = service.client();
    let (topic, revision) = client.create_topic(new_topic(2, 3)).await.unwrap();
    assert_eq!((topic.partition_count, &*topic.name), (3, "topic-2"));
    let (again, later) = client.create_topic(new_topic(2, 3)).await.unwrap();
    assert_eq!(again, topic);
    assert!(later >= revision);
    let mut rival = new_topic(3, 1);
    rival.name = "topic-2".to_owned();
    assert_eq!(
        client.create_topic(rival).await.unwrap_err(),
        RequestError::TopicExists("topic-2".to_owned())
    );
    assert_eq!(
        client
            .create_partitions(topic_id(2), 5)
            .await
            .unwrap()
            .0
            .partition_count,
        5
    );
    assert!(matches!(
        client.create_partitions(topic_id(2), 4).await,
        Err(RequestError::PartitionCountNotRaised { have: 5, asked: 4 })
    ));
    let first = client.allocate_producer_ids().await.unwrap();
    let second = client.allocate_producer_ids().await.unwrap();
    assert!(first.0.end <= second.0.start);
    client.delete_topic(topic_id(2)).await.unwrap();
    assert_eq!(
        client.delete_topic(topic_id(9)).await,
        Err(RequestError::UnknownTopic)
    );
}

#[tokio::test(start_paused = true)]
async fn producer_states_beyond_memory_are_read_back() {
    let world = World::calm();
    let (service, incarnation) = with_topic(&world, 1).await;
    let client = service.client();
    // 4 KiB of memory hold a few dozen states; each of 500 producers writes three times.
    let mut counter = 0;
    for sequence in 0..3 {
        for producer in 0..500 {
            let at = (incarnation, counter);
            let request = idempotent_commit(at, partition(1, 3), producer, sequence);
            let reply = client.commit(request.clone()).await.unwrap();
            assert_eq!(offsets(&reply), [i64::try_from(counter).unwrap()]);
            counter += 1;
        }
    }
    let late = idempotent_commit((incarnation, counter), partition(1, 3), 7, 1);
    let reply = client.commit(late).await.unwrap();
    assert!(
        matches!(
            reply.results[0],
            BatchResult::Duplicate {
                base_offset: 507,
                ..
            }
        ),
        "{reply:?}"
    );
}
