//! What is kept of a group, of either protocol.

use std::collections::BTreeSet;

use super::{classic, consumer};

/// What of a group outlives the owner of the metadata.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Saved {
    /// Members assign among themselves; also a group that only ever had offsets.
    Classic(classic::Saved),
    /// The assignment is made here (KIP-848).
    Consumer(consumer::Saved),
}

impl Default for Saved {
    fn default() -> Self {
        Self::Classic(classic::Saved::default())
    }
}

impl Saved {
    /// Whether it has no members.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        match self {
            Self::Classic(saved) => saved.members.is_empty(),
            Self::Consumer(saved) => saved.members.is_empty(),
        }
    }

    /// Whether its members know what they read.
    #[must_use]
    pub const fn is_assigned(&self) -> bool {
        match self {
            Self::Classic(saved) => saved.is_assigned,
            Self::Consumer(_) => true,
        }
    }

    /// The topics that the members of a group of consumers read; `None` where that is not known.
    #[must_use]
    pub fn subscribed(&self) -> Option<BTreeSet<String>> {
        match self {
            Self::Classic(saved) => saved.subscribed(),
            Self::Consumer(saved) => saved.subscribed(),
        }
    }
}
