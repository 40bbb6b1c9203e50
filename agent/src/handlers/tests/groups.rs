//! Groups and offsets over the wire, in every version: members' lives, and what bad input gets.

use bytes::Bytes;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::delete_groups::DeleteGroupsRequest;
use floe_protocol::messages::describe_groups::DescribeGroupsRequest;
use floe_protocol::messages::heartbeat::HeartbeatRequest;
use floe_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use floe_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use floe_protocol::messages::list_groups::ListGroupsRequest;
use floe_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::{created, text};
use crate::start::RunningAgent;
use crate::testing::{Client, agent};

mod consumers;
mod offsets;

/// What a stock consumer says of itself: it reads topic `t`.
const METADATA: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

async fn at_once() -> RunningAgent {
    agent(&[("group.initial.rebalance.delay.ms", "0")]).await
}

fn join(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: text(group),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        member_id: text(member_id),
        group_instance_id: None,
        protocol_type: text("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: text("range"),
            metadata: Bytes::from_static(METADATA),
        }],
        reason: None,
    }
}

fn sync(group: &str, member_id: &str, generation: i32, version: i16) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: text(group),
        generation_id: generation,
        member_id: text(member_id),
        group_instance_id: None,
        protocol_type: (version >= 5).then(|| text("consumer")),
        protocol_name: (version >= 5).then(|| text("range")),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: text(member_id),
            assignment: Bytes::from_static(b"all"),
        }],
    }
}

fn heartbeat(group: &str, member_id: &str, generation: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: text(group),
        generation_id: generation,
        member_id: text(member_id),
        group_instance_id: None,
    }
}

fn leave(group: &str, member_id: &str, version: i16) -> LeaveGroupRequest {
    let members = vec![MemberIdentity {
        member_id: text(member_id),
        group_instance_id: None,
        reason: None,
    }];
    LeaveGroupRequest {
        group_id: text(group),
        member_id: if version < 3 {
            text(member_id)
        } else {
            text("")
        },
        members: if version < 3 { Vec::new() } else { members },
    }
}

/// Joins as a client of that version does.
async fn joined(client: &mut Client, version: i16, group: &str) -> JoinGroupResponse {
    let answer = client.call(version, &join(group, "")).await;
    if version < 4 {
        return answer;
    }
    assert_eq!(answer.error_code, ErrorCode::MemberIdRequired.code());
    assert!(
        answer.member_id.starts_with("test-"),
        "{}",
        answer.member_id.as_str()
    );
    client.call(version, &join(group, &answer.member_id)).await
}

/// A stable group of one member; its id.
async fn stable(client: &mut Client, group: &str) -> String {
    let answer = joined(client, 9, group).await;
    assert_eq!((answer.error_code, answer.generation_id), (0, 1));
    let member_id = answer.member_id.as_str().to_owned();
    let synced = client.call(5, &sync(group, &member_id, 1, 5)).await;
    assert_eq!(synced.error_code, 0);
    member_id
}

#[tokio::test]
async fn a_member_lives_in_every_version() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    for version in 0..=9 {
        let group = format!("group-{version}");
        let answer = joined(&mut client, version, &group).await;
        assert_eq!(
            (answer.error_code, answer.generation_id),
            (0, 1),
            "version {version}"
        );
        assert_eq!(answer.protocol_name.as_deref(), Some("range"));
        assert_eq!(answer.leader, answer.member_id);
        assert_eq!(answer.members.len(), 1);
        assert_eq!(&answer.members[0].metadata[..], METADATA);
        let id = answer.member_id.as_str();
        let of = |newest: i16| version.min(newest);
        let synced = client.call(of(5), &sync(&group, id, 1, of(5))).await;
        assert_eq!(
            (synced.error_code, &synced.assignment[..]),
            (0, &b"all"[..])
        );
        let beat = client.call(of(4), &heartbeat(&group, id, 1)).await;
        assert_eq!(beat.error_code, 0);
        let left = client.call(of(5), &leave(&group, id, of(5))).await;
        let member = left.members.first().map(|member| member.error_code);
        assert_eq!(
            (left.error_code, member.unwrap_or(0)),
            (0, 0),
            "version {version}"
        );
        let beat = client.call(of(4), &heartbeat(&group, id, 1)).await;
        assert_eq!(beat.error_code, ErrorCode::UnknownMemberId.code());
    }
}

