//! Which segments their writers no longer have in memory, as they said themselves: nobody asks them for old
//! ones again. Pure.

use std::collections::BTreeMap;

use floe_storage::segment::SegmentId;

/// What writers have said, by incarnation: a counter below which nothing is left.
#[derive(Debug, Default)]
pub(super) struct Evicted(BTreeMap<u32, u64>);

impl Evicted {
    /// Whether the writer may still have the segment.
    pub(super) fn may_be_fresh(&self, segment: SegmentId) -> bool {
        let fresh_from = self.0.get(&segment.incarnation);
        fresh_from.is_none_or(|from| segment.counter >= *from)
    }

    /// The writer does not have `segment`, nor any below `fresh_from`.
    pub(super) fn note(&mut self, segment: SegmentId, fresh_from: u64) {
        // A writer evicts in the order of writing, or nearly: what is older is gone as well.
        let from = fresh_from.max(segment.counter.saturating_add(1));
        let known = self.0.entry(segment.incarnation).or_default();
        *known = from.max(*known);
    }

    /// Forgets what those have said that `is_here` does not name.
    pub(super) fn retain(&mut self, is_here: impl Fn(u32) -> bool) {
        self.0.retain(|incarnation, _| is_here(*incarnation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_stays_gone() {
        let segment = |incarnation, counter| SegmentId {
            write_epoch: 1,
            incarnation,
            counter,
        };
        let mut evicted = Evicted::default();
        assert!(evicted.may_be_fresh(segment(1, 0)));
        evicted.note(segment(1, 3), 100);
        evicted.note(segment(1, 50), 0);
        assert!(!evicted.may_be_fresh(segment(1, 99)));
        assert!(evicted.may_be_fresh(segment(1, 100)));
        assert!(evicted.may_be_fresh(segment(2, 0)));
        evicted.note(segment(2, 7), 0);
        assert!(!evicted.may_be_fresh(segment(2, 7)));
        evicted.retain(|incarnation| incarnation == 2);
        assert!(evicted.may_be_fresh(segment(1, 0)));
        assert!(!evicted.may_be_fresh(segment(2, 7)));
    }
}
