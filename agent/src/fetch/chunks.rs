//! Bytes of stored segments: from the block cache, else from another agent of the zone, else from the store.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use floe_metadata::api::Extent;
use floe_storage::cache::{BlockCache, Pool};
use floe_storage::error::StoreError;
use floe_storage::key::Lineages;
use floe_storage::segment::SegmentId;
use floe_storage::store::StoreErrorKind;
use object_store::path::Path;

use crate::peers::{ChunkId, Peers};

/// A stored segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Object {
    segment: SegmentId,
    level: u8,
    pub(super) path: Path,
}

impl Object {
    /// The one that holds `extent`.
    pub(super) fn of(extent: &Extent, lineages: &Lineages) -> Self {
        Self {
            segment: extent.segment,
            level: extent.level,
            path: lineages.segment(extent.level, extent.segment),
        }
    }
}

/// Reads stored segments in chunks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Chunks {
    cache: BlockCache,
    /// `None` where nobody else is to be asked.
    peers: Option<Arc<Peers>>,
}

impl Chunks {
    /// Reads through `cache`, and asks `peers` before the store.
    pub(crate) const fn new(cache: BlockCache, peers: Option<Arc<Peers>>) -> Self {
        Self { cache, peers }
    }

    /// The same for the readers of `pool`.
    pub(super) fn of_pool(&self, pool: Pool) -> Self {
        Self::new(self.cache.of_pool(pool), self.peers.clone())
    }

    /// Bytes that the readers of its pool have room for.
    pub(super) fn capacity_bytes(&self) -> u64 {
        u64::try_from(self.cache.capacity_bytes()).unwrap_or(u64::MAX)
    }

    /// For whom it reads.
    pub(super) const fn pool(&self) -> Pool {
        self.cache.pool()
    }

    /// The same without asking others.
    pub(super) fn of_store(&self) -> Self {
        Self::new(self.cache.clone(), None)
    }

    /// The bytes of `range` of `object`, in one piece per chunk. Cancel-safe.
    ///
    /// # Errors
    /// The store failed, or the object is missing or ends before `range` does.
    pub(super) async fn read(
        &self,
        object: &Object,
        range: Range<u64>,
    ) -> Result<Vec<Bytes>, StoreError> {
        let Some(peers) = &self.peers else {
            return self.cache.read(&object.path, None, range).await;
        };
        let pool = self.pool();
        let near = |number| {
            let (peers, segment, level) = (Arc::clone(peers), object.segment, object.level);
            async move {
                let chunk = ChunkId {
                    segment,
                    level,
                    number,
                };
                peers.chunk(chunk, pool).await
            }
        };
        let read = self
            .cache
            .read_near(&object.path, range.clone(), near)
            .await;
        match read {
            // A chunk is too short: not that of the store, if it came from somewhere else.
            Err(error)
                if error.kind() == StoreErrorKind::Invalid
                    && self.forget(object, range.clone()) =>
            {
                self.cache.read(&object.path, None, range).await
            }
            read => read,
        }
    }

    /// Lets go of the chunks that hold `range` of `object`, which turned out to be damaged; whoever gave
    /// them is not asked for a while. Returns whether some had been given.
    pub(super) fn forget(&self, object: &Object, range: Range<u64>) -> bool {
        let givers = self.cache.forget(&object.path, range);
        if let Some(peers) = &self.peers {
            givers.iter().for_each(|giver| peers.blame(*giver));
        }
        !givers.is_empty()
    }
}
