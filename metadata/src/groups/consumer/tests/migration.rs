//! Members of the classic protocol among the others, and groups that change.

use bytes::{BufMut, Bytes};

use super::*;
use crate::groups::classic::{self, JoinRequest, SyncRequest};
use crate::groups::subscription::Assignment;

/// What a cooperative consumer of `t1` says of itself, which reads these partitions of it.
fn subscription(owned: &[PartitionIndex]) -> Bytes {
    let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, 2, b't', b'1', 0xff, 0xff, 0xff, 0xff];
    bytes.extend_from_slice(&[0, 0, 0, 1, 0, 2, b't', b'1']);
    bytes.put_i32(i32::try_from(owned.len()).unwrap());
    owned.iter().for_each(|index| bytes.put_i32(*index));
    Bytes::from(bytes)
}

fn classic_join(id: &str, owned: &[PartitionIndex]) -> JoinRequest {
    JoinRequest {
        member_id: id.to_owned(),
        instance: None,
        new_member_id: "new".to_owned(),
        client_id: "old".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: at(10),
        rebalance_timeout: at(30),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("cooperative-sticky".to_owned(), subscription(owned))],
        comes_back_with_id: true,
        can_skip_assignment: true,
    }
}

fn sync(id: &str, generation: i32) -> SyncRequest {
    SyncRequest {
        member_id: id.to_owned(),
        instance: None,
        generation,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("cooperative-sticky".to_owned()),
        assignments: Vec::new(),
    }
}

impl Scene {
    fn joined(&mut self, now: Duration, request: JoinRequest) -> (ErrorCode, i32) {
        let answer = self.group.join(now, self.cluster.catalog(), request);
        assert_eq!(answer.leader, "", "nobody assigns but us");
        (answer.error, answer.generation)
    }

    fn synced(&mut self, now: Duration, id: &str, generation: i32) -> Result<Vec<i32>, ErrorCode> {
        let catalog = self.cluster.catalog();
        let answer = self.group.sync(now, catalog, &sync(id, generation));
        if answer.error != ErrorCode::None {
            return Err(answer.error);
        }
        let assignment = Assignment::decode(&answer.assignment).unwrap();
        assert_eq!(assignment.version, 1);
        Ok(assignment
            .partitions
            .into_iter()
            .flat_map(|it| it.1)
            .collect())
    }

    fn beats(&mut self, now: Duration, id: &str, generation: i32) -> ErrorCode {
        let heard = self.group.classic_heartbeat(now, id, None, generation);
        heard.err().unwrap_or(ErrorCode::None)
    }
}

/// A classic group of two with two partitions each, at generation 7.
fn classic_group() -> classic::Saved {
    let member = |id: &str, indexes: &[PartitionIndex]| classic::SavedMember {
        id: id.to_owned(),
        instance: None,
        client_id: "old".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: at(10),
        rebalance_timeout: at(30),
        protocols: vec![("cooperative-sticky".to_owned(), subscription(&[]))],
        assignment: Assignment {
            version: 1,
            partitions: vec![("t1".to_owned(), indexes.to_vec())],
            user_data: Bytes::new(),
        }
        .encode(),
    };
    classic::Saved {
        generation: 7,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("cooperative-sticky".to_owned()),
        leader: Some("c1".to_owned()),
        is_assigned: true,
        members: vec![member("c1", &[0, 1]), member("c2", &[2, 3])],
    }
}

/// The group above with a member of the new protocol in it.
fn upgraded() -> Scene {
    let mut scene = Scene::new(4);
    let config = ConsumerConfig::default();
    let catalog = scene.cluster.catalog();
    let group = Group::from_classic(config, at(0), &classic_group(), catalog);
    scene.group = group.unwrap();
    assert_eq!(scene.told(at(0), join("n")), (8, Some(vec![])));
    scene
}

