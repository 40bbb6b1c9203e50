//! Reads batches of one partition from its extents: from this process's memory where they are fresh,
//! else in chunks that others may have nearer than the store. Positions of earlier reads are remembered, so that a consumer that goes
//! through a large extent step by step does not walk it from its start each time.

use std::sync::Arc;

use bytes::Bytes;
use floe_metadata::api::Extent;
use floe_protocol::types::{Offset, TopicPartition};
use floe_storage::cache::Pool;
use floe_storage::key::Lineages;

use super::assembler::Assembler;
use super::chunks::{Chunks, Object};
use super::cursor::{BatchCursor, ReadError, Source};
use super::fresh::Fresh;
use super::positions::Positions;
use super::read_ahead::{Piece, ReadAhead, read_all};
use super::strides::Strides;

/// Within one read this much is brought into the cache at once.
const WARM_BYTES: u64 = 8 * 1024 * 1024;
/// Of the watched tail so much is listed behind what is wanted, to be read ahead.
pub(crate) const LISTED_AHEAD_BYTES: u64 = 8 * 1024 * 1024;

/// What to read of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Want {
    /// The first offset wanted; its whole batch is read.
    pub(crate) from: Offset,
    /// Only batches that lie below this are read: the high watermark or the last stable offset.
    pub(crate) upper: Offset,
    /// Most bytes of whole batches.
    pub(crate) max_bytes: u64,
    /// The first batch is read even if it is larger than that.
    pub(crate) at_least_one: bool,
}

/// Whose records are read, and for what kind of readers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Scan {
    /// Whose.
    pub(crate) partition: TopicPartition,
    /// The tail's, if that is where they were planned from.
    pub(crate) pool: Pool,
}

/// Batches that were read.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whole batches in order, offsets patched in, in pieces.
    pub(crate) pieces: Vec<Bytes>,
    /// Their bytes.
    pub(crate) size_bytes: u64,
    /// One past the last offset read; the offset asked for if nothing was.
    pub(crate) end_offset: Offset,
    /// Why the read ended before what was wanted. With nothing read it is the partition's error; else
    /// the next read meets it again.
    pub(crate) error: Option<ReadError>,
    /// All extents below the limit were read to their ends.
    pub(crate) is_through: bool,
}

/// Reads extents.
#[derive(Debug)]
pub(crate) struct Reader {
    fresh: Arc<Fresh>,
    chunks: Chunks,
    lineages: Lineages,
    positions: Positions,
    read_ahead: ReadAhead,
    strides: Strides,
}

/// Whether an extent was read to its end or a limit came first.
enum Step {
    Through,
    Stopped,
}

impl Reader {
    /// A reader of the segments of all lives of a cluster.
    pub(crate) fn new(
        fresh: Arc<Fresh>,
        chunks: Chunks,
        lineages: Lineages,
        read_ahead: ReadAhead,
    ) -> Self {
        Self {
            fresh,
            lineages,
            positions: Positions::default(),
            strides: Strides::new(chunks.of_pool(Pool::CatchUp).capacity_bytes()),
            chunks,
            read_ahead,
        }
    }

    /// Reads what is wanted from `extents`, which are in order, the first holding `want.from` or the
    /// next offset there is; extents beyond what is wanted only serve to read ahead.
    pub(crate) async fn read(&self, extents: &[Extent], want: Want, scan: Scan) -> Found {
        let chunks = self.chunks.of_pool(scan.pool);
        let mut reading = Reading {
            want,
            assembler: Assembler::default(),
            end_offset: want.from,
        };
        let (mut error, mut is_through) = (None, true);
        let mut warm_until = 0;
        let mut stopped_at = None;
        for (index, extent) in extents.iter().enumerate() {
            if extent.end_offset <= reading.end_offset {
                continue;
            }
            if extent.base_offset >= want.upper {
                break;
            }
            if reading.is_full() {
                is_through = false;
                break;
            }
            let source = self.source(&chunks, extent);
            let stored = matches!(source, Source::Stored(..));
            if stored && index >= warm_until {
                let rest = extents.get(index..).unwrap_or_default();
                warm_until = index + self.warm(&chunks, rest, &reading).await;
            }
            let mut cursor = self.cursor(extent, source.clone(), reading.end_offset);
            let mut step = reading.read_extent(&mut cursor).await;
            if stored && matches!(step, Err(ReadError::Damaged { .. })) {
                // Once more from the store: damage on the way is no damage in the store.
                cursor = self.cursor(extent, source.without_peers(), reading.end_offset);
                step = reading.read_extent(&mut cursor).await;
            }
            if stored {
                stopped_at = Some((index, cursor.at_bytes()));
            }
            match step {
                Ok(Step::Through) => {}
                Ok(Step::Stopped) => {
                    self.positions
                        .note(extent, cursor.at_offset(), cursor.at_bytes());
                    is_through = false;
                    break;
                }
                Err(cause) => {
                    error = Some(cause);
                    is_through = false;
                    break;
                }
            }
        }
        if let Some((index, at_bytes)) = stopped_at {
            let ahead_bytes = self.strides.ahead_bytes(scan.partition, want.from);
            let rest = extents.get(index..).unwrap_or_default();
            let (pieces, _) = self.pieces(rest, at_bytes, ahead_bytes);
            self.read_ahead.start(&chunks, pieces);
            let read = want.from..reading.end_offset;
            self.strides.note(scan.partition, read, ahead_bytes);
        }
        let size_bytes = reading.assembler.size_bytes;
        let end_offset = reading.end_offset;
        Found {
            pieces: reading.assembler.finish(),
            size_bytes,
            end_offset,
            error,
            is_through,
        }
    }

