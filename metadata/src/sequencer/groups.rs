//! What the sequencer does with groups: asks the [`Coordinator`], has the state keep what must outlive this
//! owner, and lets answers out when what they depend on is durable.
//!
//! ```text
//! request ─▶ coordinator ─┬─ save ─▶ command ─▶ applied ─▶ submitted ─▶ durable ┐
//!                         └─ answer ─ held until all commands before it are ────┴─▶ and ownership is proven
//! ```
//!
//! A member that goes on as before costs no write and no proof of its own: a heartbeat that changes nothing is
//! answered within the window in which beats are.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use floe_protocol::error_code::ErrorCode;
use tokio::time::Sleep;

use super::Sequencer;
use super::answer::{Reply, Waiting};
use super::reads::Read;
use crate::api::groups::{
    GroupReply, GroupRequest, HeartbeatRequest, Identity, OffsetCommit, OffsetsOf, PAGE_ITEMS,
};
use crate::client::Answer;
use crate::groups::Saved;
use crate::groups::coordinator::{Coordinator, Outcome};
use crate::state::{self, Command, State};

/// How often it is looked whether offsets have had their time, as often as Kafka does.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The same while there is more than one command takes.
const EXPIRY_AGAIN: Duration = Duration::from_secs(1);
/// The first time for a new owner.
const EXPIRY_FIRST: Duration = Duration::from_secs(60);

/// The groups of one term.
pub(super) struct Coordination {
    coordinator: Coordinator<Answer<GroupReply>>,
    /// Answers that wait until commands before them are applied.
    held: VecDeque<Held>,
    /// Wakes when something is due in a group, or offsets may have expired.
    timer: Pin<Box<Sleep>>,
    /// What it is set to, on the steady clock.
    timer_due: Duration,
    expiry_due: Duration,
}

struct Held {
    /// Commands taken before it.
    after: u64,
    reply: Reply,
    /// When it was known, on the steady clock.
    at: Duration,
}

impl fmt::Debug for Coordination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordination")
            .field("held", &self.held.len())
            .field("timer_due", &self.timer_due)
            .finish_non_exhaustive()
    }
}

impl Coordination {
    /// The groups of a state that was recovered.
    pub(super) fn new(state: &State, now: Duration) -> Self {
        let config = state.config().groups.clone();
        let mut coordinator = Coordinator::new(config, now, state.groups());
        coordinator.configure(now, |name| state.group_settings(name));
        Self {
            coordinator,
            held: VecDeque::new(),
            // Due at once: the first look sets it.
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            timer_due: now,
            expiry_due: now + EXPIRY_FIRST,
        }
    }

    /// Ends when [`Sequencer::look_at_groups`] has something to do. Cancel-safe.
    pub(super) fn due(&mut self) -> Pin<&mut Sleep> {
        self.timer.as_mut()
    }
}

/// The group whose offsets a command stores.
pub(super) fn concerned(command: &Command) -> Option<Arc<str>> {
    match command {
        Command::CommitOffsets { group, .. } => Some(Arc::clone(group)),
        _ => None,
    }
}

