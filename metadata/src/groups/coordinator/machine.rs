//! A group of either protocol, and what is asked of both.

use std::time::Duration;

use crate::api::groups::ListedState;
use crate::groups::Saved;
use crate::groups::classic::{Effect, Group, GroupConfig};
use crate::groups::consumer::{self, Catalog};

/// One group.
#[derive(Debug)]
pub(super) enum Machine {
    /// Its members assign among themselves.
    Classic(Group),
    /// The assignment is made here.
    Consumer(consumer::Group),
}

impl Machine {
    /// A group under a new owner.
    pub(super) fn restored(config: &GroupConfig, now: Duration, saved: &Saved) -> Self {
        match saved {
            Saved::Classic(saved) => Self::Classic(Group::restored(config.clone(), now, saved)),
            Saved::Consumer(saved) => Self::Consumer(consumer::Group::restored(
                config.consumer.clone(),
                now,
                saved,
            )),
        }
    }

    /// What is to be durable after an operation that had these effects.
    pub(super) fn take_save(&mut self, effects: &[Effect]) -> Option<Saved> {
        match self {
            Self::Classic(group) => {
                let saves = effects.contains(&Effect::Save);
                saves.then(|| Saved::Classic(group.saved()))
            }
            Self::Consumer(group) => group.take_save().map(Saved::Consumer),
        }
    }

    /// Makes a classic group of one in which only classic members are left: what is to be durable then.
    pub(super) fn downgraded(
        &mut self,
        config: &GroupConfig,
        now: Duration,
        catalog: Catalog<'_>,
    ) -> Option<Saved> {
        let Self::Consumer(group) = self else {
            return None;
        };
        if !group.is_to_be_classic() {
            return None;
        }
        let mut saved = group.to_classic(catalog);
        *self = Self::Classic(Group::of_members(config.clone(), now, &saved));
        // Of this generation nobody is: another owner tells all members to join again, as we do.
        saved.generation = saved.generation.saturating_add(1);
        Some(Saved::Classic(saved))
    }

    /// When [`Machine::tick`] has something to do.
    pub(super) fn next_tick(&self) -> Option<Duration> {
        match self {
            Self::Classic(group) => group.next_tick(),
            Self::Consumer(group) => group.next_tick(),
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Duration, catalog: Catalog<'_>, effects: &mut Vec<Effect>) {
        match self {
            Self::Classic(group) => group.tick(now, effects),
            Self::Consumer(group) => group.tick(now, catalog),
        }
    }

    /// Nobody could be heard for `time`.
    pub(super) fn postpone(&mut self, now: Duration, time: Duration) {
        match self {
            Self::Classic(group) => group.postpone(now, time),
            Self::Consumer(group) => group.postpone(now, time),
        }
    }

    /// Whether it has no members, and nobody is to come.
    pub(super) fn is_vacant(&self) -> bool {
        match self {
            Self::Classic(group) => group.is_vacant(),
            Self::Consumer(group) => group.is_empty(),
        }
    }

    /// `consumer`, `connect`, …; empty if it never had a member.
    pub(super) fn protocol_type(&self) -> &str {
        match self {
            Self::Classic(group) => group.protocol_type().unwrap_or_default(),
            Self::Consumer(_) => "consumer",
        }
    }

    /// Its kind and state.
    pub(super) fn state(&self) -> ListedState {
        match self {
            Self::Classic(group) => ListedState::Classic(group.phase()),
            Self::Consumer(group) => ListedState::Consumer(group.state()),
        }
    }
}