    /// A cursor before the batch that holds `from`, or before an earlier one.
    fn cursor(&self, extent: &Extent, source: Source, from: Offset) -> BatchCursor {
        let (at_bytes, at_offset) = self.known_start(extent, from);
        BatchCursor::new(source, *extent, at_bytes, at_offset)
    }

    /// The last known start of a batch in `extent` at or before `from`, in bytes and offset.
    fn known_start(&self, extent: &Extent, from: Offset) -> (u64, Offset) {
        if from > extent.base_offset
            && let Some(at_bytes) = self.positions.find(extent, from)
        {
            return (at_bytes, from);
        }
        (0, extent.base_offset)
    }

    /// A cursor before the first batch of `extent`, for readers that look at every batch and come by once.
    pub(crate) fn batches(&self, extent: &Extent) -> BatchCursor {
        let source = self.source(&self.chunks.of_pool(Pool::CatchUp), extent);
        BatchCursor::new(source, *extent, 0, extent.base_offset)
    }

    fn source(&self, chunks: &Chunks, extent: &Extent) -> Source {
        match self.fresh.get(extent.segment) {
            Some(payload) => Source::Fresh(payload),
            None => Source::Stored(chunks.clone(), self.object(extent)),
        }
    }

    fn object(&self, extent: &Extent) -> Object {
        Object::of(extent, &self.lineages)
    }

    /// Brings the first of `extents`, as many as will be read, into the cache side by side; one after
    /// the other they would cost a round trip each. Returns how many of them are done with.
    async fn warm(&self, chunks: &Chunks, extents: &[Extent], reading: &Reading) -> usize {
        let start = extents
            .first()
            .map_or(0, |first| self.known_start(first, reading.end_offset).0);
        let wanted_bytes = reading.left_bytes().min(WARM_BYTES);
        let (pieces, count) = self.pieces(extents, start, wanted_bytes);
        if pieces.len() > 1 {
            read_all(chunks, pieces).await;
        }
        count.max(1)
    }

    /// The stored bytes among the next `wanted_bytes` of `extents`, from `start` behind the beginning of
    /// the first one on; and how many extents that touches.
    fn pieces(&self, extents: &[Extent], start: u64, wanted_bytes: u64) -> (Vec<Piece>, usize) {
        let mut pieces = Vec::new();
        let mut left = wanted_bytes;
        let mut skip = start;
        let mut count = 0;
        for extent in extents {
            if left == 0 {
                break;
            }
            let bytes = u64::from(extent.length_bytes)
                .saturating_sub(skip)
                .min(left);
            let from = extent.position_bytes + skip;
            if bytes > 0 && self.fresh.get(extent.segment).is_none() {
                pieces.push(Piece {
                    object: self.object(extent),
                    range: from..from + bytes,
                });
            }
            left -= bytes;
            skip = 0;
            count += 1;
        }
        (pieces, count)
    }
}

/// A read under way.
#[derive(Debug)]
struct Reading {
    want: Want,
    assembler: Assembler,
    /// One past the last offset read.
    end_offset: Offset,
}

impl Reading {
    fn left_bytes(&self) -> u64 {
        self.want
            .max_bytes
            .saturating_sub(self.assembler.size_bytes)
    }

    /// Whether the next batch goes out whatever its size.
    fn is_first(&self) -> bool {
        self.want.at_least_one && self.assembler.size_bytes == 0
    }

    fn is_full(&self) -> bool {
        self.left_bytes() == 0 && !self.is_first()
    }

    /// Takes batches until the extent ends or the next batch is too much; the cursor then stands
    /// before that one.
    async fn read_extent(&mut self, cursor: &mut BatchCursor) -> Result<Step, ReadError> {
        loop {
            let is_searching = cursor.at_offset() < self.end_offset;
            let ahead = if is_searching {
                cursor.search_bytes()
            } else {
                self.left_bytes()
            };
            let Some(batch) = cursor.locate(ahead).await? else {
                return Ok(Step::Through);
            };
            if batch.end_offset() <= self.end_offset {
                cursor.skip(&batch);
                continue;
            }
            let too_large = batch.size_bytes() > self.left_bytes() && !self.is_first();
            if batch.end_offset() > self.want.upper || too_large {
                return Ok(Step::Stopped);
            }
            cursor.take(&batch, &mut self.assembler).await?;
            self.end_offset = batch.end_offset();
        }
    }
}

#[cfg(test)]
mod tests;
