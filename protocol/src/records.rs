//! A rope of record bytes: what a field of type `records` holds.
//! A produced batch is one slice of its frame; an answer to Fetch is many slices (patched heads, cached chunks)
//! that go to the socket as they are. Owns no meaning of the bytes (see `record_batch`).

use bytes::{Bytes, BytesMut};

/// Record bytes in order, in pieces that are never copied together unless asked for.
#[derive(Clone, Debug, Default)]
pub struct Records {
    chunks: Vec<Bytes>,
}

impl Records {
    /// No bytes.
    #[must_use]
    pub const fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    /// Appends `bytes`; an empty piece is dropped.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.chunks.push(bytes);
        }
    }

    /// The sum of the pieces' sizes in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The pieces in order; none is empty.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// All bytes in one piece: no copy if there is one piece already.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.chunks.len() <= 1 {
            return self.chunks.pop().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.len_bytes());
        for chunk in &self.chunks {
            whole.extend_from_slice(chunk);
        }
        whole.freeze()
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        // Exactly one piece is reserved: the decoder charges its budget for that.
        Self {
            chunks: if bytes.is_empty() {
                Vec::new()
            } else {
                vec![bytes]
            },
        }
    }
}

impl FromIterator<Bytes> for Records {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut records = Self::new();
        for piece in pieces {
            records.push(piece);
        }
        records
    }
}

/// Equal when the bytes are, however they are cut into pieces.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.len_bytes() == other.len_bytes()
            && self
                .chunks
                .iter()
                .flatten()
                .eq(other.chunks.iter().flatten())
    }
}

impl Eq for Records {}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(pieces: &[&'static str]) -> Records {
        pieces
            .iter()
            .map(|piece| Bytes::from_static(piece.as_bytes()))
            .collect()
    }

    #[test]
    fn keeps_pieces_in_order_and_drops_empty_ones() {
        let records = rope(&["", "ab", "", "c"]);
        assert_eq!(records.chunks(), [&b"ab"[..], b"c"]);
        assert_eq!((records.len_bytes(), records.is_empty()), (3, false));
        assert_eq!(records.into_bytes(), "abc");
        assert!(rope(&["", ""]).is_empty() && Records::from(Bytes::new()).is_empty());
        assert_eq!(Records::new().into_bytes(), "");
    }

    #[test]
    fn one_piece_is_not_copied() {
        let bytes = Bytes::from(vec![1; 100]);
        let records = Records::from(bytes.clone());
        assert_eq!(records.into_bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn equality_is_blind_to_the_cuts() {
        assert_eq!(rope(&["ab", "c"]), rope(&["a", "bc"]));
        assert_ne!(rope(&["ab", "c"]), rope(&["ab", "d"]));
        assert_ne!(rope(&["ab"]), rope(&["ab", "c"]));
        assert_eq!(rope(&[]), rope(&[""]));
    }
}
