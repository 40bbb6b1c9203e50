//! Inclusive ranges of versions, as the schema text writes them: `3`, `0-4`, `12+`.

/// A range of versions, not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    /// The first version.
    pub(crate) first: i16,
    /// The last version, inclusive; `i16::MAX` where the text says `+`.
    pub(crate) last: i16,
}

impl Versions {
    /// Reads the text of a range.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let number = |digits: &str| digits.parse().map_err(|_| format!("versions `{text}`"));
        let (first, last) = if let Some(first) = text.strip_suffix('+') {
            (number(first)?, i16::MAX)
        } else if let Some((first, last)) = text.split_once('-') {
            (number(first)?, number(last)?)
        } else {
            (number(text)?, number(text)?)
        };
        if first > last || first < 0 {
            return Err(format!("versions `{text}` are empty"));
        }
        Ok(Self { first, last })
    }

    /// The versions in both ranges, if any.
    pub(crate) fn and(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    /// The smallest range that holds both.
    pub(crate) fn hull(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }

    /// Whether `version` is in this range.
    pub(crate) fn contains(self, version: i16) -> bool {
        (self.first..=self.last).contains(&version)
    }

    /// A Rust condition that holds for the versions of this range among those of `all`; `None` if it always does.
    pub(crate) fn condition(self, all: Self) -> Option<String> {
        match (self.first <= all.first, self.last >= all.last) {
            (true, true) => None,
            (false, true) => Some(format!("version >= {}", self.first)),
            (true, false) => Some(format!("version <= {}", self.last)),
            (false, false) => Some(format!(
                "({}..={}).contains(&version)",
                self.first, self.last
            )),
        }
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.first, self.last) {
            (first, i16::MAX) => write!(f, "{first}+"),
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}
