//! What happens when nobody asks: members that are not heard, and those that do not let go in time.

use std::time::Duration;

use super::{Catalog, Group, Member, SavedMember};

impl Group {
    /// When [`Group::tick`] has something to do.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        let ends = |member: &Member| {
            let deadline = member.deadline.unwrap_or(Duration::MAX);
            member.expires.min(deadline)
        };
        self.members.values().map(ends).min()
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Duration, catalog: Catalog<'_>) {
        let is_gone = |member: &Member| {
            member.expires <= now || member.deadline.is_some_and(|deadline| deadline <= now)
        };
        let gone = self.members.iter().filter(|(_, member)| is_gone(member));
        let gone: Vec<String> = gone.map(|(id, _)| id.clone()).collect();
        for member_id in &gone {
            self.remove(member_id);
        }
        if !gone.is_empty() {
            self.lost_somebody(catalog);
        }
    }

    /// Nobody could be heard for `time`, since we stood still: all timers end that much later, and sessions
    /// begin anew.
    pub fn postpone(&mut self, now: Duration, time: Duration) {
        let default = self.session_timeout();
        for Member {
            kept,
            expires,
            deadline,
            ..
        } in self.members.values_mut()
        {
            *expires = (*expires).max(now + session(default, kept));
            *deadline = deadline.map(|deadline| deadline + time);
        }
    }

    /// After how long without a word a member is given up.
    pub(super) fn session_of(&self, member: &SavedMember) -> Duration {
        session(self.session_timeout(), member)
    }
}

fn session(default: Duration, member: &SavedMember) -> Duration {
    let classic = member.classic.as_ref();
    classic.map_or(default, |classic| classic.session_timeout)
}
