//! All groups: who waits in which, and when something happens by itself. Pure: the time is handed in, in any
//! clock that only runs forward, and whoever waits is an opaque `W` that comes back in an [`Outcome`].
//!
//! ```text
//! request ─▶ group ─▶ effects ─▶ outcomes: save, answer          next_tick ─▶ tick ─▶ …
//! ```
//!
//! Knows every group the state knows, and those that somebody is about to join. What the state keeps of a
//! group changes by [`Outcome::Save`] and by the commands that follow from what is allowed here, in this order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use floe_protocol::error_code::ErrorCode;

use super::Saved;
use super::classic::{Effect, Group, GroupConfig, JoinAnswer, SyncAnswer, Token};
use super::consumer::{Catalog, GroupSettings, Topics};
use crate::api::groups::{GroupReply, Identity, JoinRequest, SyncRequest};
use machine::Machine;

mod heartbeat;
mod listing;
mod machine;
mod offsets;

#[cfg(test)]
mod tests;

/// How much later than due a look at the timers means that nobody could be heard in between.
const DEAF: Duration = Duration::from_secs(1);

/// What is to be done, in this order.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Outcome<W> {
    /// A group has to be durable before the answers after it leave.
    Save(Arc<str>, Saved),
    /// Somebody's answer.
    Answer(W, GroupReply),
}

type Outcomes<W> = Vec<Outcome<W>>;

/// All groups of a cluster.
#[derive(Debug)]
pub(crate) struct Coordinator<W> {
    config: GroupConfig,
    groups: BTreeMap<Arc<str>, Entry>,
    /// When to look at which group; a look may come too early, never too late.
    timers: BTreeSet<(Duration, Arc<str>)>,
    waiting: BTreeMap<Token, W>,
    last_token: Token,
    /// Raised by each change of the topics.
    topics_version: u64,
}

#[derive(Debug)]
struct Entry {
    group: Machine,
    /// Its place in `timers`.
    due: Option<Duration>,
    /// The state knows it, or is about to.
    is_kept: bool,
}

