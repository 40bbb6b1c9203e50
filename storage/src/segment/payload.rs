//! An object's bytes in pieces, in order. Pieces are shared, never copied: a PUT sends them as they
//! are, and a read of what was just written takes slices of them.

use std::ops::Range;

use bytes::Bytes;

/// Immutable bytes in pieces; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    chunks: Vec<Bytes>,
    /// Where each piece starts, counted from the start of the object.
    starts: Vec<u64>,
    size_bytes: u64,
}

impl Payload {
    /// A payload of `chunks` in order; empty ones are dropped.
    #[must_use]
    pub fn new(chunks: Vec<Bytes>) -> Self {
        let mut payload = Self {
            starts: Vec::with_capacity(chunks.len()),
            chunks,
            size_bytes: 0,
        };
        payload.chunks.retain(|chunk| !chunk.is_empty());
        for chunk in &payload.chunks {
            payload.starts.push(payload.size_bytes);
            payload.size_bytes += chunk.len() as u64;
        }
        payload
    }

    /// All pieces in order.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Bytes of all pieces together.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The bytes of `range` in order, in as few pieces as they lie in; what lies past the end is left
    /// out. Copies nothing; one binary search.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Vec<Bytes> {
        let first = self
            .starts
            .partition_point(|start| *start <= range.start)
            .saturating_sub(1);
        let mut slices = Vec::new();
        for (chunk, start) in self.chunks.iter().zip(&self.starts).skip(first) {
            if *start >= range.end {
                break;
            }
            let from = clamp(range.start, *start, chunk);
            let to = clamp(range.end, *start, chunk);
            if from < to {
                slices.push(chunk.slice(from..to));
            }
        }
        slices
    }
}

/// The place of `position` inside `chunk`, which starts at `start`.
fn clamp(position: u64, start: u64, chunk: &Bytes) -> usize {
    usize::try_from(position.saturating_sub(start))
        .unwrap_or(usize::MAX)
        .min(chunk.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_slice_is_the_slice_of_the_whole(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..10),
            from in 0_usize..120, length in 0_usize..120,
        ) {
            let whole = chunks.concat();
            let payload = Payload::new(chunks.into_iter().map(Bytes::from).collect());
            prop_assert_eq!(payload.size_bytes(), whole.len() as u64);
            let slices = payload.slice(from as u64..(from + length) as u64);
            prop_assert!(slices.iter().all(|slice| !slice.is_empty()));
            let end = (from + length).min(whole.len());
            let expected = whole.get(from..end).unwrap_or_default();
            prop_assert_eq!(slices.concat(), expected);
        }
    }

    #[test]
    fn slices_share_the_bytes() {
        let chunk = Bytes::from(vec![7; 100]);
        let payload = Payload::new(vec![Bytes::from_static(b"head"), chunk.clone()]);
        let slices = payload.slice(14..24);
        assert_eq!(slices.len(), 1);
        assert_eq!(slices[0].as_ptr(), chunk[10..].as_ptr());
    }
}
