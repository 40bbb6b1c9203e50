//! Puts a chunk together from the pieces in which it comes.

use bytes::{Bytes, BytesMut};
use floe_storage::cache::CHUNK_BYTES;

use super::proto;

/// Pieces that make no chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the pieces make no chunk")]
pub(super) struct NoChunk;

/// Pieces of one chunk, in order.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pieces: Vec<Bytes>,
    bytes: u64,
}

impl Pieces {
    /// Adds a piece; the chunk in one once it is whole.
    ///
    /// # Errors
    /// It is not part of a chunk.
    pub(super) fn add(&mut self, piece: proto::Piece) -> Result<Option<Bytes>, NoChunk> {
        let proto::Piece { chunk_bytes, bytes } = piece;
        self.bytes += bytes.len() as u64;
        if bytes.is_empty() || self.bytes > chunk_bytes.min(CHUNK_BYTES) {
            return Err(NoChunk);
        }
        self.pieces.push(bytes);
        if self.bytes < chunk_bytes {
            return Ok(None);
        }
        let mut chunk = BytesMut::with_capacity(self.pieces.iter().map(Bytes::len).sum());
        for piece in self.pieces.drain(..) {
            chunk.extend_from_slice(&piece);
        }
        Ok(Some(chunk.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(chunk_bytes: u64, bytes: &[u8]) -> proto::Piece {
        proto::Piece {
            chunk_bytes,
            bytes: Bytes::copy_from_slice(bytes),
        }
    }

    #[test]
    fn a_chunk_is_as_long_as_it_is_said_to_be() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.add(piece(5, b"ab")), Ok(None));
        assert_eq!(
            pieces.add(piece(5, b"cde")),
            Ok(Some(Bytes::from_static(b"abcde")))
        );
        assert_eq!(Pieces::default().add(piece(0, b"")), Err(NoChunk));
        assert_eq!(Pieces::default().add(piece(3, b"")), Err(NoChunk));
        assert_eq!(Pieces::default().add(piece(3, b"abcd")), Err(NoChunk));
        let mut pieces = Pieces::default();
        let large = vec![1; 1 << 20];
        for _ in 0..4 {
            assert_eq!(pieces.add(piece(u64::MAX, &large)), Ok(None));
        }
        assert_eq!(
            pieces.add(piece(u64::MAX, &large)),
            Err(NoChunk),
            "above any chunk"
        );
    }
}
