//! What happens when nobody asks: members that are not heard, rebalances that end.

use std::time::Duration;

use super::{Effect, Group, Member, Phase};

impl Group {
    /// When [`Group::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        let expires = self.members.values().filter(|member| member.can_expire());
        let expires = expires.map(|member| member.expires);
        let pending = self.pending.values().copied();
        let rebalance = self.rebalance.map(|rebalance| rebalance.ends);
        let others = rebalance.into_iter().chain(self.sync_ends);
        expires.chain(pending).chain(others).min()
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let pending = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        if self.pending.len() < pending {
            self.look_whether_all_joined(now, effects);
        }
        let has_expired = |member: &Member| member.can_expire() && member.expires <= now;
        self.remove_all(now, has_expired, effects);
        if self.sync_ends.is_some_and(|ends| ends <= now) {
            self.sync_ends = None;
            if matches!(self.phase, Phase::CompletingRebalance | Phase::Stable) {
                self.remove_all(now, |member| !member.has_synced, effects);
            }
        }
        if self
            .rebalance
            .is_some_and(|rebalance| rebalance.ends <= now)
        {
            // Who was given an id and has not come back with it yet does not hold up the others for longer.
            self.complete(now, effects);
        }
    }

    fn remove_all(
        &mut self,
        now: Duration,
        is_gone: impl Fn(&Member) -> bool,
        effects: &mut Vec<Effect>,
    ) {
        let gone = self.members.iter().filter(|(_, member)| is_gone(member));
        let gone: Vec<String> = gone.map(|(id, _)| id.clone()).collect();
        for member_id in &gone {
            self.remove(member_id, effects);
        }
        if !gone.is_empty() {
            self.lost_somebody(now, effects);
        }
    }

    /// Nobody could be heard for `time`, since we stood still: all timers end that much later, and sessions
    /// begin anew.
    pub fn postpone(&mut self, now: Duration, time: Duration) {
        for member in self.members.values_mut() {
            member.expires = member.expires.max(now + member.session_timeout);
        }
        for until in self.pending.values_mut() {
            *until += time;
        }
        if let Some(rebalance) = &mut self.rebalance {
            rebalance.ends += time;
            rebalance.initial_until = rebalance.initial_until.map(|until| until + time);
        }
        self.sync_ends = self.sync_ends.map(|ends| ends + time);
    }
}

impl Member {
    /// Whether it is given up when it is not heard: who waits for an answer cannot speak, but somebody new
    /// may have gone while it waited.
    const fn can_expire(&self) -> bool {
        let waits = self.joining.is_some() || self.syncing.is_some();
        !waits || self.is_new
    }
}
