//! Who in this zone may have a chunk. Pure: the registry in, names out.
//!
//! Each chunk has an order of owners by rendezvous hashing, the same for all who ask. What tells processes
//! apart is the nonce of their start, so that one which had to register anew keeps its chunks.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use floe_metadata::api::Process;

use super::ChunkId;
use crate::rendezvous;

/// A process, by the nonce of its start.
pub(super) type PeerId = u128;

/// Agents of one zone, as one of them sees them.
#[derive(Debug, Default)]
pub(super) struct Neighbourhood {
    own: PeerId,
    /// All, this process among them once it is registered.
    addresses: BTreeMap<PeerId, String>,
    /// By incarnation.
    writers: BTreeMap<u32, PeerId>,
}

impl Neighbourhood {
    /// The agents among `processes` that are in the zone of `own`. Those without a zone are in one zone.
    pub(super) fn new(processes: &[Process], own: PeerId, zone: Option<&str>) -> Self {
        let mut neighbourhood = Self {
            own,
            ..Self::default()
        };
        // Who serves no clients has no chunks either.
        let near = |process: &&Process| {
            process.told.zone.as_deref() == zone && !process.told.brokers.is_empty()
        };
        for Process { incarnation, told } in processes.iter().filter(near) {
            let peer = PeerId::from_be_bytes(told.nonce);
            // Incarnations rise: the address that was told last stays.
            neighbourhood.addresses.insert(peer, told.internal.clone());
            neighbourhood.writers.insert(*incarnation, peer);
        }
        neighbourhood
    }

    /// All but this process, with their addresses.
    pub(super) fn others(&self) -> impl Iterator<Item = (PeerId, &str)> {
        let all = self.addresses.iter();
        all.filter(|(peer, _)| **peer != self.own)
            .map(|(peer, address)| (*peer, address.as_str()))
    }

    /// Whether the process that this incarnation is of is here.
    pub(super) fn has_writer(&self, incarnation: u32) -> bool {
        self.writers.contains_key(&incarnation)
    }

    /// The other process that wrote the chunk's segment as it was ingested; `None` if it is not here.
    pub(super) fn writer(&self, chunk: &ChunkId) -> Option<PeerId> {
        let writer = *self.writers.get(&chunk.segment.incarnation)?;
        (chunk.level == 0 && writer != self.own).then_some(writer)
    }

    /// Who shall have the chunk: the first of them that can be asked. Ends with this process, which asks
    /// nobody that comes after it.
    pub(super) fn owners(&self, chunk: &ChunkId) -> Vec<PeerId> {
        let mut owners: Vec<_> = self.addresses.keys().copied().collect();
        owners.sort_by_cached_key(|peer| Reverse((weight(chunk, *peer), *peer)));
        let before_own = owners.iter().take_while(|peer| **peer != self.own).count();
        owners.truncate(before_own);
        owners
    }
}

fn weight(chunk: &ChunkId, peer: PeerId) -> u64 {
    let ChunkId {
        segment,
        level,
        number,
    } = chunk;
    let bytes = [*level]
        .into_iter()
        .chain(segment.write_epoch.to_be_bytes())
        .chain(segment.incarnation.to_be_bytes())
        .chain(segment.counter.to_be_bytes())
        .chain(number.to_be_bytes())
        .chain(peer.to_be_bytes());
    rendezvous::weight(bytes)
}

#[cfg(test)]
mod tests {
    use floe_metadata::api::{BrokerAddress, NewProcess};
    use floe_storage::segment::SegmentId;
    use proptest::prelude::*;

    use super::*;

    /// The process that started as number `number`.
    fn process(number: u8, incarnation: u32, zone: Option<&str>) -> Process {
        Process {
            incarnation,
            told: NewProcess {
                nonce: [number; 16],
                attempt: 0,
                internal: format!("10.0.0.{number}:9090"),
                zone: zone.map(str::to_owned),
                brokers: vec![BrokerAddress {
                    listener: "default".to_owned(),
                    node_id: i32::from(number),
                    host: format!("10.0.0.{number}"),
                    port: 9092,
                }],
                feature_level: 1,
            },
        }
    }

