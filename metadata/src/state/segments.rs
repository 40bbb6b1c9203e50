//! Which commit made which segment visible, and the rows of the latest commits for those who ask twice.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use bytes::Bytes;
use floe_storage::segment::SegmentId;
use foldhash::quality::FixedState;
use hashbrown::HashTable;

/// What is kept in memory per commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentEntry {
    pub(super) id: SegmentId,
    /// Batches of this commit and all before it.
    pub(super) batches_until: u64,
}

/// All commits, by number and by segment.
#[derive(Debug)]
pub(super) struct Segments {
    /// Dense, by commit number; the first commit is 1.
    entries: Vec<SegmentEntry>,
    /// Commits of segments whose write epoch is accepted.
    by_id: HashTable<u64>,
    hasher: FixedState,
    /// Rows of the latest commits, and of earlier ones that were asked for again.
    recent: BTreeMap<u64, Bytes>,
    recent_bytes: usize,
}

impl Segments {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            by_id: HashTable::new(),
            hasher: FixedState::with_seed(hash_seed),
            recent: BTreeMap::new(),
            recent_bytes: 0,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn entries(&self) -> &[SegmentEntry] {
        &self.entries
    }

    fn entry(entries: &[SegmentEntry], commit: u64) -> Option<&SegmentEntry> {
        entries.get(usize::try_from(commit.checked_sub(1)?).ok()?)
    }

    /// The segment of a commit.
    pub(super) fn segment(&self, commit: u64) -> Option<SegmentId> {
        Self::entry(&self.entries, commit).map(|entry| entry.id)
    }

    /// Batches of all commits up to this one.
    pub(super) fn batches_until(&self, commit: u64) -> u64 {
        Self::entry(&self.entries, commit).map_or(0, |entry| entry.batches_until)
    }

    /// The commit of a segment whose write epoch is accepted.
    pub(super) fn commit_of(&self, id: SegmentId) -> Option<u64> {
        let is_it = |commit: &u64| self.segment(*commit) == Some(id);
        self.by_id.find(self.hasher.hash_one(id), is_it).copied()
    }

    /// Adds the next commit; `accepted` says whether a repeat of it would be.
    pub(super) fn push(&mut self, id: SegmentId, batches: usize, accepted: bool) -> u64 {
        let batches_until = self.batches_until(self.len()) + batches as u64;
        self.entries.push(SegmentEntry { id, batches_until });
        let commit = self.len();
        if accepted {
            let Self {
                entries,
                by_id,
                hasher,
                ..
            } = self;
            let hash_of = |commit: &u64| {
                Self::entry(entries, *commit).map_or(0, |entry| hasher.hash_one(entry.id))
            };
            by_id.insert_unique(hasher.hash_one(id), commit, hash_of);
        }
        commit
    }

    /// Forgets the commits of segments named before `lowest`: nobody may ask for them again.
    pub(super) fn forget_below(&mut self, lowest: u32) {
        let Self {
            entries,
            by_id,
            recent,
            recent_bytes,
            ..
        } = self;
        let is_old = |commit: u64| {
            Self::entry(entries, commit).is_none_or(|entry| entry.id.write_epoch < lowest)
        };
        by_id.retain(|commit| !is_old(*commit));
        recent.retain(|commit, row| {
            let keep = !is_old(*commit);
            if !keep {
                *recent_bytes -= row.len();
            }
            keep
        });
    }

    /// Keeps a commit's row at hand.
    pub(super) fn remember(&mut self, commit: u64, row: Bytes) {
        self.recent_bytes += row.len();
        if let Some(before) = self.recent.insert(commit, row) {
            self.recent_bytes -= before.len();
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
