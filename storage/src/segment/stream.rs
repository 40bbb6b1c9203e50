//! Writes a merged segment (level 1 and up) front to back: batches leave for the store as they come, only
//! the index is held until the end. What it writes is what [`super::Writer`] would have sealed of the same
//! batches.
//!
//! ```text
//! header ─▶ batch batch batch … ─▶ index, footer ─▶ visible
//!           └ by partition, then offset; each gets its final head on the way
//! ```
//!
//! An extent that turns out damaged half way is *forgotten*: its bytes stay in the body, nothing in the
//! index leads to them.

use std::mem::size_of;

use bytes::Bytes;
use floe_protocol::checksum;
use floe_protocol::record_batch::{
    BatchHeader, CRC_START_BYTES, HEADER_BYTES as BATCH_HEADER_BYTES,
};
use floe_protocol::types::{LeaderEpoch, Offset, TimestampMs, TopicPartition};

use super::{FOOTER_BYTES, HEADER_BYTES, Index, IndexBatch, IndexExtent, SegmentId, footer};
use crate::error::StoreError;
use crate::store::Upload;

/// Batches carry this epoch, whatever the epoch of the partition is, as those that are patched when read.
const BATCH_LEADER_EPOCH: LeaderEpoch = 0;
/// From this many batches on the index is packed on a thread of its own: it takes milliseconds.
const PACKED_APART_FROM_BATCHES: u64 = 16 * 1024;
/// From this size on a checksum is combined of what is known instead of summed once more.
const COMBINED_FROM_BYTES: usize = 4096;

/// A segment under construction. Dropped, it leaves nothing that can be seen.
#[derive(Debug)]
pub struct StreamWriter {
    id: SegmentId,
    level: u8,
    created_ms: TimestampMs,
    upload: Upload,
    index: Index,
    batch_count: u64,
    /// Where the last extent ends.
    end: Option<End>,
    kept: Kept,
}

/// Where the last extent of the index ends.
#[derive(Clone, Copy, Debug)]
struct End {
    partition: TopicPartition,
    next_offset: Offset,
    position_bytes: u64,
}

/// How much of the index stays when what came later is forgotten.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    extents: usize,
    /// Of the last extent.
    batches: usize,
    /// Of the last extent.
    crc: u32,
    batch_count: u64,
    end: Option<End>,
}

/// A merged segment that is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrittenSegment {
    /// Its name.
    pub id: SegmentId,
    /// 1 and up.
    pub level: u8,
    /// Bytes of the whole object.
    pub size_bytes: u64,
}

impl StreamWriter {
    /// An empty segment, which goes where `upload` goes; sends nothing yet.
    ///
    /// # Panics
    /// At level 0, whose batches have no offsets, or when something was written to `upload`.
    #[must_use]
    pub fn new(id: SegmentId, level: u8, created_ms: TimestampMs, upload: Upload) -> Self {
        assert!(level > 0, "offsets exist from level 1 on");
        assert_eq!(upload.size_bytes(), 0, "the upload is of something else");
        Self {
            id,
            level,
            created_ms,
            upload,
            index: Index::default(),
            batch_count: 0,
            end: None,
            kept: Kept::default(),
        }
    }

    /// Adds a batch, in pieces, after all others; its first record gets `base_offset`. `header` is that of
    /// the batch and was checked against its CRC; what it says of offset and leader epoch does not matter.
    ///
    /// # Errors
    /// The store failed: [`Self::abort`].
    ///
    /// # Panics
    /// When `header` is that of another batch, or partitions or offsets go back: the segment would not say
    /// what it holds.
    pub async fn push(
        &mut self,
        partition: TopicPartition,
        header: &BatchHeader,
        batch: &[Bytes],
        base_offset: Offset,
    ) -> Result<(), StoreError> {
        let length: usize = batch.iter().map(Bytes::len).sum();
        assert_eq!(header.size_bytes(), length, "the header of another batch");
        let head = BatchHeader {
            base_offset,
            leader_epoch: BATCH_LEADER_EPOCH,
            ..*header
        };
        let head = head.to_bytes();
        let position_bytes = self.body_end().await?;
        self.upload.write(&head).await?;
        let crc = self.describe(partition, header, (position_bytes, base_offset));
        // The header is what `header` says, and the records follow it.
        let mut crc = checksum::crc32c_append(crc, head.get(..CRC_START_BYTES).unwrap_or_default());
        let covered = length.saturating_sub(CRC_START_BYTES);
        let is_combined = covered >= COMBINED_FROM_BYTES;
        if is_combined {
            crc = checksum::crc32c_combine(crc, header.crc, covered);
        } else {
            crc = checksum::crc32c_append(crc, head.get(CRC_START_BYTES..).unwrap_or_default());
        }
        let mut skip = BATCH_HEADER_BYTES;
        for piece in batch {
            let records = piece.get(skip.min(piece.len())..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            if !is_combined {
                crc = checksum::crc32c_append(crc, records);
            }
            self.upload.write(records).await?;
        }
        if let Some(extent) = self.index.extents.last_mut() {
            extent.crc = crc;
        }
        Ok(())
    }

    /// Where the next batch will begin, in bytes from the start of the object.
    ///
    /// # Errors
    /// The store failed: [`Self::abort`].
    pub async fn body_end(&mut self) -> Result<u64, StoreError> {
        if self.upload.size_bytes() == 0 {
            let mut header = Vec::with_capacity(footer::HEADER_BYTES);
            footer::encode_header(self.id, self.created_ms, &mut header);
            self.upload.write(&header).await?;
        }
        Ok(self.upload.size_bytes())
    }

    /// Bytes so far, without the index.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.upload.size_bytes().max(HEADER_BYTES) + FOOTER_BYTES
    }

