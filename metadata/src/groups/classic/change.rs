//! A group that changes to the other protocol, or comes from it.

use std::time::Duration;

use floe_protocol::error_code::ErrorCode;

use super::{Effect, Group, GroupConfig, JoinAnswer, Saved, SyncAnswer};

impl Group {
    /// A group without members whose generations follow `generation`.
    #[must_use]
    pub fn following(config: GroupConfig, generation: i32) -> Self {
        let mut group = Self::new(config);
        group.generation = generation;
        group
    }

    /// A group whose members have been together so far, and all have to join again.
    pub(crate) fn of_members(config: GroupConfig, now: Duration, saved: &Saved) -> Self {
        let mut group = Self::restored(config, now, saved);
        // Nobody waits for an answer yet.
        group.prepare(now, &mut Vec::new());
        group
    }

    /// The group is another kind of group from now on: whoever waits is told to join again.
    pub(crate) fn dissolve(&mut self, effects: &mut Vec<Effect>) {
        for (member_id, member) in &mut self.members {
            let again = ErrorCode::RebalanceInProgress;
            if let Some(token) = member.joining.take() {
                effects.push(Effect::Joined(token, JoinAnswer::refused(again, member_id)));
            }
            if let Some(token) = member.syncing.take() {
                effects.push(Effect::Synced(token, SyncAnswer::refused(again)));
            }
        }
    }
}
