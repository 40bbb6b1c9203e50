//! What consumers say of themselves when they join, and what their leader assigns (protocol guide, "Consumer
//! embedded protocol").
//!
//! ```text
//! subscription  version i16 | topics: count i32, { length i16, name } | user data: length i32 or -1
//!               from 1: owned: count i32, { topic, count i32, { partition i32 } }
//!               from 2: generation i32 | from 3: rack: length i16 or -1 | what later versions add
//! assignment    version i16 | partitions: count i32, { topic, count i32, { partition i32 } } | user data
//! ```

use bytes::{Buf, BufMut, Bytes};
use floe_protocol::types::PartitionIndex;

/// The newest version that is known here.
const VERSION_MAX: i16 = 3;

/// Partitions by the names of their topics.
pub type NamedPartitions = Vec<(String, Vec<PartitionIndex>)>;

/// What a consumer wants, and has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// The version it is written in, at most the newest one known here.
    pub version: i16,
    /// Topics by name.
    pub topics: Vec<String>,
    /// What it reads while it joins; nothing before version 1, whose consumers let go of everything first.
    pub owned: NamedPartitions,
    /// Where it is.
    pub rack: Option<String>,
}

/// What a consumer is to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The version it is written in.
    pub version: i16,
    /// What to read.
    pub partitions: NamedPartitions,
    /// The assignor's own.
    pub user_data: Bytes,
}

/// The topics of a subscription; `None` if it is not one.
#[must_use]
pub fn topics(metadata: &[u8]) -> Option<Vec<String>> {
    let mut rest = metadata;
    version(&mut rest)?;
    names(&mut rest)
}

impl Subscription {
    /// `None` if it is not a subscription.
    #[must_use]
    pub fn decode(metadata: &[u8]) -> Option<Self> {
        let mut rest = metadata;
        let version = version(&mut rest)?;
        let topics = names(&mut rest)?;
        user_data(&mut rest)?;
        let owned = if version >= 1 {
            partitions(&mut rest)?
        } else {
            NamedPartitions::new()
        };
        if version >= 2 {
            rest.try_get_i32().ok()?;
        }
        let rack = if version >= 3 {
            maybe_text(&mut rest)?
        } else {
            None
        };
        Some(Self {
            version: version.min(VERSION_MAX),
            topics,
            owned,
            rack,
        })
    }
}

impl Assignment {
    /// `None` if it is not an assignment.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        Some(Self {
            version: version(&mut rest)?,
            partitions: partitions(&mut rest)?,
            user_data: Bytes::copy_from_slice(user_data(&mut rest)?),
        })
    }

    /// As a client reads it.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_i16(self.version);
        put_count(&mut out, self.partitions.len());
        for (name, indexes) in &self.partitions {
            // Names of topics have 249 bytes at most.
            out.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
            out.put_slice(name.as_bytes());
            put_count(&mut out, indexes.len());
            indexes.iter().for_each(|index| out.put_i32(*index));
        }
        put_count(&mut out, self.user_data.len());
        out.put_slice(&self.user_data);
        Bytes::from(out)
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

fn version(rest: &mut &[u8]) -> Option<i16> {
    rest.try_get_i16().ok().filter(|version| *version >= 0)
}

fn names(rest: &mut &[u8]) -> Option<Vec<String>> {
    let count = rest.try_get_i32().ok()?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push(maybe_text(rest)??);
    }
    Some(names)
}

/// Text behind its length, which is -1 for none.
fn maybe_text(rest: &mut &[u8]) -> Option<Option<String>> {
    let length = rest.try_get_i16().ok()?;
    if length == -1 {
        return Some(None);
    }
    let (text, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(Some(std::str::from_utf8(text).ok()?.to_owned()))
}

fn user_data<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = rest.try_get_i32().ok()?;
    if length == -1 {
        return Some(&[]);
    }
    let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(bytes)
}

fn partitions(rest: &mut &[u8]) -> Option<NamedPartitions> {
    let count = rest.try_get_i32().ok()?;
    let mut topics = NamedPartitions::new();
    for _ in 0..count {
        let name = maybe_text(rest)??;
        let mut indexes = Vec::new();
        for _ in 0..rest.try_get_i32().ok()? {
            indexes.push(rest.try_get_i32().ok()?);
        }
        topics.push((name, indexes));
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(version: i16, names: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_i16(version);
        put_count(&mut bytes, names.len());
        for name in names {
            bytes.put_i16(i16::try_from(name.len()).unwrap());
            bytes.put_slice(name.as_bytes());
        }
        bytes
    }

    #[test]
    fn names_are_read_and_the_rest_is_left_alone() {
        assert_eq!(topics(&subscription(1, &[])), Some(vec![]));
        let two = Some(vec!["a".to_owned(), "nyc.groupa.chat".to_owned()]);
        assert_eq!(topics(&subscription(1, &["a", "nyc.groupa.chat"])), two);
    }

    #[test]
    fn anything_else_is_no_subscription() {
        let whole = subscription(1, &["a", "b"]);
        for length in 0..whole.len() {
            assert_eq!(topics(&whole[..length]), None, "{length}");
        }
        assert_eq!(topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
        assert_eq!(topics(&[0xff; 10]), None);
        assert_eq!(topics(&[0, 0, 0, 0, 0, 1, 0, 1, 0xff]), None);
    }

    #[test]
    fn subscriptions_of_all_versions_are_read() {
        for version in 0..=4_i16 {
            let mut bytes = subscription(version, &["t"]);
            bytes.put_i32(-1);
            if version >= 1 {
                bytes.put_slice(&[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7]);
            }
            if version >= 2 {
                bytes.put_i32(5);
            }
            if version >= 3 {
                bytes.put_slice(&[0, 1, b'r']);
            }
            let expected = Subscription {
                version: version.min(3),
                topics: vec!["t".to_owned()],
                owned: if version >= 1 {
                    vec![("t".to_owned(), vec![0, 7])]
                } else {
                    vec![]
                },
                rack: (version >= 3).then(|| "r".to_owned()),
            };
            assert_eq!(Subscription::decode(&bytes), Some(expected), "{version}");
            if version <= 3 {
                for length in 0..bytes.len() {
                    assert_eq!(Subscription::decode(&bytes[..length]), None, "{length}");
                }
            }
        }
    }

    #[test]
    fn assignments_come_back() {
        let assignment = Assignment {
            version: 1,
            partitions: vec![("a".to_owned(), vec![0, 2]), ("b".to_owned(), vec![])],
            user_data: Bytes::from_static(b"own"),
        };
        let bytes = assignment.encode();
        assert_eq!(Assignment::decode(&bytes), Some(assignment));
        for length in 0..bytes.len() {
            assert_eq!(Assignment::decode(&bytes[..length]), None, "{length}");
        }
        let nothing = Assignment::decode(&[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(nothing.unwrap().partitions, []);
    }
}
