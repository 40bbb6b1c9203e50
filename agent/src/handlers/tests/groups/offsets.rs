//! Committed offsets.

use floe_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use floe_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use floe_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use floe_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use floe_protocol::str::Str;
use uuid::Uuid;

use super::*;

fn partition(index: i32, offset: i64, metadata: Option<&str>) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index: index,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: metadata.map(text),
    }
}

fn commit(
    group: &str,
    topics: &[(&str, Vec<OffsetCommitRequestPartition>)],
) -> OffsetCommitRequest {
    let topics = topics.iter();
    OffsetCommitRequest {
        group_id: text(group),
        generation_id_or_member_epoch: -1,
        retention_time_ms: -1,
        topics: topics
            .map(|(name, partitions)| OffsetCommitRequestTopic {
                name: text(name),
                topic_id: Uuid::nil(),
                partitions: partitions.clone(),
            })
            .collect(),
        ..OffsetCommitRequest::default()
    }
}

/// The codes of a commit, in the order of its partitions.
async fn codes(client: &mut Client, version: i16, request: &OffsetCommitRequest) -> Vec<i16> {
    let answer = client.call(version, request).await;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

fn fetch(group: &str, topics: Option<&[(&str, &[i32])]>, version: i16) -> OffsetFetchRequest {
    if version < 8 {
        let topics = topics.map(|topics| {
            let topics = topics.iter();
            let topic = |(name, indexes): &(&str, &[i32])| OffsetFetchRequestTopic {
                name: text(name),
                partition_indexes: indexes.to_vec(),
            };
            topics.map(topic).collect()
        });
        return OffsetFetchRequest {
            group_id: text(group),
            topics,
            ..OffsetFetchRequest::default()
        };
    }
    let topics = topics.map(|topics| {
        let topics = topics.iter();
        let topic = |(name, indexes): &(&str, &[i32])| OffsetFetchRequestTopics {
            name: text(name),
            topic_id: Uuid::nil(),
            partition_indexes: indexes.to_vec(),
        };
        topics.map(topic).collect()
    });
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: text(group),
            topics,
            ..OffsetFetchRequestGroup::default()
        }],
        require_stable: true,
        ..OffsetFetchRequest::default()
    }
}

/// Name, partition, offset, metadata and code of each partition of the first group.
fn found(answer: &OffsetFetchResponse) -> Vec<(String, i32, i64, String, i16)> {
    // Older and newer versions have types of their own for the same.
    macro_rules! partitions {
        ($topics:expr) => {
            $topics.flat_map(|topic| {
                topic.partitions.iter().map(|it| {
                    let metadata = it.metadata.as_deref().unwrap_or("null");
                    (
                        topic.name.as_str().to_owned(),
                        it.partition_index,
                        it.committed_offset,
                        metadata.to_owned(),
                        it.error_code,
                    )
                })
            })
        };
    }
    let first = answer.groups.iter().take(1);
    let new = partitions!(first.flat_map(|group| &group.topics));
    partitions!(answer.topics.iter()).chain(new).collect()
}

fn entry(name: &str, index: i32, offset: i64, metadata: &str) -> (String, i32, i64, String, i16) {
    (name.to_owned(), index, offset, metadata.to_owned(), 0)
}

#[tokio::test]
async fn offsets_come_back_in_every_version() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 3).await;
    created(&mut client, "u", 1).await;
    for version in 2..=9 {
        let group = format!("group-{version}");
        let both = [
            (
                "t",
                vec![partition(2, 20, Some("note")), partition(0, 10, None)],
            ),
            ("u", vec![partition(0, 30, Some(""))]),
        ];
        let taken = codes(&mut client, version, &commit(&group, &both)).await;
        assert_eq!(taken, [0, 0, 0], "version {version}");
    }
    for version in 1..=9 {
        let group = "group-6";
        let some = [("u", &[0, 7][..]), ("t", &[0, 1, 2]), ("none", &[0])];
        let answer = client
            .call(version, &fetch(group, Some(&some), version))
            .await;
        let expected = [
            entry("u", 0, 30, ""),
            entry("u", 7, -1, ""),
            entry("t", 0, 10, ""),
            entry("t", 1, -1, ""),
            entry("t", 2, 20, "note"),
            entry("none", 0, -1, ""),
        ];
        assert_eq!(found(&answer), expected, "version {version}");
        if version >= 2 {
            let all = client.call(version, &fetch(group, None, version)).await;
            let expected = [
                entry("t", 0, 10, ""),
                entry("t", 2, 20, "note"),
                entry("u", 0, 30, ""),
            ];
            assert_eq!(found(&all), expected, "version {version}");
            let none = client.call(version, &fetch("none", None, version)).await;
            assert_eq!((none.error_code, found(&none)), (0, vec![]));
        }
    }
}

#[tokio::test]
async fn topics_may_be_named_by_id() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    let id = agent
        .broker()
        .unwrap()
        .view
        .topic_by_name("t")
        .unwrap()
        .id
        .0;
    let strange = Uuid::from_u128(77);
    let by_id = |id| OffsetCommitRequestTopic {
        name: Str::new(),
        topic_id: id,
        partitions: vec![partition(0, 5, None)],
    };
    let request = OffsetCommitRequest {
        topics: vec![by_id(id), by_id(strange)],
        ..commit("g", &[])
    };
    assert_eq!(
        codes(&mut client, 10, &request).await,
        [0, ErrorCode::UnknownTopicId.code()]
    );
    let asked = |id| OffsetFetchRequestTopics {
        name: Str::new(),
        topic_id: id,
        partition_indexes: vec![0],
    };
    let group = |name: &str| OffsetFetchRequestGroup {
        group_id: text(name),
        topics: Some(vec![asked(id), asked(strange)]),
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group("g"), group("none")],
        ..OffsetFetchRequest::default()
    };
    let answer = client.call(10, &request).await;
    let names: Vec<_> = answer
        .groups
        .iter()
        .map(|group| group.group_id.as_str())
        .collect();
    assert_eq!(names, ["g", "none"]);
    let offsets: Vec<_> = found(&answer).into_iter().map(|it| (it.2, it.4)).collect();
    assert_eq!(offsets, [(5, 0), (-1, ErrorCode::UnknownTopicId.code())]);
    assert_eq!(answer.groups[0].topics[0].topic_id, id);
}

