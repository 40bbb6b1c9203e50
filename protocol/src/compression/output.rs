//! What comes out of a decoder: bytes under a cap. Grows with what was really decoded, never with what
//! a stream claims.

use std::io::{ErrorKind, Read};

use super::{Compression, CompressionError};

/// First piece of room for a decoder that does not know its size.
const ROOM_BYTES_MIN: usize = 16 << 10;

/// Decompressed bytes so far.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Vec<u8>,
    codec: Compression,
    cap_bytes: usize,
}

impl Output {
    pub(super) const fn new(codec: Compression, cap_bytes: usize) -> Self {
        Self {
            bytes: Vec::new(),
            codec,
            cap_bytes,
        }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes that may still come.
    pub(super) fn left_bytes(&self) -> usize {
        self.cap_bytes.saturating_sub(self.bytes.len())
    }

    /// Appends `bytes`.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), CompressionError> {
        if bytes.len() > self.left_bytes() {
            return Err(self.too_large());
        }
        self.reserve(bytes.len());
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Lets `fill` write at most `room_bytes` more, which the caller has bounded by its input; keeps
    /// as many as `fill` returns.
    pub(super) fn fill(
        &mut self,
        room_bytes: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<usize, CompressionError>,
    ) -> Result<(), CompressionError> {
        let start = self.bytes.len();
        self.reserve(room_bytes);
        self.bytes.resize(start + room_bytes, 0);
        let written = fill(self.bytes.get_mut(start..).unwrap_or_default())?;
        self.bytes.truncate(start + written);
        Ok(())
    }

    /// Reads `reader` to its end.
    pub(super) fn drain(
        &mut self,
        mut reader: impl Read,
        reason: &'static str,
    ) -> Result<(), CompressionError> {
        let mut len = self.bytes.len();
        loop {
            if len == self.bytes.len() {
                let room_bytes = len.max(ROOM_BYTES_MIN).min(self.left_bytes());
                self.bytes.reserve_exact(room_bytes);
                self.bytes.resize(len + room_bytes, 0);
            }
            let mut one_more = [0];
            let free = self.bytes.get_mut(len..).unwrap_or_default();
            let at_cap = free.is_empty();
            let read = reader.read(if at_cap { &mut one_more } else { free });
            match read {
                Ok(0) => break,
                Ok(_) if at_cap => return Err(self.too_large()),
                Ok(count) => len += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error.kind(), reason)),
            }
        }
        self.bytes.truncate(len);
        Ok(())
    }

    pub(super) const fn too_large(&self) -> CompressionError {
        CompressionError::TooLarge {
            codec: self.codec,
            cap_bytes: self.cap_bytes,
        }
    }

    pub(super) const fn truncated(&self) -> CompressionError {
        CompressionError::Truncated { codec: self.codec }
    }

    pub(super) const fn malformed(&self, reason: &'static str) -> CompressionError {
        CompressionError::Malformed {
            codec: self.codec,
            reason,
        }
    }

    fn failed(&self, kind: ErrorKind, reason: &'static str) -> CompressionError {
        if kind == ErrorKind::UnexpectedEof {
            self.truncated()
        } else {
            self.malformed(reason)
        }
    }

    /// Grows by half at least, so that many small pieces cost no square, but never past the cap.
    fn reserve(&mut self, room_bytes: usize) {
        if room_bytes > self.bytes.capacity() - self.bytes.len() {
            let spare = (self.bytes.len() / 2).min(self.left_bytes());
            self.bytes.reserve_exact(room_bytes.max(spare));
        }
    }
}
