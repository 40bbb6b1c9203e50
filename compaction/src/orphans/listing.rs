//! Names in the store, and which of them nobody will ever need.

use floe_metadata::api::RequestError;
use floe_storage::key::{self, Lineages};
use floe_storage::segment::SegmentId;
use floe_storage::store::Caller;
use futures::StreamExt as _;
use object_store::path::Path;

use super::OrphansParts;
use crate::rounds::RoundError;
use crate::sweep::{Doomed, Figures, delete_all};

/// Names that metadata is asked about at once.
const NAMES_MAX: usize = 1000;

/// Whose a name among the segments is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A segment's, named by this cluster in one of its lives.
    Us {
        /// Its level.
        level: u8,
        /// Its name.
        id: SegmentId,
    },
    /// A segment's, named by another cluster, or by one of our lives after it had ended.
    Foreign,
    /// No segment has such a name.
    Unreadable,
}

/// Whose the name `path` is.
#[must_use]
pub fn owner_of(lineages: &Lineages, path: &Path) -> Owner {
    match key::parse_segment(path) {
        None => Owner::Unreadable,
        Some((lineage, level, id)) if lineages.of(id.write_epoch) == lineage => {
            Owner::Us { level, id }
        }
        Some(_) => Owner::Foreign,
    }
}

/// The names of one round.
pub(super) struct Names<'a> {
    parts: &'a OrphansParts,
    /// Since before anything was listed.
    lowest_accepted: u32,
    foreign: usize,
    unreadable: usize,
}

/// A name below the lowest accepted write epoch.
struct Candidate {
    id: SegmentId,
    size_bytes: u64,
}

impl<'a> Names<'a> {
    pub(super) const fn new(parts: &'a OrphansParts, lowest_accepted: u32) -> Self {
        Self {
            parts,
            lowest_accepted,
            foreign: 0,
            unreadable: 0,
        }
    }

    /// Names that are not ours, and names that are none.
    pub(super) const fn strangers(&self) -> (usize, usize) {
        (self.foreign, self.unreadable)
    }

    /// Looks at all names of a level, some at a time.
    pub(super) async fn sweep(&mut self, level: u8) -> Result<(), RoundError> {
        let folder = key::segments(level);
        let mut listing = self.parts.store.list(&folder, Caller::Compaction);
        let mut candidates = Vec::new();
        while let Some(object) = listing.next().await {
            let object = object?;
            let Some(id) = self.candidate(&object.location) else {
                continue;
            };
            candidates.push(Doomed {
                path: object.location,
                what: Candidate {
                    id,
                    size_bytes: object.size,
                },
            });
            if candidates.len() >= NAMES_MAX {
                self.judge(std::mem::take(&mut candidates)).await?;
            }
        }
        self.judge(candidates).await
    }

    /// The segment of this name, if it may be an orphan.
    fn candidate(&mut self, path: &Path) -> Option<SegmentId> {
        match owner_of(&self.parts.lineages, path) {
            Owner::Us { id, .. } => (id.write_epoch < self.lowest_accepted).then_some(id),
            Owner::Foreign => {
                self.foreign += 1;
                None
            }
            Owner::Unreadable => {
                self.unreadable += 1;
                None
            }
        }
    }

    /// Deletes those that metadata does not know.
    async fn judge(&self, candidates: Vec<Doomed<Candidate>>) -> Result<(), RoundError> {
        let orphans = self.unknown(candidates).await?;
        if orphans.is_empty() {
            return Ok(());
        }
        let OrphansParts {
            client,
            store,
            is_dry_run,
            figures,
            ..
        } = self.parts;
        // The moment at which they were unknown, or a later one: a part of the proof that is logged.
        let revision = client.quorum().await?.revision;
        let lowest_accepted = self.lowest_accepted;
        if *is_dry_run {
            for Doomed { path, what } in &orphans {
                let bytes = what.size_bytes;
                tracing::info!(object = %path, bytes, lowest_accepted, revision, "dry run: would delete an orphan");
            }
            return Ok(());
        }
        let deleted = delete_all(store, orphans).await;
        for Doomed { path, what } in &deleted.gone {
            tracing::info!(
                object = %path,
                bytes = what.size_bytes,
                write_epoch = what.id.write_epoch,
                lowest_accepted,
                unknown_at_revision = revision,
                "deleted an orphan"
            );
            Figures::add(&figures.orphans_deleted, 1);
            Figures::add(&figures.orphan_bytes_deleted, what.size_bytes);
        }
        match deleted.failure {
            None => Ok(()),
            Some(error) => {
                Figures::add(&figures.deletes_failed, 1);
                Err(error.into())
            }
        }
    }

    async fn unknown(
        &self,
        candidates: Vec<Doomed<Candidate>>,
    ) -> Result<Vec<Doomed<Candidate>>, RoundError> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = candidates.iter().map(|it| it.what.id).collect();
        let known = self.parts.client.are_known(ids).await?;
        if known.len() != candidates.len() {
            tracing::error!(
                asked = candidates.len(),
                told = known.len(),
                "metadata told of other names than it was asked for; nothing is deleted"
            );
            return Err(RequestError::Unavailable.into());
        }
        let of_both = candidates.into_iter().zip(known);
        let unknown = of_both.filter_map(|(candidate, is_known)| (!is_known).then_some(candidate));
        Ok(unknown.collect())
    }
}
