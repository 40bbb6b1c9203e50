//! What the sequencer does with leases, and what it remembers for those who watch.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use floe_planted::Bug;

use super::answer::Presence;
use super::leases::Due;
use super::{Sequencer, WATCH_BATCHES_MAX, Waiting};
use crate::api::Revision;
use crate::client::WatchBatch;
use crate::state::Command;

/// How far the timer is set when there is no lease; any lease sets it anew.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
/// So late after a lease ended nothing was heard in between: the process stood still, or the engine did and
/// no calls were taken.
const DEAF: Duration = Duration::from_millis(100);

impl Sequencer {
    pub(super) fn presence(&mut self, presence: Presence) {
        let now = self.proof.now();
        match presence {
            Presence::Beat {
                incarnation,
                passed,
                answer,
            } => {
                let is_known = self.leases.beat(incarnation, passed, now);
                self.beats.push((is_known, answer));
                self.answer_passing();
            }
            Presence::Connected(nonce) => self.leases.connected(nonce, now),
            Presence::Disconnected(nonce) => {
                self.leases.disconnected(nonce, now);
                self.set_timer();
            }
            Presence::Passed(revision, answer) => {
                self.passing.push((revision, answer));
                self.answer_passing();
            }
        }
    }

    /// Answers beats, which lets processes serve clients, as soon as it is certain that nobody else does.
    pub(super) fn answer_beats(&mut self) {
        if self.beats.is_empty() {
            return;
        }
        if !self.proof.covers_beats() {
            self.proof.ask(&self.session);
            return;
        }
        for (is_known, answer) in self.beats.drain(..) {
            // The caller may have gone.
            drop(answer.send(Ok(is_known)));
        }
    }

    /// Follows the state after commands that may have changed who is registered.
    pub(super) fn processes_changed(&mut self) {
        let (listed, now) = (self.state.processes(), self.proof.now());
        let unlisted = self.state.unlisted_processes();
        self.leases.registered(&listed, unlisted, now);
        self.set_timer();
        self.answer_passing();
    }

    /// Some time may be up: takes processes off the list, or forgets them.
    pub(super) fn look_at_leases(&mut self) {
        let now = self.proof.now();
        let due = self.leases.next().unwrap_or(now);
        let late = now.saturating_sub(due);
        if late >= DEAF {
            self.leases.deaf(late, now);
        }
        let Due { silent, lapsed } = self.leases.due(now);
        if !silent.is_empty() {
            tracing::info!(incarnations = ?silent, "processes are silent; clients are no longer sent to them");
            let command = Command::UnlistProcesses(silent);
            self.push(command, Waiting::Nobody);
        }
        if !lapsed.is_empty() {
            let command = Command::ForgetProcesses(lapsed);
            self.push(command, Waiting::Nobody);
        }
        self.collect();
        self.answer_passing();
        self.set_timer();
    }

    fn set_timer(&mut self) {
        let now = self.proof.now();
        let left = self
            .leases
            .next()
            .map_or(NEVER, |at| at.saturating_sub(now));
        let at = tokio::time::Instant::now() + left;
        self.lease_ends.as_mut().reset(at);
    }

    fn answer_passing(&mut self) {
        let leases = &self.leases;
        let passed = self.passing.extract_if(.., |(revision, answer)| {
            answer.is_closed() || leases.have_passed(*revision)
        });
        for (_, answer) in passed {
            drop(answer.send(Ok(())));
        }
    }

    /// Keeps what was sent for those who connect again.
    pub(super) fn remember(&mut self, batch: Arc<WatchBatch>) {
        self.recent.push_back(batch);
        if self.recent.len() > WATCH_BATCHES_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_from = oldest.revision;
        }
    }

    /// Whether everything after `from` is still remembered.
    pub(super) fn can_resume(&self, from: Revision) -> bool {
        let newest = self
            .recent
            .back()
            .map_or(self.recent_from, |batch| batch.revision);
        (self.recent_from..=newest).contains(&from)
    }

    pub(super) fn missed_since(&self, from: Revision) -> VecDeque<Arc<WatchBatch>> {
        if Bug::ResumedWithGap.is_planted() {
            return VecDeque::new();
        }
        let missed = self.recent.iter().filter(|batch| batch.revision > from);
        missed.cloned().collect()
    }
}
