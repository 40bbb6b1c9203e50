//! Groups of the consumer protocol over the wire.

use floe_protocol::messages::api_versions::ApiVersionsRequest;
use floe_protocol::messages::consumer_group_describe::ConsumerGroupDescribeRequest;
use floe_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use floe_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use floe_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use floe_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};

use uuid::Uuid;

use super::super::metadata_of;
use super::*;

fn new_member(group: &str, member_id: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: text(group),
        member_id: text(member_id),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![text("t")]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// A topic that must come into being; its id.
async fn created_with_id(client: &mut Client, name: &str, partitions: i32) -> Uuid {
    created(client, name, partitions).await;
    let answer = client.call(12, &metadata_of(&[name])).await;
    answer.topics[0].topic_id
}

fn beat(group: &str, member_id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: text(group),
        member_id: text(member_id),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

/// The partitions that an answer tells.
fn told(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let topics = &answer.assignment.as_ref()?.topic_partitions;
    let partitions = topics.iter().flat_map(|topic| topic.partitions.clone());
    Some(partitions.collect())
}

#[tokio::test]
async fn a_member_of_the_new_protocol_lives_in_every_version() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    let topic = created_with_id(&mut client, "t", 3).await;
    for version in 0..=1 {
        let group = format!("group-{version}");
        let own = if version == 0 { "" } else { "own-id" };
        let joined = client.call(version, &new_member(&group, own)).await;
        assert_eq!(
            (joined.error_code, joined.member_epoch),
            (0, 1),
            "{joined:?}"
        );
        assert_eq!(joined.heartbeat_interval_ms, 5000);
        assert_eq!(told(&joined), Some(vec![0, 1, 2]));
        let assignment = joined.assignment.unwrap();
        assert_eq!(assignment.topic_partitions[0].topic_id, topic);
        let id = joined.member_id.unwrap();
        assert!(!id.is_empty() && (version == 0 || id.as_str() == own));
        let heard = client.call(version, &beat(&group, &id, 1)).await;
        assert_eq!(
            (heard.error_code, heard.member_epoch, told(&heard)),
            (0, 1, None)
        );
        let owning = ConsumerGroupHeartbeatRequest {
            topic_partitions: Some(vec![TopicPartitions {
                topic_id: topic,
                partitions: vec![0, 1, 2],
            }]),
            ..beat(&group, &id, 1)
        };
        let heard = client.call(version, &owning).await;
        assert_eq!((heard.error_code, told(&heard)), (0, None));
        let fenced = client.call(version, &beat(&group, &id, 5)).await;
        assert_eq!(fenced.error_code, ErrorCode::FencedMemberEpoch.code());
        assert!(fenced.error_message.is_some());
        let left = client.call(version, &beat(&group, &id, -1)).await;
        assert_eq!((left.error_code, left.member_epoch), (0, -1));
        let unknown = client.call(version, &beat(&group, &id, 1)).await;
        assert_eq!(unknown.error_code, ErrorCode::UnknownMemberId.code());
    }
    let no_id = client.call(1, &new_member("g", "")).await;
    assert_eq!(no_id.error_code, ErrorCode::InvalidRequest.code());
    let regex = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some(text("t(")),
        ..new_member("g", "m")
    };
    let refused = client.call(1, &regex).await;
    assert_eq!(
        refused.error_code,
        ErrorCode::InvalidRegularExpression.code()
    );
    let regex = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(text("[s-u]")),
        ..new_member("g", "m")
    };
    assert_eq!(told(&client.call(1, &regex).await), Some(vec![0, 1, 2]));
    let stranger = client.call(1, &beat("none", "m", 1)).await;
    assert_eq!(stranger.error_code, ErrorCode::GroupIdNotFound.code());
}

#[tokio::test]
async fn what_is_set_for_a_group_is_what_its_members_are_told() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    let joined = client.call(1, &new_member("g", "m")).await;
    assert_eq!(joined.heartbeat_interval_ms, 5000);
    let interval = AlterableConfig {
        name: text("consumer.heartbeat.interval.ms"),
        config_operation: 0,
        value: Some(text("7000")),
    };
    let group = AlterConfigsResource {
        resource_type: 32,
        resource_name: text("g"),
        configs: vec![interval],
    };
    let change = IncrementalAlterConfigsRequest {
        resources: vec![group],
        validate_only: false,
    };
    assert_eq!(client.call(1, &change).await.responses[0].error_code, 0);
    let heard = client.call(1, &beat("g", "m", 1)).await;
    assert_eq!((heard.error_code, heard.heartbeat_interval_ms), (0, 7000));
    let other = client.call(1, &new_member("h", "m")).await;
    assert_eq!(other.heartbeat_interval_ms, 5000);
}