impl<W> Coordinator<W> {
    /// The groups that an owner finds: all their timers start now.
    pub(crate) fn new<'a>(
        config: GroupConfig,
        now: Duration,
        saved: impl IntoIterator<Item = (&'a Arc<str>, &'a Saved)>,
    ) -> Self {
        let mut coordinator = Self {
            config,
            groups: BTreeMap::new(),
            timers: BTreeSet::new(),
            waiting: BTreeMap::new(),
            last_token: 0,
            topics_version: 0,
        };
        for (name, saved) in saved {
            let group = Machine::restored(&coordinator.config, now, saved);
            let entry = Entry {
                group,
                due: None,
                is_kept: true,
            };
            coordinator.groups.insert(Arc::clone(name), entry);
            coordinator.set_timer(name);
        }
        coordinator
    }

    /// What is set for the groups that an owner found: their sessions begin by it.
    pub(crate) fn configure(&mut self, now: Duration, settings: impl Fn(&str) -> GroupSettings) {
        let names: Vec<_> = self.groups.keys().cloned().collect();
        for name in names {
            if let Some(Entry {
                group: Machine::Consumer(group),
                ..
            }) = self.groups.get_mut(&name)
            {
                group.configure(settings(&name));
                group.postpone(now, Duration::ZERO);
                self.set_timer(&name);
            }
        }
    }

    /// Topics have come, gone or grown.
    pub(crate) const fn topics_changed(&mut self) {
        self.topics_version += 1;
    }

    const fn catalog<'a>(&self, topics: &'a dyn Topics) -> Catalog<'a> {
        Catalog {
            topics,
            version: self.topics_version,
        }
    }

    /// JoinGroup. The answer comes in an outcome, now or later.
    pub(crate) fn join(
        &mut self,
        now: Duration,
        topics: &dyn Topics,
        name: &str,
        request: JoinRequest,
        waiter: W,
    ) -> Outcomes<W> {
        let refused = |error| {
            let refused = JoinAnswer::refused(error, &request.member_id);
            GroupReply::Joined(refused)
        };
        if name.is_empty() {
            return vec![Outcome::Answer(waiter, refused(ErrorCode::InvalidGroupId))];
        }
        if !request.member_id.is_empty() && !self.groups.contains_key(name) {
            return vec![Outcome::Answer(waiter, refused(ErrorCode::UnknownMemberId))];
        }
        let name = self.name(name);
        let catalog = self.catalog(topics);
        if let Machine::Consumer(group) = &self.entry(&name).group
            && !group.is_empty()
        {
            let allowed = self.config.session_timeout_min..=self.config.session_timeout_max;
            if !allowed.contains(&request.session_timeout) {
                let refused = refused(ErrorCode::InvalidSessionTimeout);
                return vec![Outcome::Answer(waiter, refused)];
            }
            let mut answer = None;
            let mut outcomes = self.with(&name, catalog, now, |group, _| {
                if let Machine::Consumer(group) = group {
                    answer = Some(group.join(now, catalog, request));
                }
            });
            let answer = answer.map(|it| Outcome::Answer(waiter, GroupReply::Joined(it)));
            outcomes.extend(answer);
            return outcomes;
        }
        let token = self.token(waiter);
        let config = self.config.clone();
        self.with(&name, catalog, now, |machine, effects| {
            // Without members it may be of any kind.
            if let Machine::Consumer(group) = machine {
                *machine = Machine::Classic(Group::following(config, group.epoch()));
            }
            if let Machine::Classic(group) = machine {
                group.join(now, token, request, effects);
            }
        })
    }

    /// SyncGroup. The answer comes in an outcome, now or later.
    pub(crate) fn sync(
        &mut self,
        now: Duration,
        topics: &dyn Topics,
        name: &str,
        request: SyncRequest,
        waiter: W,
    ) -> Outcomes<W> {
        let name = match self.known(name) {
            Ok(name) => name,
            Err(code) => {
                let refused = SyncAnswer::refused(code);
                return vec![Outcome::Answer(waiter, GroupReply::Synced(refused))];
            }
        };
        let token = self.token(waiter);
        let catalog = self.catalog(topics);
        self.with(&name, catalog, now, |group, effects| match group {
            Machine::Classic(group) => group.sync(now, token, request, effects),
            Machine::Consumer(group) => {
                let answer = group.sync(now, catalog, &request);
                effects.push(Effect::Synced(token, answer));
            }
        })
    }

    /// Heartbeat. Changes nothing but when the member expires.
    pub(crate) fn heartbeat(&mut self, now: Duration, from: &Identity) -> ErrorCode {
        let name = match self.known(&from.group) {
            Ok(name) => name,
            Err(code) => return code,
        };
        let (id, instance) = (&from.member_id, from.instance.as_deref());
        let heard = match &mut self.entry(&name).group {
            Machine::Classic(group) => group.heartbeat(now, id, instance, from.generation),
            Machine::Consumer(group) => group.classic_heartbeat(now, id, instance, from.generation),
        };
        // It may have got a deadline.
        self.set_timer(&name);
        heard.err().unwrap_or(ErrorCode::None)
    }

    /// LeaveGroup of several members; one code for each.
    pub(crate) fn leave(
        &mut self,
        now: Duration,
        topics: &dyn Topics,
        name: &str,
        members: &[(String, Option<String>)],
    ) -> (Vec<ErrorCode>, Outcomes<W>) {
        let name = match self.known(name) {
            Ok(name) => name,
            Err(code) => return (vec![code; members.len()], Vec::new()),
        };
        let mut codes = Vec::with_capacity(members.len());
        let catalog = self.catalog(topics);
        let outcomes = self.with(&name, catalog, now, |group, effects| match group {
            Machine::Classic(group) => {
                for (member_id, instance) in members {
                    let left = group.leave(now, member_id, instance.as_deref(), effects);
                    codes.push(left.err().unwrap_or(ErrorCode::None));
                }
            }
            Machine::Consumer(group) => codes = group.leave_all(catalog, members),
        });
        (codes, outcomes)
    }

    /// Forgets a group without members; its name, if it was there.
    ///
    /// # Errors
    /// `GroupIdNotFound`, `NonEmptyGroup`.
    pub(crate) fn delete(&mut self, name: &str) -> Result<Arc<str>, ErrorCode> {
        // Also the group without a name, which can have offsets.
        let found = self.groups.get_key_value(name);
        let (name, entry) = found.ok_or(ErrorCode::GroupIdNotFound)?;
        if !entry.group.is_vacant() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let name = Arc::clone(name);
        self.forget(&name);
        Ok(name)
    }

    /// The state no longer keeps this group.
    pub(crate) fn not_kept(&mut self, name: &str) {
        let Some((name, entry)) = self.groups.get_key_value(name) else {
            return;
        };
        let (name, is_vacant) = (Arc::clone(name), entry.group.is_vacant());
        if is_vacant {
            self.forget(&name);
        } else {
            self.entry(&name).is_kept = false;
        }
    }

    /// When [`Coordinator::tick`] has something to do.
    pub(crate) fn next_tick(&self) -> Option<Duration> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Duration, topics: &dyn Topics) -> Outcomes<W> {
        let mut outcomes = Vec::new();
        let catalog = self.catalog(topics);
        let late = self.next_tick().map(|due| now.saturating_sub(due));
        if let Some(late) = late.filter(|late| *late >= DEAF) {
            for entry in self.groups.values_mut() {
                entry.group.postpone(now, late);
            }
        }
        while let Some((due, name)) = self.timers.first()
            && *due <= now
        {
            let name = Arc::clone(name);
            let due = self.timers.pop_first().map(|(due, _)| due);
            debug_assert!(due == self.entry(&name).due, "{name}");
            self.entry(&name).due = None;
            outcomes.extend(self.with(&name, catalog, now, |group, effects| {
                if group.next_tick().is_some_and(|next| next <= now) {
                    group.tick(now, catalog, effects);
                }
            }));
        }
        outcomes
    }

    /// Does something to a group, and what follows from it.
    fn with(
        &mut self,
        name: &Arc<str>,
        catalog: Catalog<'_>,
        now: Duration,
        act: impl FnOnce(&mut Machine, &mut Vec<Effect>),
    ) -> Outcomes<W> {
        let mut effects = Vec::new();
        let config = self.config.clone();
        let entry = self.entry(name);
        act(&mut entry.group, &mut effects);
        // One row of the group as it is now serves all that is to be saved.
        let saved = entry.group.take_save(&effects);
        let saved = entry.group.downgraded(&config, now, catalog).or(saved);
        entry.is_kept |= saved.is_some();
        let is_forgotten = entry.group.is_vacant() && !entry.is_kept;
        let saved = saved.map(|saved| Outcome::Save(Arc::clone(name), saved));
        let mut outcomes: Outcomes<W> = saved.into_iter().collect();
        for effect in effects {
            let (token, reply) = match effect {
                Effect::Save => continue,
                Effect::Joined(token, answer) => (token, GroupReply::Joined(answer)),
                Effect::Synced(token, answer) => (token, GroupReply::Synced(answer)),
            };
            if let Some(waiter) = self.waiting.remove(&token) {
                outcomes.push(Outcome::Answer(waiter, reply));
            }
        }
        if is_forgotten {
            self.forget(name);
        } else {
            self.set_timer(name);
        }
        outcomes
    }

    /// The group that a member speaks of.
    fn known(&self, name: &str) -> Result<Arc<str>, ErrorCode> {
        if name.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let known = self.groups.get_key_value(name);
        known
            .map(|(name, _)| Arc::clone(name))
            .ok_or(ErrorCode::UnknownMemberId)
    }

    fn name(&self, name: &str) -> Arc<str> {
        let known = self.groups.get_key_value(name);
        known.map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name))
    }

    /// The group of this name, made if there is none.
    fn entry(&mut self, name: &Arc<str>) -> &mut Entry {
        let config = &self.config;
        self.groups
            .entry(Arc::clone(name))
            .or_insert_with(|| Entry {
                group: Machine::Classic(Group::new(config.clone())),
                due: None,
                is_kept: false,
            })
    }

    fn forget(&mut self, name: &Arc<str>) {
        if let Some(entry) = self.groups.remove(name)
            && let Some(due) = entry.due
        {
            self.timers.remove(&(due, Arc::clone(name)));
        }
    }

    /// Moves the group's next look forward, if something happens sooner; later is found out by the look.
    fn set_timer(&mut self, name: &Arc<str>) {
        let Some(entry) = self.groups.get_mut(name) else {
            return;
        };
        let Some(next) = entry.group.next_tick() else {
            return;
        };
        if entry.due.is_some_and(|due| due <= next) {
            return;
        }
        let earlier = entry.due.replace(next);
        if let Some(due) = earlier {
            self.timers.remove(&(due, Arc::clone(name)));
        }
        self.timers.insert((next, Arc::clone(name)));
    }

    fn token(&mut self, waiter: W) -> Token {
        self.last_token += 1;
        self.waiting.insert(self.last_token, waiter);
        self.last_token
    }
}
