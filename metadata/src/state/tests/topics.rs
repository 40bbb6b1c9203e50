//! Topics, registrations, epochs and producer ids.

use std::sync::Arc;

use super::fixtures::{Cluster, START_MS, Short, at, new_topic, plain, roomy, tiny, topic_id};
use crate::api::{BatchRejection, ProducerIdBlock, Registration, RequestError, WatchEvent};
use crate::state::{Command, Reply};
use crate::testing::new_process;

fn topic_reply(reply: Reply) -> Result<(String, i32), RequestError> {
    let Reply::Topic(result) = reply else {
        panic!("{reply:?}")
    };
    result.map(|(topic, _)| (topic.name.to_string(), topic.partition_count))
}

#[test]
fn creating_is_idempotent_by_id() {
    let mut cluster = Cluster::new(tiny());
    let mut create = |id, name, partitions| {
        topic_reply(cluster.run(Command::CreateTopic(new_topic(
            topic_id(id),
            name,
            partitions,
        ))))
    };
    assert_eq!(create(1, "a", 2), Ok(("a".to_owned(), 2)));
    assert_eq!(create(1, "a", 2), Ok(("a".to_owned(), 2)), "a repeat");
    assert_eq!(
        create(2, "a", 2),
        Err(RequestError::TopicExists("a".to_owned()))
    );
    cluster.crash();
    let topic = Arc::clone(cluster.state.topic_by_name("a").unwrap());
    assert_eq!(topic.created_ms, START_MS);
    assert_eq!(topic.replication_factor, 3);
    assert_eq!(
        topic.configs.get("retention.ms").map(String::as_str),
        Some("1000")
    );
    assert_eq!(cluster.state.topic(topic_id(1)), Some(&topic));
    assert_eq!(cluster.state.topic(topic_id(2)), None);
}

#[test]
fn partitions_only_grow() {
    let mut cluster = Cluster::registered(tiny());
    cluster.create(topic_id(1), "a", 2);
    cluster.produce(at(1, 1), &[plain(5)]);
    let mut grow = |id, count| {
        topic_reply(cluster.run(Command::CreatePartitions {
            topic: topic_id(id),
            count,
        }))
    };
    let not_raised = |have, asked| Err(RequestError::PartitionCountNotRaised { have, asked });
    assert_eq!(grow(1, 2), not_raised(2, 2));
    assert_eq!(grow(1, 1), not_raised(2, 1));
    assert_eq!(grow(2, 9), Err(RequestError::UnknownTopic));
    assert_eq!(grow(1, 200), Ok(("a".to_owned(), 200)));
    cluster.crash();
    assert_eq!(cluster.bounds(at(1, 1)).high_watermark, 5);
    assert_eq!(cluster.produce(at(1, 199), &[plain(5)]), [Short::At(0)]);
    cluster.crash();
    assert_eq!(cluster.bounds(at(1, 199)).high_watermark, 5);
}

#[test]
fn partitions_are_limited() {
    let mut config = roomy();
    config.partitions_max = 10;
    let mut cluster = Cluster::new(config);
    cluster.create(topic_id(1), "a", 6);
    let too_many = |asked| Err(RequestError::TooManyPartitions { asked, limit: 10 });
    let b = new_topic(topic_id(2), "b", 5);
    assert_eq!(
        topic_reply(cluster.run(Command::CreateTopic(b.clone()))),
        too_many(5)
    );
    let grow = |count| Command::CreatePartitions {
        topic: topic_id(1),
        count,
    };
    assert_eq!(topic_reply(cluster.run(grow(11))), too_many(5));
    assert_eq!(topic_reply(cluster.run(grow(10))), Ok(("a".to_owned(), 10)));
    cluster.run(Command::DeleteTopic(topic_id(1)));
    assert_eq!(
        topic_reply(cluster.run(Command::CreateTopic(b))),
        Ok(("b".to_owned(), 5))
    );
}