#[tokio::test]
async fn groups_of_both_kinds_are_listed_and_described() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    let topic = created_with_id(&mut client, "t", 2).await;
    stable(&mut client, "classic").await;
    client.call(1, &new_member("new", "m")).await;
    for (types, expected) in [
        (vec![], vec![("classic", "classic"), ("new", "consumer")]),
        (vec!["Consumer"], vec![("new", "consumer")]),
        (vec!["classic"], vec![("classic", "classic")]),
    ] {
        let filters = ListGroupsRequest {
            states_filter: vec![text("stable")],
            types_filter: types.into_iter().map(text).collect(),
        };
        let found = client.call(5, &filters).await;
        let found: Vec<_> = found
            .groups
            .iter()
            .map(|group| (group.group_id.as_str(), group.group_type.as_str()))
            .collect();
        assert_eq!(found, expected);
    }
    for version in 0..=1 {
        let request = ConsumerGroupDescribeRequest {
            group_ids: ["new", "classic", "none", ""].map(text).to_vec(),
            include_authorized_operations: true,
        };
        let described = client.call(version, &request).await.groups;
        let codes: Vec<_> = described.iter().map(|group| group.error_code).collect();
        assert_eq!(codes, [0, 69, 69, 24]);
        let group = &described[0];
        assert_eq!(group.group_state.as_str(), "Stable");
        assert_eq!((group.group_epoch, group.assignment_epoch), (1, 1));
        assert_eq!(group.assignor_name.as_str(), "uniform");
        assert_eq!(group.authorized_operations, 3400);
        let member = &group.members[0];
        assert_eq!(
            (member.member_id.as_str(), member.client_id.as_str()),
            ("m", "test")
        );
        assert_eq!(member.subscribed_topic_names, [text("t")]);
        for assignment in [&member.assignment, &member.target_assignment] {
            let of_topic = &assignment.topic_partitions[0];
            assert_eq!(
                (of_topic.topic_id, of_topic.topic_name.as_str()),
                (topic, "t")
            );
            assert_eq!(of_topic.partitions, [0, 1]);
        }
        assert_eq!(member.member_type, if version == 0 { -1 } else { 1 });
    }
    let request = DescribeGroupsRequest {
        groups: vec![text("new")],
        include_authorized_operations: false,
    };
    for (version, expected) in [(5, 0), (6, 69)] {
        let described = client.call(version, &request).await.groups;
        assert_eq!(described[0].group_state.as_str(), "Dead");
        assert_eq!(described[0].error_code, expected);
    }
    let delete = DeleteGroupsRequest {
        groups_names: vec![text("new")],
    };
    let busy = client.call(2, &delete).await;
    assert_eq!(busy.results[0].error_code, ErrorCode::NonEmptyGroup.code());
    client.call(1, &beat("new", "m", -1)).await;
    let gone = client.call(2, &delete).await;
    assert_eq!(gone.results[0].error_code, 0);
}

