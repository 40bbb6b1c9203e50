//! All groups together: names, timers, who is answered.

use bytes::Bytes;
use floe_protocol::types::{PartitionIndex, TopicId};

use super::*;
use crate::api::groups::{GroupState, ListedState};
use crate::groups::consumer::{GroupSettings, HeartbeatAnswer, HeartbeatRequest, Partitions};

type Groups = Coordinator<u32>;

/// A cluster with the topic `t` of one partition.
struct OneTopic;

const TOPIC: TopicId = TopicId::from_bytes([1; 16]);

const UNSET: GroupSettings = GroupSettings {
    session_timeout: None,
    heartbeat_interval: None,
};

impl Topics for OneTopic {
    fn topic(&self, name: &str) -> Option<(TopicId, PartitionIndex)> {
        (name == "t").then_some((TOPIC, 1))
    }

    fn name_of(&self, id: TopicId) -> Option<Arc<str>> {
        (id == TOPIC).then(|| Arc::from("t"))
    }

    fn for_each(&self, each: &mut dyn FnMut(&Arc<str>, TopicId, PartitionIndex)) {
        each(&Arc::from("t"), TOPIC, 1);
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn groups() -> Groups {
    Coordinator::new(GroupConfig::default(), at(0), [])
}

fn join(id: &str, new_id: &str) -> JoinRequest {
    JoinRequest {
        member_id: id.to_owned(),
        instance: None,
        new_member_id: new_id.to_owned(),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: at(10),
        rebalance_timeout: at(60),
        protocol_type: "consumer".to_owned(),
        protocols: vec![(
            "range".to_owned(),
            Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t"),
        )],
        comes_back_with_id: false,
        can_skip_assignment: false,
    }
}

fn identity(group: &str, member_id: &str, generation: i32) -> Identity {
    Identity {
        group: group.to_owned(),
        member_id: member_id.to_owned(),
        instance: None,
        generation,
    }
}

fn sync(member_id: &str, generation: i32) -> SyncRequest {
    SyncRequest {
        member_id: member_id.to_owned(),
        instance: None,
        generation,
        protocol_type: None,
        protocol: None,
        assignments: vec![(member_id.to_owned(), Bytes::from_static(b"all"))],
    }
}

/// A stable group of one member, which is called `m`.
fn stable(groups: &mut Groups, name: &str, now: Duration) {
    assert_eq!(groups.join(now, &OneTopic, name, join("", "m"), 1), []);
    let outcomes = groups.tick(now + at(3), &OneTopic);
    let [
        Outcome::Save(saved, _),
        Outcome::Answer(1, GroupReply::Joined(answer)),
    ] = &*outcomes
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!((&**saved, answer.generation), (name, 1));
    let outcomes = groups.sync(now + at(3), &OneTopic, name, sync("m", 1), 2);
    assert!(
        matches!(&*outcomes, [Outcome::Save(..), Outcome::Answer(2, GroupReply::Synced(answer))]
            if answer.assignment == "all"),
        "{outcomes:?}"
    );
}

#[test]
fn groups_are_apart() {
    let mut groups = groups();
    stable(&mut groups, "one", at(0));
    stable(&mut groups, "two", at(4));
    assert_eq!(
        groups.heartbeat(at(8), &identity("one", "m", 1)),
        ErrorCode::None
    );
    assert_eq!(groups.next_tick(), Some(at(13)), "a look that may be early");
    assert_eq!(groups.tick(at(13), &OneTopic), []);
    assert_eq!(groups.next_tick(), Some(at(17)));
    let outcomes = groups.tick(at(17), &OneTopic);
    assert!(
        matches!(&*outcomes, [Outcome::Save(name, saved)] if &**name == "two" && saved.is_empty())
    );
    let phases: Vec<_> = groups.list(None, 10).iter().map(|it| it.state).collect();
    use crate::groups::classic::Phase;
    assert_eq!(
        phases,
        [Phase::Stable, Phase::Empty].map(ListedState::Classic)
    );
    assert_eq!(groups.list(Some("one"), 10).len(), 1);
    assert_eq!(groups.list(None, 1).len(), 1);
    assert_eq!(groups.delete("one"), Err(ErrorCode::NonEmptyGroup));
    assert_eq!(groups.delete("two").as_deref(), Ok("two"));
    assert_eq!(groups.delete("two"), Err(ErrorCode::GroupIdNotFound));
    assert_eq!(groups.describe("two"), None);
}

#[test]
fn who_asks_for_what_is_not_there_is_told_so() {
    let mut groups = groups();
    let refused = |outcomes: Outcomes<u32>| match &*outcomes {
        [Outcome::Answer(7, GroupReply::Joined(answer))] => answer.error,
        [Outcome::Answer(7, GroupReply::Synced(answer))] => answer.error,
        other => panic!("{other:?}"),
    };
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(
        refused(groups.join(at(0), &OneTopic, "", join("", "m"), 7)),
        ErrorCode::InvalidGroupId
    );
    assert_eq!(
        refused(groups.join(at(0), &OneTopic, "g", join("m", "n"), 7)),
        unknown
    );
    assert_eq!(
        refused(groups.sync(at(0), &OneTopic, "g", sync("m", 1), 7)),
        unknown
    );
    assert_eq!(groups.heartbeat(at(0), &identity("g", "m", 1)), unknown);
    assert_eq!(
        groups.heartbeat(at(0), &identity("", "m", 1)),
        ErrorCode::InvalidGroupId
    );
    let (codes, outcomes) = groups.leave(at(0), &OneTopic, "g", &[("m".to_owned(), None)]);
    assert_eq!((codes, outcomes), (vec![unknown], vec![]));
    assert_eq!(groups.subscribed("g"), Err(ErrorCode::GroupIdNotFound));
    let commit = |groups: &mut Groups, by: &Identity| {
        groups
            .may_commit(at(0), by, ErrorCode::IllegalGeneration)
            .map(|_| ())
    };
    let member = identity("g", "m", 1);
    assert_eq!(
        commit(&mut groups, &member),
        Err(ErrorCode::IllegalGeneration)
    );
    assert_eq!(groups.list(None, 10), [], "nothing of this made a group");
    assert_eq!(commit(&mut groups, &identity("g", "", -1)), Ok(()));
    assert_eq!(groups.list(None, 10).len(), 1);
    groups.not_kept("g");
    assert_eq!(groups.list(None, 10), []);
}

#[test]
fn nobody_who_only_asked_for_an_id_leaves_a_group_behind() {
    let mut groups = groups();
    let asked = JoinRequest {
        comes_back_with_id: true,
        ..join("", "m")
    };
    assert_eq!(groups.join(at(0), &OneTopic, "g", asked, 1).len(), 1);
    assert_eq!(groups.list(None, 10).len(), 1);
    assert_eq!(groups.tick(at(10), &OneTopic), []);
    assert_eq!(groups.list(None, 10), []);
    assert_eq!(groups.next_tick(), None);
    assert_eq!(groups.waiting.len(), 0);
}

#[test]
fn topics_that_are_read_are_known() {
    let mut groups = groups();
    stable(&mut groups, "g", at(0));
    let topics = groups.subscribed("g").unwrap().unwrap();
    assert!(topics.contains("t") && topics.len() == 1);
    let other = JoinRequest {
        protocol_type: "connect".to_owned(),
        ..join("", "w")
    };
    assert_eq!(groups.join(at(0), &OneTopic, "c", other, 3), []);
    groups.tick(at(3), &OneTopic);
    assert_eq!(groups.subscribed("c"), Err(ErrorCode::NonEmptyGroup));
}

#[test]
fn who_stood_still_for_long_expires_nobody() {
    let mut groups = groups();
    stable(&mut groups, "g", at(0));
    assert_eq!(groups.tick(at(100), &OneTopic), []);
    assert_eq!(
        groups.heartbeat(at(109), &identity("g", "m", 1)),
        ErrorCode::None
    );
    assert_eq!(groups.tick(at(110), &OneTopic), []);
    assert_eq!(
        groups.tick(at(119), &OneTopic).len(),
        1,
        "it is silent by now"
    );
}

#[test]
fn a_new_owner_goes_on_with_all_groups() {
    let mut before = groups();
    stable(&mut before, "g", at(0));
    let saved = before.groups.iter();
    let saved: Vec<_> = saved
        .map(|(name, entry)| match &entry.group {
            Machine::Classic(group) => (Arc::clone(name), Saved::Classic(group.saved())),
            Machine::Consumer(group) => (Arc::clone(name), Saved::Consumer(group.saved())),
        })
        .collect();
    let saved = saved.iter().map(|(name, saved)| (name, saved));
    let mut groups: Groups = Coordinator::new(GroupConfig::default(), at(500), saved);
    assert_eq!(groups.next_tick(), Some(at(510)));
    assert_eq!(
        groups.heartbeat(at(505), &identity("g", "m", 1)),
        ErrorCode::None
    );
    assert_eq!(groups.tick(at(510), &OneTopic), []);
    assert_eq!(groups.describe("g").unwrap().members.len(), 1);
}

fn heartbeat(id: &str, epoch: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        member_id: id.to_owned(),
        epoch,
        ..HeartbeatRequest::default()
    }
}

fn consumer(id: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        rebalance_timeout: Some(at(60)),
        names: Some(vec!["t".to_owned()]),
        owned: Some(Partitions::new()),
        ..heartbeat(id, 0)
    }
}

