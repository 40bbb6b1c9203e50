//! The lives of a cluster, and in which of them a segment got its name.
//!
//! ```text
//! lineage           A ──────── moved ▶ B ──────── moved ▶ C
//! write epochs      1, 2 … 5           6, 7 … 9           10 …
//! ```
//!
//! A new life begins with a higher write epoch than all before it, so the write epoch in a segment's id
//! tells its lineage, and no two lives ever give one name.

use std::sync::Arc;

use object_store::path::Path;

use super::{Lineage, segment};
use crate::segment::SegmentId;

/// An earlier life of a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EarlierLineage {
    /// Part of the names of its objects.
    pub lineage: Lineage,
    /// The last write epoch of its segments; the next life began with the one after it.
    pub last_write_epoch: u32,
}

/// All lives of a cluster. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lineages {
    present: Lineage,
    /// The oldest first; write epochs rise.
    earlier: Arc<[EarlierLineage]>,
}

impl Lineages {
    /// The present life and those before it, the oldest first.
    #[must_use]
    pub fn new(present: Lineage, earlier: &[EarlierLineage]) -> Self {
        Self {
            present,
            earlier: earlier.into(),
        }
    }

    /// The life in which a segment with this write epoch was named.
    #[must_use]
    pub fn of(&self, write_epoch: u32) -> Lineage {
        self.earlier
            .iter()
            .find(|life| write_epoch <= life.last_write_epoch)
            .map_or(self.present, |life| life.lineage)
    }

    /// The key of the committed segment `id` of level `level`.
    #[must_use]
    pub fn segment(&self, level: u8, id: SegmentId) -> Path {
        segment(self.of(id.write_epoch), level, id)
    }
}

impl From<Lineage> for Lineages {
    /// A cluster in its first life.
    fn from(present: Lineage) -> Self {
        Self::new(present, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_write_epoch_tells_the_life() {
        let life = |byte| Lineage([byte; 16]);
        let earlier = [(1, 5), (2, 9)].map(|(byte, last_write_epoch)| EarlierLineage {
            lineage: life(byte),
            last_write_epoch,
        });
        let lineages = Lineages::new(life(3), &earlier);
        for (write_epoch, expected) in [(1, 1), (5, 1), (6, 2), (9, 2), (10, 3), (u32::MAX, 3)] {
            assert_eq!(lineages.of(write_epoch), life(expected), "{write_epoch}");
        }
        assert_eq!(Lineages::from(life(4)).of(1), life(4));
        let id = SegmentId {
            write_epoch: 7,
            incarnation: 1,
            counter: 1,
        };
        assert_eq!(lineages.segment(0, id), segment(life(2), 0, id));
    }
}
