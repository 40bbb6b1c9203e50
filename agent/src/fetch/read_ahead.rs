//! Brings chunks into the cache before a reader needs them: several small objects at once within one
//! read, and what comes next while the consumer still works on what it got.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use floe_storage::cache::{CHUNK_BYTES, Pool};
use floe_storage::tasks::Tasks;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use object_store::path::Path;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::chunks::{Chunks, Object};

/// Reads of chunks that one fetch of one partition has under way.
const AT_ONCE_MAX: usize = 8;
/// Consumers of each pool that are read ahead for at the same time; others read on demand.
const CONSUMERS_MAX: usize = 8;
/// Chunks that are remembered as asked for.
const REMEMBERED_MAX: usize = 512;

/// Bytes of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// The object.
    pub(super) object: Object,
    /// Which of its bytes.
    pub(super) range: Range<u64>,
}

/// Reads ahead of consumers.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    tasks: Tasks,
    token: CancellationToken,
    /// Of the tail, and of old records.
    consumers: [Arc<Semaphore>; 2],
    asked: Mutex<Asked>,
}

/// Chunks that were asked for a while ago at most, oldest first.
#[derive(Debug, Default)]
struct Asked {
    known: BTreeSet<(Path, u64)>,
    order: VecDeque<(Path, u64)>,
}

impl ReadAhead {
    /// Reads on `tasks` until `token` is cancelled.
    pub(crate) fn new(tasks: Tasks, token: CancellationToken) -> Self {
        Self {
            tasks,
            token,
            consumers: std::array::from_fn(|_| Arc::new(Semaphore::new(CONSUMERS_MAX))),
            asked: Mutex::default(),
        }
    }

    /// Starts to read those of `pieces` whose chunks were not asked for lately; returns at once.
    pub(super) fn start(&self, chunks: &Chunks, pieces: Vec<Piece>) {
        let [tail, catch_up] = &self.consumers;
        let consumers = match chunks.pool() {
            Pool::Tail => tail,
            Pool::CatchUp => catch_up,
        };
        // First: what is noted as asked for is asked for.
        let Ok(permit) = Arc::clone(consumers).try_acquire_owned() else {
            return;
        };
        let pieces = self.unasked(pieces);
        if pieces.is_empty() {
            return;
        }
        let (chunks, token) = (chunks.clone(), self.token.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = read_all(&chunks, pieces) => {}
            }
            drop(permit);
        });
    }

    /// Cuts `pieces` into chunks and leaves out what was asked for before.
    fn unasked(&self, pieces: Vec<Piece>) -> Vec<Piece> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unasked = Vec::new();
        for Piece { object, range } in pieces {
            let mut at = range.start;
            while at < range.end {
                let chunk = at / CHUNK_BYTES;
                let end = range.end.min((chunk + 1) * CHUNK_BYTES);
                if asked.note((object.path.clone(), chunk)) {
                    unasked.push(Piece {
                        object: object.clone(),
                        range: at..end,
                    });
                }
                at = end;
            }
        }
        unasked
    }
}

impl Asked {
    /// Whether the chunk is new here.
    fn note(&mut self, chunk: (Path, u64)) -> bool {
        if !self.known.insert(chunk.clone()) {
            return false;
        }
        self.order.push_back(chunk);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// Reads `pieces` into the cache, several at once. A failure shows when the bytes are needed.
pub(super) async fn read_all(chunks: &Chunks, pieces: Vec<Piece>) {
    let mut pieces = pieces.into_iter();
    let read = |piece: Piece| async move {
        let result = chunks.read(&piece.object, piece.range).await;
        if let Err(error) = result {
            tracing::debug!(%error, "reading ahead failed");
        }
    };
    let mut under_way: FuturesUnordered<_> = pieces.by_ref().take(AT_ONCE_MAX).map(read).collect();
    while let Some(()) = under_way.next().await {
        under_way.extend(pieces.next().map(read));
    }
}

#[cfg(test)]
mod tests {
    use floe_metadata::api::Extent;
    use floe_storage::key::Lineage;
    use floe_storage::segment::SegmentId;

    use super::*;

    #[test]
    fn a_chunk_is_asked_for_once() {
        let ahead = ReadAhead::new(Tasks::new(), CancellationToken::new());
        let extent = Extent {
            segment: SegmentId {
                write_epoch: 1,
                incarnation: 1,
                counter: 1,
            },
            level: 0,
            position_bytes: 0,
            length_bytes: 1,
            base_offset: 0,
            end_offset: 1,
            max_timestamp_ms: 0,
        };
        let object = Object::of(&extent, &Lineage([7; 16]).into());
        let piece = |from, to| Piece {
            object: object.clone(),
            range: from..to,
        };
        let first = ahead.unasked(vec![piece(100, CHUNK_BYTES + 10)]);
        assert_eq!(
            first,
            [
                piece(100, CHUNK_BYTES),
                piece(CHUNK_BYTES, CHUNK_BYTES + 10)
            ]
        );
        assert_eq!(ahead.unasked(vec![piece(500, CHUNK_BYTES + 99)]), []);
        let next = ahead.unasked(vec![piece(CHUNK_BYTES, 2 * CHUNK_BYTES + 1)]);
        assert_eq!(next, [piece(2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1)]);
        for chunk in 0..=REMEMBERED_MAX as u64 {
            let at = (10 + chunk) * CHUNK_BYTES;
            assert_eq!(ahead.unasked(vec![piece(at, at + 1)]).len(), 1);
        }
        assert_eq!(ahead.asked.lock().unwrap().known.len(), REMEMBERED_MAX);
    }
}