fn heard(
    groups: &mut Groups,
    now: Duration,
    name: &str,
    request: HeartbeatRequest,
) -> HeartbeatAnswer {
    let (answer, outcomes) = groups.consumer_heartbeat(now, &OneTopic, UNSET, name, request);
    let saves = |outcome: &Outcome<u32>| matches!(outcome, Outcome::Save(_, Saved::Consumer(_)));
    assert!(
        outcomes.is_empty() || outcomes.iter().any(saves),
        "{outcomes:?}"
    );
    answer
}

#[test]
fn what_is_set_for_a_group_holds_also_under_the_next_owner() {
    let longer = GroupSettings {
        session_timeout: Some(at(100)),
        heartbeat_interval: Some(at(7)),
    };
    let mut before = groups();
    let (answer, _) = before.consumer_heartbeat(at(0), &OneTopic, longer, "g", consumer("a"));
    assert_eq!(answer.interval, at(7));
    assert_eq!(before.next_tick(), Some(at(100)));
    let saved = before.groups.iter();
    let saved: Vec<_> = saved
        .filter_map(|(name, entry)| match &entry.group {
            Machine::Classic(_) => None,
            Machine::Consumer(group) => Some((Arc::clone(name), Saved::Consumer(group.saved()))),
        })
        .collect();
    let saved = saved.iter().map(|(name, saved)| (name, saved));
    let mut groups: Groups = Coordinator::new(GroupConfig::default(), at(500), saved);
    assert_eq!(groups.next_tick(), Some(at(545)));
    groups.configure(at(500), |name| if name == "g" { longer } else { UNSET });
    assert_eq!(groups.tick(at(545), &OneTopic), [], "nobody is given up");
    assert_eq!(groups.next_tick(), Some(at(600)));
    let (answer, _) = groups.consumer_heartbeat(at(550), &OneTopic, UNSET, "g", heartbeat("a", 1));
    assert_eq!(
        answer.interval,
        at(5),
        "what is no longer set holds no longer"
    );
}

