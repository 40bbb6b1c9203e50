//! What is remembered of one idempotent producer in one partition, and the rules its batches are held
//! to (KIP-98, KIP-360; `DataBatch` sequences as in Kafka's `ProducerStateManager`).
//!
//! The last five batches follow each other without a hole, since nothing else is ever accepted; so one
//! last sequence and five counts say which sequences they took:
//!
//! ```text
//! counts          [ 2 ][ 1 ][ 3 ][ 1 ][ 2 ]     oldest first
//! sequences       4  5   6   7 8 9  10  11 12   12 = last_sequence
//! ```

use floe_planted::Bug;
use floe_protocol::types::{Offset, ProducerEpoch, Sequence, TimestampMs};
use floe_storage::segment::IndexBatch;

use crate::api::BatchRejection;

/// Batches remembered: a producer may have that many in flight (`max.in.flight.requests.per.connection`).
pub(super) const REMEMBERED: usize = 5;

/// Sequences live on a circle: 2147483647 is followed by 0.
const SEQUENCE_MASK: i64 = 0x7fff_ffff;

/// The sequence `by` places further on, or back if negative.
fn turn(sequence: Sequence, by: i64) -> Sequence {
    let turned = i64::from(sequence).wrapping_add(by) & SEQUENCE_MASK;
    Sequence::try_from(turned).expect("31 bits fit")
}

/// One batch that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct PastBatch {
    pub(super) base_offset: Offset,
    pub(super) max_timestamp_ms: TimestampMs,
    pub(super) count: u32,
}

impl PastBatch {
    pub(super) const fn of(batch: &IndexBatch, base_offset: Offset) -> Self {
        Self {
            base_offset,
            max_timestamp_ms: batch.max_timestamp_ms,
            count: batch.record_count,
        }
    }
}

/// What a producer did in a partition. With no batches it stands for "nothing is known".
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct ProducerState {
    /// Cluster time of the last accepted batch.
    pub(super) used_ms: TimestampMs,
    offsets: [Offset; REMEMBERED],
    times_ms: [TimestampMs; REMEMBERED],
    counts: [u32; REMEMBERED],
    last_sequence: Sequence,
    epoch: ProducerEpoch,
    len: u8,
}

/// What becomes of an idempotent batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is next in line.
    Continues,
    /// It is the first of a new history: of this producer here, or of its new epoch.
    Begins,
    /// It was accepted before.
    Duplicate(PastBatch),
    /// It is refused.
    Refused(BatchRejection),
}

impl ProducerState {
    /// Nothing is known.
    pub(super) const UNKNOWN: Self = Self {
        used_ms: 0,
        offsets: [0; REMEMBERED],
        times_ms: [0; REMEMBERED],
        counts: [0; REMEMBERED],
        last_sequence: -1,
        epoch: -1,
        len: 0,
    };

    /// A history of which nothing but its epoch and the sequence before its first batch is known yet.
    pub(super) fn begin(epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        Self {
            epoch,
            last_sequence: turn(base_sequence, -1),
            ..Self::UNKNOWN
        }
    }

    /// A history as it was saved.
    pub(super) fn restore(
        epoch: ProducerEpoch,
        last_sequence: Sequence,
        used_ms: TimestampMs,
        batches: impl IntoIterator<Item = PastBatch>,
    ) -> Self {
        let mut state = Self {
            epoch,
            used_ms,
            ..Self::UNKNOWN
        };
        for batch in batches {
            state.push(batch);
        }
        state.last_sequence = last_sequence;
        state
    }

