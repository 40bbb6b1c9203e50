//! Anything in any order.

use proptest::prelude::*;

use super::*;

/// What a member does next, whatever would be right.
#[derive(Clone, Debug)]
enum Move {
    Join {
        member: u8,
        protocol: u8,
    },
    Sync {
        member: u8,
        is_current: bool,
    },
    Heartbeat {
        member: u8,
    },
    Leave {
        member: u8,
    },
    Pass {
        seconds: u16,
    },
    /// The owner is lost: another one goes on with what was saved, and who waited asks again.
    TakeOver,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let member = 0_u8..4;
    let one = prop_oneof![
        4 => (member.clone(), 0_u8..2).prop_map(|(member, protocol)| Move::Join { member, protocol }),
        4 => (member.clone(), prop::bool::weighted(0.9))
            .prop_map(|(member, is_current)| Move::Sync { member, is_current }),
        2 => member.clone().prop_map(|member| Move::Heartbeat { member }),
        1 => member.prop_map(|member| Move::Leave { member }),
        3 => (0_u16..400).prop_map(|seconds| Move::Pass { seconds }),
        1 => Just(Move::TakeOver),
    ];
    prop::collection::vec(one, 0..120)
}

proptest! {
    /// Whatever members do, everybody who waits is answered once, generations only rise, and a group
    /// without members is empty in the end, also when owners come and go.
    #[test]
    fn everybody_who_waits_is_answered_exactly_once(moves in moves()) {
        let mut scene = Scene::new();
        let mut ids: BTreeMap<u8, String> = BTreeMap::new();
        let mut waiting = BTreeSet::new();
        let (mut now, mut generation) = (at(0), 0);
        let mut saved = Saved::default();
        let past = std::iter::repeat_n(Move::Pass { seconds: 400 }, 8);
        for (step, next) in moves.into_iter().chain(past).enumerate() {
            let mut effects = Vec::new();
            match next {
                Move::Join { member, protocol } => {
                    let token = scene.token();
                    waiting.insert(token);
                    let id = ids.get(&member).cloned().unwrap_or_default();
                    let names: &[&str] = if protocol == 0 { &["range"] } else { &["sticky", "range"] };
                    let request = JoinRequest {
                        new_member_id: format!("{member}-{step}"),
                        protocols: names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect(),
                        ..request(&id)
                    };
                    scene.group.join(now, token, request, &mut effects);
                }
                Move::Sync { member, is_current } => {
                    let token = scene.token();
                    waiting.insert(token);
                    let id = ids.get(&member).cloned().unwrap_or_default();
                    let generation = scene.group.generation() - i32::from(!is_current);
                    let request = SyncRequest {
                        protocol: None,
                        ..sync(&id, generation, &[(&id, "mine")])
                    };
                    scene.group.sync(now, token, request, &mut effects);
                }
                Move::Heartbeat { member } => {
                    let id = ids.get(&member).cloned().unwrap_or_default();
                    let generation = scene.group.generation();
                    let known = scene.group.heartbeat(now, &id, None, generation);
                    let is_lost = known == Err(ErrorCode::UnknownMemberId);
                    prop_assert!(is_lost || scene.group.phase() != Phase::Empty);
                }
                Move::Leave { member } => {
                    let id = ids.get(&member).cloned().unwrap_or_default();
                    scene.group.leave(now, &id, None, &mut effects).unwrap_or_default();
                }
                Move::TakeOver => {
                    waiting.clear();
                    scene.group = Group::restored(GroupConfig::default(), now, &saved);
                    prop_assert_eq!(scene.group.saved(), saved.clone());
                }
                Move::Pass { seconds } => {
                    now += Duration::from_secs(seconds.into());
                    while scene.group.next_tick().is_some_and(|next| next <= now) {
                        scene.group.tick(now, &mut effects);
                    }
                }
            }
            if effects.contains(&Effect::Save) {
                saved = scene.group.saved();
            }
            for effect in &effects {
                let (Effect::Joined(token, _) | Effect::Synced(token, _)) = effect else {
                    continue;
                };
                prop_assert!(waiting.remove(token), "{effect:?} is not waited for");
                if let Effect::Joined(_, answer) = effect {
                    let member = answer.member_id.split('-').next().and_then(|it| it.parse().ok());
                    match (answer.error, member) {
                        (ErrorCode::None | ErrorCode::MemberIdRequired, Some(member)) => {
                            ids.insert(member, answer.member_id.clone());
                        }
                        (ErrorCode::UnknownMemberId, Some(member)) => {
                            ids.remove(&member);
                        }
                        _ => {}
                    }
                }
            }
            // What somebody was told was saved before, so no owner falls behind it.
            prop_assert!(scene.group.generation() >= generation);
            prop_assert_eq!(scene.group.generation(), saved.generation);
            generation = scene.group.generation();
        }
        prop_assert!(waiting.is_empty(), "{waiting:?} wait for ever");
        prop_assert_eq!(scene.group.phase(), Phase::Empty);
    }
}