#[tokio::test]
async fn offsets_of_the_new_protocol_are_held_against_the_epoch() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    client.call(1, &new_member("g", "m")).await;
    let commit = |epoch| OffsetCommitRequest {
        group_id: text("g"),
        member_id: text("m"),
        generation_id_or_member_epoch: epoch,
        retention_time_ms: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: text("t"),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 3,
                committed_leader_epoch: -1,
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    for (version, epoch, expected) in [
        (9, 1, ErrorCode::None),
        (9, 0, ErrorCode::StaleMemberEpoch),
        (9, 2, ErrorCode::StaleMemberEpoch),
        (8, 1, ErrorCode::UnsupportedVersion),
    ] {
        let answer = client.call(version, &commit(epoch)).await;
        let code = answer.topics[0].partitions[0].error_code;
        assert_eq!(code, expected.code(), "version {version}, epoch {epoch}");
    }
    let fetch = |member_id: Option<&str>, epoch| OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: text("g"),
            member_id: member_id.map(text),
            member_epoch: epoch,
            topics: None,
        }],
        ..OffsetFetchRequest::default()
    };
    for (member_id, epoch, expected) in [
        (None, -1, ErrorCode::None),
        (Some("m"), 1, ErrorCode::None),
        (Some("m"), 2, ErrorCode::StaleMemberEpoch),
        (Some("x"), 1, ErrorCode::UnknownMemberId),
    ] {
        let answer = client.call(9, &fetch(member_id, epoch)).await;
        assert_eq!(
            answer.groups[0].error_code,
            expected.code(),
            "{member_id:?} {epoch}"
        );
        let found = answer.groups[0].topics.len();
        assert_eq!(found, usize::from(expected == ErrorCode::None));
    }
}

#[tokio::test]
async fn clients_are_told_that_they_may_use_it() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    let request = ApiVersionsRequest {
        client_software_name: text("test"),
        client_software_version: text("1"),
    };
    let told = client.call(4, &request).await;
    let range = |key| {
        let mut keys = told.api_keys.iter();
        let found = keys.find(|it| it.api_key == key).unwrap();
        (found.min_version, found.max_version)
    };
    assert_eq!((range(68), range(69)), ((0, 1), (0, 1)));
    let mut features = told.supported_features.iter();
    let supported = features
        .find(|it| it.name.as_str() == "group.version")
        .unwrap();
    assert_eq!((supported.min_version, supported.max_version), (0, 1));
    let mut features = told.finalized_features.iter();
    let finalized = features
        .find(|it| it.name.as_str() == "group.version")
        .unwrap();
    assert_eq!(
        (finalized.min_version_level, finalized.max_version_level),
        (1, 1)
    );
}

#[tokio::test]
async fn a_classic_group_takes_in_a_new_member() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 2).await;
    // What was assigned so far cannot be understood here, so it stays a classic group.
    let old = stable(&mut client, "opaque").await;
    let refused = client.call(1, &new_member("opaque", "m")).await;
    assert_eq!(refused.error_code, ErrorCode::GroupIdNotFound.code());
    client.call(5, &leave("opaque", &old, 5)).await;
    let free = client.call(1, &new_member("opaque", "m")).await;
    assert_eq!(free.error_code, 0, "without members it is of any kind");

    let answer = joined(&mut client, 9, "g").await;
    let old = answer.member_id.as_str().to_owned();
    let assigned = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";
    let assigns = SyncGroupRequest {
        assignments: vec![SyncGroupRequestAssignment {
            member_id: text(&old),
            assignment: Bytes::from_static(assigned),
        }],
        ..sync("g", &old, 1, 5)
    };
    assert_eq!(client.call(5, &assigns).await.error_code, 0);
    let told_new = client.call(1, &new_member("g", "m")).await;
    assert_eq!((told_new.error_code, told(&told_new)), (0, Some(vec![])));
    let again = client.call(4, &heartbeat("g", &old, 1)).await;
    assert_eq!(again.error_code, ErrorCode::RebalanceInProgress.code());
    let rejoined = client.call(9, &join("g", &old)).await;
    assert_eq!((rejoined.error_code, rejoined.generation_id), (0, 2));
    assert_ne!(rejoined.leader, rejoined.member_id);
    let synced = client.call(5, &sync("g", &old, 2, 5)).await;
    assert_eq!(synced.error_code, 0);
    assert_eq!(
        &synced.assignment[..],
        b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0\0\0"
    );
    let heard = client.call(1, &beat("g", "m", 2)).await;
    assert_eq!(told(&heard), Some(vec![1]));
    // The last new member leaves, and the others rebalance among themselves.
    client.call(1, &beat("g", "m", -1)).await;
    let again = client.call(4, &heartbeat("g", &old, 2)).await;
    assert_eq!(again.error_code, ErrorCode::RebalanceInProgress.code());
    let rejoined = client.call(9, &join("g", &old)).await;
    assert_eq!((rejoined.error_code, rejoined.generation_id), (0, 3));
    assert_eq!(rejoined.leader, rejoined.member_id);
}
