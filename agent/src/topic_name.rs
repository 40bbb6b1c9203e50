//! What a topic may be called (protocol guide; checked against Kafka 4.2's messages).

/// Longest topic name in bytes.
pub const NAME_BYTES_MAX: usize = 249;

/// Topics that Kafka keeps its own state in. Floe has none of them: they are neither listed nor
/// created, and reading or writing them finds no topic.
const INTERNAL: [&str; 4] = [
    "__cluster_metadata",
    "__consumer_offsets",
    "__share_group_state",
    "__transaction_state",
];

/// Why a name is refused, in Kafka's words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    /// `.` and `..` mean something else to file systems.
    #[error("Topic name is invalid: '{0}' is not allowed")]
    Reserved(String),
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("Topic name is invalid: the length of '{0}' is longer than the max allowed length 249")]
    TooLong(String),
    /// A character outside of `[a-zA-Z0-9._-]`.
    #[error(
        "Topic name is invalid: '{0}' contains one or more characters other than ASCII \
         alphanumerics, '.', '_' and '-'"
    )]
    Characters(String),
}

/// Checks a name.
///
/// # Errors
/// What is wrong with it, the name included.
pub fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(NameError::Reserved(name.to_owned()));
    }
    if name.len() > NAME_BYTES_MAX {
        // The whole of a name of megabytes is of no use to anyone.
        return Err(NameError::TooLong(
            name.chars().take(NAME_BYTES_MAX + 1).collect(),
        ));
    }
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(is_legal) {
        return Err(NameError::Characters(name.to_owned()));
    }
    Ok(())
}

/// Whether Kafka keeps its own state in a topic of this name.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether two names differ at most in `.` and `_`: names of metrics cannot tell them apart, so Kafka
/// refuses the second.
#[must_use]
pub fn collide(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "x".repeat(NAME_BYTES_MAX);
        for name in ["a", "nyc.groupa.chat", "A-b_c.9", "...", long.as_str()] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        let too_long = "x".repeat(NAME_BYTES_MAX + 1);
        for (name, expected) in [
            ("", "the empty string is not allowed"),
            (".", "'.' is not allowed"),
            ("..", "'..' is not allowed"),
            ("a b", "'a b' contains one or more characters"),
            ("a/b", "'a/b' contains one or more characters"),
            ("é", "'é' contains one or more characters"),
            (
                too_long.as_str(),
                "is longer than the max allowed length 249",
            ),
        ] {
            let error = check(name).expect_err(name).to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }

    #[test]
    fn collisions() {
        assert!(collide("a.b", "a_b"));
        assert!(!collide("a.b", "a-b"));
        assert!(!collide("a.b", "a.bc"));
    }
}
