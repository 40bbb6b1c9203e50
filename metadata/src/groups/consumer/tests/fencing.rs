//! What is refused, and what a member may say again.

use super::*;

#[test]
fn what_contradicts_the_protocol_is_refused() {
    let mut scene = Scene::new(1);
    let invalid = ErrorCode::InvalidRequest;
    let blank = Some(" ".to_owned());
    for (case, request, expected) in [
        ("no id", join(""), invalid),
        ("epoch", beat("a", -3), invalid),
        ("dynamic pause", beat("a", PAUSING), invalid),
        (
            "instance",
            HeartbeatRequest {
                instance: blank.clone(),
                ..join("a")
            },
            invalid,
        ),
        (
            "rack",
            HeartbeatRequest {
                rack: blank,
                ..join("a")
            },
            invalid,
        ),
        (
            "timeout",
            HeartbeatRequest {
                rebalance_timeout: None,
                ..join("a")
            },
            invalid,
        ),
        (
            "topics",
            HeartbeatRequest {
                names: None,
                ..join("a")
            },
            invalid,
        ),
        (
            "owned",
            HeartbeatRequest {
                owned: None,
                ..join("a")
            },
            invalid,
        ),
        (
            "owns",
            HeartbeatRequest {
                owned: Some(of(1, &[0])),
                ..join("a")
            },
            invalid,
        ),
        (
            "assignor",
            HeartbeatRequest {
                assignor: Some("x".to_owned()),
                ..join("a")
            },
            ErrorCode::UnsupportedAssignor,
        ),
        (
            "regex",
            HeartbeatRequest {
                regex: Some("(".to_owned()),
                ..join("a")
            },
            ErrorCode::InvalidRegularExpression,
        ),
        ("stranger", beat("a", 1), ErrorCode::UnknownMemberId),
        (
            "stranger leaves",
            beat("a", LEAVING),
            ErrorCode::UnknownMemberId,
        ),
    ] {
        assert_eq!(scene.refused(at(0), request), expected, "{case}");
    }
    assert!(join("a").check("", &ConsumerConfig::default()).is_err());
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut scene = Scene::new(1);
    scene.group.config.members_max = 1;
    scene.told(at(0), join("a"));
    assert_eq!(
        scene.refused(at(0), join("b")),
        ErrorCode::GroupMaxSizeReached
    );
    assert_eq!(scene.told(at(0), join("a")), (1, Some(vec![0])));
    scene.group.config.bytes_max = 100;
    let long = HeartbeatRequest {
        names: Some(vec!["t".repeat(100)]),
        ..beat("a", 1)
    };
    assert_eq!(scene.refused(at(0), long), ErrorCode::GroupMaxSizeReached);
}

/// `a` at epoch 2 with 0 and 1 of 4, the answer that said so lost; its epoch before was 1.
fn behind() -> Scene {
    let mut scene = Scene::new(4);
    scene.told(at(0), join("a"));
    scene.told(at(0), join("b"));
    scene.told(at(1), beat("a", 1));
    assert_eq!(scene.told(at(2), owning("a", 1, &[0, 1])), (2, None));
    scene
}

#[test]
fn another_epoch_is_fenced_unless_only_the_answer_was_lost() {
    let fenced = ErrorCode::FencedMemberEpoch;
    let mut scene = behind();
    assert_eq!(scene.refused(at(3), beat("a", 3)), fenced);
    assert_eq!(
        scene.refused(at(3), beat("a", 1)),
        fenced,
        "it may own anything"
    );
    assert_eq!(scene.refused(at(3), owning("a", 1, &[0, 1, 2])), fenced);
    assert_eq!(scene.told(at(3), owning("a", 1, &[0])), (2, None));
    assert_eq!(scene.told(at(4), owning("a", 1, &[0, 1])), (2, None));
    assert_eq!(scene.refused(at(5), owning("b", 1, &[])), fenced);
    // A fenced member joins again, and owns nothing any more.
    assert_eq!(scene.told(at(6), join("a")), (2, Some(vec![0, 1])));
}

#[test]
fn what_an_agent_asks_again_is_answered_in_full() {
    let again = |request: HeartbeatRequest| HeartbeatRequest {
        is_repeat: true,
        ..request
    };
    let mut scene = behind();
    assert_eq!(
        scene.told(at(3), again(owning("a", 1, &[0, 1]))),
        (2, Some(vec![0, 1]))
    );
    // A heartbeat that only grew what it has: its epoch was raised, and nothing of it is in doubt.
    let mut scene = Scene::new(1);
    scene.told(at(0), join("a"));
    scene.cluster.set(1, 2);
    assert_eq!(scene.told(at(1), beat("a", 1)), (2, Some(vec![0, 1])));
    scene.take_over(at(2));
    assert_eq!(
        scene.told(at(2), again(beat("a", 1))),
        (2, Some(vec![0, 1]))
    );
    assert_eq!(scene.group.take_save(), None);
    // What is told at the same epoch is told again as well.
    scene.told(at(3), join("b"));
    assert_eq!(scene.told(at(4), beat("a", 2)), (2, Some(vec![0])));
    assert_eq!(scene.told(at(4), again(beat("a", 2))), (2, Some(vec![0])));
    assert_eq!(scene.told(at(5), again(join("b"))), (3, Some(vec![])));
}

#[test]
fn offsets_are_for_members_of_the_present_epoch() {
    let mut scene = Scene::new(1);
    let check = |scene: &Scene, id: &str, epoch, knows| {
        scene.group.check_epoch(id, None, epoch, knows).err()
    };
    assert_eq!(check(&scene, "", -1, true), None, "nobody is in it");
    scene.told(at(0), join("a"));
    assert_eq!(
        check(&scene, "", -1, true),
        Some(ErrorCode::UnknownMemberId)
    );
    assert_eq!(check(&scene, "a", 1, true), None);
    assert_eq!(
        check(&scene, "a", 0, true),
        Some(ErrorCode::StaleMemberEpoch)
    );
    assert_eq!(
        check(&scene, "a", 2, true),
        Some(ErrorCode::StaleMemberEpoch)
    );
    assert_eq!(
        check(&scene, "a", 1, false),
        Some(ErrorCode::UnsupportedVersion)
    );
    assert_eq!(
        check(&scene, "b", 1, true),
        Some(ErrorCode::UnknownMemberId)
    );
}
