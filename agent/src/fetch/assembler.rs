//! Puts batches together for an answer. Base offset and leader epoch are patched into a copy of a
//! batch's first bytes; the rest of a large batch is passed on as it is, a small one is copied whole,
//! since a piece of its own would cost more. The bytes that were read are never written to.

use bytes::{BufMut as _, Bytes, BytesMut};
use floe_protocol::record_batch::{BatchHeader, PATCHED_HEAD_BYTES};
use floe_protocol::types::{LeaderEpoch, Offset};

use super::rope::Rope;

/// Batches carry this epoch, whatever the epoch of the partition is: it never changes afterwards.
const BATCH_LEADER_EPOCH: LeaderEpoch = 0;
/// Batches below this size are copied.
const COPIED_BELOW_BYTES: u64 = 2048;

/// Batches of one partition's answer, in order.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    pieces: Vec<Bytes>,
    /// Patched heads and small batches that are not yet in `pieces`.
    copied: BytesMut,
    /// Bytes of all batches.
    pub(super) size_bytes: u64,
}

impl Assembler {
    /// Takes the whole batch that starts at the front of `window`; its first record gets `base_offset`.
    pub(super) fn push(&mut self, window: &mut Rope, header: &BatchHeader, base_offset: Offset) {
        let batch_bytes = header.size_bytes() as u64;
        self.size_bytes += batch_bytes;
        self.copied.put_i64(base_offset);
        self.copied.put_i32(header.length);
        self.copied.put_i32(BATCH_LEADER_EPOCH);
        self.copied.put_i8(header.magic);
        let head_bytes = PATCHED_HEAD_BYTES as u64;
        window.skip(head_bytes);
        if batch_bytes < COPIED_BELOW_BYTES {
            window.take(batch_bytes - head_bytes, |piece| {
                self.copied.extend_from_slice(&piece)
            });
        } else {
            self.flush();
            window.take(batch_bytes - head_bytes, |piece| self.pieces.push(piece));
        }
    }

    fn flush(&mut self) {
        if !self.copied.is_empty() {
            self.pieces.push(self.copied.split().freeze());
        }
    }

    /// All batches, in pieces.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.flush();
        self.pieces
    }
}