#[tokio::test]
async fn bad_commits_get_kafkas_codes() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    let id = stable(&mut client, "g").await;
    let long = "x".repeat(4097);
    let wide = "\u{1d11e}".repeat(2048);
    let mixed = [
        (
            "t",
            vec![
                partition(0, 1, Some(&wide)),
                partition(1, 1, None),
                partition(0, 2, Some(&long)),
            ],
        ),
        ("none", vec![partition(0, 1, None)]),
    ];
    let own = |generation: i32, id: &str| OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: text(id),
        ..commit("g", &mixed)
    };
    let mine = codes(&mut client, 9, &own(1, &id)).await;
    assert_eq!(mine, [0, 3, 12, 3], "each for itself");
    let one = |group: &str| commit(group, &[("t", vec![partition(0, 1, None)])]);
    let by = |group: &str, generation: i32, id: &str| OffsetCommitRequest {
        generation_id_or_member_epoch: generation,
        member_id: text(id),
        ..one(group)
    };
    for (case, version, request, expected) in [
        (
            "old generation",
            8,
            by("g", 0, &id),
            ErrorCode::IllegalGeneration,
        ),
        (
            "unknown member",
            8,
            by("g", 1, "x"),
            ErrorCode::UnknownMemberId,
        ),
        (
            "nobody in a busy group",
            8,
            one("g"),
            ErrorCode::UnknownMemberId,
        ),
        (
            "unknown group",
            8,
            by("none", 1, "x"),
            ErrorCode::IllegalGeneration,
        ),
        (
            "unknown group",
            9,
            by("none", 1, "x"),
            ErrorCode::GroupIdNotFound,
        ),
        ("no name", 9, one(""), ErrorCode::None),
    ] {
        let codes = codes(&mut client, version, &request).await;
        assert_eq!(codes, [expected.code()], "{case}");
    }
    let fenced = OffsetCommitRequest {
        group_instance_id: Some(text("nobody")),
        ..by("g", 1, &id)
    };
    assert_eq!(
        codes(&mut client, 8, &fenced).await,
        [ErrorCode::UnknownMemberId.code()]
    );
    let answer = client.call(7, &fetch("", None, 7)).await;
    assert_eq!(
        found(&answer).len(),
        1,
        "a group without a name has offsets"
    );
}

#[tokio::test]
async fn offsets_are_deleted_unless_they_are_read() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    created(&mut client, "u", 1).await;
    let both = [
        ("t", vec![partition(0, 1, None)]),
        ("u", vec![partition(0, 2, None)]),
    ];
    assert_eq!(codes(&mut client, 9, &commit("g", &both)).await, [0, 0]);
    stable(&mut client, "g").await;
    let topic = |name: &str| OffsetDeleteRequestTopic {
        name: text(name),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
    };
    let delete = |group: &str| OffsetDeleteRequest {
        group_id: text(group),
        topics: ["t", "u", "none"].map(topic).to_vec(),
    };
    let answer = client.call(0, &delete("g")).await;
    let codes: Vec<_> = answer
        .topics
        .iter()
        .map(|topic| topic.partitions[0].error_code)
        .collect();
    assert_eq!((answer.error_code, codes), (0, vec![86, 0, 3]));
    let left = client.call(9, &fetch("g", None, 9)).await;
    assert_eq!(found(&left), [entry("t", 0, 1, "")]);
    let missing = client.call(0, &delete("none")).await;
    assert_eq!(missing.error_code, ErrorCode::GroupIdNotFound.code());
    let deleted = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some(text("t")),
            ..DeleteTopicState::default()
        }],
        timeout_ms: 10_000,
        ..DeleteTopicsRequest::default()
    };
    assert_eq!(client.call(6, &deleted).await.responses[0].error_code, 0);
    let left = client.call(9, &fetch("g", None, 9)).await;
    assert_eq!(found(&left), []);
}

#[tokio::test]
async fn many_offsets_of_a_group_come_in_pages() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 5001).await;
    let all = (0..5001)
        .map(|index| partition(index, i64::from(index), None))
        .collect();
    let taken = codes(&mut client, 9, &commit("g", &[("t", all)])).await;
    assert!(taken.iter().all(|code| *code == 0));
    let expected: Vec<_> = (0..5001)
        .map(|index| entry("t", index, i64::from(index), ""))
        .collect();
    let answer = client.call(9, &fetch("g", None, 9)).await;
    assert_eq!(found(&answer), expected);
    let indexes: Vec<_> = (0..5001).collect();
    let some = [("t", &indexes[..]), ("t", &[3][..])];
    let answer = client.call(9, &fetch("g", Some(&some), 9)).await;
    assert_eq!(found(&answer)[..5001], expected);
    assert_eq!(found(&answer)[5001..], [entry("t", 3, 3, "")]);
}
