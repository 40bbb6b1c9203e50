//! An immutable UTF-8 string that may be a slice of a frame.
//! Owns the invariant "these bytes are UTF-8"; a `Str` taken from the wire keeps its frame alive, so what is
//! stored for long is copied first (`Str::detached`).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

/// A cheap-to-clone string over [`Bytes`].
#[derive(Clone, Default)]
pub struct Str(Bytes);

impl Str {
    /// The empty string.
    #[must_use]
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// A string without a copy or an allocation.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// A string over `bytes`, without a copy.
    ///
    /// # Errors
    /// The position of the first byte that is not UTF-8 lies in the error; the bytes are of no use as text.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// A string over `bytes` where each malformed part is U+FFFD; copies only if there is such a part.
    #[must_use]
    pub fn from_utf8_lossy(bytes: Bytes) -> Self {
        match Self::from_utf8(bytes.clone()) {
            Ok(text) => text,
            Err(_) => Self::from(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The constructors checked it; the check here is what `forbid(unsafe_code)` costs.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes, shared with this string.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes of this string.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// A copy that does not keep the frame it came from in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

impl Deref for Str {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Str {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Str {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl From<&'static str> for Str {
    fn from(text: &'static str) -> Self {
        Self::from_static(text)
    }
}

impl From<Str> for String {
    fn from(text: Str) -> Self {
        text.as_str().to_owned()
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Str {}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> Ordering {
        // UTF-8 keeps the order of code points, so this agrees with `str`.
        self.0.cmp(&other.0)
    }
}

impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The same as `str`, which `Borrow<str>` demands.
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn is_a_slice_of_what_it_was_made_from() {
        let frame = Bytes::from(b"..text..".to_vec());
        let text = Str::from_utf8(frame.slice(2..6)).unwrap();
        assert_eq!(text, "text");
        assert_eq!(text.as_bytes().as_ptr(), frame[2..].as_ptr());
        assert_ne!(text.detached().as_bytes().as_ptr(), frame[2..].as_ptr());
        assert_eq!(text.detached(), text);
    }

    #[test]
    fn refuses_or_replaces_what_is_not_utf8() {
        for (bytes, lossy) in [
            (&b"\xff"[..], "\u{fffd}"),
            (b"a\xc3", "a\u{fffd}"),
            (b"\xed\xa0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            let bytes = Bytes::from_static(bytes);
            assert!(Str::from_utf8(bytes.clone()).is_err());
            assert_eq!(Str::from_utf8_lossy(bytes), lossy);
        }
        assert_eq!(
            Str::from_utf8_lossy(Bytes::from_static("é".as_bytes())),
            "é"
        );
    }

    #[test]
    fn compares_orders_and_hashes_like_str() {
        let words = ["", "a", "aa", "b", "é", "漢", "🦀", "\u{ffff}"];
        for left in words {
            for right in words {
                let (a, b) = (Str::from(left), Str::from(right.to_owned()));
                assert_eq!(a.cmp(&b), left.cmp(right), "{left} {right}");
                assert_eq!(a == b, left == right, "{left} {right}");
            }
        }
        let hashed: HashSet<Str> = words.iter().map(|word| Str::from(*word)).collect();
        let ordered: BTreeSet<Str> = words.iter().map(|word| Str::from(*word)).collect();
        assert!(
            words
                .iter()
                .all(|word| hashed.contains(*word) && ordered.contains(*word))
        );
        assert!(!hashed.contains("c") && !ordered.contains("c"));
    }

    #[test]
    fn shows_itself_as_text() {
        let text = Str::from("a\"b");
        assert_eq!(format!("{text} {text:?}"), "a\"b \"a\\\"b\"");
    }
}