#[test]
fn groups_of_the_consumer_protocol_are_made_by_who_joins() {
    let mut groups = groups();
    let missing = ErrorCode::GroupIdNotFound;
    assert_eq!(
        heard(&mut groups, at(0), "g", heartbeat("a", 1)).error,
        missing
    );
    assert_eq!(
        heard(&mut groups, at(0), "g", heartbeat("a", -1)).error,
        missing
    );
    let invalid = HeartbeatRequest {
        regex: Some("(".to_owned()),
        ..consumer("a")
    };
    let refused = heard(&mut groups, at(0), "g", invalid).error;
    assert_eq!(refused, ErrorCode::InvalidRegularExpression);
    assert_eq!(groups.list(None, 10), [], "nothing of this made a group");
    assert_eq!(heard(&mut groups, at(0), "g", consumer("a")).epoch, 1);
    let listed = groups.list(None, 10);
    assert_eq!(listed[0].state, ListedState::Consumer(GroupState::Stable));
    assert_eq!(listed[0].protocol_type, "consumer");
    assert_eq!(groups.describe("g"), None, "it is of another kind");
    assert_eq!(
        groups
            .describe_consumers(&OneTopic, "g")
            .unwrap()
            .members
            .len(),
        1
    );
    assert!(groups.subscribed("g").unwrap().unwrap().contains("t"));
    assert_eq!(groups.delete("g"), Err(ErrorCode::NonEmptyGroup));
    assert_eq!(groups.may_fetch("g", None, -1), Ok(()));
    assert_eq!(groups.may_fetch("g", Some("a"), 1), Ok(()));
    assert_eq!(
        groups.may_fetch("g", Some("a"), 2),
        Err(ErrorCode::StaleMemberEpoch)
    );
    let member = identity("g", "a", 1);
    let old = ErrorCode::IllegalGeneration;
    assert_eq!(
        groups.may_commit(at(0), &member, missing).as_deref(),
        Ok("g")
    );
    assert_eq!(
        groups.may_commit(at(0), &member, old),
        Err(ErrorCode::UnsupportedVersion)
    );
    let stale = identity("g", "a", 2);
    assert_eq!(
        groups.may_commit(at(0), &stale, missing),
        Err(ErrorCode::StaleMemberEpoch)
    );
    assert_eq!(groups.next_tick(), Some(at(45)));
    let outcomes = groups.tick(at(45), &OneTopic);
    assert!(
        matches!(&*outcomes, [Outcome::Save(_, saved)] if saved.is_empty()),
        "{outcomes:?}"
    );
    assert_eq!(groups.delete("g").as_deref(), Ok("g"));
}

