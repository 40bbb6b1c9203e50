//! What of a group outlives the owner of the metadata: all that members were told, and nobody's timers.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::{ConsumerConfig, Group, Member, Partitions};

/// A group as it is kept.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Saved {
    /// Raised by each change of members, subscriptions and topics; never falls.
    pub epoch: i32,
    /// By their ids, in their order.
    pub members: Vec<SavedMember>,
}

/// A member as it is kept.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct SavedMember {
    /// Its id.
    pub id: String,
    /// Of a static member.
    pub instance: Option<String>,
    /// Where it is, as it says.
    pub rack: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// How long it may take to let go of partitions. Whole milliseconds.
    pub rebalance_timeout: Duration,
    /// Topics it subscribes to by name.
    pub names: BTreeSet<String>,
    /// Topics it subscribes to by a regular expression.
    pub regex: Option<String>,
    /// The assignor it asks for.
    pub assignor: Option<super::Assignor>,
    /// What it has been brought to; -2 while a static member is away.
    pub epoch: i32,
    /// The one before: the answer that carried `epoch` may have been lost.
    pub previous_epoch: i32,
    /// What it was told to read.
    pub assigned: Partitions,
    /// What it has to let go of, and may still read.
    pub revoking: Partitions,
    /// What it is to have in the end.
    pub target: Partitions,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member of the classic protocol said when it joined.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClassicMember {
    /// Whole milliseconds.
    pub session_timeout: Duration,
    /// Names and metadata, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
}

impl SavedMember {
    /// The bytes it brought along.
    pub(super) fn bytes_said(&self) -> usize {
        let options = [&self.instance, &self.rack, &self.regex];
        let options = options.into_iter().flatten().map(String::len);
        let names = self.names.iter().map(String::len);
        let classic = self.classic.iter().flat_map(|it| &it.protocols);
        let classic = classic.map(|(name, metadata)| name.len() + metadata.len());
        let own = self.id.len() + self.client_id.len();
        own + options.chain(names).chain(classic).sum::<usize>()
    }
}

impl Saved {
    /// The topics that members read by name; `None` if some are found by an expression.
    #[must_use]
    pub fn subscribed(&self) -> Option<BTreeSet<String>> {
        if self.members.iter().any(|member| member.regex.is_some()) {
            return None;
        }
        let names = self.members.iter().flat_map(|member| &member.names);
        Some(names.cloned().collect())
    }
}

impl Group {
    /// The group as it is to be kept.
    #[must_use]
    pub fn saved(&self) -> Saved {
        Saved {
            epoch: self.epoch,
            members: self.members.values().map(|it| it.kept.clone()).collect(),
        }
    }

    /// The group under a new owner: nobody expires for the absence of one, so every timer starts in full.
    #[must_use]
    pub fn restored(config: ConsumerConfig, now: Duration, saved: &Saved) -> Self {
        let mut group = Self::new(config, saved.epoch);
        for member in &saved.members {
            group.put(now, member.clone());
            let waits = !member.revoking.is_empty()
                || (member.classic.is_some() && group.must_rejoin(member));
            if let Some(Member { deadline, kept, .. }) = group.members.get_mut(&member.id)
                && waits
            {
                *deadline = Some(now + kept.rebalance_timeout);
            }
        }
        group.is_unsaved = false;
        group
    }
}
