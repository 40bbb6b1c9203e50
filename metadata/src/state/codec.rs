//! The bytes inside rows: varints, zigzag, fixed arrays, and a reader that trusts nothing.
//!
//! Unsigned numbers are LEB128 (7 bits a byte, least significant first, at most 10 bytes); signed ones
//! are zigzag first. A count never sizes an allocation by itself: see [`Reader::count`].

/// Why the bytes of a row are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RowError {
    /// The row ends in the middle of a field.
    #[error("cut short")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("number too long")]
    NumberTooLong,
    /// A number outside the range of its field.
    #[error("number out of range")]
    OutOfRange,
    /// A format version that this program does not know.
    #[error("unknown version {0}")]
    UnknownVersion(u8),
    /// A tag inside the row that this program does not know.
    #[error("unknown tag {0}")]
    UnknownTag(u8),
    /// A name that is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Bytes after the last field.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// A key whose length or tag is wrong.
    #[error("malformed key")]
    MalformedKey,
}

pub(super) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    put_u64(out, u64::from(value));
}

pub(super) fn put_len(out: &mut Vec<u8>, value: usize) {
    put_u64(out, u64::try_from(value).unwrap_or(u64::MAX));
}

pub(super) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(
        out,
        (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned(),
    );
}

/// Writes `value` as its distance from `from`; wraps, so that any pair round-trips.
pub(super) fn put_delta(out: &mut Vec<u8>, value: i64, from: i64) {
    put_i64(out, value.wrapping_sub(from));
}

pub(super) fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    put_len(out, value.len());
    out.extend_from_slice(value);
}

/// Takes fields off the front of a row.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// A reader past the version byte, which must be `known`.
    pub(super) fn versioned(bytes: &'a [u8], known: u8) -> Result<Self, RowError> {
        let mut reader = Self::new(bytes);
        let version = reader.u8()?;
        if version == known {
            Ok(reader)
        } else {
            Err(RowError::UnknownVersion(version))
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, RowError> {
        let (first, rest) = self.rest.split_first().ok_or(RowError::Truncated)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn u64(&mut self) -> Result<u64, RowError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(RowError::NumberTooLong);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RowError::NumberTooLong)
    }

    pub(super) fn i64(&mut self) -> Result<i64, RowError> {
        let raw = self.u64()?;
        Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    pub(super) fn delta(&mut self, from: i64) -> Result<i64, RowError> {
        Ok(from.wrapping_add(self.i64()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, RowError> {
        u32::try_from(self.u64()?).map_err(|_| RowError::OutOfRange)
    }

    /// A number that must not be negative.
    pub(super) fn natural(&mut self) -> Result<i64, RowError> {
        i64::try_from(self.u64()?).map_err(|_| RowError::OutOfRange)
    }

    /// A number of elements that follow, each of at least one byte; so it never exceeds what is left.
    pub(super) fn count(&mut self) -> Result<usize, RowError> {
        let count = usize::try_from(self.u64()?).map_err(|_| RowError::OutOfRange)?;
        if count > self.rest.len() {
            Err(RowError::Truncated)
        } else {
            Ok(count)
        }
    }

    /// A number of elements that follow in another column, each of at least one byte.
    pub(super) fn count_in(&mut self, column: &Self) -> Result<usize, RowError> {
        let count = usize::try_from(self.u64()?).map_err(|_| RowError::OutOfRange)?;
        if count > column.rest.len() {
            Err(RowError::Truncated)
        } else {
            Ok(count)
        }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RowError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(RowError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RowError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(RowError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Bytes behind their length.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], RowError> {
        let len = self.count()?;
        self.take(len)
    }

    pub(super) fn str(&mut self) -> Result<&'a str, RowError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| RowError::NotUtf8)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The row must end here.
    pub(super) const fn finish(self) -> Result<(), RowError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(RowError::Trailing(self.rest.len()))
        }
    }
}
