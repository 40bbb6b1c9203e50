//! Which commit made which segment, and what became of it since.
//!
//! ```text
//! live ── no extent leads to it ─▶ dead ── object deleted ─▶ gone ── nobody may repeat it, no replay needs it ─▶ no row
//! ```
//!
//! A commit never comes back to life: extents are only given to a commit when it is made. Numbers of commits have
//! gaps where rows were removed; those from the checkpoint on are all there.

mod registry;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use floe_protocol::types::TimestampMs;
use floe_storage::segment::SegmentId;
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::rows::object::ObjectFigures;
use super::rows::segment::CommitFacts;

/// What is kept in memory per commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentEntry {
    pub(super) id: SegmentId,
    /// 0 as ingested, 1 and up merged.
    pub(super) level: u8,
    pub(super) size_bytes: u64,
    /// Cluster time of the commit.
    pub(super) committed_ms: TimestampMs,
    /// Batches of this commit and all before it that have rows, or had some when this process began to count.
    batches_until: u64,
    pub(super) standing: Standing,
}

/// What became of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Standing {
    /// So many extents lead to it; none only while its commit is under way.
    Live(u64),
    /// None does, since this cluster time.
    Dead(TimestampMs),
    /// Its object is not in the store any more.
    Gone,
}

impl SegmentEntry {
    /// Extents that lead to it.
    pub(super) const fn live_extents(&self) -> u64 {
        match self.standing {
            Standing::Live(extents) => extents,
            Standing::Dead(_) | Standing::Gone => 0,
        }
    }
}

/// All commits that have a row, by number and by segment.
#[derive(Debug)]
pub(super) struct Segments {
    entries: BTreeMap<u64, SegmentEntry>,
    by_id: HashMap<SegmentId, u64, FixedState>,
    /// Rows of the latest commits, and of earlier ones that were asked for again.
    recent: BTreeMap<u64, Bytes>,
    recent_bytes: usize,
    /// Dead ones, the longest dead first.
    dead: BTreeSet<(TimestampMs, u64)>,
    /// Gone ones whose commits may be repeated.
    gone: BTreeSet<u64>,
    /// Gone ones whose commits are refused.
    removable: BTreeSet<u64>,
    /// Rows that were removed.
    removed: u64,
    /// The figures as they were sealed last.
    sealed: ObjectFigures,
    /// Live ones that somebody merges, and until when, in cluster time. Neither in rows nor in the hash.
    leases: BTreeMap<u64, TimestampMs>,
}

impl Segments {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            entries: BTreeMap::new(),
            by_id: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            recent: BTreeMap::new(),
            recent_bytes: 0,
            dead: BTreeSet::new(),
            gone: BTreeSet::new(),
            removable: BTreeSet::new(),
            removed: 0,
            sealed: ObjectFigures::default(),
            leases: BTreeMap::new(),
        }
    }

    /// Segments whose objects are in the store: live or dead.
    pub(super) fn len(&self) -> u64 {
        let gone = self.gone.len() + self.removable.len();
        (self.entries.len() - gone) as u64
    }

    /// All that have a row, by commit.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, &SegmentEntry)> {
        self.entries.iter().map(|(commit, entry)| (*commit, entry))
    }

    /// The last commit; 0 before the first.
    pub(super) fn last(&self) -> u64 {
        let last = self.entries.last_key_value();
        last.map_or(0, |(commit, _)| *commit)
    }

    /// What a commit made.
    pub(super) fn get(&self, commit: u64) -> Option<&SegmentEntry> {
        self.entries.get(&commit)
    }

    /// The commit of a segment, and what it made.
    pub(super) fn find(&self, id: SegmentId) -> Option<(u64, &SegmentEntry)> {
        let commit = *self.by_id.get(&id)?;
        Some((commit, self.entries.get(&commit)?))
    }

    /// A number that grows by the batches of each commit: differences count, from the checkpoint on.
    pub(super) fn batches_until(&self, commit: u64) -> u64 {
        let last = self.entries.range(..=commit).next_back();
        last.map_or(0, |(_, entry)| entry.batches_until)
    }

    /// Adds a commit after all others; no extent leads to it yet.
    pub(super) fn push(&mut self, commit: u64, facts: &CommitFacts, level: u8, batches: usize) {
        let entry = SegmentEntry {
            id: facts.segment,
            level,
            size_bytes: facts.size_bytes,
            committed_ms: facts.time_ms,
            batches_until: self.batches_until(commit) + batches as u64,
            standing: Standing::Live(0),
        };
        self.entries.insert(commit, entry);
        self.by_id.insert(entry.id, commit);
    }

    /// Keeps a commit's row at hand.
    pub(super) fn remember(&mut self, commit: u64, row: Bytes) {
        self.recent_bytes += row.len();
        if let Some(before) = self.recent.insert(commit, row) {
            self.recent_bytes -= before.len();
        }
    }

    fn let_go_of_row(&mut self, commit: u64) {
        if let Some(row) = self.recent.remove(&commit) {
            self.recent_bytes -= row.len();
        }
    }

    /// Lets go of rows beyond `bytes_max`, those of the oldest commits first.
    pub(super) fn shrink_recent(&mut self, bytes_max: usize) {
        while self.recent_bytes > bytes_max {
            let Some((_, row)) = self.recent.pop_first() else {
                break;
            };
            self.recent_bytes -= row.len();
        }
    }

    /// A commit's row, if it is at hand.
    pub(super) fn recent(&self, commit: u64) -> Option<&Bytes> {
        self.recent.get(&commit)
    }
}