    pub(super) const fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    pub(super) const fn last_sequence(&self) -> Sequence {
        self.last_sequence
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether as many batches are remembered as ever are.
    pub(super) fn is_full(&self) -> bool {
        self.len() == REMEMBERED
    }

    pub(super) const fn is_unknown(&self) -> bool {
        self.len == 0
    }

    /// Whether the producer is forgotten here: it sent nothing for `expiration_ms`.
    pub(super) const fn is_expired(&self, now_ms: TimestampMs, expiration_ms: TimestampMs) -> bool {
        now_ms.saturating_sub(self.used_ms) >= expiration_ms
    }

    /// The remembered batches, oldest first.
    pub(super) fn batches(&self) -> impl ExactSizeIterator<Item = PastBatch> + DoubleEndedIterator {
        let columns = self.offsets.iter().zip(&self.times_ms).zip(&self.counts);
        columns
            .take(self.len())
            .map(|((offset, time), count)| PastBatch {
                base_offset: *offset,
                max_timestamp_ms: *time,
                count: *count,
            })
    }

    /// Holds a batch to the rules of idempotent produce, in their order. An expired state must be
    /// handed in as [`Self::UNKNOWN`]; `may_have_expired` says whether that is what an unknown state
    /// could be.
    pub(super) fn judge(
        &self,
        batch: &IndexBatch,
        may_have_expired: impl FnOnce() -> bool,
    ) -> Verdict {
        if batch.base_sequence < 0 {
            return Verdict::Refused(BatchRejection::OutOfOrderSequence);
        }
        if self.is_unknown() {
            return if batch.base_sequence == 0 || may_have_expired() {
                Verdict::Begins
            } else {
                Verdict::Refused(BatchRejection::OutOfOrderSequence)
            };
        }
        if batch.producer_epoch < self.epoch {
            return Verdict::Refused(BatchRejection::InvalidProducerEpoch);
        }
        if batch.producer_epoch > self.epoch {
            return if batch.base_sequence == 0 {
                Verdict::Begins
            } else {
                Verdict::Refused(BatchRejection::OutOfOrderSequence)
            };
        }
        if let Some(past) = self.find(batch.base_sequence, batch.record_count)
            && !Bug::DuplicateAccepted.is_planted()
        {
            return Verdict::Duplicate(past);
        }
        let next = turn(self.last_sequence, 1);
        let is_planted = (Bug::DuplicateAccepted.is_planted() && batch.base_sequence < next)
            || (Bug::GapAccepted.is_planted() && batch.base_sequence > next);
        if batch.base_sequence == next || is_planted {
            Verdict::Continues
        } else {
            Verdict::Refused(BatchRejection::OutOfOrderSequence)
        }
    }

    /// The remembered batch that took `count` sequences from `base_sequence` on.
    fn find(&self, base_sequence: Sequence, count: u32) -> Option<PastBatch> {
        let mut end = turn(self.last_sequence, 1);
        let remembered = if Bug::FourRemembered.is_planted() {
            4
        } else {
            REMEMBERED
        };
        self.batches().rev().take(remembered).find(|past| {
            end = turn(end, -i64::from(past.count));
            end == base_sequence && past.count == count
        })
    }

    /// Adds the next batch in line; the oldest of more than five is forgotten.
    pub(super) fn append(&mut self, batch: PastBatch, used_ms: TimestampMs) {
        self.push(batch);
        self.last_sequence = turn(self.last_sequence, i64::from(batch.count));
        self.used_ms = used_ms;
    }

    fn push(&mut self, batch: PastBatch) {
        if self.len() == REMEMBERED {
            self.offsets.rotate_left(1);
            self.times_ms.rotate_left(1);
            self.counts.rotate_left(1);
        } else {
            self.len += 1;
        }
        let last = self.len().saturating_sub(1);
        let columns = self
            .offsets
            .iter_mut()
            .zip(&mut self.times_ms)
            .zip(&mut self.counts);
        if let Some(((offset, time), count)) = columns.into_iter().nth(last) {
            (*offset, *time, *count) = (batch.base_offset, batch.max_timestamp_ms, batch.count);
        }
    }

    /// Puts what `row` remembers before what a replay appended; `self` holds the same or later batches.
    /// `None` if the two are not parts of one history.
    pub(super) fn joined_to(&self, row: &Self) -> Option<Self> {
        if row.epoch != self.epoch {
            return None;
        }
        let first = self.batches().next()?;
        let taken = |batches: &mut dyn Iterator<Item = PastBatch>| {
            batches.map(|past| i64::from(past.count)).sum::<i64>()
        };
        let after = taken(
            &mut row
                .batches()
                .filter(|past| past.base_offset >= first.base_offset),
        );
        if turn(row.last_sequence, -after) != turn(self.last_sequence, -taken(&mut self.batches()))
        {
            return None;
        }
        let older: Vec<_> = row
            .batches()
            .filter(|past| past.base_offset < first.base_offset)
            .collect();
        let batches = older.into_iter().chain(self.batches());
        Some(Self::restore(
            self.epoch,
            self.last_sequence,
            self.used_ms,
            batches,
        ))
    }
}
