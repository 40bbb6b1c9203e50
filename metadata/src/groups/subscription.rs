//! What a consumer says of itself when it joins (protocol guide, "Consumer embedded protocol"): read only as
//! far as the names of the topics.
//!
//! ```text
//! version i16 | count i32 | { length i16 | name } … | user data, and what later versions add
//! ```

use bytes::Buf;

/// The topics of a subscription; `None` if it is not one.
#[must_use]
pub fn topics(metadata: &[u8]) -> Option<Vec<String>> {
    let mut rest = metadata;
    let version = rest.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = rest.try_get_i32().ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        let (name, after) = rest.split_at_checked(length)?;
        rest = after;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::topics;

    fn subscription(names: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend_from_slice(&i32::try_from(names.len()).unwrap().to_be_bytes());
        for name in names {
            bytes.extend_from_slice(&i16::try_from(name.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes.extend_from_slice(&[0xff; 4]);
        bytes
    }

    #[test]
    fn names_are_read_and_the_rest_is_left_alone() {
        assert_eq!(topics(&subscription(&[])), Some(vec![]));
        let two = Some(vec!["a".to_owned(), "nyc.groupa.chat".to_owned()]);
        assert_eq!(topics(&subscription(&["a", "nyc.groupa.chat"])), two);
    }

    #[test]
    fn anything_else_is_no_subscription() {
        let whole = subscription(&["a", "b"]);
        for length in 0..whole.len() - 4 {
            assert_eq!(topics(&whole[..length]), None, "{length}");
        }
        assert_eq!(topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
        assert_eq!(topics(&[0xff; 10]), None);
        assert_eq!(topics(&[0, 0, 0, 0, 0, 1, 0, 1, 0xff]), None);
    }
}
