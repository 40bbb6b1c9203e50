//! Groups of the consumer protocol through a service.

use floe_protocol::types::TopicPartition;

use super::*;
use crate::api::groups::{HeartbeatAnswer, HeartbeatRequest, Partitions};

/// A group of its own beside the classic one.
const CONSUMERS: &str = "consumers";

fn heartbeat(request: HeartbeatRequest) -> GroupRequest {
    GroupRequest::ConsumerHeartbeat {
        group: CONSUMERS.to_owned(),
        request,
    }
}

fn beat(id: &str, epoch: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        member_id: id.to_owned(),
        epoch,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        ..HeartbeatRequest::default()
    }
}

fn new_member(id: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        rebalance_timeout: Some(Duration::from_secs(60)),
        names: Some(vec!["topic-1".to_owned()]),
        owned: Some(Partitions::new()),
        ..beat(id, 0)
    }
}

fn owning(id: &str, epoch: i32, indexes: &[i32]) -> HeartbeatRequest {
    let owned = indexes.iter().map(|index| partition(1, *index));
    HeartbeatRequest {
        owned: Some(owned.collect()),
        ..beat(id, epoch)
    }
}

fn member(id: &str, epoch: i32) -> Identity {
    Identity {
        group: CONSUMERS.to_owned(),
        ..identity(id, epoch)
    }
}

fn commit(by: Identity) -> GroupRequest {
    let GroupRequest::CommitOffsets { offsets, .. } = commit_offset(by.clone(), 0, 5) else {
        panic!("it is a commit");
    };
    GroupRequest::CommitOffsets {
        by,
        unknown_group: ErrorCode::GroupIdNotFound,
        offsets,
    }
}

/// Requests and replies of every kind, to a topic of four partitions whose id is 1.
pub(super) fn one_of_each() -> Vec<GroupRequest> {
    let everything = HeartbeatRequest {
        instance: Some("fixed".to_owned()),
        rack: Some("rack".to_owned()),
        regex: Some("topic-[0-9]".to_owned()),
        assignor: Some("range".to_owned()),
        ..new_member("m")
    };
    let fetch = |by| GroupRequest::FetchOffsets {
        group: CONSUMERS.to_owned(),
        which: OffsetsOf::All(None),
        by,
    };
    vec![
        heartbeat(beat("m", 1)),
        heartbeat(everything),
        heartbeat(HeartbeatRequest {
            is_repeat: true,
            ..owning("m", 1, &[0, 1])
        }),
        heartbeat(beat("m", 9)),
        heartbeat(new_member("n")),
        GroupRequest::DescribeConsumers(CONSUMERS.to_owned()),
        GroupRequest::DescribeConsumers(GROUP.to_owned()),
        GroupRequest::Describe(CONSUMERS.to_owned()),
        GroupRequest::List(None),
        commit(member("n", 2)),
        commit(member("n", 1)),
        fetch((Some("n".to_owned()), 2)),
        fetch((Some("n".to_owned()), 3)),
        heartbeat(HeartbeatRequest {
            instance: Some("fixed".to_owned()),
            ..beat("m", -2)
        }),
        GroupRequest::DescribeConsumers(CONSUMERS.to_owned()),
        heartbeat(beat("n", -1)),
        GroupRequest::Leave {
            group: CONSUMERS.to_owned(),
            members: vec![(String::new(), Some("fixed".to_owned()))],
        },
        GroupRequest::List(None),
        GroupRequest::DeleteGroups(vec![CONSUMERS.to_owned()]),
    ]
}

