//! The registry of objects: which segments are live, which are dead since when, whose rows may go.

use floe_protocol::types::TimestampMs;

use super::{SegmentEntry, Segments, Standing};
use crate::state::rows::RowKey;
use crate::state::rows::object::{ObjectFigures, encode_dead};
use crate::state::write_set::WriteSet;

/// Rows of gone segments removed with a group at most.
const REMOVED_AT_ONCE: usize = 256;

impl Segments {
    /// Counts extents that lead to a commit from now on.
    pub(in crate::state) fn hold(&mut self, commit: u64, extents: u64) {
        if let Some(entry) = self.entries.get_mut(&commit)
            && let Standing::Live(live) = &mut entry.standing
        {
            *live += extents;
        }
    }

    /// Counts one extent less; `true` if it was the last.
    pub(in crate::state) fn release(&mut self, commit: u64) -> bool {
        let entry = self.entries.get_mut(&commit);
        let Some(Standing::Live(live)) = entry.map(|entry| &mut entry.standing) else {
            return false;
        };
        let was_live = *live > 0;
        *live = live.saturating_sub(1);
        was_live && *live == 0
    }

    /// No extent leads to a commit any more.
    pub(in crate::state) fn bury(
        &mut self,
        commit: u64,
        now_ms: TimestampMs,
        writes: &mut WriteSet,
    ) {
        if let Some(entry) = self.entries.get_mut(&commit) {
            entry.standing = Standing::Dead(now_ms);
            self.dead.insert((now_ms, commit));
            self.leases.remove(&commit);
            writes.put(RowKey::dead_object(commit), encode_dead(now_ms));
        }
    }

    /// A dead object is not in the store any more; of any other commit nothing.
    pub(in crate::state) fn forget(&mut self, commit: u64, lowest: u32, writes: &mut WriteSet) {
        let Some(entry) = self.entries.get_mut(&commit) else {
            return;
        };
        if let Standing::Dead(since_ms) = entry.standing {
            entry.standing = Standing::Gone;
            self.dead.remove(&(since_ms, commit));
            writes.delete(RowKey::dead_object(commit));
            self.let_go(commit, lowest);
        }
    }

    /// A gone segment waits for the removal of its row.
    fn let_go(&mut self, commit: u64, lowest: u32) {
        let entry = self.entries.get(&commit);
        let is_refused = entry.is_none_or(|entry| entry.id.write_epoch < lowest);
        let waiting = if is_refused {
            &mut self.removable
        } else {
            &mut self.gone
        };
        waiting.insert(commit);
    }

    /// Names of write epochs below `lowest` are refused from now on.
    pub(in crate::state) fn refuse_below(&mut self, lowest: u32) {
        let Self {
            entries,
            gone,
            removable,
            ..
        } = self;
        gone.retain(|commit| {
            let entry = entries.get(commit);
            let is_refused = entry.is_none_or(|entry| entry.id.write_epoch < lowest);
            if is_refused {
                removable.insert(*commit);
            }
            !is_refused
        });
    }

    /// Ends a group: removes some rows that nobody needs. Those from the checkpoint on stay: a replay needs them,
    /// and differences of batches are counted from there.
    pub(in crate::state) fn seal(&mut self, checkpoint: u64, writes: &mut WriteSet) {
        for _ in 0..REMOVED_AT_ONCE {
            let first = self.removable.first().copied();
            let Some(commit) = first.filter(|commit| *commit < checkpoint) else {
                break;
            };
            self.removable.remove(&commit);
            self.let_go_of_row(commit);
            if let Some(entry) = self.entries.remove(&commit)
                && self.by_id.get(&entry.id) == Some(&commit)
            {
                self.by_id.remove(&entry.id);
            }
            writes.delete(RowKey::segment(commit));
            self.removed += 1;
        }
        let figures = self.figures();
        if figures != self.sealed {
            if figures == ObjectFigures::default() {
                writes.delete(RowKey::object_figures());
            } else {
                writes.put(RowKey::object_figures(), figures.encode());
            }
            self.sealed = figures;
        }
    }