    /// About how much memory the index takes.
    #[must_use]
    pub fn index_bytes(&self) -> u64 {
        // Vectors grow by doubling; extents of a single batch are the dearest.
        let extents = self.index.extents.len() as u64 * 2 * size_of::<IndexExtent>() as u64;
        extents + self.batch_count * 2 * size_of::<IndexBatch>() as u64
    }

    /// The most bytes of batches that were held at once.
    #[must_use]
    pub const fn buffered_bytes_max(&self) -> usize {
        self.upload.buffered_bytes_max()
    }

    /// What was pushed so far stays in the index.
    pub fn keep(&mut self) {
        let last = self.index.extents.last();
        self.kept = Kept {
            extents: self.index.extents.len(),
            batches: last.map_or(0, |extent| extent.batches.len()),
            crc: last.map_or(0, |extent| extent.crc),
            batch_count: self.batch_count,
            end: self.end,
        };
    }

    /// Takes what was pushed since the last [`Self::keep`] out of the index; its bytes are dead weight.
    pub fn forget(&mut self) {
        self.index.extents.truncate(self.kept.extents);
        if let Some(last) = self.index.extents.last_mut() {
            last.batches.truncate(self.kept.batches);
            last.crc = self.kept.crc;
        }
        self.batch_count = self.kept.batch_count;
        self.end = self.kept.end;
    }

    /// Makes the segment visible.
    ///
    /// # Errors
    /// The store failed. Whether the object is there, or will be, is not known unless the error says that
    /// it did not happen: start over under another name.
    ///
    /// # Panics
    /// When the index would pass 4 GiB.
    pub async fn finish(mut self) -> Result<WrittenSegment, StoreError> {
        let Self { id, level, .. } = self;
        let body_end_bytes = self.body_end().await?;
        let (index, named) = (self.index, (id, level, self.created_ms));
        let tail = if self.batch_count < PACKED_APART_FROM_BATCHES {
            footer::encode_tail(named, &index, body_end_bytes)
        } else {
            let pack = move || footer::encode_tail(named, &index, body_end_bytes);
            let packed = tokio::task::spawn_blocking(pack).await;
            packed.expect("packing an index neither panics nor is it cancelled")
        };
        if let Err(error) = self.upload.write(&tail).await {
            self.upload.abort().await;
            return Err(error);
        }
        let size_bytes = self.upload.finish().await?;
        Ok(WrittenSegment {
            id,
            level,
            size_bytes,
        })
    }

    /// Gives up; nothing will be seen of it.
    pub async fn abort(self) {
        self.upload.abort().await;
    }

    /// Puts a batch into the index; returns the CRC of its extent without it.
    fn describe(
        &mut self,
        partition: TopicPartition,
        header: &BatchHeader,
        (position_bytes, base_offset): (u64, Offset),
    ) -> u32 {
        let batch = IndexBatch::of(header);
        let is_next = self.continues(partition, position_bytes, base_offset);
        self.batch_count += 1;
        self.end = Some(End {
            partition,
            next_offset: base_offset.saturating_add(i64::from(batch.record_count)),
            position_bytes: position_bytes + u64::from(batch.length_bytes),
        });
        match self.index.extents.last_mut() {
            Some(extent) if is_next => {
                extent.batches.push(batch);
                extent.crc
            }
            last => {
                if let Some(last) = last {
                    last.batches.shrink_to_fit();
                }
                self.index.extents.push(IndexExtent {
                    partition,
                    position_bytes,
                    crc: 0,
                    base_offset: Some(base_offset),
                    batches: vec![batch],
                });
                0
            }
        }
    }

    /// Whether a batch belongs to the end of the last extent; if not, it begins the next.
    fn continues(
        &self,
        partition: TopicPartition,
        position_bytes: u64,
        base_offset: Offset,
    ) -> bool {
        let Some(end) = self.end else { return false };
        if end.partition != partition {
            assert!(end.partition < partition, "{partition} comes too late");
            return false;
        }
        assert!(
            end.next_offset <= base_offset,
            "offsets of {partition} go back"
        );
        // What was forgotten in between is not part of the extent.
        end.next_offset == base_offset && end.position_bytes == position_bytes
    }
}