impl Sequencer {
    /// Takes a request about groups.
    pub(super) fn group(&mut self, request: GroupRequest, answer: Answer<GroupReply>) {
        let now = self.proof.now();
        let coordinator = &mut self.coordination.coordinator;
        match request {
            GroupRequest::Join { group, request } => {
                let outcomes = coordinator.join(now, &self.state, &group, request, answer);
                self.group_outcomes(outcomes);
            }
            GroupRequest::Sync { group, request } => {
                let outcomes = coordinator.sync(now, &self.state, &group, request, answer);
                self.group_outcomes(outcomes);
            }
            GroupRequest::Heartbeat(from) => self.heartbeat(now, &from, answer),
            GroupRequest::ConsumerHeartbeat { group, request } => {
                self.consumer_heartbeat(now, &group, request, answer);
            }
            GroupRequest::Leave { group, members } => {
                let (codes, outcomes) = coordinator.leave(now, &self.state, &group, &members);
                self.group_outcomes(outcomes);
                self.hold(answer, GroupReply::Codes(codes));
            }
            GroupRequest::CommitOffsets {
                by,
                unknown_group,
                offsets,
            } => self.commit_offsets(now, &by, unknown_group, offsets, answer),
            GroupRequest::FetchOffsets { group, which, by } => {
                let allowed = coordinator.may_fetch(&group, by.0.as_deref(), by.1);
                let reply = match which {
                    _ if allowed.is_err() => {
                        GroupReply::Code(allowed.err().unwrap_or(ErrorCode::None))
                    }
                    OffsetsOf::Partitions(topics) => GroupReply::Offsets {
                        offsets: self.state.committed(&group, &topics),
                        is_last: true,
                    },
                    OffsetsOf::All(after) => {
                        let offsets = self.state.all_committed(&group, after, PAGE_ITEMS);
                        let is_last = offsets.len() < PAGE_ITEMS;
                        GroupReply::Offsets { offsets, is_last }
                    }
                };
                self.hold(answer, reply);
            }
            GroupRequest::DeleteOffsets { group, partitions } => {
                let deleted = self.delete_offsets(&group, partitions);
                self.hold(answer, GroupReply::Deleted(deleted));
            }
            GroupRequest::DeleteGroups(names) => {
                let codes = names.iter().map(|name| self.delete_group(name)).collect();
                self.hold(answer, GroupReply::Codes(codes));
            }
            GroupRequest::List(after) => {
                let listed = coordinator.list(after.as_deref(), PAGE_ITEMS);
                self.hold(answer, GroupReply::Listed(listed));
            }
            GroupRequest::Describe(name) => {
                let described = coordinator.describe(&name);
                self.hold(answer, GroupReply::Described(described));
            }
            GroupRequest::DescribeConsumers(name) => {
                let described = coordinator.describe_consumers(&self.state, &name);
                self.hold(answer, GroupReply::DescribedConsumers(described));
            }
        }
        self.set_group_timer();
    }

    /// A heartbeat that leaves everything as it is needs no more proof than a beat: if we were replaced, the
    /// member is alive all the same. Any other may make a member give up what it has.
    fn heartbeat(&mut self, now: Duration, from: &Identity, answer: Answer<GroupReply>) {
        let code = self.coordination.coordinator.heartbeat(now, from);
        let reply = GroupReply::Code(code);
        if code == ErrorCode::None && self.proof.covers_beats() {
            // The caller may have gone.
            drop(answer.send(Ok(reply)));
        } else {
            self.hold(answer, reply);
        }
    }

    /// One that changes nothing and tells nothing new is answered as a classic one is.
    fn consumer_heartbeat(
        &mut self,
        now: Duration,
        group: &str,
        request: HeartbeatRequest,
        answer: Answer<GroupReply>,
    ) {
        let epoch = request.epoch;
        let settings = self.state.group_settings(group);
        let coordinator = &mut self.coordination.coordinator;
        let (heard, outcomes) =
            coordinator.consumer_heartbeat(now, &self.state, settings, group, request);
        let goes_on = heard.error == ErrorCode::None
            && heard.assignment.is_none()
            && heard.epoch == epoch
            && epoch > 0
            && outcomes.is_empty();
        self.group_outcomes(outcomes);
        let reply = GroupReply::Heard(heard);
        if goes_on && self.proof.covers_beats() {
            // The caller may have gone.
            drop(answer.send(Ok(reply)));
        } else {
            self.hold(answer, reply);
        }
    }

    fn commit_offsets(
        &mut self,
        now: Duration,
        by: &Identity,
        unknown: ErrorCode,
        offsets: Vec<OffsetCommit>,
        answer: Answer<GroupReply>,
    ) {
        let coordinator = &mut self.coordination.coordinator;
        match coordinator.may_commit(now, by, unknown) {
            Ok(group) => {
                let command = Command::CommitOffsets { group, offsets };
                self.push(command, Waiting::Codes(answer));
            }
            Err(code) => {
                let codes = vec![code; offsets.len()];
                self.hold(answer, GroupReply::Codes(codes));
            }
        }
    }

    fn delete_offsets(
        &mut self,
        group: &str,
        partitions: Vec<(String, i32)>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let subscribed = self.coordination.coordinator.subscribed(group)?;
        let code = |(topic, index): &(String, i32)| {
            if !self.state.has_partition(topic, *index) {
                return ErrorCode::UnknownTopicOrPartition;
            }
            let is_read = subscribed.as_ref().is_none_or(|it| it.contains(topic));
            if is_read {
                ErrorCode::GroupSubscribedToTopic
            } else {
                ErrorCode::None
            }
        };
        let codes: Vec<_> = partitions.iter().map(code).collect();
        let allowed = partitions.into_iter().zip(&codes);
        let allowed = allowed.filter(|(_, code)| **code == ErrorCode::None);
        let partitions: Vec<_> = allowed.map(|(partition, _)| partition).collect();
        if !partitions.is_empty() {
            let group = Arc::from(group);
            let command = Command::DeleteOffsets { group, partitions };
            self.push(command, Waiting::Nobody);
        }
        Ok(codes)
    }

