//! Repeated requests, other owners, and members that are late.

use super::*;

fn restored(scene: &Scene, now: Duration) -> Scene {
    Scene {
        group: Group::restored(GroupConfig::default(), now, &scene.group.saved()),
        next: 1000,
    }
}

#[test]
fn a_new_owner_expires_nobody_for_its_absence() {
    let mut scene = restored(&Scene::stable(&["a", "b"]), at(1000));
    assert_eq!(scene.group.phase(), Phase::Stable);
    assert_eq!(scene.tick(at(1044)), []);
    assert_eq!(scene.heartbeat(at(1044), "a", 1), Ok(()));
    let kept = syncs(&scene.sync(at(1044), sync("b", 1, &[])));
    assert_eq!(kept[0].assignment, "b");
    assert_eq!(scene.tick(at(1045)), [], "b was heard");
    assert_eq!(scene.group.phase(), Phase::Stable);
}

#[test]
fn a_rebalance_goes_on_under_a_new_owner() {
    let mut before = Scene::new();
    before.join_anew(at(0), "a");
    before.join_anew(at(0), "b");
    let effects = before.tick(at(3));
    assert_eq!(effects[0], Effect::Save, "before anybody is told of it");
    assert_eq!(before.sync(at(3), sync("b", 1, &[])), []);
    let mut scene = restored(&before, at(100));
    assert_eq!(scene.group.phase(), Phase::CompletingRebalance);
    // One has not had the answer to its join, the other waits for its assignment: both ask again.
    let answer = only_join(&scene.join(at(100), request("a")));
    assert_eq!((answer.generation, answer.members.len()), (1, 2));
    assert_eq!(scene.sync(at(100), sync("b", 1, &[])), []);
    let synced = scene.sync(at(101), sync("a", 1, &[("a", "x"), ("b", "y")]));
    let synced: Vec<_> = syncs(&synced).into_iter().map(|it| it.assignment).collect();
    assert_eq!(synced, ["x", "y"]);
}

#[test]
fn a_join_that_is_repeated_makes_one_member() {
    let old_client = |id: &str| JoinRequest {
        comes_back_with_id: false,
        new_member_id: "a".to_owned(),
        ..request(id)
    };
    let mut scene = Scene::new();
    assert_eq!(scene.join(at(0), old_client("")), []);
    let superseded = only_join(&scene.join(at(1), old_client("")));
    assert_eq!(superseded.error, ErrorCode::RebalanceInProgress);
    let joined = joins(&scene.tick(at(3)));
    assert_eq!((joined.len(), joined[0].member_id.as_str()), (1, "a"));
    // The answer is lost, and the request comes once more.
    let again = only_join(&scene.join(at(4), old_client("")));
    assert_eq!((again.generation, again.members.len()), (1, 1));

    let asked = JoinRequest {
        new_member_id: "b".to_owned(),
        ..request("")
    };
    for _ in 0..2 {
        let told = only_join(&scene.join(at(5), asked.clone()));
        assert_eq!(told.error, ErrorCode::MemberIdRequired);
        assert_eq!(told.member_id, "b");
    }
    assert_eq!(scene.group.pending.len(), 1);
}

#[test]
fn a_static_join_that_is_repeated_fences_nobody() {
    let fixed = JoinRequest {
        instance: Some("one".to_owned()),
        new_member_id: "s".to_owned(),
        ..request("")
    };
    let mut scene = Scene::new();
    assert_eq!(scene.join(at(0), fixed.clone()), []);
    let superseded = only_join(&scene.join(at(1), fixed.clone()));
    assert_eq!(superseded.error, ErrorCode::RebalanceInProgress);
    assert_eq!(joins(&scene.tick(at(3))).len(), 1);
    let leader = SyncRequest {
        instance: Some("one".to_owned()),
        ..sync("s", 1, &[("s", "all")])
    };
    scene.sync(at(3), leader);
    for can_skip_assignment in [true, false] {
        let again = JoinRequest {
            can_skip_assignment,
            ..fixed.clone()
        };
        let answer = only_join(&scene.join(at(4), again));
        assert_eq!((answer.error, answer.generation), (ErrorCode::None, 1));
        assert_eq!(answer.member_id, "s");
        let may_assign = answer.leader == "s" && !answer.skip_assignment;
        assert!(!may_assign, "{can_skip_assignment}: {answer:?}");
        let heard = scene.group.heartbeat(at(5), "s", Some("one"), 1);
        assert_eq!(heard, Ok(()));
    }
}

#[test]
fn a_follower_that_does_not_sync_in_time_is_out_though_the_leader_has_assigned() {
    let mut scene = Scene::new();
    scene.join_anew(at(0), "a");
    scene.join_anew(at(0), "b");
    scene.tick(at(3));
    scene.sync(at(4), sync("a", 1, &[("a", "x"), ("b", "y")]));
    assert_eq!(scene.group.phase(), Phase::Stable);
    for second in (10..303).step_by(20) {
        assert_eq!(scene.heartbeat(at(second), "a", 1), Ok(()));
        assert_eq!(scene.heartbeat(at(second), "b", 1), Ok(()));
        scene.tick(at(second));
    }
    scene.tick(at(303));
    let unknown = Err(ErrorCode::UnknownMemberId);
    assert_eq!(scene.heartbeat(at(303), "b", 1), unknown);
    assert_eq!(scene.group.phase(), Phase::PreparingRebalance);
}

#[test]
fn what_a_group_says_of_itself_is_bounded() {
    let mut scene = Scene::new();
    scene.group = Group::new(GroupConfig {
        bytes_max: 100,
        ..GroupConfig::default()
    });
    let with = |name: &str, bytes: usize| JoinRequest {
        protocols: vec![("range".to_owned(), Bytes::from(vec![0; bytes]))],
        new_member_id: name.to_owned(),
        comes_back_with_id: false,
        ..request("")
    };
    assert_eq!(scene.join(at(0), with("a", 60)), []);
    let refused = only_join(&scene.join(at(0), with("b", 60)));
    assert_eq!(refused.error, ErrorCode::GroupMaxSizeReached);
    scene.tick(at(3));
    let long = "x".repeat(101);
    let refused = syncs(&scene.sync(at(4), sync("a", 1, &[("a", long.as_str())])));
    assert_eq!(refused[0].error, ErrorCode::UnknownServerError);
    let taken = syncs(&scene.sync(at(4), sync("a", 1, &[("a", &long[1..])])));
    assert_eq!(taken[0].error, ErrorCode::None);
}

#[test]
fn nobody_expires_because_nobody_was_heard() {
    let mut scene = Scene::stable(&["a"]);
    scene.group.postpone(at(100), Duration::from_secs(52));
    assert_eq!(scene.tick(at(144)), []);
    assert_eq!(scene.heartbeat(at(144), "a", 1), Ok(()));
}