async fn heard(client: &Client, request: HeartbeatRequest) -> HeartbeatAnswer {
    match ask(client, heartbeat(request)).await {
        GroupReply::Heard(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// Epoch, and partitions where they are told.
async fn told(client: &Client, request: HeartbeatRequest) -> (i32, Option<Vec<i32>>) {
    let answer = heard(client, request).await;
    assert_eq!(answer.error, ErrorCode::None, "{answer:?}");
    let index = |it: TopicPartition| it.partition;
    let assignment = answer.assignment;
    let assignment = assignment.map(|it| it.into_iter().map(index).collect());
    (answer.epoch, assignment)
}

/// Two members with two partitions each, at epoch 2.
async fn settled(client: &Client) {
    assert_eq!(
        told(client, new_member("a")).await,
        (1, Some(vec![0, 1, 2, 3]))
    );
    assert_eq!(told(client, new_member("b")).await, (2, Some(vec![])));
    assert_eq!(told(client, beat("a", 1)).await, (1, Some(vec![0, 1])));
    assert_eq!(told(client, owning("a", 1, &[0, 1])).await, (2, None));
    assert_eq!(told(client, beat("b", 2)).await, (2, Some(vec![2, 3])));
}

#[tokio::test(start_paused = true)]
async fn a_group_survives_its_owners_without_a_rebalance() {
    let world = World::calm();
    let (first, _) = with_topic(&world, 1).await;
    let second = world.start(2).await.unwrap();
    let client = second.client();
    settled(&client).await;
    world.kill(1, &first);
    for _ in 0..20 {
        for id in ["a", "b"] {
            assert_eq!(told(&client, beat(id, 2)).await, (2, None));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let third = world.start(3).await.unwrap();
    world.kill(2, &second);
    let client = third.client();
    for _ in 0..13 {
        assert_eq!(told(&client, beat("a", 2)).await, (2, None));
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    // The other one is silent for its session, which begins with the take-over.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(
        told(&client, beat("a", 2)).await,
        (3, Some(vec![0, 1, 2, 3]))
    );
    assert_eq!(
        heard(&client, beat("b", 2)).await.error,
        ErrorCode::UnknownMemberId
    );
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_lost_in_between_gives_nothing_to_two() {
    let world = World::calm();
    let (first, _) = with_topic(&world, 1).await;
    let second = world.start(2).await.unwrap();
    let client = second.client();
    assert_eq!(told(&client, new_member("a")).await.0, 1);
    assert_eq!(told(&client, new_member("b")).await.0, 2);
    assert_eq!(told(&client, beat("a", 1)).await, (1, Some(vec![0, 1])));
    world.kill(1, &first);
    // Who has to let go still has to, and until it did the other one gets nothing.
    assert_eq!(told(&client, beat("b", 2)).await, (2, None));
    assert_eq!(
        told(&client, owning("a", 1, &[0, 1, 2, 3])).await,
        (1, None)
    );
    assert_eq!(told(&client, beat("b", 2)).await, (2, None));
    // Let go, and the answer is lost with the owner: the agent asks the next one again.
    let gives = owning("a", 1, &[0, 1]);
    assert_eq!(told(&client, gives.clone()).await, (2, None));
    let third = world.start(3).await.unwrap();
    world.kill(2, &second);
    let client = third.client();
    let again = HeartbeatRequest {
        is_repeat: true,
        ..gives
    };
    assert_eq!(told(&client, again).await, (2, Some(vec![0, 1])));
    assert_eq!(told(&client, beat("b", 2)).await, (2, Some(vec![2, 3])));
}

#[tokio::test(start_paused = true)]
async fn topics_that_come_are_found_by_an_expression() {
    let world = World::calm();
    let (service, _) = with_topic(&world, 1).await;
    let client = service.client();
    let by_regex = HeartbeatRequest {
        names: None,
        regex: Some("topic-[2-9]".to_owned()),
        ..new_member("a")
    };
    assert_eq!(told(&client, by_regex).await, (1, Some(vec![])));
    client.create_topic(new_topic(2, 3)).await.unwrap();
    assert_eq!(told(&client, beat("a", 1)).await, (2, Some(vec![0, 1, 2])));
    client.create_partitions(topic_id(2), 4).await.unwrap();
    assert_eq!(
        told(&client, beat("a", 2)).await,
        (3, Some(vec![0, 1, 2, 3]))
    );
    client.delete_topic(topic_id(2)).await.unwrap();
    assert_eq!(told(&client, beat("a", 3)).await, (3, Some(vec![])));
    let nothing = HeartbeatRequest {
        owned: Some(Partitions::new()),
        ..beat("a", 3)
    };
    assert_eq!(told(&client, nothing).await, (4, None));
}

#[tokio::test(start_paused = true)]
async fn offsets_are_for_members_of_the_present_epoch() {
    let world = World::calm();
    let (service, _) = with_topic(&world, 1).await;
    let client = service.client();
    settled(&client).await;
    let stored = ask(&client, commit(member("a", 2))).await;
    assert_eq!(stored, GroupReply::Codes(vec![ErrorCode::None]));
    let stale = ask(&client, commit(member("a", 1))).await;
    assert_eq!(stale, GroupReply::Codes(vec![ErrorCode::StaleMemberEpoch]));
    let read = |epoch| GroupRequest::FetchOffsets {
        group: CONSUMERS.to_owned(),
        which: OffsetsOf::All(None),
        by: (Some("a".to_owned()), epoch),
    };
    let stale = ask(&client, read(1)).await;
    assert_eq!(stale, GroupReply::Code(ErrorCode::StaleMemberEpoch));
    match ask(&client, read(2)).await {
        GroupReply::Offsets { offsets, .. } => assert_eq!(offsets.len(), 1),
        other => panic!("{other:?}"),
    }
}
