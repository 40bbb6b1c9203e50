//! What decoding one frame may cost in memory.
//! Two bytes on the wire can be a hundred in memory, so the length of a frame does not bound what comes out of it:
//! every reservation made while decoding is charged here *before* it is made, and a frame that wants more than its
//! share is malformed. Strings, bytes and records are slices of the frame and cost nothing.

use crate::decoder::DecodeError;

/// Decoded bytes allowed per byte of the frame.
pub const DECODED_BYTES_PER_FRAME_BYTE: usize = 8;
/// Decoded bytes allowed to every frame, however small.
pub const DECODED_BYTES_BASE: usize = 64 * 1024;

/// The decoded bytes that may still be reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    remaining_bytes: usize,
}

impl Budget {
    /// The budget of a frame of `frame_bytes`: 8 times its size and 64 KiB.
    #[must_use]
    pub const fn for_frame(frame_bytes: usize) -> Self {
        let share = frame_bytes.saturating_mul(DECODED_BYTES_PER_FRAME_BYTE);
        Self {
            remaining_bytes: share.saturating_add(DECODED_BYTES_BASE),
        }
    }

    /// A budget of `bytes`, for callers with a limit of their own.
    #[must_use]
    pub const fn of_bytes(bytes: usize) -> Self {
        Self {
            remaining_bytes: bytes,
        }
    }

    /// The bytes that are left.
    #[must_use]
    pub const fn remaining_bytes(&self) -> usize {
        self.remaining_bytes
    }

    /// Takes room for `count` values of type `T`; called before they are allocated.
    ///
    /// # Errors
    /// The frame wants more than its share and is malformed; nothing was taken.
    pub fn charge<T>(&mut self, count: usize) -> Result<(), DecodeError> {
        self.charge_bytes(count.saturating_mul(size_of::<T>()))
    }

    /// Takes `bytes`; called before they are allocated.
    ///
    /// # Errors
    /// As [`charge`](Self::charge).
    pub fn charge_bytes(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.remaining_bytes.checked_sub(bytes) {
            Some(left) => {
                self.remaining_bytes = left;
                Ok(())
            }
            None => Err(DecodeError::OverBudget {
                wanted_bytes: bytes,
                remaining_bytes: self.remaining_bytes,
            }),
        }
    }
}
