//! Scripts of members, by the rules of the reference for classic groups.

use super::*;

mod property;
mod take_over;

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(300);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn request(member_id: &str) -> JoinRequest {
    JoinRequest {
        member_id: member_id.to_owned(),
        instance: None,
        new_member_id: String::new(),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"topics"))],
        comes_back_with_id: true,
        can_skip_assignment: true,
    }
}

fn sync(member_id: &str, generation: i32, assignments: &[(&str, &str)]) -> SyncRequest {
    let own = |(id, bytes): &(&str, &str)| ((*id).to_owned(), Bytes::from((*bytes).to_owned()));
    SyncRequest {
        member_id: member_id.to_owned(),
        instance: None,
        generation,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        assignments: assignments.iter().map(own).collect(),
    }
}

/// A group and what it has said.
struct Scene {
    group: Group,
    next: Token,
}

impl Scene {
    fn new() -> Self {
        Self {
            group: Group::new(GroupConfig::default()),
            next: 0,
        }
    }

    fn token(&mut self) -> Token {
        self.next += 1;
        self.next
    }

    fn join(&mut self, now: Duration, request: JoinRequest) -> Vec<Effect> {
        let (token, mut effects) = (self.token(), Vec::new());
        self.group.join(now, token, request, &mut effects);
        effects
    }

    /// Joins as stock clients do: first without an id, then with the one that is given.
    fn join_anew(&mut self, now: Duration, name: &str) -> Vec<Effect> {
        let asked = JoinRequest {
            new_member_id: name.to_owned(),
            ..request("")
        };
        let effects = self.join(now, asked);
        let told = only_join(&effects);
        assert_eq!(told.error, ErrorCode::MemberIdRequired);
        assert_eq!(told.member_id, name);
        self.join(now, request(name))
    }

    fn sync(&mut self, now: Duration, request: SyncRequest) -> Vec<Effect> {
        let (token, mut effects) = (self.token(), Vec::new());
        self.group.sync(now, token, request, &mut effects);
        effects
    }

    fn tick(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.group.tick(now, &mut effects);
        effects
    }

    /// A stable group of these members.
    fn stable(names: &[&str]) -> Self {
        let mut scene = Self::new();
        for name in names {
            assert_eq!(scene.join_anew(at(0), name), [], "it waits for more");
        }
        let joined = joins(&scene.tick(at(3)));
        assert_eq!(joined.len(), names.len());
        let leader = joined[0].leader.clone();
        for name in names.iter().filter(|name| **name != leader) {
            assert_eq!(scene.sync(at(3), sync(name, 1, &[])), []);
        }
        let assigned: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
        let effects = scene.sync(at(3), sync(&leader, 1, &assigned));
        assert_eq!(effects[0], Effect::Save);
        assert_eq!(syncs(&effects).len(), names.len());
        assert_eq!(scene.group.phase(), Phase::Stable);
        scene
    }

    fn heartbeat(&mut self, now: Duration, name: &str, generation: i32) -> Result<(), ErrorCode> {
        self.group.heartbeat(now, name, None, generation)
    }
}

fn joins(effects: &[Effect]) -> Vec<JoinAnswer> {
    let join = |effect: &Effect| match effect {
        Effect::Joined(_, answer) => Some(answer.clone()),
        Effect::Save | Effect::Synced(..) => None,
    };
    effects.iter().filter_map(join).collect()
}

fn syncs(effects: &[Effect]) -> Vec<SyncAnswer> {
    let sync = |effect: &Effect| match effect {
        Effect::Synced(_, answer) => Some(answer.clone()),
        Effect::Save | Effect::Joined(..) => None,
    };
    effects.iter().filter_map(sync).collect()
}

#[track_caller]
fn only_join(effects: &[Effect]) -> JoinAnswer {
    let ([Effect::Joined(_, answer)] | [Effect::Save, Effect::Joined(_, answer)]) = effects else {
        panic!("{effects:?}");
    };
    answer.clone()
}

#[test]
fn the_first_generation_waits_for_more_members() {
    let mut scene = Scene::new();
    assert_eq!(scene.join_anew(at(0), "a"), []);
    assert_eq!(scene.group.next_tick(), Some(at(3)));
    assert_eq!(scene.join_anew(at(2), "b"), []);
    assert_eq!(scene.group.next_tick(), Some(at(5)), "members still come");
    assert_eq!(scene.tick(at(4)), []);
    let joined = joins(&scene.tick(at(5)));
    assert_eq!(joined.len(), 2);
    for answer in &joined {
        assert_eq!((answer.error, answer.generation), (ErrorCode::None, 1));
        assert_eq!(answer.protocol.as_deref(), Some("range"));
        assert_eq!(answer.leader, "a");
        let told = if answer.member_id == "a" { 2 } else { 0 };
        assert_eq!(
            answer.members.len(),
            told,
            "only the leader is told the members"
        );
    }
    assert_eq!(scene.group.phase(), Phase::CompletingRebalance);
}