    fn peer(number: u8) -> PeerId {
        PeerId::from_be_bytes([number; 16])
    }

    fn chunk(counter: u64, number: u64) -> ChunkId {
        ChunkId {
            segment: SegmentId {
                write_epoch: 1,
                incarnation: 2,
                counter,
            },
            level: 0,
            number,
        }
    }

    /// Who has `chunk` when all of `numbers` are there, as `own` sees it.
    fn owner(numbers: &[u8], own: u8, chunk: &ChunkId) -> PeerId {
        let processes: Vec<_> = numbers
            .iter()
            .map(|number| process(*number, u32::from(*number), None))
            .collect();
        let seen = Neighbourhood::new(&processes, peer(own), None);
        seen.owners(chunk).first().copied().unwrap_or(peer(own))
    }

    proptest! {
        #[test]
        fn all_agree_and_only_the_chunks_of_the_lost_move(
            numbers in prop::collection::btree_set(1_u8..20, 2..8),
            lost in any::<prop::sample::Index>(),
            counter: u64,
            number in 0_u64..100,
        ) {
            let numbers: Vec<u8> = numbers.into_iter().collect();
            let chunk = chunk(counter, number);
            let before = owner(&numbers, numbers[0], &chunk);
            for own in &numbers {
                prop_assert_eq!(owner(&numbers, *own, &chunk), before);
            }
            let lost = numbers[lost.index(numbers.len())];
            let left: Vec<u8> = numbers.iter().copied().filter(|number| *number != lost).collect();
            let after = owner(&left, left[0], &chunk);
            prop_assert!(before == after || before == peer(lost));
        }
    }

    #[test]
    fn chunks_spread_evenly() {
        let mut counts = BTreeMap::<_, u32>::new();
        for counter in 0..3000 {
            *counts
                .entry(owner(&[1, 2, 3], 1, &chunk(counter, 0)))
                .or_default() += 1;
        }
        assert_eq!(counts.len(), 3);
        assert!(
            counts.values().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_zone_is_what_is_called_the_same() {
        let processes = [
            process(1, 1, Some("a")),
            process(2, 2, Some("a")),
            process(3, 3, Some("b")),
            process(4, 4, None),
            process(5, 5, None),
        ];
        let others = |own: u8, zone| {
            let seen = Neighbourhood::new(&processes, peer(own), zone);
            seen.others().map(|(peer, _)| peer).collect::<Vec<_>>()
        };
        assert_eq!(others(1, Some("a")), [peer(2)]);
        assert_eq!(others(3, Some("b")), []);
        assert_eq!(others(4, None), [peer(5)]);
        assert_eq!(
            others(9, Some("a")),
            [peer(1), peer(2)],
            "not registered yet"
        );
    }

    #[test]
    fn who_serves_no_clients_is_not_asked() {
        let mut keeper = process(2, 2, None);
        keeper.told.brokers.clear();
        let seen = Neighbourhood::new(&[process(1, 1, None), keeper], peer(1), None);
        assert_eq!((seen.others().count(), seen.has_writer(2)), (0, false));
    }

    #[test]
    fn a_writer_is_found_by_its_incarnations() {
        let processes = [
            process(1, 1, None),
            process(2, 2, None),
            process(2, 7, None),
        ];
        let seen = Neighbourhood::new(&processes, peer(1), None);
        let mut chunk = chunk(5, 0);
        assert_eq!(seen.writer(&chunk), Some(peer(2)));
        chunk.segment.incarnation = 7;
        assert_eq!(seen.writer(&chunk), Some(peer(2)), "it registered anew");
        chunk.level = 1;
        assert_eq!(seen.writer(&chunk), None, "merged by whoever");
        chunk = super::tests::chunk(5, 0);
        chunk.segment.incarnation = 1;
        assert_eq!(seen.writer(&chunk), None, "itself");
        chunk.segment.incarnation = 3;
        assert_eq!(seen.writer(&chunk), None, "gone, or of another zone");
        assert_eq!(seen.others().count(), 1);
    }
}
