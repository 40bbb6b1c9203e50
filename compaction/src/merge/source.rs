//! One source of a merge, read front to back through a window: while batches are taken from one window,
//! the next is on its way. Holds two windows, or one and the batch that does not fit into it.
//!
//! ```text
//! object   ....xxxxxxxx..xxxx......................xxxxxx....      x: live extents
//! wanted       └─────────────┘ small gaps are read └────┘ large ones are not
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use floe_protocol::checksum;
use floe_protocol::frame::PRODUCE_FRAME_BYTES_MAX;
use floe_protocol::record_batch::{BatchError, BatchHeader, CRC_START_BYTES, HEADER_BYTES};
use floe_storage::store::{Caller, Part, Store, StoreError, StoreErrorKind};
use object_store::path::Path;
use tokio::task::JoinSet;

/// Dead bytes up to this many are read rather than passed by: a request costs about as much.
const GAP_BYTES_MAX: u64 = 256 << 10;

/// Bytes that all sources of a job hold or have asked for.
#[derive(Debug, Default)]
pub(super) struct Held {
    now: AtomicU64,
    max: AtomicU64,
}

impl Held {
    fn add(&self, bytes: u64) {
        let now = self.now.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.max.fetch_max(now, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: u64) {
        self.now.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The most that was held at once.
    pub(super) fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }
}

/// What is wrong with the bytes of an extent. Nothing a retry would mend, but for bits that fell over on
/// the way.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("the object is missing")]
    Missing,
    #[error("the object ends at byte {0}")]
    Ends(u64),
    #[error("{0}")]
    Batch(BatchError),
    #[error("a batch of {0} bytes goes past its extent")]
    Overrun(u64),
    #[error("checksum of the batch is {found:08x} and should be {expected:08x}")]
    Crc { found: u32, expected: u32 },
    #[error("the batch begins at offset {found}, where {expected} is the first it may have")]
    Offset { found: i64, expected: i64 },
    #[error("the batches end at offset {found}, their extent at {expected}")]
    End { found: i64, expected: i64 },
}

impl Damage {
    /// Whether all of the object from here on is in the same state, however often it is read.
    pub(super) const fn is_final(&self) -> bool {
        matches!(self, Self::Missing | Self::Ends(_))
    }
}

/// Why a batch could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    Damaged(Damage),
    Store(StoreError),
    /// The runtime is going down.
    Ended,
}

/// A batch as it lies in the source.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) header: BatchHeader,
    /// The whole batch, in one piece or two.
    pub(super) pieces: Vec<Bytes>,
    pub(super) size_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Source {
    store: Store,
    pub(super) path: Path,
    window_bytes: u64,
    /// All that the job reads, in order.
    all: Vec<Range<u64>>,
    /// What was not yet asked for.
    wanted: VecDeque<Range<u64>>,
    /// The window that is on its way: at most one.
    coming: JoinSet<(Range<u64>, Result<Part, StoreError>)>,
    coming_bytes: u64,
    /// Bytes at hand and where they begin, in order; none of them before `position`.
    pieces: VecDeque<(u64, Bytes)>,
    /// What is taken next.
    position: u64,
    /// Why nothing more can be read.
    end: Option<Damage>,
    held: Arc<Held>,
    read_bytes: u64,
}

impl Source {
    /// A source of which the `extents`, ranges of bytes, will be read in their order.
    pub(super) fn new(
        store: Store,
        path: Path,
        extents: impl Iterator<Item = Range<u64>>,
        window_bytes: u64,
        held: Arc<Held>,
    ) -> Self {
        let all = coalesced(extents);
        Self {
            store,
            path,
            window_bytes: window_bytes.max(1),
            wanted: all.iter().cloned().collect(),
            all,
            coming: JoinSet::new(),
            coming_bytes: 0,
            pieces: VecDeque::new(),
            position: 0,
            end: None,
            held,
            read_bytes: 0,
        }
    }

    /// Bytes that came from the store.
    pub(super) const fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Goes to `position`; backwards only by reading anew.
    pub(super) fn seek(&mut self, position: u64) {
        if position < self.position {
            self.restart(position);
            return;
        }
        self.position = position;
        while let Some((start, piece)) = self.pieces.front_mut() {
            let passed = position.saturating_sub(*start);
            let passed = usize::try_from(passed).unwrap_or(usize::MAX);
            if passed == 0 {
                return;
            }
            let dropped = passed.min(piece.len());
            self.held.subtract(dropped as u64);
            if dropped < piece.len() {
                *start = position;
                drop(piece.split_to(dropped));
                return;
            }
            self.pieces.pop_front();
        }
    }

    /// Goes to `position`, forgets what is at hand and reads it anew.
    pub(super) fn restart(&mut self, position: u64) {
        let at_hand: usize = self.pieces.iter().map(|(_, piece)| piece.len()).sum();
        self.held.subtract(self.coming_bytes + at_hand as u64);
        self.coming = JoinSet::new();
        self.coming_bytes = 0;
        self.pieces.clear();
        self.position = position;
        self.wanted = self.all.iter().cloned().collect();
    }

