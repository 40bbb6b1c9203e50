//! Builds a segment from batches in any order of partitions. On the path of every produced byte:
//! batches of 4 KiB and more are passed on as they are, only smaller ones are copied together, and no
//! byte that came with a CRC is looked at again.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use floe_protocol::checksum;
use floe_protocol::record_batch::{BatchHeader, CRC_START_BYTES};
use floe_protocol::types::{Offset, TimestampMs, TopicPartition};

use super::footer;
use super::{FOOTER_BYTES, HEADER_BYTES, Index, IndexBatch, IndexExtent, Payload, SegmentId};

/// From this size on a batch is referenced instead of copied. Below it a reference would cost more
/// than the copy: it pins the whole read buffer the batch came in, and a PUT has one more piece.
const REFERENCED_FROM_BYTES: usize = 4096;

/// Collects batches and seals them into one object.
#[derive(Debug)]
pub struct Writer {
    id: SegmentId,
    level: u8,
    created_ms: TimestampMs,
    /// In order of arrival.
    pushed: Vec<Pushed>,
    body_bytes: u64,
}

#[derive(Debug)]
struct Pushed {
    partition: TopicPartition,
    batch: IndexBatch,
    /// The producer's CRC, over all from byte 21.
    crc: u32,
    base_offset: Option<Offset>,
    bytes: Bytes,
}

/// A finished segment: what to PUT and what to commit.
#[derive(Clone, Debug)]
pub struct SealedSegment {
    /// Its name.
    pub id: SegmentId,
    /// 0 as ingested, 1 and up merged.
    pub level: u8,
    /// What lies where.
    pub index: Arc<Index>,
    /// The whole object.
    pub payload: Payload,
    /// Bytes of the whole object.
    pub size_bytes: u64,
}

impl Writer {
    /// An empty segment.
    #[must_use]
    pub const fn new(id: SegmentId, level: u8, created_ms: TimestampMs) -> Self {
        Self {
            id,
            level,
            created_ms,
            pushed: Vec::new(),
            body_bytes: 0,
        }
    }

    /// Adds a batch, after all batches of its partition that were added before. `base_offset` is the
    /// batch's final offset, which `bytes` hold already; `None` exactly at level 0, where offsets do
    /// not exist yet. `header` is that of `bytes` and was checked against their CRC.
    ///
    /// # Panics
    /// When `header` is not that of `bytes`, or `base_offset` does not suit the level or goes back
    /// within a partition: the segment would not say what it holds.
    pub fn push(
        &mut self,
        partition: TopicPartition,
        header: &BatchHeader,
        bytes: Bytes,
        base_offset: Option<Offset>,
    ) {
        assert_eq!(
            header.size_bytes(),
            bytes.len(),
            "the header of another batch"
        );
        assert_eq!(
            base_offset.is_none(),
            self.level == 0,
            "offsets exist from level 1 on"
        );
        self.body_bytes += bytes.len() as u64;
        self.pushed.push(Pushed {
            partition,
            batch: IndexBatch::of(header),
            crc: header.crc,
            base_offset,
            bytes,
        });
    }

    /// Bytes so far, without the index.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        HEADER_BYTES + self.body_bytes + FOOTER_BYTES
    }

    /// Batches so far.
    #[must_use]
    pub const fn batch_count(&self) -> usize {
        self.pushed.len()
    }

    /// Whether nothing was added yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pushed.is_empty()
    }

    /// Sorts the batches by topic id and partition, keeping their order within a partition, and
    /// finishes the object. [`SealedSegment::index`] has the same order.
    ///
    /// # Panics
    /// When offsets of a partition go back, or the index would pass 4 GiB.
    #[must_use]
    pub fn seal(self) -> SealedSegment {
        let order = self.order();
        let mut body = Body::new(&self);
        for run in order.chunk_by(|a, b| a.0 == b.0) {
            for (_, number) in run {
                if let Some(pushed) = self.pushed.get(*number) {
                    body.add(pushed, run.len());
                }
            }
        }
        let Body {
            index,
            mut pieces,
            position_bytes,
        } = body;
        let tail = footer::encode_tail(
            (self.id, self.level, self.created_ms),
            &index,
            position_bytes,
        );
        pieces.copy(&tail);
        let payload = pieces.finish();
        SealedSegment {
            id: self.id,
            level: self.level,
            index: Arc::new(index),
            size_bytes: payload.size_bytes(),
            payload,
        }
    }

    /// The batches' numbers by partition and, within a partition, arrival: the order of its records.
    /// Sorts keys beside each other in memory instead of the far larger batches.
    fn order(&self) -> Vec<(TopicPartition, usize)> {
        let numbered = self.pushed.iter().enumerate();
        let mut order: Vec<_> = numbered
            .map(|(number, pushed)| (pushed.partition, number))
            .collect();
        order.sort_unstable();
        order
    }
}