#[test]
fn everybody_gets_what_the_leader_assigned() {
    let mut scene = Scene::stable(&["a", "b", "c"]);
    let again = syncs(&scene.sync(at(4), sync("b", 1, &[])));
    assert_eq!(again[0].assignment, "b");
    let wrong = SyncRequest {
        protocol: Some("sticky".to_owned()),
        ..sync("b", 1, &[])
    };
    let wrong = syncs(&scene.sync(at(4), wrong));
    assert_eq!(wrong[0].error, ErrorCode::InconsistentGroupProtocol);
    let old = syncs(&scene.sync(at(4), sync("b", 0, &[])));
    assert_eq!(old[0].error, ErrorCode::IllegalGeneration);
    let unknown = syncs(&scene.sync(at(4), sync("z", 1, &[])));
    assert_eq!(unknown[0].error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_new_member_makes_the_others_join_again() {
    let mut scene = Scene::stable(&["a", "b"]);
    assert_eq!(scene.join_anew(at(10), "c"), []);
    let again = Err(ErrorCode::RebalanceInProgress);
    assert_eq!(scene.heartbeat(at(11), "a", 1), again);
    assert_eq!(
        scene.group.may_commit(at(11), "a", None, 1),
        Ok(()),
        "of the generation that ends"
    );
    assert_eq!(scene.join(at(12), request("a")), []);
    let joined = joins(&scene.join(at(12), request("b")));
    assert_eq!(joined.len(), 3);
    assert!(
        joined
            .iter()
            .all(|answer| answer.generation == 2 && answer.leader == "a")
    );
    assert_eq!(scene.group.may_commit(at(12), "a", None, 2), again);
    assert_eq!(scene.heartbeat(at(12), "c", 2), Ok(()));
    assert_eq!(
        scene.heartbeat(at(12), "c", 1),
        Err(ErrorCode::IllegalGeneration)
    );
}

#[test]
fn who_does_not_join_in_time_is_out() {
    let mut scene = Scene::stable(&["a", "b"]);
    assert_eq!(scene.join_anew(at(10), "c"), []);
    assert_eq!(scene.join(at(11), request("a")), []);
    // It is alive, but does not join.
    for second in (20..310).step_by(30) {
        assert_eq!(
            scene.heartbeat(at(second), "b", 1),
            Err(ErrorCode::RebalanceInProgress)
        );
    }
    let joined = joins(&scene.tick(at(310)));
    assert_eq!(joined.len(), 2);
    assert_eq!(
        scene.heartbeat(at(310), "b", 1),
        Err(ErrorCode::UnknownMemberId)
    );
}

#[test]
fn who_is_silent_is_out_and_the_others_join_again() {
    let mut scene = Scene::stable(&["a", "b"]);
    assert_eq!(scene.heartbeat(at(30), "a", 1), Ok(()));
    assert_eq!(scene.group.next_tick(), Some(at(3) + SESSION));
    assert_eq!(scene.tick(at(48)), []);
    assert_eq!(scene.group.phase(), Phase::PreparingRebalance);
    let joined = joins(&scene.join(at(49), request("a")));
    assert_eq!((joined.len(), joined[0].generation), (1, 2));
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let mut scene = Scene::new();
    for name in ["a", "b"] {
        scene.join_anew(at(0), name);
    }
    scene.tick(at(3));
    assert_eq!(scene.sync(at(4), sync("b", 1, &[])), []);
    for second in (10..300).step_by(20) {
        assert_eq!(scene.heartbeat(at(second), "a", 1), Ok(()));
    }
    let refused = syncs(&scene.tick(at(303)));
    assert_eq!(refused[0].error, ErrorCode::RebalanceInProgress);
    let joined = joins(&scene.join(at(304), request("b")));
    assert_eq!(joined[0].leader, "b", "the leader before is gone");
}

#[test]
fn leaving_is_at_once_and_the_last_one_empties_the_group() {
    let mut scene = Scene::stable(&["a", "b"]);
    let mut effects = Vec::new();
    assert_eq!(scene.group.leave(at(5), "a", None, &mut effects), Ok(()));
    assert_eq!(
        scene.group.leave(at(5), "a", None, &mut effects),
        Err(ErrorCode::UnknownMemberId)
    );
    assert_eq!(effects, []);
    assert_eq!(
        scene.heartbeat(at(6), "b", 1),
        Err(ErrorCode::RebalanceInProgress)
    );
    assert_eq!(scene.group.leave(at(7), "b", None, &mut effects), Ok(()));
    assert_eq!(effects, [Effect::Save]);
    assert_eq!(
        (scene.group.phase(), scene.group.generation()),
        (Phase::Empty, 2)
    );
    assert_eq!(scene.group.next_tick(), None);
    assert_eq!(
        scene.group.may_commit(at(8), "", None, -1),
        Ok(()),
        "a consumer that assigns itself"
    );
}

#[test]
fn the_protocol_is_one_that_all_know_and_most_prefer() {
    let with = |name: &str, protocols: &[&str]| JoinRequest {
        protocols: protocols
            .iter()
            .map(|name| ((*name).to_owned(), Bytes::new()))
            .collect(),
        new_member_id: name.to_owned(),
        comes_back_with_id: false,
        ..request("")
    };
    let mut scene = Scene::new();
    assert_eq!(scene.join(at(0), with("a", &["x", "y", "z"])), []);
    assert_eq!(scene.join(at(0), with("b", &["z", "y"])), []);
    assert_eq!(scene.join(at(0), with("c", &["w", "y", "z"])), []);
    let refused = only_join(&scene.join(at(0), with("d", &["x"])));
    assert_eq!(refused.error, ErrorCode::InconsistentGroupProtocol);
    let refused = only_join(&scene.join(at(0), with("d", &[])));
    assert_eq!(refused.error, ErrorCode::InconsistentGroupProtocol);
    let joined = joins(&scene.tick(at(3)));
    assert!(
        joined
            .iter()
            .all(|answer| answer.protocol.as_deref() == Some("y"))
    );
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let fixed = |id: &str, new_id: &str| JoinRequest {
        instance: Some("one".to_owned()),
        new_member_id: new_id.to_owned(),
        ..request(id)
    };
    let mut scene = Scene::new();
    assert_eq!(
        scene.join(at(0), fixed("", "s1")),
        [],
        "a static member is not sent back for its id"
    );
    let joined = only_join(&scene.tick(at(3)));
    assert_eq!(joined.members[0].instance.as_deref(), Some("one"));
    let leader = SyncRequest {
        instance: Some("one".to_owned()),
        ..sync("s1", 1, &[("s1", "all")])
    };
    scene.sync(at(3), leader);

    let effects = scene.join(at(10), fixed("", "s2"));
    assert_eq!(effects[0], Effect::Save);
    let answer = &joins(&effects)[0];
    assert_eq!((answer.generation, answer.member_id.as_str()), (1, "s2"));
    assert!(answer.skip_assignment && answer.leader == "s2");
    let fenced = scene.group.heartbeat(at(10), "s1", Some("one"), 1);
    assert_eq!(fenced, Err(ErrorCode::FencedInstanceId));
    let kept = syncs(&scene.sync(at(10), sync("s2", 1, &[])));
    assert_eq!(kept[0].assignment, "all");

    let old_client = JoinRequest {
        can_skip_assignment: false,
        ..fixed("", "s3")
    };
    let answer = joins(&scene.join(at(11), old_client)).remove(0);
    assert_eq!(
        (answer.leader.as_str(), answer.members.len()),
        ("s2", 0),
        "it must not assign"
    );
}

#[test]
fn a_member_that_got_an_id_is_waited_for_as_long_as_its_session() {
    let mut scene = Scene::stable(&["a"]);
    let asked = JoinRequest {
        new_member_id: "late".to_owned(),
        ..request("")
    };
    only_join(&scene.join(at(5), asked));
    assert_eq!(
        scene.join(at(6), request("a")),
        [],
        "the leader makes a rebalance"
    );
    assert_eq!(scene.tick(at(49)), []);
    let joined = joins(&scene.tick(at(50)));
    assert_eq!(joined.len(), 1);
    let late = only_join(&scene.join(at(51), request("late")));
    assert_eq!(late.error, ErrorCode::UnknownMemberId);
}

#[test]
fn limits_are_told() {
    let mut scene = Scene::new();
    let hasty = JoinRequest {
        session_timeout: at(5),
        ..request("")
    };
    let refused = only_join(&scene.join(at(0), hasty));
    assert_eq!(refused.error, ErrorCode::InvalidSessionTimeout);
    scene.group = Group::new(GroupConfig {
        members_max: 1,
        ..GroupConfig::default()
    });
    assert_eq!(scene.join_anew(at(0), "a"), []);
    let full = only_join(&scene.join(at(0), request("")));
    assert_eq!(full.error, ErrorCode::GroupMaxSizeReached);
}