#[test]
fn a_classic_group_goes_on_with_a_new_member() {
    let mut scene = upgraded();
    let again = ErrorCode::RebalanceInProgress;
    for id in ["c1", "c2"] {
        assert_eq!(scene.group.check_epoch(id, None, 7, false), Ok(()));
        assert_eq!(scene.beats(at(1), id, 7), again);
    }
    // One has to give up a partition: it is told the rest, lets go, and comes again.
    let mut given_up = 0;
    for (id, owned) in [("c1", [0, 1]), ("c2", [2, 3])] {
        let (error, generation) = scene.joined(at(2), classic_join(id, &owned));
        assert_eq!(error, ErrorCode::None);
        let left = scene.synced(at(3), id, generation).unwrap();
        given_up += 2 - left.len();
        if left.len() < 2 {
            assert_eq!(generation, 7);
            assert_eq!(
                scene.told(at(3), beat("n", 8)),
                (8, None),
                "it still reads it"
            );
            assert_eq!(scene.beats(at(3), id, 7), again);
            assert_eq!(
                scene.joined(at(4), classic_join(id, &left)),
                (ErrorCode::None, 8)
            );
            assert_eq!(scene.synced(at(4), id, 8), Ok(left));
        } else {
            assert_eq!(generation, 8);
        }
        assert_eq!(scene.beats(at(5), id, 8), ErrorCode::None);
    }
    assert_eq!(given_up, 1);
    let (epoch, told) = scene.told(at(6), beat("n", 8));
    assert_eq!((epoch, told.map(|it| it.len())), (8, Some(1)));
    assert_eq!(scene.group.state(), GroupState::Stable);
    assert_eq!(
        scene.group.check_epoch("c1", None, 7, true),
        Err(ErrorCode::IllegalGeneration)
    );
    let described = scene.group.described(scene.cluster.catalog());
    let classic: Vec<_> = described.members.iter().map(|it| it.is_classic).collect();
    assert_eq!(classic, [true, true, false]);
    scene.take_over(at(7));
    assert_eq!(scene.beats(at(8), "c1", 8), ErrorCode::None);
    assert_eq!(scene.told(at(8), beat("n", 8)), (8, None));
}

#[test]
fn what_a_classic_group_may_not_be_to_change() {
    let cluster = Cluster::default();
    cluster.set(1, 4);
    let changes = |saved: &classic::Saved, config: ConsumerConfig| {
        Group::from_classic(config, at(0), saved, cluster.catalog()).is_some()
    };
    let good = classic_group();
    assert!(changes(&good, ConsumerConfig::default()));
    let mut other = good.clone();
    other.protocol_type = Some("connect".to_owned());
    assert!(!changes(&other, ConsumerConfig::default()));
    let mut other = good.clone();
    other.members[0].assignment = Bytes::from_static(b"opaque");
    assert!(!changes(&other, ConsumerConfig::default()));
    let mut other = good.clone();
    other.members[1].protocols[0].1 = Bytes::from_static(b"opaque");
    assert!(!changes(&other, ConsumerConfig::default()));
    let refuses = ConsumerConfig {
        upgrades: false,
        ..ConsumerConfig::default()
    };
    assert!(!changes(&good, refuses));
    let full = ConsumerConfig {
        members_max: 2,
        ..ConsumerConfig::default()
    };
    assert!(!changes(&good, full));
}

#[test]
fn what_cooperative_members_read_while_they_rebalance_stays_theirs() {
    let mut saved = classic_group();
    for (member, owned) in saved.members.iter_mut().zip([[0, 1], [1, 2]]) {
        member.assignment = Bytes::new();
        member.protocols[0].1 = subscription(&owned);
    }
    let cluster = Cluster::default();
    cluster.set(1, 4);
    let config = ConsumerConfig::default();
    let group = Group::from_classic(config, at(0), &saved, cluster.catalog()).unwrap();
    let assigned = group.members.values().map(|it| it.kept.assigned.clone());
    let assigned: Vec<_> = assigned.collect();
    assert_eq!(
        assigned,
        [of(1, &[0, 1]), of(1, &[2])],
        "of two who say so one"
    );
}

