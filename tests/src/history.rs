//! What clients did and saw: the input of the checker.
//!
//! Every record carries an [`Id`] from which its whole value follows, so a reader can tell a changed
//! record from a foreign one without asking its sender. Offsets are a partition's; events of one
//! producer are in the order in which it sent.

use std::collections::BTreeMap;

/// Who sent a record, and as its how-many-th to that partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Number of the producer within the test.
    pub producer: u32,
    /// Counts the records of one producer to one partition, from 0.
    pub number: u64,
}

/// First bytes of every value, so that foreign bytes are told apart.
const MARK: &[u8; 4] = b"flo1";

/// Mark, producer, number, length.
const HEAD_BYTES: usize = 4 + 4 + 8 + 4;

impl Id {
    /// The value of this record: its identity, then filler that follows from it. At least 20 bytes.
    pub fn value(self, size_bytes: usize) -> Vec<u8> {
        let size_bytes = size_bytes.max(HEAD_BYTES);
        let mut value = Vec::with_capacity(size_bytes);
        value.extend_from_slice(MARK);
        value.extend_from_slice(&self.producer.to_be_bytes());
        value.extend_from_slice(&self.number.to_be_bytes());
        value.extend_from_slice(&u32::try_from(size_bytes).unwrap_or(u32::MAX).to_be_bytes());
        let mut state = (u64::from(self.producer) << 40) ^ self.number;
        while value.len() < size_bytes {
            state = splitmix(state);
            let filler = state.to_be_bytes();
            let want = filler.len().min(size_bytes - value.len());
            value.extend_from_slice(filler.get(..want).unwrap_or_default());
        }
        value
    }

    /// The identity of a value that [`Id::value`] made, if every byte of it is right.
    pub fn of_value(value: &[u8]) -> Option<Id> {
        let (mark, rest) = value.split_first_chunk::<4>()?;
        let (producer, rest) = rest.split_first_chunk::<4>()?;
        let (number, _) = rest.split_first_chunk::<8>()?;
        let id = Id {
            producer: u32::from_be_bytes(*producer),
            number: u64::from_be_bytes(*number),
        };
        (mark == MARK && id.value(value.len()) == value).then_some(id)
    }
}

/// A step of the splitmix64 generator.
fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged at an offset. With acks 0 there is none.
    Acked(Option<i64>),
    /// It surely did not happen.
    Failed,
    /// It may have happened: a timeout, a lost connection, or no answer at all.
    Unknown,
}

/// A record that a reader was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Offset it came with.
    pub offset: i64,
    /// Whose it is; `None` if its bytes are nobody's.
    pub id: Option<Id>,
}

/// One pass of a reader over a partition.
///
/// The end it promises must not come from the log alone, or a log that lost its tail would look
/// whole: it is the high watermark or the highest acknowledged offset + 1, whichever is larger, both
/// taken when the pass begins ([`PartitionHistory::end_to_read`]).
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// What the pass promised to cover: from this offset…
    pub from: i64,
    /// … to this one, exclusive, or as far as it came if it promised no end.
    pub to: Option<i64>,
    /// Records in the order of delivery.
    pub records: Vec<Seen>,
}

/// Everything that happened to one partition.
#[derive(Clone, Debug, Default)]
pub struct PartitionHistory {
    /// Sends and how they ended, by identity; so in sending order for each producer.
    pub sent: BTreeMap<Id, Outcome>,
    /// All passes of all readers.
    pub reads: Vec<Read>,
}

impl PartitionHistory {
    /// Notes a send whose outcome is not known yet.
    pub fn send(&mut self, id: Id) {
        self.sent.insert(id, Outcome::Unknown);
    }

    /// Notes how a send ended.
    pub fn settle(&mut self, id: Id, outcome: Outcome) {
        self.sent.insert(id, outcome);
    }

    /// The end that a pass which begins now has to reach, given the partition's high watermark.
    pub fn end_to_read(&self, high_watermark: i64) -> i64 {
        let acked = self.sent.values().filter_map(|outcome| match outcome {
            Outcome::Acked(offset) => *offset,
            Outcome::Failed | Outcome::Unknown => None,
        });
        acked
            .max()
            .map_or(high_watermark, |last| high_watermark.max(last + 1))
    }

    /// Number of acknowledged records.
    pub fn acked(&self) -> usize {
        self.sent
            .values()
            .filter(|outcome| matches!(outcome, Outcome::Acked(_)))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_identity_and_a_changed_one_none() {
        let id = Id {
            producer: 3,
            number: 1 << 33,
        };
        for size_bytes in [0, 20, 21, 100, 5000] {
            let mut value = id.value(size_bytes);
            assert_eq!(value.len(), size_bytes.max(HEAD_BYTES));
            assert_eq!(Id::of_value(&value), Some(id));
            for at in 0..value.len() {
                value[at] ^= 1;
                assert_ne!(Id::of_value(&value), Some(id), "byte {at} of {size_bytes}");
                value[at] ^= 1;
            }
            assert_eq!(Id::of_value(&value[..value.len() - 1]), None);
        }
    }

    #[test]
    fn a_pass_has_to_reach_what_was_acknowledged() {
        let mut history = PartitionHistory::default();
        assert_eq!(history.end_to_read(4), 4);
        history.settle(
            Id {
                producer: 0,
                number: 0,
            },
            Outcome::Acked(Some(9)),
        );
        history.settle(
            Id {
                producer: 0,
                number: 1,
            },
            Outcome::Unknown,
        );
        assert_eq!((history.end_to_read(4), history.end_to_read(12)), (10, 12));
    }
}
