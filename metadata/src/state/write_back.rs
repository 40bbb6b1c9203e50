//! The end of a group of commands: counters, a share of the rows that are behind, and evictions.
//!
//! ```text
//!  commits  ──────────────┬───────────────────────┬───────────────────┐
//!           checkpoint    │ half of replay max     │                   now
//!           all rows have │ a share of the oldest  │ left alone: may   │
//!           these changes │ is written each group  │ change again      │
//! ```
//!
//! A row is written once per half a replay at most, however often its head or state changes: that is what
//! makes the log of packed rows cheap. The share is such that what is older than half the bound is gone
//! after another quarter; what reaches the bound is written whatever it costs.

use bytes::Bytes;
use floe_planted::Bug;
use floe_protocol::types::TopicPartition;

use super::State;
use super::producer::ProducerState;
use super::producers::{ProducerKey, RESIDENT_BYTES, Resident};
use super::rows::{RowKey, head, producer};
use super::topics::SlotId;
use super::write_set::WriteSet;

/// Rows written back with a group at least, if that many are old enough.
const SHARE_MIN: u64 = 64;

/// Producer states looked at per group to find those that are expired: few, since a day has many groups.
const SWEPT: usize = 16;

impl State {
    /// Ends a group of commands: adds to `writes` what makes their rows complete, and lets go of what
    /// memory has no room for. Does nothing if no command was applied since the last `seal`.
    pub fn seal(&mut self, writes: &mut WriteSet) {
        if self.counters == self.sealed {
            return;
        }
        while let Some((slot, chunk)) = self.moved_heads.pop_first() {
            self.save_heads(slot, chunk, writes);
        }
        self.write_back(writes);
        self.evict(writes);
        self.sweep(writes);
        self.topics.forget_unused();
        self.segments
            .shrink_recent(self.config.recent_rows_bytes_max);
        self.counters.topics = self.topics.len() as u64;
        self.counters.processes = self.processes.len() as u64;
        let oldest = self.oldest_unsaved();
        self.counters.checkpoint = oldest.map_or(self.counters.commits, |commit| commit - 1);
        self.segments.seal(self.counters.checkpoint, writes);
        self.groups.seal(writes);
        self.configs.seal(writes);
        writes.put(RowKey::counters(), self.counters.encode());
        self.sealed.clone_from(&self.counters);
    }

    /// The first commit whose changes some row of heads lacks.
    fn oldest_unsaved_heads(&mut self) -> Option<u64> {
        while let Some((commit, slot, chunk)) = self.unsaved_heads.front().copied() {
            let slot = self.topics.slot(slot);
            if slot.is_some_and(|slot| slot.is_unsaved_since(chunk, commit)) {
                return Some(commit);
            }
            self.unsaved_heads.pop_front();
        }
        None
    }

    /// The first commit whose changes some row lacks.
    fn oldest_unsaved(&mut self) -> Option<u64> {
        let heads = self.oldest_unsaved_heads();
        let producers = self.producers.oldest_unsaved();
        match (heads, producers) {
            (Some(heads), Some(producers)) => Some(heads.min(producers)),
            (heads, producers) => heads.or(producers),
        }
    }

    fn write_back(&mut self, writes: &mut WriteSet) {
        let mut share = self.share();
        while let Some(oldest) = self.oldest_unsaved() {
            let is_over = self.is_older_than(oldest, 1);
            let is_old = self.is_older_than(oldest, 2);
            let is_written = is_over || (is_old && share > 0);
            if !is_written {
                return;
            }
            share = share.saturating_sub(1);
            if self.oldest_unsaved_heads() == Some(oldest) {
                if let Some((_, slot, chunk)) = self.unsaved_heads.pop_front() {
                    if Bug::HeadLost.is_planted() && self.counters.commits.is_multiple_of(4) {
                        self.save_heads(slot, chunk, &mut WriteSet::new());
                        continue;
                    }
                    self.save_heads(slot, chunk, writes);
                }
            } else if let Some(resident) = self.producers.save_oldest() {
                let (key, state) = (resident.key, resident.state);
                self.put_producer(key, &state, writes);
            }
        }
    }

