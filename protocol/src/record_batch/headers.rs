//! The headers of one record (KIP-82), kept as the bytes they are: two bytes of an empty header would
//! be sixty-four once decoded, and compaction copies them without looking.

use std::fmt;

use bytes::Bytes;

use super::record::{Cursor, put_nullable};

/// A header of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// UTF-8 by agreement, unchecked.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

/// The headers of a record in order; keys may repeat. Equal if they hold the same headers.
#[derive(Clone, Default)]
pub struct RecordHeaders {
    count: i32,
    /// `count` well-formed headers, nothing else.
    entries: Bytes,
}

impl RecordHeaders {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            count: 0,
            entries: Bytes::new(),
        }
    }

    /// The headers that a record's parse has found well-formed.
    pub(super) const fn checked(count: i32, entries: Bytes) -> Self {
        Self { count, entries }
    }

    /// Number of headers.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in order; their bytes are slices of the batch.
    pub fn iter(&self) -> impl Iterator<Item = RecordHeader> + '_ {
        let mut rest = Cursor(&self.entries);
        (0..self.count).map_while(move |_| {
            let (key, value) = rest.header().ok()?;
            Some(RecordHeader {
                key: self.entries.slice_ref(key),
                value: value.map(|value| self.entries.slice_ref(value)),
            })
        })
    }

    /// Their number and bytes as the wire has them.
    pub(super) fn wire(&self) -> (i32, &[u8]) {
        (self.count, &self.entries)
    }
}

/// # Panics
/// More than 2^31 - 1 headers, or one of more than 2^31 - 1 bytes.
impl FromIterator<RecordHeader> for RecordHeaders {
    fn from_iter<I: IntoIterator<Item = RecordHeader>>(headers: I) -> Self {
        let (mut count, mut entries) = (0_i32, Vec::new());
        for RecordHeader { key, value } in headers {
            let fits = put_nullable(&mut entries, Some(&key))
                .and_then(|()| put_nullable(&mut entries, value.as_deref()));
            assert!(
                fits.is_ok() && count < i32::MAX,
                "header {count} is more than the format holds"
            );
            count += 1;
        }
        Self {
            count,
            entries: Bytes::from(entries),
        }
    }
}

impl PartialEq for RecordHeaders {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for RecordHeaders {}

impl fmt::Debug for RecordHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
