//! One object that a merge writes, and what of it metadata will be told.

use std::collections::BTreeSet;

use floe_metadata::api::Extent;
use floe_metadata::api::objects::{MergeRequest, MergedExtent};
use floe_protocol::types::TopicPartition;
use floe_storage::segment::{SegmentId, StreamWriter};
use floe_storage::store::StoreError;

use super::source::{Damage, ReadError, Source};

/// Batches of one extent at most, unless one source has more: a later merge decides on extents as a whole.
const EXTENT_BATCHES_MAX: u64 = 256 << 10;
/// How often an extent is read before its bytes are called damaged: some bits fall over on the way.
const READS_MAX: u32 = 3;

/// Why an extent was not copied.
#[derive(Debug)]
pub(super) enum CopyError {
    /// Its bytes are damaged, the batch at `position_bytes` first; nothing of it is in the output.
    Damaged {
        position_bytes: u64,
        damage: Damage,
    },
    Store(StoreError),
    /// The runtime is going down.
    Ended,
}

/// An object under construction.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) id: SegmentId,
    pub(super) level: u8,
    pub(super) writer: StreamWriter,
    extents: Vec<MergedExtent>,
    /// Of the last extent.
    batches: u64,
    /// Commits of which it has extents.
    sources: BTreeSet<u64>,
}

impl Output {
    pub(super) const fn new(id: SegmentId, level: u8, writer: StreamWriter) -> Self {
        Self {
            id,
            level,
            writer,
            extents: Vec::new(),
            batches: 0,
            sources: BTreeSet::new(),
        }
    }

    /// Whether nothing was copied into it.
    pub(super) const fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// About how much memory the descriptions take.
    pub(super) fn description_bytes(&self) -> u64 {
        // Once here and once in a request that may have to be repeated.
        let extents = self.extents.len() as u64 * 4 * size_of::<MergedExtent>() as u64;
        self.writer.index_bytes() + extents
    }

    /// The partition that was copied last.
    pub(super) fn last_partition(&self) -> Option<TopicPartition> {
        self.extents.last().map(|extent| extent.partition)
    }

    /// Copies an extent of the commit `commit`, which follows all others by partition, then offset.
    pub(super) async fn copy(
        &mut self,
        source: &mut Source,
        commit: u64,
        partition: TopicPartition,
        extent: &Extent,
    ) -> Result<(), CopyError> {
        let mut reads = 0;
        loop {
            reads += 1;
            source.seek(extent.position_bytes);
            self.writer.keep();
            let start = self.writer.body_end().await.map_err(CopyError::Store)?;
            let mut copying = Copying {
                position_bytes: extent.position_bytes,
                next_offset: extent.base_offset,
                batches: 0,
            };
            match copying
                .run(&mut self.writer, source, partition, extent)
                .await
            {
                Ok(()) => {
                    self.add(partition, extent, start, copying.batches);
                    self.sources.insert(commit);
                    return Ok(());
                }
                Err(CopyError::Damaged { damage, .. })
                    if reads < READS_MAX && !damage.is_final() =>
                {
                    self.writer.forget();
                    source.restart(extent.position_bytes);
                }
                Err(error) => {
                    self.writer.forget();
                    return Err(error);
                }
            }
        }
    }

    fn add(&mut self, partition: TopicPartition, extent: &Extent, start: u64, batches: u64) {
        if let Some(last) = self.extents.last_mut()
            && last.partition == partition
            && last.end_offset == extent.base_offset
            && last.position_bytes + u64::from(last.length_bytes) == start
            && self.batches + batches <= EXTENT_BATCHES_MAX
            && let Some(length_bytes) = last.length_bytes.checked_add(extent.length_bytes)
            && u32::try_from(extent.end_offset - last.base_offset).is_ok()
        {
            last.length_bytes = length_bytes;
            last.end_offset = extent.end_offset;
            last.max_timestamp_ms = last.max_timestamp_ms.max(extent.max_timestamp_ms);
            self.batches += batches;
            return;
        }
        self.batches = batches;
        self.extents.push(MergedExtent {
            partition,
            position_bytes: start,
            length_bytes: extent.length_bytes,
            base_offset: extent.base_offset,
            end_offset: extent.end_offset,
            max_timestamp_ms: extent.max_timestamp_ms,
        });
    }

    /// Makes the object durable; returns what metadata is to be told.
    pub(super) async fn finish(self) -> Result<MergeRequest, StoreError> {
        let written = self.writer.finish().await?;
        Ok(MergeRequest {
            segment: written.id,
            level: written.level,
            size_bytes: written.size_bytes,
            sources: self.sources.into_iter().collect(),
            extents: self.extents,
        })
    }
}

/// How far the copying of an extent has come.
struct Copying {
    position_bytes: u64,
    next_offset: i64,
    batches: u64,
}

impl Copying {
    async fn run(
        &mut self,
        writer: &mut StreamWriter,
        source: &mut Source,
        partition: TopicPartition,
        extent: &Extent,
    ) -> Result<(), CopyError> {
        let end = extent.position_bytes + u64::from(extent.length_bytes);
        while self.position_bytes < end {
            let batch = match source.batch(end).await {
                Ok(batch) => batch,
                Err(ReadError::Damaged(damage)) => return Err(self.damaged(damage)),
                Err(ReadError::Store(error)) => return Err(CopyError::Store(error)),
                Err(ReadError::Ended) => return Err(CopyError::Ended),
            };
            let base_offset = if extent.level == 0 {
                self.next_offset
            } else {
                batch.header.base_offset
            };
            if base_offset < self.next_offset {
                return Err(self.damaged(Damage::Offset {
                    found: base_offset,
                    expected: self.next_offset,
                }));
            }
            let next_offset = base_offset.saturating_add(i64::from(batch.header.offset_count()));
            if next_offset > extent.end_offset {
                return Err(self.ends(next_offset, extent));
            }
            let pushed = writer.push(partition, &batch.header, &batch.pieces, base_offset);
            pushed.await.map_err(CopyError::Store)?;
            self.next_offset = next_offset;
            self.position_bytes += batch.size_bytes;
            self.batches += 1;
        }
        // From level 1 on offsets may be missing, also at the end.
        if extent.level == 0 && self.next_offset != extent.end_offset {
            return Err(self.ends(self.next_offset, extent));
        }
        Ok(())
    }

    const fn ends(&self, found: i64, extent: &Extent) -> CopyError {
        self.damaged(Damage::End {
            found,
            expected: extent.end_offset,
        })
    }

    const fn damaged(&self, damage: Damage) -> CopyError {
        CopyError::Damaged {
            position_bytes: self.position_bytes,
            damage,
        }
    }
}
