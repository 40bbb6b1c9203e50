//! Topics and settings through librdkafka's admin client.

use std::collections::BTreeMap;

use floe_tests::client::{self, ANSWER_LIMIT};
use futures::executor::block_on;
use rdkafka::admin::{
    AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;

use crate::target::Target;

on_each_store!(
    topics_come_and_go,
    partitions_grow,
    what_is_refused,
    settings_are_shown,
    a_deleted_topic_comes_back_empty,
);

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(ANSWER_LIMIT))
        .request_timeout(Some(ANSWER_LIMIT))
}

fn create(target: &Target, topic: &NewTopic<'_>) -> TopicResult {
    let admin = client::admin(target.bootstrap());
    block_on(admin.create_topics([topic], &options()))
        .unwrap()
        .remove(0)
}

fn delete(target: &Target, name: &str) -> TopicResult {
    let admin = client::admin(target.bootstrap());
    block_on(admin.delete_topics(&[name], &options()))
        .unwrap()
        .remove(0)
}

/// Partitions of a topic as a new client sees it; `None` if there is no such topic.
fn partitions(target: &Target, name: &str) -> Option<usize> {
    let consumer = client::consumer(target.bootstrap());
    let metadata = consumer.fetch_metadata(None, ANSWER_LIMIT).unwrap();
    let topic = metadata
        .topics()
        .iter()
        .find(|topic| topic.name() == name)?;
    assert_eq!(topic.error(), None);
    for partition in topic.partitions() {
        let leader = partition.leader();
        assert!(
            metadata
                .brokers()
                .iter()
                .any(|broker| broker.id() == leader),
            "leader {leader}"
        );
    }
    Some(topic.partitions().len())
}

fn topics_come_and_go(target: &Target) {
    let name = target.topic("come-and-go");
    assert_eq!(partitions(target, &name), None);
    let topic = NewTopic::new(&name, 7, TopicReplication::Fixed(1));
    assert_eq!(create(target, &topic), Ok(name.clone()));
    assert_eq!(partitions(target, &name), Some(7));
    let exists = Err((name.clone(), RDKafkaErrorCode::TopicAlreadyExists));
    assert_eq!(create(target, &topic), exists);
    assert_eq!(delete(target, &name), Ok(name.clone()));
    assert_eq!(partitions(target, &name), None);
    let unknown = Err((name.clone(), RDKafkaErrorCode::UnknownTopicOrPartition));
    assert_eq!(delete(target, &name), unknown);
}

fn a_deleted_topic_comes_back_empty(target: &Target) {
    let name = target.topic("again");
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    for round in 0..3 {
        create(target, &topic).unwrap();
        assert_eq!(
            client::watermarks(target.bootstrap(), &name, 0),
            (0, 0),
            "round {round}"
        );
        let recorder = client::Recorder::default();
        let config = client::producer_config(target.bootstrap());
        let mut producer = client::RecordingProducer::new(&config, &name, round, &recorder);
        (0..100).for_each(|_| producer.send(0, 100));
        producer.flush(ANSWER_LIMIT).unwrap();
        recorder.read_back(target.bootstrap(), &name);
        let verdict = floe_tests::checker::check(&recorder.lock()[&0]).expect_clean(&name);
        assert_eq!(verdict.acked, 100, "round {round}");
        delete(target, &name).unwrap();
    }
}

fn partitions_grow(target: &Target) {
    let name = target.topic("grow");
    client::create_topic(target.bootstrap(), &name, 2);
    let admin = client::admin(target.bootstrap());
    let grow = |count| {
        let request = NewPartitions::new(&name, count);
        block_on(admin.create_partitions([&request], &options()))
            .unwrap()
            .remove(0)
    };
    assert_eq!(grow(5), Ok(name.clone()));
    assert_eq!(partitions(target, &name), Some(5));
    assert_eq!(
        grow(5),
        Err((name.clone(), RDKafkaErrorCode::InvalidPartitions))
    );
    assert_eq!(
        grow(4),
        Err((name.clone(), RDKafkaErrorCode::InvalidPartitions))
    );
    assert_eq!(client::watermarks(target.bootstrap(), &name, 4), (0, 0));
}

fn what_is_refused(target: &Target) {
    let name = target.topic("refused");
    let fixed = |name| NewTopic::new(name, 1, TopicReplication::Fixed(1));
    for (case, topic, code) in [
        ("name", fixed("a b"), RDKafkaErrorCode::InvalidTopic),
        ("dot", fixed("."), RDKafkaErrorCode::InvalidTopic),
        (
            "setting",
            fixed(&name).set("no.such.setting", "1"),
            RDKafkaErrorCode::InvalidConfig,
        ),
        (
            "value",
            fixed(&name).set("retention.ms", "soon"),
            RDKafkaErrorCode::InvalidConfig,
        ),
    ] {
        let (_, found) = create(target, &topic).expect_err(case);
        assert_eq!(found, code, "{case}");
    }
    assert_eq!(partitions(target, &name), None);
}

fn settings_are_shown(target: &Target) {
    let name = target.topic("settings");
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("retention.ms", "1234567");
    create(target, &topic).unwrap();
    let admin = client::admin(target.bootstrap());
    let describe = |resource: ResourceSpecifier<'_>| -> BTreeMap<String, (Option<String>, bool)> {
        let found = block_on(admin.describe_configs([&resource], &options()))
            .unwrap()
            .remove(0);
        let entries = found.unwrap().entries;
        entries
            .into_iter()
            .map(|entry| (entry.name, (entry.value, entry.is_default)))
            .collect()
    };
    let found = describe(ResourceSpecifier::Topic(&name));
    let value = |name: &str| found[name].0.as_deref();
    assert_eq!(value("retention.ms"), Some("1234567"));
    assert_eq!(value("cleanup.policy"), Some("delete"));
    assert_eq!(value("max.message.bytes"), Some("1048588"));
    assert!(
        !found["retention.ms"].1 && found["cleanup.policy"].1,
        "is_default"
    );

    let consumer = client::consumer(target.bootstrap());
    let metadata = consumer.fetch_metadata(None, ANSWER_LIMIT).unwrap();
    let found = describe(ResourceSpecifier::Broker(metadata.brokers()[0].id()));
    assert_eq!(
        found["auto.create.topics.enable"].0.as_deref(),
        Some("true")
    );
}
