//! Balanced, and sticky.
//!
//! Where all members subscribe to the same, everybody keeps what it had up to its share, and only what is over
//! moves. Where they do not, partitions that nobody has go to whoever has least of those who may have them, and
//! then move one by one for as long as that makes two members more equal.

use std::collections::{BTreeMap, BTreeSet};

use floe_protocol::types::{PartitionIndex, TopicId, TopicPartition};

use super::{Partitions, Subscriber, partitions_of};

pub(super) fn assign(
    topics: &BTreeMap<TopicId, PartitionIndex>,
    members: &[Subscriber<'_>],
) -> Vec<Partitions> {
    let mut kept = kept(topics, members);
    let mut subscriptions = members.iter().map(|member| &member.topics);
    let Some(first) = subscriptions.next() else {
        return kept;
    };
    let free = free(topics, members, &kept);
    if subscriptions.all(|topics| topics == first) {
        share_equally(free, &mut kept);
    } else {
        share_by_eligibility(free, members, &mut kept);
    }
    kept
}

/// What each member may keep of what it had. Nothing is kept twice, whatever is said to have been.
fn kept(topics: &BTreeMap<TopicId, PartitionIndex>, members: &[Subscriber<'_>]) -> Vec<Partitions> {
    let mut seen = Partitions::new();
    let exists = |it: &TopicPartition| {
        let count = topics.get(&it.topic);
        count.is_some_and(|count| (0..*count).contains(&it.partition))
    };
    let of_member = |member: &Subscriber<'_>| {
        let before = member.before.iter().copied();
        before
            .filter(|it| member.topics.contains(&it.topic) && exists(it) && seen.insert(*it))
            .collect()
    };
    members.iter().map(of_member).collect()
}

/// What somebody subscribes to and nobody keeps.
fn free(
    topics: &BTreeMap<TopicId, PartitionIndex>,
    members: &[Subscriber<'_>],
    kept: &[Partitions],
) -> Vec<TopicPartition> {
    let subscribed: BTreeSet<TopicId> = members
        .iter()
        .flat_map(|member| &member.topics)
        .copied()
        .collect();
    let kept: Partitions = kept.iter().flatten().copied().collect();
    let subscribed = topics
        .iter()
        .filter(|(topic, _)| subscribed.contains(*topic));
    subscribed
        .flat_map(|(topic, count)| partitions_of(*topic, *count))
        .filter(|it| !kept.contains(it))
        .collect()
}

/// All may have everything: some get the share that is rounded up, and those do who have most already.
fn share_equally(mut free: Vec<TopicPartition>, assigned: &mut [Partitions]) {
    let total = free.len() + assigned.iter().map(BTreeSet::len).sum::<usize>();
    let Some(share) = total.checked_div(assigned.len()) else {
        return;
    };
    let larger = total % assigned.len();
    // A stable sort: of equals the first.
    let mut order: Vec<&mut Partitions> = assigned.iter_mut().collect();
    order.sort_by_key(|had| std::cmp::Reverse(had.len()));
    for (rank, had) in order.iter_mut().enumerate() {
        let share = share + usize::from(rank < larger);
        while had.len() > share {
            free.extend(had.pop_last());
        }
    }
    free.sort_unstable();
    let mut free = free.into_iter();
    // Dealt round by round, so that the partitions of one topic do not all go to one member.
    while free.len() > 0 {
        for (rank, had) in order.iter_mut().enumerate() {
            if had.len() < share + usize::from(rank < larger) {
                had.extend(free.next());
            }
        }
    }
}

/// Members by how many partitions they have.
type ByLoad = BTreeSet<(usize, usize)>;

fn share_by_eligibility(
    free: Vec<TopicPartition>,
    members: &[Subscriber<'_>],
    assigned: &mut [Partitions],
) {
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        for topic in &member.topics {
            subscribers.entry(*topic).or_default().push(at);
        }
    }
    let mut waiting: BTreeMap<TopicId, Vec<TopicPartition>> = BTreeMap::new();
    for partition in free {
        waiting.entry(partition.topic).or_default().push(partition);
    }
    // Topics that few may have are given out first: there is less choice.
    let mut order: Vec<(TopicId, Vec<usize>)> = subscribers.into_iter().collect();
    order.sort_by_key(|(topic, members)| (members.len(), *topic));
    for (topic, eligible) in &order {
        let mut loads = loads(eligible, assigned);
        for partition in waiting.remove(topic).into_iter().flatten() {
            let Some((load, least)) = loads.pop_first() else {
                break;
            };
            if let Some(assigned) = assigned.get_mut(least) {
                assigned.insert(partition);
            }
            loads.insert((load + 1, least));
        }
    }
    // Each move lowers the sum of the squares of all loads, so this ends.
    while order.iter().fold(false, |moved, (topic, eligible)| {
        even_out(*topic, eligible, assigned) || moved
    }) {}
}

fn loads(eligible: &[usize], assigned: &[Partitions]) -> ByLoad {
    let load = |at: &usize| assigned.get(*at).map_or(0, BTreeSet::len);
    eligible.iter().map(|at| (load(at), *at)).collect()
}

/// Moves partitions of a topic from who has most to who has least for as long as that makes them more equal.
fn even_out(topic: TopicId, eligible: &[usize], assigned: &mut [Partitions]) -> bool {
    let of_topic = TopicPartition::new(topic, PartitionIndex::MIN)
        ..=TopicPartition::new(topic, PartitionIndex::MAX);
    let mut loads = loads(eligible, assigned);
    let has_some = |(_, at): &(usize, usize)| {
        let assigned = assigned.get(*at);
        assigned.is_some_and(|assigned| assigned.range(of_topic.clone()).next().is_some())
    };
    let mut givers: ByLoad = loads.iter().copied().filter(has_some).collect();
    let mut moved = false;
    while let (Some(most), Some(least)) = (givers.pop_last(), loads.first().copied()) {
        if most.0 < least.0 + 2 {
            return moved;
        }
        let giver = assigned.get_mut(most.1);
        let given = giver.and_then(|giver| {
            let given = giver.range(of_topic.clone()).next_back().copied()?;
            giver.remove(&given);
            Some((given, giver.range(of_topic.clone()).next().is_some()))
        });
        let (Some((given, has_more)), Some(taker)) = (given, assigned.get_mut(least.1)) else {
            return moved;
        };
        taker.insert(given);
        loads.remove(&most);
        loads.remove(&least);
        givers.remove(&least);
        let (less, more) = ((most.0 - 1, most.1), (least.0 + 1, least.1));
        loads.extend([less, more]);
        givers.insert(more);
        if has_more {
            givers.insert(less);
        }
        moved = true;
    }
    moved
}