    /// Whether the replay from `commit` on would be as long as the bound divided by `part`.
    fn is_older_than(&self, commit: u64, part: u64) -> bool {
        let (commits, batches) = self.log_between(commit - 1, self.counters.commits);
        commits >= (self.config.replay_commits_max / part).max(1)
            || batches >= (self.config.replay_batches_max / part).max(1)
    }

    /// Commits and batches in commits after `from` up to `to`.
    fn log_between(&self, from: u64, to: u64) -> (u64, u64) {
        (
            to - from,
            self.segments.batches_until(to) - self.segments.batches_until(from),
        )
    }

    /// How many old rows to write with this group.
    fn share(&self) -> u64 {
        let (commits, batches) = self.log_between(self.sealed.commits, self.counters.commits);
        let unsaved = (self.unsaved_heads.len() + self.producers.unsaved_len()) as u64;
        let by_commits =
            unsaved.saturating_mul(4 * commits) / self.config.replay_commits_max.max(1);
        let by_batches =
            unsaved.saturating_mul(4 * batches) / self.config.replay_batches_max.max(1);
        SHARE_MIN + by_commits.max(by_batches)
    }

    fn save_heads(&mut self, slot: SlotId, chunk: u32, writes: &mut WriteSet) {
        if let Some(slot) = self.topics.slot_mut(slot) {
            self.counters.head_rows += u64::from(!slot.is_written(chunk));
            let id = slot.topic.id;
            writes.put(RowKey::heads(id, chunk), head::encode(slot.save(chunk)));
        }
    }

    /// Writes a producer state's row, unless its topic is gone: then nobody will ask for it.
    fn put_producer(&mut self, key: ProducerKey, state: &ProducerState, writes: &mut WriteSet) {
        if let Some(slot) = self.topics.slot_mut(key.slot) {
            slot.has_producer_rows = true;
            let partition = TopicPartition::new(slot.topic.id, key.partition);
            producer::encode(state, &mut self.row);
            let row = Bytes::copy_from_slice(&self.row);
            writes.put(RowKey::producer(key.id, partition), row);
            self.counters.has_row(key.id);
        }
    }

    /// Lets go of producer states beyond the memory there is for them.
    fn evict(&mut self, writes: &mut WriteSet) {
        let states_max = self.config.producer_states_bytes_max / RESIDENT_BYTES;
        while self.producers.len() > states_max {
            let Some((resident, is_unsaved)) = self.producers.evict() else {
                return;
            };
            if is_unsaved && !Bug::ProducerLostOnEviction.is_planted() {
                self.put_producer(resident.key, &resident.state, writes);
            }
        }
    }

    /// Lets go of some producer states that are expired, and of their rows.
    fn sweep(&mut self, writes: &mut WriteSet) {
        let (now_ms, expiration_ms) = (self.counters.now_ms, self.config.producer_id_expiration_ms);
        let checkpoint = self.counters.checkpoint;
        let is_dead = |resident: &Resident| {
            // No replay may come by a state whose row is gone; nor is any of it unsaved then.
            resident.last_commit <= checkpoint && resident.state.is_expired(now_ms, expiration_ms)
        };
        let mut seats = SWEPT;
        while let Some(Resident { key, state, .. }) = self.producers.sweep(&mut seats, is_dead) {
            let may_have_row = !state.is_unknown() && self.counters.may_have_row(key.id);
            let slot = self
                .topics
                .slot(key.slot)
                .filter(|slot| slot.has_producer_rows);
            if let Some(slot) = slot.filter(|_| may_have_row) {
                let partition = TopicPartition::new(slot.topic.id, key.partition);
                writes.delete(RowKey::producer(key.id, partition));
            }
        }
    }
}
