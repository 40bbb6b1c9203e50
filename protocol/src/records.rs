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
