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
    /// Looks up what members subscribe to. What an expression finds among these topics is found once, however many
    /// members come: many large ones would keep everybody waiting.
    pub(super) fn look_up(&mut self, catalog: Catalog<'_>) {
        let known = self.subscribed.take();
        let known = known.filter(|known| known.version == catalog.version);
        let known_topics = known.iter().flat_map(|known| &known.topics);
        let by_id: BTreeMap<_, _> = known_topics
            .map(|(name, topic)| (topic.0, (name, topic)))
            .collect();
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
            let known = known.as_ref();
            if let Some(matching) = known.and_then(|known| known.found.get(pattern)) {
                let matched = matching.iter().filter_map(|id| by_id.get(id));
                topics.extend(matched.map(|(name, topic)| (Arc::clone(name), **topic)));
                found.insert(pattern.clone(), matching.clone());
                continue;
            }
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
    use std::cell::Cell;
    use std::time::Duration;

    use super::super::{ConsumerConfig, HeartbeatRequest, Partitions, Topics};
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

    /// Topics `a1` and `a2`; counts how often all of them are looked at.
    #[derive(Default)]
    struct Counting(Cell<usize>);

    impl Topics for Counting {
        fn topic(&self, _name: &str) -> Option<(TopicId, PartitionIndex)> {
            None
        }

        fn name_of(&self, _id: TopicId) -> Option<Arc<str>> {
            None
        }

        fn for_each(&self, each: &mut dyn FnMut(&Arc<str>, TopicId, PartitionIndex)) {
            self.0.set(self.0.get() + 1);
            for number in 1..=2 {
                each(
                    &Arc::from(format!("a{number}")),
                    TopicId::from_bytes([number; 16]),
                    1,
                );
            }
        }
    }

    #[test]
    fn an_expression_is_matched_once_for_the_same_topics() {
        let topics = Counting::default();
        let mut group = Group::new(ConsumerConfig::default(), 0);
        let mut beat = |version, member: u8, epoch| {
            let catalog = Catalog {
                topics: &topics,
                version,
            };
            let request = HeartbeatRequest {
                member_id: format!("m{member}"),
                epoch,
                rebalance_timeout: Some(Duration::from_secs(60)),
                regex: Some(format!("a[0-{member}]")),
                owned: Some(Partitions::new()),
                ..HeartbeatRequest::default()
            };
            let answer = group.heartbeat(Duration::ZERO, catalog, request);
            assert_eq!(answer.error, ErrorCode::None);
            (answer.epoch, topics.0.take())
        };
        for member in 1..=9 {
            assert_eq!(beat(1, member, 0).1, 1, "member {member}");
        }
        let (epoch, looks) = beat(1, 9, 9);
        assert_eq!((epoch, looks), (9, 0));
        assert_eq!(beat(2, 9, 9).1, 9, "all of them among other topics");
        let found = group.subscribed.as_ref().unwrap();
        let names: Vec<_> = found.names().map(|name| &**name).collect();
        assert_eq!(names, ["a1", "a2"]);
        let finds = |member: u8| found.found[&format!("a[0-{member}]")].len();
        assert_eq!((finds(1), finds(2), finds(9)), (1, 2, 2));
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
