//! Where inside an extent a batch starts, for readers that go through it in steps: without this each
//! step would walk from the extent's first batch again. Facts about immutable bytes, so never wrong;
//! bounded, the oldest go first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use floe_metadata::api::Extent;
use floe_protocol::types::Offset;
use floe_storage::segment::SegmentId;

/// Steps that are remembered; about 100 bytes each.
const POSITIONS_MAX: usize = 8192;

/// An offset in an extent: segment, first byte of the extent, offset.
type Key = (SegmentId, u64, Offset);

/// Remembered starts of batches.
#[derive(Debug, Default)]
pub(super) struct Positions(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    bytes: BTreeMap<Key, u64>,
    order: VecDeque<Key>,
}

impl Positions {
    /// Bytes from the start of `extent` to the batch whose base offset is `offset`, if known.
    pub(super) fn find(&self, extent: &Extent, offset: Offset) -> Option<u64> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.bytes.get(&key(extent, offset)).copied()
    }

    /// Remembers that the batch with base offset `offset` starts `bytes` behind the start of `extent`.
    pub(super) fn note(&self, extent: &Extent, offset: Offset, bytes: u64) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(extent, offset);
        if remembered.bytes.insert(key, bytes).is_some() {
            return;
        }
        remembered.order.push_back(key);
        if remembered.order.len() > POSITIONS_MAX
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.bytes.remove(&oldest);
        }
    }
}

fn key(extent: &Extent, offset: Offset) -> Key {
    (extent.segment, extent.position_bytes, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(position_bytes: u64) -> Extent {
        Extent {
            segment: SegmentId {
                write_epoch: 1,
                incarnation: 1,
                counter: 1,
            },
            level: 0,
            position_bytes,
            length_bytes: 1000,
            base_offset: 0,
            end_offset: 10,
            max_timestamp_ms: 0,
        }
    }

    #[test]
    fn remembers_a_bounded_number() {
        let positions = Positions::default();
        for at in 0..=POSITIONS_MAX as u64 {
            positions.note(&extent(at), 5, at * 2);
            positions.note(&extent(at), 5, at * 2);
        }
        assert_eq!(positions.find(&extent(0), 5), None, "the oldest is gone");
        assert_eq!(positions.find(&extent(1), 5), Some(2));
        assert_eq!(positions.find(&extent(1), 6), None);
        assert_eq!(positions.0.lock().unwrap().bytes.len(), POSITIONS_MAX);
    }
}
