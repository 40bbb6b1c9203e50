//! How far is read ahead of a consumer: the further, the longer it has read on without a jump.
//!
//! A read that begins where an earlier one of the partition ended goes on with that one's stride, doubled; any
//! other begins with the shortest. Bounded in number, the oldest go first, and what was forgotten begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use floe_protocol::types::{Offset, TopicPartition};
use floe_storage::cache::CHUNK_BYTES;

/// What is read ahead of a consumer that has just come or jumped.
const SHORTEST_BYTES: u64 = CHUNK_BYTES;
/// What is read ahead of a consumer that goes on and on.
const LONGEST_BYTES: u64 = 8 * CHUNK_BYTES;
/// One consumer's stride takes this part of the memory for chunks at most, since there are others.
const CAPACITY_PARTS: u64 = 4;
/// Reads that are remembered; about 100 bytes each.
const STRIDES_MAX: usize = 4096;

/// Where a read ended.
type Key = (TopicPartition, Offset);

/// What was read ahead of the latest reads, by where they ended.
#[derive(Debug)]
pub(super) struct Strides {
    longest_bytes: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    bytes: BTreeMap<Key, u64>,
    order: VecDeque<Key>,
}

impl Strides {
    /// For reads through a memory for chunks of this size.
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let longest = (capacity_bytes / CAPACITY_PARTS).min(LONGEST_BYTES);
        Self {
            longest_bytes: longest.max(SHORTEST_BYTES),
            known: Mutex::default(),
        }
    }

    /// What to read ahead of a consumer that reads `partition` from offset `from` on.
    pub(super) fn ahead_bytes(&self, partition: TopicPartition, from: Offset) -> u64 {
        match self.lock().bytes.get(&(partition, from)) {
            Some(before) => before.saturating_mul(2).min(self.longest_bytes),
            None => SHORTEST_BYTES,
        }
    }

    /// Remembers that `ahead_bytes` were read ahead of a read of these offsets of `partition`.
    pub(super) fn note(&self, partition: TopicPartition, read: Range<Offset>, ahead_bytes: u64) {
        if read.is_empty() {
            return;
        }
        let mut known = self.lock();
        let key = (partition, read.end);
        if known.bytes.insert(key, ahead_bytes).is_some() {
            return;
        }
        known.order.push_back(key);
        if known.order.len() > STRIDES_MAX
            && let Some(oldest) = known.order.pop_front()
        {
            known.bytes.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use floe_protocol::types::TopicId;

    use super::*;

    fn partition(index: i32) -> TopicPartition {
        TopicPartition::new(TopicId::ZERO, index)
    }

    /// A read of `read`; what is read ahead of it, in chunks.
    fn step(strides: &Strides, index: i32, read: Range<Offset>) -> u64 {
        let ahead = strides.ahead_bytes(partition(index), read.start);
        strides.note(partition(index), read, ahead);
        ahead / CHUNK_BYTES
    }

    #[test]
    fn who_reads_on_is_read_ahead_for_further_and_a_jump_begins_anew() {
        let strides = Strides::new(u64::MAX);
        let reads = (0..6).map(|number| step(&strides, 0, number * 10..number * 10 + 10));
        assert_eq!(reads.collect::<Vec<_>>(), [1, 2, 4, 8, 8, 8]);
        assert_eq!(step(&strides, 0, 500..510), 1, "a jump");
        assert_eq!(step(&strides, 0, 510..520), 2);
        assert_eq!(step(&strides, 0, 510..515), 2, "the same once more");
        assert_eq!(step(&strides, 1, 520..530), 1, "another partition");
        assert_eq!(step(&strides, 0, 520..520), 4);
        assert_eq!(step(&strides, 0, 520..530), 4, "nothing read is no step");
    }

    #[test]
    fn little_memory_makes_short_strides() {
        for (chunks, longest) in [(0, 1), (7, 1), (8, 2), (31, 7), (100, 8)] {
            let strides = Strides::new(chunks * CHUNK_BYTES);
            let reads = (0..8).map(|number| step(&strides, 0, number..number + 1));
            assert_eq!(reads.last(), Some(longest), "{chunks} chunks");
        }
    }

    #[test]
    fn remembers_a_bounded_number() {
        let strides = Strides::new(u64::MAX);
        let count = i64::try_from(STRIDES_MAX).unwrap();
        for number in 0..=count {
            step(&strides, 0, number * 10..number * 10 + 5);
        }
        assert_eq!(strides.lock().bytes.len(), STRIDES_MAX);
        let ahead = |from| strides.ahead_bytes(partition(0), from) / CHUNK_BYTES;
        assert_eq!((ahead(5), ahead(15)), (1, 2), "the oldest is gone");
    }
}
