//! Bytes in pieces, read once from front to back: the window through which a reader sees an extent.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes};
use floe_protocol::checksum;

/// Pieces in order; reading takes bytes off the front, more are put at the end.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    pieces: VecDeque<Bytes>,
    len_bytes: u64,
}

impl Rope {
    /// Bytes that are left.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Puts `pieces` at the end.
    pub(crate) fn extend(&mut self, pieces: Vec<Bytes>) {
        for piece in pieces {
            if !piece.is_empty() {
                self.len_bytes += piece.len() as u64;
                self.pieces.push_back(piece);
            }
        }
    }

    /// A copy of the first `N` bytes, which stay; `None` if there are fewer.
    pub(crate) fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        if let Some(head) = self
            .pieces
            .front()
            .and_then(|piece| piece.first_chunk::<N>())
        {
            return Some(*head);
        }
        let mut head = [0; N];
        let mut bytes = self.pieces.iter().flatten();
        for place in &mut head {
            *place = *bytes.next()?;
        }
        Some(head)
    }

    /// CRC32C of the bytes from `start` up to `end`, which stay; what lies past the end is left out.
    pub(crate) fn crc(&self, start: u64, end: u64) -> u32 {
        let mut crc = 0;
        let mut at = 0;
        for piece in &self.pieces {
            let next = at + piece.len() as u64;
            let from = place(start, at, piece);
            let to = place(end, at, piece);
            crc = checksum::crc32c_append(crc, piece.get(from..to).unwrap_or_default());
            if next >= end {
                break;
            }
            at = next;
        }
        crc
    }

    /// Takes the first `count` bytes off and hands them to `take` piece by piece; all there are if
    /// there are fewer.
    pub(crate) fn take(&mut self, count: u64, mut take: impl FnMut(Bytes)) {
        let mut left = count.min(self.len_bytes);
        self.len_bytes -= left;
        while left > 0 {
            let Some(front) = self.pieces.front_mut() else {
                return;
            };
            if front.len() as u64 > left {
                take(front.split_to(place(left, 0, front)));
                return;
            }
            left -= front.len() as u64;
            if let Some(front) = self.pieces.pop_front() {
                take(front);
            }
        }
    }

    /// Drops the first `count` bytes; all there are if there are fewer.
    pub(crate) fn skip(&mut self, count: u64) {
        let mut left = count.min(self.len_bytes);
        self.len_bytes -= left;
        while left > 0 {
            let Some(front) = self.pieces.front_mut() else {
                return;
            };
            if front.len() as u64 > left {
                front.advance(place(left, 0, front));
                return;
            }
            left -= front.len() as u64;
            self.pieces.pop_front();
        }
    }
}

/// The place of `position` inside `piece`, which starts at `start`.
fn place(position: u64, start: u64, piece: &Bytes) -> usize {
    usize::try_from(position.saturating_sub(start))
        .unwrap_or(usize::MAX)
        .min(piece.len())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::type_complexity,
        reason = "tests count in small numbers"
    )]

    use proptest::prelude::*;

    use super::*;

    fn rope(pieces: &[Vec<u8>]) -> Rope {
        let mut rope = Rope::default();
        rope.extend(pieces.iter().cloned().map(Bytes::from).collect());
        rope
    }

    fn take(rope: &mut Rope, count: u64) -> Vec<u8> {
        let mut taken = Vec::new();
        rope.take(count, |piece| {
            assert!(!piece.is_empty());
            taken.extend_from_slice(&piece);
        });
        taken
    }

    proptest! {
        #[test]
        fn reads_like_the_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
            cuts in prop::collection::vec((any::<bool>(), 0u64..12), 0..9),
            range in (0u64..40, 0u64..40),
        ) {
            let mut whole = pieces.concat();
            let mut rope = rope(&pieces);
            let (start, end) = range;
            let inside = whole.get(start as usize..(end as usize).min(whole.len()));
            prop_assert_eq!(rope.crc(start, end), checksum::crc32c(inside.unwrap_or_default()));
            for (takes, count) in cuts {
                let rest = whole.split_off((count as usize).min(whole.len()));
                if takes {
                    prop_assert_eq!(take(&mut rope, count), whole);
                } else {
                    rope.skip(count);
                }
                whole = rest;
                prop_assert_eq!(rope.len_bytes(), whole.len() as u64);
                prop_assert_eq!(rope.peek::<5>(), whole.first_chunk::<5>().copied());
            }
        }
    }
}