#[test]
fn a_deleted_topic_is_gone_and_its_id_never_comes_back() {
    let mut cluster = Cluster::registered(tiny());
    cluster.create(topic_id(1), "a", 2);
    for _ in 0..10 {
        cluster.produce(
            at(1, 1),
            &[plain(5), super::fixtures::idempotent(9, 0, 0, 1)],
        );
    }
    cluster.run_open(Command::DeleteTopic(topic_id(1)));
    assert_eq!(cluster.seal(), [WatchEvent::TopicDeleted(topic_id(1))]);
    let unknown = Short::No(BatchRejection::UnknownTopicOrPartition);
    for _ in 0..2 {
        assert_eq!(cluster.state.bounds(at(1, 1)), None);
        assert_eq!(cluster.produce(at(1, 1), &[plain(1)]), [unknown]);
        let reply = cluster.run(Command::DeleteTopic(topic_id(1)));
        assert!(
            matches!(reply, Reply::TopicDeleted(Ok(_))),
            "a repeat: {reply:?}"
        );
        let reply = cluster.run(Command::DeleteTopic(topic_id(3)));
        assert_eq!(reply, Reply::TopicDeleted(Err(RequestError::UnknownTopic)));
        let late = cluster.run(Command::CreateTopic(new_topic(topic_id(1), "a", 2)));
        assert_eq!(topic_reply(late), Err(RequestError::UnknownTopic));
        cluster.crash();
    }
    cluster.create(topic_id(2), "a", 1);
    assert_eq!(cluster.produce(at(2, 0), &[plain(1)]), [Short::At(0)]);
}

#[test]
fn rows_may_be_asked_for_a_whole_group_at_once() {
    let mut cluster = Cluster::registered(tiny());
    cluster.run(Command::AllocateProducerIds);
    cluster.create(topic_id(1), "a", 1);
    let segments: Vec<_> = (0..6).map(|_| cluster.next_segment()).collect();
    for counter in 0..6 {
        cluster.produce(at(1, 0), &[super::fixtures::idempotent(counter, 0, 0, 1)]);
    }
    let commit = |number: u8, to, sequence| {
        let batch = super::fixtures::idempotent(number.into(), 0, sequence, 1);
        let segment = segments[usize::from(number)];
        Command::Commit(super::fixtures::request(segment, &[(to, &[batch])]))
    };
    let group = vec![
        Command::CreateTopic(new_topic(topic_id(2), "b", 1)),
        commit(0, at(2, 0), 0),
        commit(1, at(1, 0), 1),
        commit(1, at(1, 0), 1),
        Command::CreatePartitions {
            topic: topic_id(1),
            count: 2,
        },
        commit(2, at(1, 1), 0),
        Command::DeleteTopic(topic_id(2)),
        Command::DeleteTopic(topic_id(2)),
        Command::CreateTopic(new_topic(topic_id(2), "b", 1)),
        commit(3, at(2, 0), 1),
    ];
    for command in &group {
        cluster.admit_for(command);
    }
    let replies: Vec<_> = group
        .into_iter()
        .map(|command| cluster.apply(command))
        .collect();
    cluster.seal();
    assert_eq!(replies[2], replies[3]);
    assert!(matches!(replies[6], Reply::TopicDeleted(Ok(_))));
    assert!(matches!(replies[7], Reply::TopicDeleted(Ok(_))));
    assert_eq!(replies[8], Reply::Topic(Err(RequestError::UnknownTopic)));
    cluster.crash();
    assert_eq!(cluster.bounds(at(1, 0)).high_watermark, 7);
}

#[test]
fn registrations_and_producer_ids_are_never_given_twice() {
    let mut cluster = Cluster::new(tiny());
    let registered = |incarnation| {
        Reply::Registered(Ok(Registration {
            incarnation,
            write_epoch: 1,
        }))
    };
    let ids = |range| Reply::ProducerIds(ProducerIdBlock(range));
    let register = |byte| Command::Register(new_process(byte));
    assert_eq!(cluster.run(register(1)), registered(1));
    assert_eq!(cluster.run(register(2)), registered(2));
    assert_eq!(cluster.run(Command::AllocateProducerIds), ids(0..1000));
    cluster.crash();
    assert_eq!(cluster.run(register(3)), registered(3));
    assert_eq!(cluster.run(Command::AllocateProducerIds), ids(1000..2000));
}

#[test]
fn a_snapshot_shows_all_topics_by_name() {
    let mut cluster = Cluster::registered(tiny());
    cluster.create(topic_id(1), "b", 1);
    cluster.create(topic_id(2), "a", 2);
    cluster.produce(at(2, 1), &[plain(3)]);
    for _ in 0..2 {
        let snapshot = cluster.state.snapshot();
        assert_eq!(snapshot.revision, cluster.state.revision());
        let names: Vec<_> = snapshot.topics.iter().map(|topic| &*topic.name).collect();
        assert_eq!(names, ["a", "b"]);
        let ends: Vec<Vec<_>> = snapshot
            .bounds
            .iter()
            .map(|bounds| bounds.iter().map(|bounds| bounds.high_watermark).collect())
            .collect();
        assert_eq!(ends, [vec![0, 3], vec![0]]);
        cluster.crash();
    }
}
