//! Goes through the batches of one extent, from its first or from a remembered one. Reads ahead no
//! further than it is told to, checks what comes from the store, and trusts what this process checked
//! when it was produced.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use floe_metadata::api::Extent;
use floe_planted::Bug;
use floe_protocol::record_batch::{BatchError, BatchHeader, CRC_START_BYTES, HEADER_BYTES};
use floe_protocol::records::Records;
use floe_protocol::types::Offset;
use floe_storage::cache::CHUNK_BYTES;
use floe_storage::error::StoreError;
use floe_storage::segment::{Payload, SegmentId};
use floe_storage::store::StoreErrorKind;

use super::assembler::Assembler;
use super::chunks::{Chunks, Object};
use super::rope::Rope;

/// In memory this much is looked at at once while a batch is searched.
const SEARCH_BYTES: u64 = 64 * 1024;

/// Why an extent cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The store; ask it whether to retry. An object that is not there may have been replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bytes are not those that were written.
    #[error("segment {segment} is damaged at byte {position_bytes}: {damage}")]
    Damaged {
        /// The object.
        segment: SegmentId,
        /// Where the damaged batch starts, from the start of the object.
        position_bytes: u64,
        /// What is wrong with it.
        damage: Damage,
    },
}

impl ReadError {
    /// Whether the object is not there.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Store(cause) if cause.kind() == StoreErrorKind::NotFound)
    }
}

/// What is wrong with stored bytes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Damage {
    /// It is no batch.
    #[error("{0}")]
    Batch(#[from] BatchError),
    /// The batch ends beyond its extent, or the object is shorter than its index says.
    #[error("{needed_bytes} bytes are needed and {actual_bytes} are there")]
    Short {
        /// What the batch or its header takes.
        needed_bytes: u64,
        /// What is left.
        actual_bytes: u64,
    },
    /// The batch's bytes changed.
    #[error("a batch has CRC {actual:08x}, its header says {expected:08x}")]
    Crc {
        /// The header's.
        expected: u32,
        /// That of the bytes.
        actual: u32,
    },
    /// The batches do not take the offsets that were committed.
    #[error("offset {found} is outside of {from} to {to}")]
    Offsets {
        /// What the bytes say.
        found: Offset,
        /// First offset that is possible here.
        from: Offset,
        /// One past the extent's last.
        to: Offset,
    },
}

/// Where an extent's bytes come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// From this process's memory; checked when they were produced.
    Fresh(Arc<Payload>),
    /// From the cache, another agent or the store; checked on every read.
    Stored(Chunks, Object),
}

impl Source {
    async fn read(&self, range: Range<u64>) -> Result<Vec<Bytes>, StoreError> {
        match self {
            Self::Fresh(payload) => Ok(payload.slice(range)),
            Self::Stored(chunks, object) => chunks.read(object, range).await,
        }
    }

    /// The same bytes, without asking other agents for them.
    pub(super) fn without_peers(self) -> Self {
        match self {
            Self::Fresh(payload) => Self::Fresh(payload),
            Self::Stored(chunks, object) => Self::Stored(chunks.of_store(), object),
        }
    }
}

/// The batch a cursor stands before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    /// Its header; the base offset in it means nothing at level 0.
    pub(crate) header: BatchHeader,
    /// Offset of its first record.
    pub(crate) base_offset: Offset,
}

impl Located {
    /// Bytes of the whole batch.
    pub(super) fn size_bytes(&self) -> u64 {
        self.header.size_bytes() as u64
    }

    /// One past the last offset the batch takes.
    pub(crate) fn end_offset(&self) -> Offset {
        self.base_offset
            .saturating_add(i64::from(self.header.offset_count()))
    }
}

/// A place between two batches of an extent.
#[derive(Debug)]
pub(crate) struct BatchCursor {
    source: Source,
    extent: Extent,
    /// Bytes from the start of the extent to where the cursor began.
    from_bytes: u64,
    /// Bytes from the start of the extent to the next batch.
    at_bytes: u64,
    /// Least offset the next batch may have; at level 0 its base offset.
    at_offset: Offset,
    /// Bytes that were read, from the next batch on.
    window: Rope,
}

impl BatchCursor {
    /// Stands before the batch that starts `at_bytes` behind the start of `extent` with `at_offset`.
    pub(super) fn new(source: Source, extent: Extent, at_bytes: u64, at_offset: Offset) -> Self {
        Self {
            source,
            extent,
            from_bytes: at_bytes,
            at_bytes,
            at_offset,
            window: Rope::default(),
        }
    }

    /// Bytes from the start of the extent to the next batch.
    pub(super) fn at_bytes(&self) -> u64 {
        self.at_bytes
    }

    /// Least offset the next batch may have; at level 0 its base offset.
    pub(super) fn at_offset(&self) -> Offset {
        self.at_offset
    }

    /// How much to read at once while a batch is searched: a chunk of the store is there as a whole or
    /// not at all, in memory less is enough.
    pub(super) fn search_bytes(&self) -> u64 {
        match self.source {
            Source::Fresh(_) => SEARCH_BYTES,
            Source::Stored(..) => {
                let at = self.extent.position_bytes + self.at_bytes;
                CHUNK_BYTES - at % CHUNK_BYTES
            }
        }
    }

