//! All groups together: names, timers, who is answered.

use bytes::Bytes;

use super::*;

type Groups = Coordinator<u32>;

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
    assert_eq!(groups.join(now, name, join("", "m"), 1), []);
    let outcomes = groups.tick(now + at(3));
    let [
        Outcome::Save(saved, _),
        Outcome::Answer(1, GroupReply::Joined(answer)),
    ] = &*outcomes
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!((&**saved, answer.generation), (name, 1));
    let outcomes = groups.sync(now + at(3), name, sync("m", 1), 2);
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
    assert_eq!(groups.tick(at(13)), []);
    assert_eq!(groups.next_tick(), Some(at(17)));
    let outcomes = groups.tick(at(17));
    assert!(
        matches!(&*outcomes, [Outcome::Save(name, saved)] if &**name == "two" && saved.members.is_empty())
    );
    let phases: Vec<_> = groups.list(None, 10).iter().map(|it| it.phase).collect();
    use crate::groups::classic::Phase;
    assert_eq!(phases, [Phase::Stable, Phase::Empty]);
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
        refused(groups.join(at(0), "", join("", "m"), 7)),
        ErrorCode::InvalidGroupId
    );
    assert_eq!(refused(groups.join(at(0), "g", join("m", "n"), 7)), unknown);
    assert_eq!(refused(groups.sync(at(0), "g", sync("m", 1), 7)), unknown);
    assert_eq!(groups.heartbeat(at(0), &identity("g", "m", 1)), unknown);
    assert_eq!(
        groups.heartbeat(at(0), &identity("", "m", 1)),
        ErrorCode::InvalidGroupId
    );
    let (codes, outcomes) = groups.leave(at(0), "g", &[("m".to_owned(), None)]);
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
    assert_eq!(groups.join(at(0), "g", asked, 1).len(), 1);
    assert_eq!(groups.list(None, 10).len(), 1);
    assert_eq!(groups.tick(at(10)), []);
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
    assert_eq!(groups.join(at(0), "c", other, 3), []);
    groups.tick(at(3));
    assert_eq!(groups.subscribed("c"), Err(ErrorCode::NonEmptyGroup));
}

#[test]
fn who_stood_still_for_long_expires_nobody() {
    let mut groups = groups();
    stable(&mut groups, "g", at(0));
    assert_eq!(groups.tick(at(100)), []);
    assert_eq!(
        groups.heartbeat(at(109), &identity("g", "m", 1)),
        ErrorCode::None
    );
    assert_eq!(groups.tick(at(110)), []);
    assert_eq!(groups.tick(at(119)).len(), 1, "it is silent by now");
}

#[test]
fn a_new_owner_goes_on_with_all_groups() {
    let mut before = groups();
    stable(&mut before, "g", at(0));
    let saved = before.groups.iter();
    let saved: Vec<_> = saved
        .map(|(name, entry)| (Arc::clone(name), entry.group.saved()))
        .collect();
    let saved = saved.iter().map(|(name, saved)| (name, saved));
    let mut groups: Groups = Coordinator::new(GroupConfig::default(), at(500), saved);
    assert_eq!(groups.next_tick(), Some(at(510)));
    assert_eq!(
        groups.heartbeat(at(505), &identity("g", "m", 1)),
        ErrorCode::None
    );
    assert_eq!(groups.tick(at(510)), []);
    assert_eq!(groups.describe("g").unwrap().members.len(), 1);
}
