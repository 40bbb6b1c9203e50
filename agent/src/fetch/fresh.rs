//! Segments this process has just stored, kept in memory for readers of the tail: what was written a
//! moment ago is served without asking the store. Bounded in bytes; the oldest go first.
//!
//! A segment is put in once it is stored and before its commit is sent, so that whoever learns of its
//! records finds it here. Nobody can read it earlier: only committed extents name it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use floe_storage::segment::{Payload, SealedSegment, SegmentId};

/// Payloads of recent segments by name.
#[derive(Debug)]
pub struct Fresh {
    capacity_bytes: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    payloads: BTreeMap<SegmentId, Arc<Payload>>,
    /// Oldest first; may name segments that were removed.
    order: VecDeque<SegmentId>,
    bytes: u64,
    /// By incarnation of this process, one past the newest segment that had to go.
    kept_from: BTreeMap<u32, u64>,
}

impl Fresh {
    /// Keeps up to `capacity_bytes`; a segment larger than that is not kept.
    #[must_use]
    pub fn new(capacity_bytes: u64) -> Self {
        Self {
            capacity_bytes,
            kept: Mutex::default(),
        }
    }

    /// Keeps a segment until newer ones need its room.
    pub(crate) fn insert(&self, segment: SealedSegment) {
        let SealedSegment { id, payload, .. } = segment;
        let mut evicted = Vec::new();
        let mut kept = self.lock();
        kept.bytes += payload.size_bytes();
        kept.order.push_back(id);
        let replaced = kept.payloads.insert(id, Arc::new(payload));
        assert!(replaced.is_none(), "segment {id} was stored twice");
        while kept.bytes > self.capacity_bytes {
            let Some(oldest) = kept.order.pop_front() else {
                break;
            };
            if let Some(payload) = kept.take(oldest) {
                let from = kept.kept_from.entry(oldest.incarnation).or_default();
                *from = oldest.counter.saturating_add(1).max(*from);
                evicted.push(payload);
            }
        }
        // Frees what may be many buffers: not under the lock.
        drop(kept);
        drop(evicted);
    }

    /// Forgets a segment that nobody will ever refer to.
    pub(crate) fn remove(&self, id: SegmentId) {
        let taken = self.lock().take(id);
        drop(taken);
    }

    /// The segment's bytes, if it is still kept.
    pub(crate) fn get(&self, id: SegmentId) -> Option<Arc<Payload>> {
        self.lock().payloads.get(&id).cloned()
    }

    /// The counter below which none of the segments of `incarnation` is kept any more, but for a few that
    /// were stored late.
    pub(crate) fn kept_from(&self, incarnation: u32) -> u64 {
        let kept = self.lock();
        kept.kept_from.get(&incarnation).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, id: SegmentId) -> Option<Arc<Payload>> {
        let payload = self.payloads.remove(&id)?;
        self.bytes -= payload.size_bytes();
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use floe_storage::segment::Index;

    use super::*;

    fn id(counter: u64) -> SegmentId {
        SegmentId {
            write_epoch: 1,
            incarnation: 1,
            counter,
        }
    }

    fn segment(counter: u64, size: usize) -> SealedSegment {
        SealedSegment {
            id: id(counter),
            level: 0,
            index: Arc::new(Index::default()),
            payload: Payload::new(vec![Bytes::from(vec![0; size])]),
            size_bytes: size as u64,
        }
    }

    #[test]
    fn the_oldest_go_first() {
        let fresh = Fresh::new(100);
        for counter in 0..3 {
            fresh.insert(segment(counter, 40));
        }
        assert!(fresh.get(id(0)).is_none());
        assert!(fresh.get(id(1)).is_some());
        assert!(fresh.get(id(2)).is_some());
        assert_eq!((fresh.kept_from(1), fresh.kept_from(2)), (1, 0));
        fresh.insert(segment(3, 101));
        assert!(
            (0..4).all(|counter| fresh.get(id(counter)).is_none()),
            "too large to keep"
        );
        assert_eq!(fresh.kept_from(1), 4);
        assert_eq!(fresh.lock().bytes, 0);
    }

    #[test]
    fn a_removed_segment_makes_room() {
        let fresh = Fresh::new(100);
        fresh.insert(segment(0, 60));
        fresh.remove(id(0));
        fresh.remove(id(0));
        assert_eq!(fresh.lock().bytes, 0);
        fresh.insert(segment(1, 60));
        fresh.insert(segment(2, 30));
        assert!(fresh.get(id(1)).is_some() && fresh.get(id(2)).is_some());
        fresh.insert(segment(3, 30));
        assert!(fresh.get(id(1)).is_none() && fresh.get(id(2)).is_some());
    }
}