    /// The next batch; `None` at the end. Where bytes are missing, about `ahead_bytes` are read.
    ///
    /// # Errors
    /// The store failed or the bytes are damaged.
    pub(super) async fn locate(&mut self, ahead_bytes: u64) -> Result<Option<Located>, ReadError> {
        let left = u64::from(self.extent.length_bytes).saturating_sub(self.at_bytes);
        if left == 0 {
            return self.check_end().map(|()| None);
        }
        let header_bytes = HEADER_BYTES as u64;
        if self.window.len_bytes() < header_bytes.min(left) {
            self.fill(ahead_bytes.max(header_bytes)).await?;
        }
        let Some(head) = self.window.peek::<HEADER_BYTES>() else {
            return Err(self.short(header_bytes));
        };
        let header = BatchHeader::parse(&head).map_err(|error| self.damaged(error.into()))?;
        if header.size_bytes() as u64 > left {
            return Err(self.damaged(Damage::Short {
                needed_bytes: header.size_bytes() as u64,
                actual_bytes: left,
            }));
        }
        let base_offset = if self.extent.level == 0 {
            self.at_offset
        } else {
            header.base_offset
        };
        let located = Located {
            header,
            base_offset,
        };
        self.check_offsets(&located)?;
        Ok(Some(located))
    }

    /// The next batch that `wanted` asks for, offsets patched in, in one piece; others are skipped.
    /// `None` at the end.
    ///
    /// # Errors
    /// The store failed or the bytes are damaged.
    pub(crate) async fn next(
        &mut self,
        wanted: impl Fn(&Located) -> bool,
    ) -> Result<Option<Bytes>, ReadError> {
        while let Some(batch) = self.locate(self.search_bytes()).await? {
            if !wanted(&batch) {
                self.skip(&batch);
                continue;
            }
            let mut assembler = Assembler::default();
            self.take(&batch, &mut assembler).await?;
            let records: Records = assembler.finish().into_iter().collect();
            return Ok(Some(records.into_bytes()));
        }
        Ok(None)
    }

    /// Goes past `batch`, the one located last, without reading it.
    pub(super) fn skip(&mut self, batch: &Located) {
        self.window.skip(batch.size_bytes());
        self.passed(batch);
    }

    /// Hands `batch`, the one located last, to `assembler` and goes past it.
    ///
    /// # Errors
    /// The store failed or the bytes are damaged; the cursor stays where it is.
    pub(super) async fn take(
        &mut self,
        batch: &Located,
        assembler: &mut Assembler,
    ) -> Result<(), ReadError> {
        let size_bytes = batch.size_bytes();
        if self.window.len_bytes() < size_bytes {
            self.fill(size_bytes).await?;
        }
        if self.window.len_bytes() < size_bytes {
            return Err(self.short(size_bytes));
        }
        if let Source::Stored(chunks, object) = &self.source {
            let actual = self.window.crc(CRC_START_BYTES as u64, size_bytes);
            let expected = batch.header.crc;
            let is_passed = actual == expected
                || Bug::ChecksumIgnored.is_planted()
                || Bug::PeerBytesUnchecked.is_planted() && chunks.forget(object, self.seen());
            if !is_passed {
                return Err(self.damaged(Damage::Crc { expected, actual }));
            }
        }
        let base_offset = if Bug::OffsetsFromExtentStart.is_planted() {
            self.extent.base_offset
        } else {
            batch.base_offset
        };
        assembler.push(&mut self.window, &batch.header, base_offset);
        self.passed(batch);
        Ok(())
    }

    fn passed(&mut self, batch: &Located) {
        self.at_bytes += batch.size_bytes();
        self.at_offset = batch.end_offset();
    }

    /// Makes the window `bytes` long, or as long as the extent allows.
    async fn fill(&mut self, bytes: u64) -> Result<(), ReadError> {
        let at = self.extent.position_bytes + self.at_bytes;
        let end = self.extent.position_bytes + u64::from(self.extent.length_bytes);
        let start = at + self.window.len_bytes();
        let wanted = start.max(at.saturating_add(bytes)).min(end);
        if start < wanted {
            let pieces = self.source.read(start..wanted).await?;
            self.window.extend(pieces);
        }
        Ok(())
    }

    fn check_offsets(&self, batch: &Located) -> Result<(), ReadError> {
        let (from, to) = (self.at_offset, self.extent.end_offset);
        let end = batch.end_offset();
        if batch.base_offset < from || end > to {
            let found = if batch.base_offset < from {
                batch.base_offset
            } else {
                end
            };
            return Err(self.damaged(Damage::Offsets { found, from, to }));
        }
        Ok(())
    }

    /// At level 0 the batches take exactly the extent's offsets; later compaction may leave gaps.
    fn check_end(&self) -> Result<(), ReadError> {
        let Extent {
            level, end_offset, ..
        } = self.extent;
        if level == 0 && self.at_offset != end_offset {
            return Err(self.damaged(Damage::Offsets {
                found: self.at_offset,
                from: end_offset,
                to: end_offset,
            }));
        }
        Ok(())
    }

    /// Which bytes of the object the cursor has read.
    fn seen(&self) -> Range<u64> {
        let start = self.extent.position_bytes;
        let end = self.at_bytes + self.window.len_bytes();
        start + self.from_bytes..start + end
    }

    fn short(&self, needed_bytes: u64) -> ReadError {
        self.damaged(Damage::Short {
            needed_bytes,
            actual_bytes: self.window.len_bytes(),
        })
    }

    /// What came damaged is not kept: it may have been hurt on its way. Nor is what came before: bytes of
    /// another place may look right until the offsets do not.
    fn damaged(&self, damage: Damage) -> ReadError {
        if let Source::Stored(chunks, object) = &self.source {
            chunks.forget(object, self.seen());
        }
        ReadError::Damaged {
            segment: self.extent.segment,
            position_bytes: self.extent.position_bytes + self.at_bytes,
            damage,
        }
    }
}