    fn delete_group(&mut self, name: &str) -> ErrorCode {
        match self.coordination.coordinator.delete(name) {
            Ok(group) => {
                self.push(Command::DeleteGroup(group), Waiting::Nobody);
                ErrorCode::None
            }
            Err(code) => code,
        }
    }

    /// Something may be due in a group.
    pub(super) fn look_at_groups(&mut self) {
        let now = self.proof.now();
        let outcomes = self.coordination.coordinator.tick(now, &self.state);
        self.group_outcomes(outcomes);
        if now >= self.coordination.expiry_due {
            // By cluster time, which follows a clock that jumps in steps: its next step can wait.
            let has_more = self.state.has_expired_offsets(self.state.now_ms());
            let again = if has_more {
                EXPIRY_AGAIN
            } else {
                EXPIRY_INTERVAL
            };
            self.coordination.expiry_due = now + again;
            if self.state.has_expired_offsets(self.clock.now_ms()) {
                self.push(Command::ExpireOffsets, Waiting::Nobody);
            }
        }
        self.collect();
        // It has fired: only a reset lets it wake again.
        self.coordination.timer_due = Duration::MAX;
        self.set_group_timer();
    }

    fn group_outcomes(&mut self, outcomes: Vec<Outcome<Answer<GroupReply>>>) {
        for outcome in outcomes {
            match outcome {
                Outcome::Save(group, saved) => self.save_group(group, Arc::new(saved)),
                Outcome::Answer(to, reply) => self.hold(to, reply),
            }
        }
    }

    /// Has a group kept. Of several in a row the last says it all: when many join at once, few are written.
    fn save_group(&mut self, group: Arc<str>, saved: Arc<Saved>) {
        if let Some((
            Command::SaveGroup {
                group: last,
                saved: kept,
            },
            _,
        )) = self.backlog.back_mut()
            && *last == group
        {
            *kept = saved;
        } else {
            self.push(Command::SaveGroup { group, saved }, Waiting::Nobody);
        }
    }

    /// Answers when all commands taken so far are durable, and ownership at this moment is proven.
    fn hold(&mut self, to: Answer<GroupReply>, reply: GroupReply) {
        let held = Held {
            after: self.pushed,
            reply: Reply::new(to, Ok(reply)),
            at: self.proof.now(),
        };
        self.coordination.held.push_back(held);
        self.release_held();
    }

    /// Hands answers on whose commands are applied.
    pub(super) fn release_held(&mut self) {
        let applied = self.applied;
        let held = &mut self.coordination.held;
        while let Some(held) = held.pop_front_if(|held| held.after <= applied) {
            let read = Read::known(held.reply, self.submitted, held.at);
            self.reads.push(read, self.completed, &self.watch);
        }
    }

    /// Follows what the state did about groups.
    pub(super) fn follow_groups(&mut self, of_group: Option<Arc<str>>, reply: &state::Reply) {
        let coordinator = &mut self.coordination.coordinator;
        if let state::Reply::Topic(Ok(_)) | state::Reply::TopicDeleted(Ok(_)) = reply {
            coordinator.topics_changed();
        }
        // Nothing was stored, and there was nothing before.
        if let Some(group) = of_group.filter(|group| !self.state.has_group(group)) {
            coordinator.not_kept(&group);
        }
        if let state::Reply::OffsetsExpired(groups) = reply {
            groups.iter().for_each(|group| coordinator.not_kept(group));
        }
    }

    fn set_group_timer(&mut self) {
        let Coordination {
            coordinator,
            timer,
            timer_due,
            expiry_due,
            ..
        } = &mut self.coordination;
        let due = coordinator.next_tick().unwrap_or(*expiry_due);
        let due = due.min(*expiry_due);
        if due == *timer_due {
            return;
        }
        *timer_due = due;
        let left = due.saturating_sub(self.proof.now());
        timer.as_mut().reset(tokio::time::Instant::now() + left);
    }
}
