//! What members subscribe to, looked up among the topics there are.
//!
//! Regular expressions are matched here, so that all members of a group see the same topics. They have to match
//! a whole name. Kafka's are RE2/J's and ours the `regex` crate's, both of RE2's kind: they take time in proportion
//! to the text and have no look-around and no back references. What differs are corners: RE2/J's `\C`, `\Q…\E` and
//! flags written as `(?U)` mean other things or nothing here, and ours knows character class operations (`[a&&b]`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::{PartitionIndex, TopicId};
use regex::{Regex, RegexBuilder};

use super::{Catalog, Group, Refusal, SavedMember};

/// What one expression may take when it is compiled, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Subscriptions of a group, looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Subscribed {
    /// Of which version of the catalog.
    version: u64,
    /// Topics that exist and somebody subscribes to.
    topics: BTreeMap<Arc<str>, (TopicId, PartitionIndex)>,
    /// What each expression finds.
    found: BTreeMap<String, BTreeSet<TopicId>>,
}

/// An expression that has to match a whole name.
///
/// # Errors
/// `InvalidRegularExpression` with what is wrong about it.
pub(super) fn compile(pattern: &str) -> Result<Regex, Refusal> {
    let build = |pattern: &str| {
        let mut builder = RegexBuilder::new(pattern);
        builder
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_BYTES_MAX)
            .build()
    };
    // By itself first: what is wrong alone must not come right between our brackets.
    let alone = build(pattern);
    let whole = alone.and_then(|_| {
        // An expression that ends in a comment, which it may, would swallow the bracket.
        build(&format!(r"\A(?:{pattern})\z")).or_else(|_| build(&format!("\\A(?:{pattern}\n)\\z")))
    });
    whole.map_err(|error| {
        let message =
            format!("SubscribedTopicRegex `{pattern}` is not a valid expression: {error}");
        Refusal::new(ErrorCode::InvalidRegularExpression, message)
    })
}

impl Subscribed {
    /// Names of the topics that exist.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }

    /// Numbers of partitions.
    pub(super) fn counts(&self) -> BTreeMap<TopicId, PartitionIndex> {
        self.topics.values().copied().collect()
    }

    /// The topics of one member.
    pub(super) fn topics_of(&self, member: &SavedMember) -> BTreeSet<TopicId> {
        let named = member.names.iter();
        let named = named.filter_map(|name| Some(self.topics.get(name.as_str())?.0));
        let found = member.regex.as_ref().and_then(|it| self.found.get(it));
        named.chain(found.into_iter().flatten().copied()).collect()
    }
}

impl Group {
    /// Looks up what members subscribe to, unless that was done for these topics and the same subscriptions.
    pub(super) fn look_up(&mut self, catalog: Catalog<'_>) {
        let members = || self.members.values().map(|member| &member.kept);
        let patterns: BTreeSet<&String> = members().filter_map(|it| it.regex.as_ref()).collect();
        let (mut topics, mut found) = (BTreeMap::new(), BTreeMap::new());
        for name in members().flat_map(|member| &member.names) {
            if !topics.contains_key(name.as_str())
                && let Some(topic) = catalog.topics.topic(name)
            {
                topics.insert(Arc::from(name.as_str()), topic);
            }
        }
        for pattern in patterns {
            // It was compiled when it came; a newer release may refuse what an older one took.
            let Ok(regex) = compile(pattern) else {
                continue;
            };
            let mut matching = BTreeSet::new();
            catalog.topics.for_each(&mut |name, id, count| {
                if regex.is_match(name) {
                    matching.insert(id);
                    topics.insert(Arc::clone(name), (id, count));
                }
            });
            found.insert(pattern.clone(), matching);
        }
        self.subscribed = Some(Subscribed {
            version: catalog.version,
            topics,
            found,
        });
    }

    /// Whether topics that members subscribe to have come, gone or grown since the target was made.
    pub(super) fn topics_have_changed(&mut self, catalog: Catalog<'_>) -> bool {
        let before = self.subscribed.take();
        if let Some(before) = before
            && before.version == catalog.version
        {
            self.subscribed = Some(before);
            return false;
        }
        self.look_up(catalog);
        // Every partition that is subscribed to is in the target of one member, so the targets tell what
        // was known when they were made, also to an owner that has not looked before.
        let mut covered: BTreeMap<TopicId, PartitionIndex> = BTreeMap::new();
        for partition in self.members.values().flat_map(|it| &it.kept.target) {
            *covered.entry(partition.topic).or_default() += 1;
        }
        let counts = self.subscribed.as_ref().map(Subscribed::counts);
        counts.is_none_or(|counts| counts != covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_whole_names() {
        for (pattern, name, expected) in [
            ("orders", "orders", true),
            ("orders", "orders-eu", false),
            ("a|ab", "ab", true),
            ("^eu\\..*$", "eu.clicks", true),
            ("(?i)EU.*", "eu-1", true),
            ("(?x) a b # all of it", "ab", true),
            ("", "a", false),
            ("[a-c]+\\d{2}", "abc12", true),
        ] {
            assert_eq!(
                compile(pattern).unwrap().is_match(name),
                expected,
                "{pattern}"
            );
        }
    }

    #[test]
    fn what_is_no_expression_or_too_large_is_refused() {
        let nested = format!("{}a{}", "(".repeat(1000), ")".repeat(1000));
        for pattern in [
            "(",
            "a)(b",
            "(?=a)",
            r"(a)\1",
            "a{1000}{1000}{1000}",
            &nested,
            "*",
        ] {
            let refusal = compile(pattern).unwrap_err();
            assert_eq!(refusal.0, ErrorCode::InvalidRegularExpression, "{pattern}");
        }
    }
}