#[tokio::test]
async fn bad_requests_of_members_get_kafkas_codes() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    let id = stable(&mut client, "g").await;
    let hasty = JoinGroupRequest {
        session_timeout_ms: 5999,
        ..join("g", "")
    };
    let lazy = JoinGroupRequest {
        session_timeout_ms: 1_800_001,
        ..join("g", "")
    };
    let negative = JoinGroupRequest {
        session_timeout_ms: -1,
        ..join("g", "")
    };
    let no_protocols = JoinGroupRequest {
        protocols: Vec::new(),
        ..join("g", "")
    };
    let other_type = JoinGroupRequest {
        protocol_type: text("connect"),
        ..join("g", "")
    };
    for (case, request, expected) in [
        ("no name", join("", ""), ErrorCode::InvalidGroupId),
        ("short session", hasty, ErrorCode::InvalidSessionTimeout),
        ("long session", lazy, ErrorCode::InvalidSessionTimeout),
        (
            "negative session",
            negative,
            ErrorCode::InvalidSessionTimeout,
        ),
        (
            "no protocols",
            no_protocols,
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "other type",
            other_type,
            ErrorCode::InconsistentGroupProtocol,
        ),
        ("unknown member", join("g", "x"), ErrorCode::UnknownMemberId),
        (
            "unknown group",
            join("none", "x"),
            ErrorCode::UnknownMemberId,
        ),
    ] {
        for version in [5, 9] {
            let answer = client.call(version, &request).await;
            assert_eq!(answer.error_code, expected.code(), "{case}");
            assert_eq!(answer.generation_id, -1, "{case}");
            let nothing = (version >= 7).then_some("").xor(Some(""));
            assert_eq!(answer.protocol_name.as_deref(), nothing, "{case}");
        }
    }
    let wrong = |protocol: &str| SyncGroupRequest {
        protocol_name: Some(text(protocol)),
        ..sync("g", &id, 1, 5)
    };
    let unsaid = SyncGroupRequest {
        protocol_type: None,
        ..sync("g", &id, 1, 5)
    };
    for (case, request, expected) in [
        (
            "old generation",
            sync("g", &id, 0, 5),
            ErrorCode::IllegalGeneration,
        ),
        (
            "unknown member",
            sync("g", "x", 1, 5),
            ErrorCode::UnknownMemberId,
        ),
        (
            "unknown group",
            sync("none", &id, 1, 5),
            ErrorCode::UnknownMemberId,
        ),
        ("no name", sync("", &id, 1, 5), ErrorCode::InvalidGroupId),
        (
            "other protocol",
            wrong("sticky"),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "protocol unsaid",
            unsaid,
            ErrorCode::InconsistentGroupProtocol,
        ),
    ] {
        assert_eq!(
            client.call(5, &request).await.error_code,
            expected.code(),
            "{case}"
        );
    }
    for (case, request, expected) in [
        (
            "old generation",
            heartbeat("g", &id, 0),
            ErrorCode::IllegalGeneration,
        ),
        (
            "unknown member",
            heartbeat("g", "x", 1),
            ErrorCode::UnknownMemberId,
        ),
        ("no name", heartbeat("", "x", 1), ErrorCode::InvalidGroupId),
    ] {
        assert_eq!(
            client.call(4, &request).await.error_code,
            expected.code(),
            "{case}"
        );
    }
    let left = client.call(5, &leave("none", "x", 5)).await;
    assert_eq!(
        (left.error_code, left.members[0].error_code),
        (0, ErrorCode::UnknownMemberId.code())
    );
    let left = client.call(2, &leave("g", "x", 2)).await;
    assert_eq!(left.error_code, ErrorCode::UnknownMemberId.code());
    let left = client.call(5, &leave("", "x", 5)).await;
    assert_eq!(left.error_code, ErrorCode::InvalidGroupId.code());
    let huge = "g".repeat(30_000);
    stable(&mut client, &huge).await;
}