#[test]
fn groups_without_members_are_of_any_kind() {
    let mut groups = groups();
    assert_eq!(heard(&mut groups, at(0), "g", consumer("a")).epoch, 1);
    assert_eq!(heard(&mut groups, at(1), "g", heartbeat("a", -1)).epoch, -1);
    let outcomes = groups.join(at(2), &OneTopic, "g", join("", "m"), 1);
    assert_eq!(outcomes, []);
    let outcomes = groups.tick(at(5), &OneTopic);
    let [Outcome::Save(_, Saved::Classic(saved)), Outcome::Answer(..)] = &*outcomes else {
        panic!("{outcomes:?}");
    };
    assert_eq!(saved.generation, 3, "epochs and generations only rise");
    let leave = [("m".to_owned(), None)];
    assert_eq!(
        groups.leave(at(6), &OneTopic, "g", &leave).0,
        [ErrorCode::None]
    );
    assert_eq!(heard(&mut groups, at(7), "g", consumer("a")).epoch, 5);
}

/// What a stock consumer of `t` says of itself.
fn stock(id: &str, new_id: &str) -> JoinRequest {
    let metadata = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";
    JoinRequest {
        protocols: vec![("range".to_owned(), Bytes::from_static(metadata))],
        ..join(id, new_id)
    }
}

#[test]
fn a_classic_group_is_changed_and_changed_back() {
    let mut groups = groups();
    assert_eq!(groups.join(at(0), &OneTopic, "g", stock("", "m"), 1), []);
    groups.tick(at(3), &OneTopic);
    let assignment = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\xff\xff\xff\xff";
    let assigns = SyncRequest {
        assignments: vec![("m".to_owned(), Bytes::from_static(assignment))],
        ..sync("m", 1)
    };
    groups.sync(at(3), &OneTopic, "g", assigns, 2);
    // Somebody waits in a rebalance when the new member comes.
    assert_eq!(groups.join(at(4), &OneTopic, "g", stock("", "n"), 3), []);
    let (answer, outcomes) = groups.consumer_heartbeat(at(4), &OneTopic, UNSET, "g", consumer("c"));
    assert_eq!((answer.error, answer.epoch), (ErrorCode::None, 2));
    let [
        Outcome::Save(_, Saved::Consumer(saved)),
        Outcome::Answer(3, GroupReply::Joined(told)),
    ] = &*outcomes
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(told.error, ErrorCode::RebalanceInProgress);
    assert_eq!(saved.members.len(), 3);
    let again = ErrorCode::RebalanceInProgress;
    assert_eq!(groups.heartbeat(at(5), &identity("g", "m", 1)), again);
    let outcomes = groups.join(at(5), &OneTopic, "g", stock("m", ""), 4);
    let joined = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Answer(4, GroupReply::Joined(answer)) => Some(answer.generation),
        _ => None,
    });
    assert_eq!(joined, Some(2));
    let connect = JoinRequest {
        protocol_type: "connect".to_owned(),
        ..stock("", "w")
    };
    let outcomes = groups.join(at(5), &OneTopic, "g", connect, 5);
    assert!(
        matches!(&*outcomes, [Outcome::Answer(5, GroupReply::Joined(answer))]
            if answer.error == ErrorCode::InconsistentGroupProtocol),
        "{outcomes:?}"
    );
    // The last new member leaves: all others join a classic group.
    let (answer, outcomes) =
        groups.consumer_heartbeat(at(6), &OneTopic, UNSET, "g", heartbeat("c", -1));
    assert_eq!(answer.error, ErrorCode::None);
    let [Outcome::Save(_, Saved::Classic(saved))] = &*outcomes else {
        panic!("{outcomes:?}");
    };
    assert_eq!((saved.generation, saved.members.len()), (3, 2));
    assert_eq!(groups.heartbeat(at(7), &identity("g", "m", 2)), again);
    assert_eq!(groups.join(at(7), &OneTopic, "g", stock("m", ""), 6), []);
    let outcomes = groups.join(at(7), &OneTopic, "g", stock("n", ""), 7);
    let joined: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Answer(_, GroupReply::Joined(answer)) => Some(answer.generation),
            _ => None,
        })
        .collect();
    assert_eq!(joined, [3, 3]);
    // Another kind of group cannot be changed.
    let worker = JoinRequest {
        protocol_type: "connect".to_owned(),
        ..join("", "w")
    };
    groups.join(at(8), &OneTopic, "workers", worker, 8);
    let refused = heard(&mut groups, at(8), "workers", consumer("c")).error;
    assert_eq!(refused, ErrorCode::GroupIdNotFound);
}
