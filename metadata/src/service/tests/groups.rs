//! Groups through a service: what is durable, who waits, what another owner goes on with.

use bytes::Bytes;
use floe_protocol::error_code::ErrorCode;

use super::*;
use crate::api::groups::{
    CommittedOffset, GroupReply, GroupRequest, Identity, JoinAnswer, JoinRequest, OffsetCommit,
    OffsetsOf, SyncRequest, TopicRef,
};

mod consumers;
mod gathering;

const GROUP: &str = "group";

fn join(id: &str, new_id: &str) -> GroupRequest {
    GroupRequest::Join {
        group: GROUP.to_owned(),
        request: JoinRequest {
            member_id: id.to_owned(),
            instance: None,
            new_member_id: new_id.to_owned(),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(60),
            protocol_type: "consumer".to_owned(),
            protocols: vec![("range".to_owned(), Bytes::from_static(b"opaque"))],
            comes_back_with_id: false,
            can_skip_assignment: true,
        },
    }
}

fn sync(id: &str, generation: i32, assignments: &[&str]) -> GroupRequest {
    let own = |id: &&str| ((*id).to_owned(), Bytes::from(format!("for {id}")));
    GroupRequest::Sync {
        group: GROUP.to_owned(),
        request: SyncRequest {
            member_id: id.to_owned(),
            instance: None,
            generation,
            protocol_type: Some("consumer".to_owned()),
            protocol: Some("range".to_owned()),
            assignments: assignments.iter().map(own).collect(),
        },
    }
}

fn identity(id: &str, generation: i32) -> Identity {
    Identity {
        group: GROUP.to_owned(),
        member_id: id.to_owned(),
        instance: None,
        generation,
    }
}

fn commit_offset(by: Identity, partition: i32, offset: i64) -> GroupRequest {
    GroupRequest::CommitOffsets {
        by,
        unknown_group: ErrorCode::IllegalGeneration,
        offsets: vec![OffsetCommit {
            topic: TopicRef::Id(topic_id(1)),
            partition,
            committed: CommittedOffset {
                offset,
                leader_epoch: 0,
                metadata: Arc::from("note"),
            },
        }],
    }
}

fn fetch(which: OffsetsOf) -> GroupRequest {
    GroupRequest::FetchOffsets {
        group: GROUP.to_owned(),
        which,
        by: (None, -1),
    }
}

/// Requests and replies of every kind, to a topic of four partitions whose id is 1.
pub(super) fn one_of_each() -> Vec<GroupRequest> {
    let by_name = TopicRef::Name("topic-1".to_owned());
    let missing = TopicRef::Id(topic_id(9));
    vec![
        join("", "m"),
        join("unknown", "n"),
        sync("m", 1, &["m", "other"]),
        sync("m", 7, &[]),
        GroupRequest::Heartbeat(identity("m", 1)),
        GroupRequest::Heartbeat(identity("n", 1)),
        commit_offset(identity("m", 1), 2, 5),
        commit_offset(identity("m", 1), 99, 5),
        commit_offset(identity("m", 3), 2, 5),
        fetch(OffsetsOf::Partitions(vec![
            (by_name, vec![2, 0]),
            (missing, vec![1]),
        ])),
        fetch(OffsetsOf::All(None)),
        fetch(OffsetsOf::All(Some(partition(1, 2)))),
        GroupRequest::List(None),
        GroupRequest::List(Some(GROUP.to_owned())),
        GroupRequest::Describe(GROUP.to_owned()),
        GroupRequest::Describe("none".to_owned()),
        GroupRequest::DeleteGroups(vec![GROUP.to_owned(), "none".to_owned()]),
        GroupRequest::Leave {
            group: GROUP.to_owned(),
            members: vec![
                ("m".to_owned(), None),
                ("m".to_owned(), None),
                (String::new(), Some("i".to_owned())),
            ],
        },
        GroupRequest::DeleteOffsets {
            group: GROUP.to_owned(),
            partitions: vec![("topic-1".to_owned(), 2), ("none".to_owned(), 0)],
        },
        GroupRequest::DeleteOffsets {
            group: "none".to_owned(),
            partitions: vec![],
        },
        fetch(OffsetsOf::All(None)),
        GroupRequest::DeleteGroups(vec![GROUP.to_owned()]),
    ]
    .into_iter()
    .chain(consumers::one_of_each())
    .collect()
}

