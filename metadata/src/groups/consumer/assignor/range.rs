//! Each topic is cut into as many ranges as it has subscribers; the first ones are longer by one where it does
//! not come out even. The order of members is the same for all topics, which is what makes partitions of
//! different topics meet.

use std::collections::BTreeMap;

use floe_protocol::types::{PartitionIndex, TopicId, TopicPartition};

use super::{Partitions, Subscriber};

pub(super) fn assign(
    topics: &BTreeMap<TopicId, PartitionIndex>,
    members: &[Subscriber<'_>],
) -> Vec<Partitions> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|at| members.get(*at).map(|member| member.name));
    let mut assigned = vec![Partitions::new(); members.len()];
    for (topic, count) in topics {
        let subscribers = order.iter().copied();
        let subscribers: Vec<usize> = subscribers
            .filter(|at| {
                let member = members.get(*at);
                member.is_some_and(|member| member.topics.contains(topic))
            })
            .collect();
        let Ok(sharers) = PartitionIndex::try_from(subscribers.len()) else {
            continue;
        };
        if sharers == 0 {
            continue;
        }
        let (each, longer) = (count / sharers, count % sharers);
        let mut next = 0;
        for (rank, at) in (0..).zip(subscribers) {
            let end = next + each + PartitionIndex::from(rank < longer);
            if let Some(assigned) = assigned.get_mut(at) {
                assigned.extend((next..end).map(|index| TopicPartition::new(*topic, index)));
            }
            next = end;
        }
    }
    assigned
}