#[test]
fn a_classic_member_joins_syncs_and_leaves() {
    let mut scene = Scene::new(2);
    scene.told(at(0), join("n"));
    let (error, _) = scene.joined(at(1), classic_join("", &[]));
    assert_eq!(error, ErrorCode::MemberIdRequired);
    assert_eq!(
        scene.joined(at(1), classic_join("new", &[])),
        (ErrorCode::None, 2)
    );
    assert_eq!(scene.synced(at(1), "new", 2), Ok(vec![]));
    assert_eq!(
        scene.beats(at(2), "new", 2),
        ErrorCode::None,
        "nothing is free yet"
    );
    scene.told(at(3), beat("n", 1));
    assert_eq!(scene.told(at(4), owning("n", 1, &[0])), (2, None));
    assert_eq!(scene.beats(at(5), "new", 2), ErrorCode::RebalanceInProgress);
    assert_eq!(
        scene.joined(at(6), classic_join("new", &[])),
        (ErrorCode::None, 2)
    );
    assert_eq!(scene.synced(at(6), "new", 2), Ok(vec![1]));
    assert_eq!(scene.beats(at(7), "new", 2), ErrorCode::None);
    assert_eq!(
        scene.synced(at(7), "new", 1),
        Err(ErrorCode::IllegalGeneration)
    );
    assert_eq!(scene.synced(at(7), "n", 2), Err(ErrorCode::UnknownMemberId));
    let other = JoinRequest {
        protocol_type: "connect".to_owned(),
        ..classic_join("", &[])
    };
    assert_eq!(
        scene.joined(at(8), other).0,
        ErrorCode::InconsistentGroupProtocol
    );
    let mut unlike = classic_join("x", &[]);
    unlike.protocols[0].0 = "other".to_owned();
    assert_eq!(
        scene.joined(at(8), unlike).0,
        ErrorCode::InconsistentGroupProtocol
    );
    let leave = [("n".to_owned(), None), ("new".to_owned(), None)];
    let codes = scene.group.leave_all(scene.cluster.catalog(), &leave);
    assert_eq!(codes, [ErrorCode::UnknownMemberId, ErrorCode::None]);
    assert_eq!(scene.told(at(9), beat("n", 2)), (3, Some(vec![0, 1])));
}

#[test]
fn a_classic_member_that_does_not_come_back_is_out() {
    let (mut scene, mut epoch) = (upgraded(), 8);
    for second in (1..31).step_by(5) {
        assert_eq!(
            scene.beats(at(second), "c1", 7),
            ErrorCode::RebalanceInProgress
        );
        epoch = scene.told(at(second), beat("n", epoch)).0;
        scene.tick(at(second));
    }
    assert!(!scene.group.members.contains_key("c2"), "it was silent");
    scene.tick(at(31));
    assert_eq!(scene.beats(at(31), "c1", 7), ErrorCode::UnknownMemberId);
    assert_eq!(
        scene.told(at(32), beat("n", epoch)).1,
        Some(vec![0, 1, 2, 3])
    );
}

#[test]
fn the_last_new_member_that_leaves_makes_the_group_classic() {
    let mut scene = upgraded();
    assert!(!scene.group.is_to_be_classic());
    scene.told(at(1), beat("n", LEAVING));
    assert!(scene.group.is_to_be_classic());
    let saved = scene.group.to_classic(scene.cluster.catalog());
    assert_eq!(saved.generation, 8);
    let members = saved.members.iter().map(|it| &*it.id);
    assert_eq!(members.collect::<Vec<_>>(), ["c1", "c2"]);
    assert_eq!(saved.subscribed().unwrap(), ["t1".to_owned()].into());
    let assigned = Assignment::decode(&saved.members[0].assignment).unwrap();
    assert_eq!(assigned.partitions, [("t1".to_owned(), vec![0, 1])]);
}