#[tokio::test]
async fn the_second_of_two_members_with_one_static_id_fences_the_first() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    let fixed = |id: &str| JoinGroupRequest {
        group_instance_id: Some(text("one")),
        ..join("g", id)
    };
    let first = client.call(9, &fixed("")).await;
    assert!(first.member_id.starts_with("one-"));
    let synced = client.call(5, &sync("g", &first.member_id, 1, 5)).await;
    assert_eq!(synced.error_code, 0);
    let second = client.call(9, &fixed("")).await;
    assert_eq!(
        (second.error_code, second.generation_id),
        (0, 1),
        "no rebalance"
    );
    assert!(second.skip_assignment);
    let fenced = HeartbeatRequest {
        group_instance_id: Some(text("one")),
        ..heartbeat("g", &first.member_id, 1)
    };
    let fenced = client.call(4, &fenced).await;
    assert_eq!(fenced.error_code, ErrorCode::FencedInstanceId.code());
    let fenced = client.call(9, &fixed(&first.member_id)).await;
    assert_eq!(fenced.error_code, ErrorCode::FencedInstanceId.code());
    let by_tool = LeaveGroupRequest {
        group_id: text("g"),
        members: vec![MemberIdentity {
            member_id: text(""),
            group_instance_id: Some(text("one")),
            reason: Some(text("removed")),
        }],
        ..LeaveGroupRequest::default()
    };
    let left = client.call(5, &by_tool).await;
    assert_eq!(left.members[0].error_code, 0);
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted() {
    let agent = at_once().await;
    let mut client = Client::connect(&agent).await;
    let id = stable(&mut client, "busy").await;
    let gone = stable(&mut client, "empty").await;
    client.call(5, &leave("empty", &gone, 5)).await;
    for version in 0..=5 {
        let all = client.call(version, &ListGroupsRequest::default()).await;
        let names: Vec<_> = all
            .groups
            .iter()
            .map(|group| group.group_id.as_str())
            .collect();
        assert_eq!(names, ["busy", "empty"], "version {version}");
        assert_eq!(all.groups[0].protocol_type.as_str(), "consumer");
        if version >= 4 {
            assert_eq!(all.groups[0].group_state.as_str(), "Stable");
        }
        if version >= 5 {
            assert_eq!(all.groups[1].group_type.as_str(), "classic");
        }
    }
    for (states, types, expected) in [
        (vec!["sTABLE"], vec![], vec!["busy"]),
        (vec!["Empty", "nonsense"], vec!["CLASSIC"], vec!["empty"]),
        (vec!["nonsense"], vec![], vec![]),
        (vec![], vec!["consumer"], vec![]),
    ] {
        let filters = ListGroupsRequest {
            states_filter: states.into_iter().map(text).collect(),
            types_filter: types.into_iter().map(text).collect(),
        };
        let found = client.call(5, &filters).await;
        let names: Vec<_> = found
            .groups
            .iter()
            .map(|group| group.group_id.as_str())
            .collect();
        assert_eq!(names, expected);
    }
    for version in 0..=6 {
        let request = DescribeGroupsRequest {
            groups: ["busy", "none", "empty"].map(text).to_vec(),
            include_authorized_operations: version >= 3,
        };
        let described = client.call(version, &request).await.groups;
        let states: Vec<_> = described
            .iter()
            .map(|group| group.group_state.as_str())
            .collect();
        assert_eq!(states, ["Stable", "Dead", "Empty"], "version {version}");
        let missing = if version >= 6 {
            ErrorCode::GroupIdNotFound
        } else {
            ErrorCode::None
        };
        assert_eq!(described[1].error_code, missing.code());
        assert_eq!(described[0].protocol_data.as_str(), "range");
        let member = &described[0].members[0];
        assert_eq!(
            (member.member_id.as_str(), member.client_id.as_str()),
            (id.as_str(), "test")
        );
        assert_eq!(member.client_host.as_str(), "/127.0.0.1");
        assert_eq!(
            (&member.member_metadata[..], &member.member_assignment[..]),
            (METADATA, &b"all"[..])
        );
        let operations = if version >= 3 { 3400 } else { i32::MIN };
        assert_eq!(described[0].authorized_operations, operations);
    }
    for (version, expected) in [(0, [0, 68, 69, 69]), (2, [69, 68, 69, 69])] {
        let names = ["empty", "busy", "none", ""].map(text).to_vec();
        let deleted = client
            .call(
                version,
                &DeleteGroupsRequest {
                    groups_names: names,
                },
            )
            .await;
        let codes: Vec<_> = deleted
            .results
            .iter()
            .map(|result| result.error_code)
            .collect();
        assert_eq!(codes, expected);
    }
}

#[tokio::test]
async fn a_join_that_waits_holds_up_neither_its_connection_nor_the_end() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let asked = client.call(9, &join("g", "")).await;
    let id = client.ask(9, &join("g", &asked.member_id)).await;
    // It waits for three seconds.
    let mut other = Client::connect(&agent).await;
    let listed = other.call(5, &ListGroupsRequest::default()).await;
    assert_eq!(listed.groups[0].group_state.as_str(), "PreparingRebalance");
    let answer = client.answer::<JoinGroupRequest>(9, id);
    let (ended, answer) = tokio::join!(agent.shutdown(), answer);
    assert_eq!(answer.error_code, ErrorCode::NotCoordinator.code());
    ended.unwrap();
}