    /// Takes the batch at the present position, which ends at `end` at the latest; its checksum is right.
    pub(super) async fn batch(&mut self, end: u64) -> Result<Batch, ReadError> {
        let damaged = ReadError::Damaged;
        let room = end.saturating_sub(self.position);
        if room < HEADER_BYTES as u64 {
            return Err(damaged(Damage::Overrun(HEADER_BYTES as u64)));
        }
        self.fill(HEADER_BYTES as u64).await?;
        let header =
            BatchHeader::parse(&self.peek()).map_err(|error| damaged(Damage::Batch(error)))?;
        let size_bytes = header.size_bytes() as u64;
        // What no producer could have sent must not be waited for in memory.
        if size_bytes > room || header.size_bytes() > PRODUCE_FRAME_BYTES_MAX {
            return Err(damaged(Damage::Overrun(size_bytes)));
        }
        self.fill(size_bytes).await?;
        let pieces = self.take(size_bytes);
        let mut crc = 0;
        let mut skip = CRC_START_BYTES;
        for piece in &pieces {
            let covered = piece.get(skip.min(piece.len())..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            crc = checksum::crc32c_append(crc, covered);
        }
        if crc != header.crc {
            return Err(damaged(Damage::Crc {
                found: crc,
                expected: header.crc,
            }));
        }
        Ok(Batch {
            header,
            pieces,
            size_bytes,
        })
    }

    /// Asks for the next window, unless one is on its way.
    pub(super) fn ask(&mut self) {
        if !self.coming.is_empty() || self.end.is_some() {
            return;
        }
        // What was passed by meanwhile is not asked for.
        while self
            .wanted
            .front()
            .is_some_and(|range| range.end <= self.position || range.is_empty())
        {
            self.wanted.pop_front();
        }
        let Some(range) = self.wanted.front_mut() else {
            return;
        };
        let start = range.start.max(self.position);
        let window = start..range.end.min(start.saturating_add(self.window_bytes));
        range.start = window.end;
        self.coming_bytes = window.end - window.start;
        self.held.add(self.coming_bytes);
        let (store, path) = (self.store.clone(), self.path.clone());
        self.coming.spawn(async move {
            let part = store
                .get_up_to(&path, window.clone(), Caller::Compaction)
                .await;
            (window, part)
        });
    }

    /// Waits until `count` bytes are at hand, and asks for more.
    async fn fill(&mut self, count: u64) -> Result<(), ReadError> {
        while self.at_hand() < count {
            self.ask();
            match self.coming.join_next().await {
                Some(Ok((window, part))) => self.came(window, part)?,
                Some(Err(_)) => return Err(ReadError::Ended),
                None => {
                    let end = Damage::Ends(self.position + self.at_hand());
                    return Err(ReadError::Damaged(self.end.clone().unwrap_or(end)));
                }
            }
        }
        self.ask();
        Ok(())
    }

    /// Bytes from `position` on without a hole.
    fn at_hand(&self) -> u64 {
        let mut end = self.position;
        for (start, piece) in &self.pieces {
            if *start != end {
                break;
            }
            end += piece.len() as u64;
        }
        end - self.position
    }

    fn came(
        &mut self,
        window: Range<u64>,
        part: Result<Part, StoreError>,
    ) -> Result<(), ReadError> {
        self.held.subtract(self.coming_bytes);
        self.coming_bytes = 0;
        let part = match part {
            Ok(part) => part,
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                self.end = Some(Damage::Missing);
                return Ok(());
            }
            Err(error) if error.kind() == StoreErrorKind::Invalid => {
                self.end = Some(Damage::Ends(window.start));
                return Ok(());
            }
            Err(error) => return Err(ReadError::Store(error)),
        };
        let came = part.bytes.len() as u64;
        self.read_bytes += came;
        if came < window.end - window.start {
            self.end = Some(Damage::Ends(window.start + came));
        }
        // What was passed by meanwhile is dropped.
        let start = window.start.max(self.position);
        let passed = usize::try_from(start - window.start).unwrap_or(usize::MAX);
        if passed < part.bytes.len() {
            let bytes = part.bytes.slice(passed..);
            self.held.add(bytes.len() as u64);
            self.pieces.push_back((start, bytes));
        }
        Ok(())
    }

    fn peek(&self) -> [u8; HEADER_BYTES] {
        let mut head = [0; HEADER_BYTES];
        let bytes = self.pieces.iter().flat_map(|(_, piece)| piece.iter());
        for (place, byte) in head.iter_mut().zip(bytes) {
            *place = *byte;
        }
        head
    }

    /// The next `count` bytes, which are at hand.
    fn take(&mut self, count: u64) -> Vec<Bytes> {
        let mut taken = Vec::with_capacity(1);
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        while left > 0 {
            let Some((_, front)) = self.pieces.front() else {
                break;
            };
            let piece = front.slice(..left.min(front.len()));
            left -= piece.len();
            self.seek(self.position + piece.len() as u64);
            taken.push(piece);
        }
        taken
    }
}

/// `extents` as few ranges with small gaps in them.
fn coalesced(extents: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for extent in extents {
        match ranges.last_mut() {
            Some(last)
                if extent.start >= last.start
                    && extent.start <= last.end.saturating_add(GAP_BYTES_MAX) =>
            {
                last.end = last.end.max(extent.end);
            }
            _ => ranges.push(extent),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_gaps_are_read_and_large_ones_are_not() {
        let gap = GAP_BYTES_MAX;
        let extents = [
            40..50,
            50..60,
            60 + gap..100 + gap,
            101 + 2 * gap..300 + 2 * gap,
        ];
        let expected = vec![40..100 + gap, 101 + 2 * gap..300 + 2 * gap];
        assert_eq!(coalesced(extents.into_iter()), expected);
    }
}
