//! What is told of groups.

use std::ops::Bound;

use super::Coordinator;
use super::machine::Machine;
use crate::api::groups::ListedGroup;
use crate::groups::classic::Described;
use crate::groups::consumer::{self, Topics};

impl<W> Coordinator<W> {
    /// Up to `count` groups after a name, by name.
    pub(crate) fn list(&self, after: Option<&str>, count: usize) -> Vec<ListedGroup> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let groups = self.groups.range::<str, _>((after, Bound::Unbounded));
        let listed = groups.take(count).map(|(name, entry)| ListedGroup {
            name: name.to_string(),
            protocol_type: entry.group.protocol_type().to_owned(),
            state: entry.group.state(),
        });
        listed.collect()
    }

    /// One classic group.
    pub(crate) fn describe(&self, name: &str) -> Option<Described> {
        match &self.groups.get(name)?.group {
            Machine::Classic(group) => Some(group.described()),
            Machine::Consumer(_) => None,
        }
    }

    /// One group of the consumer protocol.
    pub(crate) fn describe_consumers(
        &self,
        topics: &dyn Topics,
        name: &str,
    ) -> Option<consumer::Described> {
        match &self.groups.get(name)?.group {
            Machine::Classic(_) => None,
            Machine::Consumer(group) => Some(group.described(self.catalog(topics))),
        }
    }
}