/// Header and body under construction.
struct Body {
    index: Index,
    pieces: Pieces,
    position_bytes: u64,
}

impl Body {
    fn new(writer: &Writer) -> Self {
        let mut header = Vec::with_capacity(footer::HEADER_BYTES);
        footer::encode_header(writer.id, writer.created_ms, &mut header);
        let mut pieces = Pieces::new(&writer.pushed);
        pieces.copy(&header);
        Self {
            index: Index::default(),
            pieces,
            position_bytes: HEADER_BYTES,
        }
    }

    /// Adds a batch to the extent of its partition, or begins the next extent: for another partition,
    /// or where the offsets have a hole. At most `room` batches will follow in the same extent.
    fn add(&mut self, pushed: &Pushed, room: usize) {
        let before = self.index.extents.last_mut();
        match before.filter(|extent| continues(extent, pushed)) {
            Some(extent) => {
                extent.crc = crc_with(extent.crc, pushed);
                extent.batches.push(pushed.batch);
            }
            None => {
                let mut batches = Vec::with_capacity(room);
                batches.push(pushed.batch);
                self.index.extents.push(IndexExtent {
                    partition: pushed.partition,
                    position_bytes: self.position_bytes,
                    crc: crc_with(0, pushed),
                    base_offset: pushed.base_offset,
                    batches,
                });
            }
        }
        self.position_bytes += u64::from(pushed.batch.length_bytes);
        self.pieces.add(&pushed.bytes);
    }
}

/// Whether a batch belongs to the end of `extent`.
fn continues(extent: &IndexExtent, pushed: &Pushed) -> bool {
    if extent.partition != pushed.partition {
        return false;
    }
    let next = extent
        .base_offset
        .map(|base| base + extent.record_count().cast_signed());
    assert!(
        next <= pushed.base_offset,
        "offsets of {} go back",
        pushed.partition
    );
    next == pushed.base_offset
}

/// The CRC of what `crc` covers and the whole batch after it. The producer's own CRC, which was
/// checked, covers all but the first bytes, among them those that change when offsets are assigned.
fn crc_with(crc: u32, pushed: &Pushed) -> u32 {
    let bytes = &pushed.bytes;
    if bytes.len() < REFERENCED_FROM_BYTES {
        // Copied anyway; adding up so few bytes is no dearer than combining.
        return checksum::crc32c_append(crc, bytes);
    }
    let head = bytes.get(..CRC_START_BYTES).unwrap_or_default();
    let rest_bytes = bytes.len() - head.len();
    checksum::crc32c_combine(checksum::crc32c_append(crc, head), pushed.crc, rest_bytes)
}

/// The pieces of the payload under construction.
struct Pieces {
    chunks: Vec<Bytes>,
    /// Small batches not yet in a piece; all of them share one allocation.
    small: BytesMut,
}

impl Pieces {
    fn new(pushed: &[Pushed]) -> Self {
        let is_large = |pushed: &&Pushed| pushed.bytes.len() >= REFERENCED_FROM_BYTES;
        let large = pushed.iter().filter(is_large).count();
        let small = pushed.iter().map(|pushed| pushed.bytes.len());
        let small: usize = small.filter(|length| *length < REFERENCED_FROM_BYTES).sum();
        Self {
            chunks: Vec::with_capacity(2 * large + 1),
            small: BytesMut::with_capacity(footer::HEADER_BYTES + small),
        }
    }

    fn copy(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
    }

    fn add(&mut self, bytes: &Bytes) {
        if bytes.len() < REFERENCED_FROM_BYTES {
            self.copy(bytes);
            return;
        }
        self.cut();
        self.chunks.push(bytes.clone());
    }

    fn cut(&mut self) {
        if !self.small.is_empty() {
            self.chunks.push(self.small.split().freeze());
        }
    }

    fn finish(mut self) -> Payload {
        self.cut();
        Payload::new(self.chunks)
    }
}