    fn figures(&self) -> ObjectFigures {
        ObjectFigures {
            removed: self.removed,
            dead: self.dead.len() as u64,
        }
    }

    /// Dead ones, the longest dead first.
    pub(in crate::state) fn dead(&self) -> impl Iterator<Item = (TimestampMs, u64, &SegmentEntry)> {
        let dead = self.dead.iter();
        dead.filter_map(|(since_ms, commit)| Some((*since_ms, *commit, self.get(*commit)?)))
    }

    /// How many are dead.
    pub(in crate::state) fn dead_len(&self) -> u64 {
        self.dead.len() as u64
    }

    /// Bytes of all that are live or dead.
    pub(in crate::state) fn size_bytes(&self) -> u64 {
        let entries = self.entries.values();
        let in_store = entries.filter(|entry| entry.standing != Standing::Gone);
        in_store.fold(0, |sum, entry| sum.saturating_add(entry.size_bytes))
    }

    /// Whether somebody is merging a segment.
    pub(in crate::state) fn is_leased(&self, commit: u64, now_ms: TimestampMs) -> bool {
        let until_ms = self.leases.get(&commit);
        until_ms.is_some_and(|until_ms| *until_ms > now_ms)
    }

    /// Gives a live segment to somebody who merges it; leases that are over are forgotten.
    pub(in crate::state) fn lease(
        &mut self,
        commits: &[u64],
        now_ms: TimestampMs,
        until_ms: TimestampMs,
    ) {
        self.leases.retain(|_, until_ms| *until_ms > now_ms);
        let leases = commits.iter().map(|commit| (*commit, until_ms));
        self.leases.extend(leases);
    }

    /// Somebody has merged it, or part of it.
    pub(in crate::state) fn end_lease(&mut self, commit: u64) {
        self.leases.remove(&commit);
    }

    /// Takes the figures from their row.
    pub(in crate::state) fn load_figures(&mut self, figures: ObjectFigures) {
        (self.removed, self.sealed) = (figures.removed, figures);
    }

    /// Learns from its row that a segment is dead; `false` if it is not.
    pub(in crate::state) fn load_dead(&mut self, commit: u64, since_ms: TimestampMs) -> bool {
        let entry = self.entries.get_mut(&commit);
        let Some(entry) = entry.filter(|entry| entry.standing == Standing::Live(0)) else {
            return false;
        };
        entry.standing = Standing::Dead(since_ms);
        self.dead.insert((since_ms, commit));
        true
    }

    /// After the last row: those that no extent leads to and that are not dead are gone.
    pub(in crate::state) fn settle(&mut self, lowest: u32) {
        let is_over = |entry: &SegmentEntry| entry.standing == Standing::Live(0);
        let over = self.entries.iter_mut().filter(|(_, entry)| is_over(entry));
        let over = over.map(|(commit, entry)| {
            entry.standing = Standing::Gone;
            *commit
        });
        for commit in over.collect::<Vec<_>>() {
            self.let_go(commit, lowest);
        }
    }

    /// Whether the rows of as many commits are there, or were removed.
    pub(in crate::state) fn has_all(&self, commits: u64) -> bool {
        (self.entries.len() as u64).checked_add(self.removed) == Some(commits)
    }

    /// Whether all rows of dead objects are there.
    pub(in crate::state) fn is_complete(&self) -> bool {
        self.figures() == self.sealed
    }

    /// The first commit without a row, if none was removed.
    pub(in crate::state) fn first_missing(&self) -> Option<u64> {
        let mut numbered = (1..).zip(self.entries.keys());
        let missing = numbered.find(|(number, commit)| number != *commit);
        missing
            .map(|(number, _)| number)
            .filter(|_| self.removed == 0)
    }
}
