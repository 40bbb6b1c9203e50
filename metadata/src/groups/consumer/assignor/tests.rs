//! What holds of any assignment.

use proptest::prelude::*;

use super::*;

fn topic(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

/// Subscriptions by member, what each had before, and partition counts by topic.
#[derive(Clone, Debug)]
struct Scene {
    topics: BTreeMap<TopicId, PartitionIndex>,
    members: Vec<(String, BTreeSet<TopicId>, Partitions)>,
}

impl Scene {
    fn assign(&self, assignor: Assignor) -> Vec<Partitions> {
        let members = self.members.iter();
        let members: Vec<_> = members
            .map(|(name, topics, before)| Subscriber {
                name,
                topics: topics.clone(),
                before,
            })
            .collect();
        assignor.assign(&self.topics, &members)
    }

    /// The same members after they were given this.
    fn having(&self, assigned: Vec<Partitions>) -> Self {
        let mut scene = self.clone();
        for (member, assigned) in scene.members.iter_mut().zip(assigned) {
            member.2 = assigned;
        }
        scene
    }

    fn check_shared_out(&self, assigned: &[Partitions]) {
        assert_eq!(assigned.len(), self.members.len());
        let mut given = Partitions::new();
        for ((name, topics, _), assigned) in self.members.iter().zip(assigned) {
            for partition in assigned {
                assert!(topics.contains(&partition.topic), "{name} gets {partition}");
                assert!(given.insert(*partition), "{partition} is given twice");
            }
        }
        let subscribed: BTreeSet<_> = self.members.iter().flat_map(|it| &it.1).collect();
        let expected = self
            .topics
            .iter()
            .filter(|(topic, _)| subscribed.contains(topic));
        let expected: Partitions = expected
            .flat_map(|(topic, count)| partitions_of(*topic, *count))
            .collect();
        assert_eq!(given, expected);
    }

    /// No partition could go to somebody who has two fewer.
    fn check_balanced(&self, assigned: &[Partitions]) {
        for owned in assigned {
            for partition in owned {
                for ((name, topics, _), other) in self.members.iter().zip(assigned) {
                    assert!(
                        !topics.contains(&partition.topic) || owned.len() <= other.len() + 1,
                        "{partition} would make {name} more equal"
                    );
                }
            }
        }
    }
}

fn stays(before: &[Partitions], after: &[Partitions]) -> usize {
    let pairs = before.iter().zip(after);
    pairs
        .map(|(before, after)| before.intersection(after).count())
        .sum()
}

fn scenes(is_homogeneous: bool) -> impl Strategy<Value = Scene> {
    let counts = prop::collection::vec(0..12_i32, 1..6);
    let subscriptions = prop::collection::vec(prop::collection::btree_set(0..7_u8, 0..6), 1..8);
    (counts, subscriptions).prop_map(move |(counts, subscriptions)| {
        let topics = (0..).zip(counts);
        let topics = topics.map(|(number, count)| (topic(number), count));
        let first = subscriptions.first().cloned().unwrap_or_default();
        let members = subscriptions.into_iter().enumerate();
        let members = members.map(|(number, topics)| {
            let topics = if is_homogeneous {
                first.clone()
            } else {
                topics
            };
            let topics = topics.into_iter().map(topic).collect();
            (format!("m{number}"), topics, Partitions::new())
        });
        Scene {
            topics: topics.collect(),
            members: members.collect(),
        }
    })
}

/// How many partitions have to move at least when members of the same subscription become equal.
fn moves_needed(before: &[Partitions]) -> usize {
    let total: usize = before.iter().map(BTreeSet::len).sum();
    let (share, larger) = (total / before.len(), total % before.len());
    let mut loads: Vec<usize> = before.iter().map(BTreeSet::len).collect();
    loads.sort_unstable_by(|a, b| b.cmp(a));
    let shares = (0..before.len()).map(|rank| share + usize::from(rank < larger));
    loads
        .into_iter()
        .zip(shares)
        .map(|(load, share)| load.saturating_sub(share))
        .sum()
}

proptest! {
    #[test]
    fn everything_is_given_out_once(scene in scenes(false), range in any::<bool>()) {
        let assignor = if range { Assignor::Range } else { Assignor::Uniform };
        let assigned = scene.assign(assignor);
        scene.check_shared_out(&assigned);
        let again = scene.having(assigned.clone()).assign(assignor);
        prop_assert_eq!(again, assigned, "nothing changes for nothing");
    }

    #[test]
    fn uniform_is_balanced(scene in scenes(false)) {
        scene.check_balanced(&scene.assign(Assignor::Uniform));
    }

    #[test]
    fn who_subscribes_to_the_same_gets_as_many(scene in scenes(true)) {
        let assigned = scene.assign(Assignor::Uniform);
        scene.check_shared_out(&assigned);
        let loads = assigned.iter().map(BTreeSet::len);
        prop_assert!(loads.clone().max().unwrap_or(0) - loads.min().unwrap_or(0) <= 1);
    }

    /// Members that stay keep as much as the balance allows, whoever else comes or goes.
    #[test]
    fn as_little_as_possible_moves(scene in scenes(true), gone in 0..8_usize, come in 0..3_usize) {
        let assigned = scene.assign(Assignor::Uniform);
        let mut scene = scene.having(assigned);
        let subscription = scene.members[0].1.clone();
        if gone < scene.members.len() && scene.members.len() > 1 {
            scene.members.remove(gone);
        }
        for number in 0..come {
            scene.members.push((format!("n{number}"), subscription.clone(), Partitions::new()));
        }
        let before: Vec<Partitions> = scene.members.iter().map(|it| it.2.clone()).collect();
        let after = scene.assign(Assignor::Uniform);
        scene.check_shared_out(&after);
        let free: usize = after.iter().map(BTreeSet::len).sum::<usize>()
            - before.iter().map(BTreeSet::len).sum::<usize>();
        let had: usize = before.iter().map(BTreeSet::len).sum();
        if free == 0 {
            prop_assert_eq!(had - stays(&before, &after), moves_needed(&before));
        } else if come == 0 {
            prop_assert_eq!(had, stays(&before, &after), "only what is free is given out");
        }
    }

    /// Also where subscriptions differ, a partition whose owner stays moves only to somebody with less.
    #[test]
    fn what_was_balanced_stays_when_a_topic_grows(scene in scenes(false), grown in 0..5_u8) {
        let assigned = scene.assign(Assignor::Uniform);
        let mut scene = scene.having(assigned);
        if let Some(count) = scene.topics.get_mut(&topic(grown)) {
            *count += 1;
        }
        let after = scene.assign(Assignor::Uniform);
        scene.check_shared_out(&after);
        scene.check_balanced(&after);
    }

    /// Members of one subscription read the same partitions of all topics that have as many.
    #[test]
    fn range_lets_partitions_meet(scene in scenes(true)) {
        let assigned = scene.assign(Assignor::Range);
        scene.check_shared_out(&assigned);
        let Some((_, subscribed, _)) = scene.members.first() else { return Ok(()) };
        for (first, count) in scene.topics.iter().filter(|it| subscribed.contains(it.0)) {
            let same = scene.topics.iter().filter(|(topic, other)| *other == count && subscribed.contains(topic));
            for (second, _) in same {
                for assigned in &assigned {
                    let of = |topic| -> Vec<_> {
                        assigned.iter().filter(|it| it.topic == topic).map(|it| it.partition).collect()
                    };
                    prop_assert_eq!(of(*first), of(*second));
                }
            }
        }
    }
}

#[test]
fn ranges_are_contiguous_and_the_first_are_longer() {
    let subscription: BTreeSet<_> = [topic(0), topic(9)].into();
    let member = |name: &str| (name.to_owned(), subscription.clone(), Partitions::new());
    let scene = Scene {
        topics: [(topic(0), 8)].into(),
        members: vec![member("b"), member("a"), member("c")],
    };
    let indexes =
        |assigned: &Partitions| -> Vec<_> { assigned.iter().map(|it| it.partition).collect() };
    let assigned: Vec<_> = scene.assign(Assignor::Range).iter().map(indexes).collect();
    assert_eq!(assigned, [vec![3, 4, 5], vec![0, 1, 2], vec![6, 7]]);
    let loads: Vec<_> = scene
        .assign(Assignor::Uniform)
        .iter()
        .map(BTreeSet::len)
        .collect();
    assert_eq!(loads, [3, 3, 2]);
    assert_eq!(Assignor::by_name("range"), Some(Assignor::Range));
    assert_eq!(Assignor::by_name("Uniform"), None);
}