async fn ask(client: &Client, request: GroupRequest) -> GroupReply {
    until_answered(client, |client| {
        let request = request.clone();
        async move { client.group(request).await }
    })
    .await
}

async fn joined(client: &Client, id: &str, new_id: &str) -> JoinAnswer {
    match ask(client, join(id, new_id)).await {
        GroupReply::Joined(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// The assignment.
async fn synced(client: &Client, id: &str, generation: i32, assignments: &[&str]) -> Bytes {
    match ask(client, sync(id, generation, assignments)).await {
        GroupReply::Synced(answer) => {
            assert_eq!(answer.error, ErrorCode::None);
            answer.assignment
        }
        other => panic!("{other:?}"),
    }
}

async fn heartbeat(client: &Client, id: &str, generation: i32) -> ErrorCode {
    match ask(client, GroupRequest::Heartbeat(identity(id, generation))).await {
        GroupReply::Code(code) => code,
        other => panic!("{other:?}"),
    }
}

async fn stored(client: &Client) -> Vec<(i32, i64)> {
    match ask(client, fetch(OffsetsOf::All(None))).await {
        GroupReply::Offsets { offsets, .. } => offsets
            .into_iter()
            .map(|it| (it.partition, it.committed.unwrap().unwrap().offset))
            .collect(),
        other => panic!("{other:?}"),
    }
}

async fn stored_one(client: &Client, by: Identity, partition: i32, offset: i64) {
    let reply = ask(client, commit_offset(by, partition, offset)).await;
    assert_eq!(reply, GroupReply::Codes(vec![ErrorCode::None]));
}

#[tokio::test(start_paused = true)]
async fn a_group_lives() {
    let world = World::calm();
    let (service, _) = with_topic(&world, 1).await;
    let client = service.client();
    let started = Instant::now();
    let (a, b) = tokio::join!(joined(&client, "", "a"), joined(&client, "", "b"));
    assert!(started.elapsed() >= Duration::from_secs(3));
    assert_eq!((a.generation, b.generation), (1, 1));
    assert_eq!((a.members.len(), b.members.len()), (2, 0));
    let both = tokio::join!(
        synced(&client, "b", 1, &[]),
        synced(&client, "a", 1, &["a", "b"])
    );
    assert_eq!(both, ("for b".into(), "for a".into()));
    stored_one(&client, identity("a", 1), 0, 7).await;
    assert_eq!(stored(&client).await, [(0, 7)]);
    // One is silent, the other goes on alone.
    for _ in 0..9 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        heartbeat(&client, "a", 1).await;
    }
    assert_eq!(
        heartbeat(&client, "a", 1).await,
        ErrorCode::RebalanceInProgress
    );
    assert_eq!(joined(&client, "a", "").await.generation, 2);
    let reply = ask(&client, commit_offset(identity("b", 1), 0, 9)).await;
    assert_eq!(reply, GroupReply::Codes(vec![ErrorCode::UnknownMemberId]));
}

#[tokio::test(start_paused = true)]
async fn a_group_survives_its_owner_without_a_rebalance() {
    let world = World::calm();
    let (first, _) = with_topic(&world, 1).await;
    let second = world.start(2).await.unwrap();
    let client = second.client();
    let (a, b) = tokio::join!(joined(&client, "", "a"), joined(&client, "", "b"));
    assert_eq!((a.generation, b.generation), (1, 1));
    // One waits for its assignment when the owner dies; the leader speaks to the next one.
    let waiting = async {
        let waits = synced(&client, "b", 1, &[]);
        let leader = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            world.kill(1, &first);
            synced(&client, "a", 1, &["a", "b"]).await
        };
        tokio::join!(waits, leader)
    };
    assert_eq!(waiting.await, ("for b".into(), "for a".into()));
    stored_one(&client, identity("b", 1), 3, 11).await;

    let third = world.start(3).await.unwrap();
    world.kill(2, &second);
    let client = third.client();
    // Longer than a session, beginning with the take-over.
    for _ in 0..20 {
        for member in ["a", "b"] {
            assert_eq!(heartbeat(&client, member, 1).await, ErrorCode::None);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(stored(&client).await, [(3, 11)]);
    stored_one(&client, identity("b", 1), 3, 12).await;
    assert_eq!(synced(&client, "b", 1, &[]).await, "for b");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_to_join_is_answered_by_the_next_owner() {
    let world = World::calm();
    let (first, _) = with_topic(&world, 1).await;
    let second = world.start(2).await.unwrap();
    let client = second.client();
    let kill = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.kill(1, &first);
    };
    let (a, b, ()) = tokio::join!(joined(&client, "", "a"), joined(&client, "", "b"), kill);
    assert_eq!((a.generation, b.generation), (1, 1));
    assert_eq!((&*a.member_id, &*b.member_id), ("a", "b"));
    assert_eq!(a.members.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_members_wait_and_others_get_through() {
    let world = World::calm();
    let (_first, _) = with_topic(&world, 1).await;
    let second = world.start(2).await.unwrap();
    let client = second.client();
    let names: Vec<_> = (0..1500).map(|number| format!("m{number:04}")).collect();
    let joins = names.iter().map(|name| joined(&client, "", name));
    let joins = futures::future::join_all(joins);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let by = Identity {
            group: "another".to_owned(),
            ..identity("", -1)
        };
        stored_one(&client, by, 0, 1).await;
    };
    let (joins, ()) = tokio::join!(joins, meanwhile);
    assert!(joins.iter().all(|answer| answer.generation == 1));
    let leader = joins.iter().find(|answer| !answer.members.is_empty());
    assert_eq!(leader.unwrap().members.len(), 1500);
}

#[tokio::test(start_paused = true)]
async fn offsets_that_nobody_comes_for_expire() {
    let world = World::calm();
    let (service, _) = with_topic(&world, 1).await;
    let client = service.client();
    stored_one(&client, identity("", -1), 0, 7).await;
    tokio::time::sleep(Duration::from_secs(6 * 24 * 3600)).await;
    assert_eq!(stored(&client).await, [(0, 7)]);
    // Cluster time follows by an hour per command.
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        client.allocate_producer_ids().await.unwrap();
    }
    for _ in 0..150 {
        client.allocate_producer_ids().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(stored(&client).await, []);
    assert_eq!(
        ask(&client, GroupRequest::List(None)).await,
        GroupReply::Listed(vec![])
    );
}

#[tokio::test(start_paused = true)]
async fn more_offsets_than_one_command_takes_expire_soon() {
    const PARTITIONS: i32 = 10_500;
    let world = World::calm();
    let (service, _) = with_topic(&world, 1).await;
    let client = service.client();
    client.create_topic(new_topic(2, PARTITIONS)).await.unwrap();
    let offsets = (0..PARTITIONS).map(|partition| OffsetCommit {
        topic: TopicRef::Id(topic_id(2)),
        partition,
        committed: CommittedOffset {
            offset: 7,
            leader_epoch: -1,
            metadata: Arc::from(""),
        },
    });
    let commit = GroupRequest::CommitOffsets {
        by: identity("", -1),
        unknown_group: ErrorCode::GroupIdNotFound,
        offsets: offsets.collect(),
    };
    ask(&client, commit).await;
    tokio::time::sleep(Duration::from_secs(8 * 24 * 3600)).await;
    // Cluster time follows by an hour per command.
    for _ in 0..200 {
        client.allocate_producer_ids().await.unwrap();
    }
    // Ten minutes until it is looked, not twice.
    tokio::time::sleep(Duration::from_secs(605)).await;
    assert_eq!(stored(&client).await, []);
}
