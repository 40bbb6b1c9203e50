//! Objects that no log leads to any more leave the store.
//!
//! ```text
//! dead for longer than the grace? ─▶ delete ─▶ surely gone ─▶ metadata forgets it
//!                                       └─ not known ─▶ the next round asks again
//! ```
//!
//! That an object is dead is the word of metadata, given after a proof of ownership, and for good: a dead commit
//! never lives again, and no name is used twice. The grace outlasts whoever read of the object while it lived.
//! Without metadata nothing is deleted. Several processes may do this at once.
//!
//! For how long an object is dead is told in cluster time, which stands still while nobody commands anything, and
//! then makes up for it in steps of an hour: what died a moment ago may look hours dead. So each round commands
//! something, and nothing is deleted before that was done for as long as the grace, without a gap that is longer
//! than a step.

mod delete;
mod figures;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::objects::DeadObject;
use floe_metadata::client::Client;
use floe_metadata::steady_clock::SteadyClock;
use floe_protocol::types::TimestampMs;
use floe_storage::key::Lineages;
use floe_storage::store::Store;
use tokio_util::sync::CancellationToken;

use crate::rounds::{Pace, RoundError};
pub(crate) use delete::{Doomed, delete_all};
pub use figures::Figures;

/// Objects that are asked for, deleted and forgotten together.
const OBJECTS_MAX: usize = 1000;

/// After so long without a command of ours cluster time may be about to jump. A step of it is an hour.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(30 * 60);

/// What the sweep is made of.
#[derive(Debug)]
pub struct SweepParts {
    /// The way to metadata.
    pub client: Client,
    /// Where the objects are.
    pub store: Store,
    /// What their names say.
    pub lineages: Lineages,
    /// Pause between two rounds.
    pub every: Duration,
    /// How long an object must have been dead.
    pub grace: Duration,
    /// Only to say what would be deleted.
    pub is_dry_run: bool,
    /// Time that passes, also while the machine sleeps.
    pub steady: SteadyClock,
    /// Where it is counted.
    pub figures: Arc<Figures>,
}

/// Deletes dead objects until `stopping` is cancelled. May be dropped at any moment.
pub async fn run(parts: SweepParts, stopping: CancellationToken) {
    let mut sweep = Sweep {
        parts,
        told: BTreeSet::new(),
        moved_at: None,
        steady_from: Duration::ZERO,
    };
    stopping.run_until_cancelled(sweep.keep_sweeping()).await;
}

#[derive(Debug)]
struct Sweep {
    parts: SweepParts,
    /// Commits of which a dry run has told already, as far as they are still there.
    told: BTreeSet<u64>,
    /// When cluster time was moved last, on the steady clock.
    moved_at: Option<Duration>,
    /// Since when it was moved without a gap.
    steady_from: Duration,
}

impl Sweep {
    async fn keep_sweeping(&mut self) {
        let mut pace = Pace::new("the sweep of dead objects", self.parts.every);
        loop {
            tokio::time::sleep(pace.pause()).await;
            pace.ended(self.round().await);
        }
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let is_trusted = self.move_time().await?;
        let SweepParts {
            client, figures, ..
        } = &self.parts;
        let waiting = client.dead_objects(0, OBJECTS_MAX).await?.len();
        Figures::set(&figures.objects_dead, waiting);
        if waiting == 0 {
            self.told.clear();
            return Ok(());
        }
        if !is_trusted {
            return Ok(());
        }
        if self.parts.is_dry_run {
            return self.tell().await;
        }
        loop {
            let dead = self.dead().await?;
            let found = dead.len();
            let gone = self.delete(dead).await?;
            if found < OBJECTS_MAX || gone == 0 {
                return Ok(());
            }
        }
    }

    /// Moves cluster time up to now; `true` if that has been done for long enough for its word to count.
    async fn move_time(&mut self) -> Result<bool, RoundError> {
        let SweepParts {
            client,
            steady,
            grace,
            ..
        } = &self.parts;
        let now = steady.now();
        let moved_at = self.moved_at;
        let has_gap = moved_at.is_none_or(|at| now.saturating_sub(at) > STANDS_STILL_AFTER);
        // Any command does; this one does nothing else.
        client.forget_objects(Vec::new()).await?;
        if has_gap {
            self.steady_from = steady.now();
        }
        self.moved_at = Some(now);
        Ok(steady.now().saturating_sub(self.steady_from) >= *grace)
    }

    async fn dead(&self) -> Result<Vec<DeadObject>, RoundError> {
        let dead = self.parts.client.dead_objects(self.grace_ms(), OBJECTS_MAX);
        Ok(dead.await?)
    }

    /// Deletes these, and forgets those that are surely gone; returns how many.
    async fn delete(&self, dead: Vec<DeadObject>) -> Result<usize, RoundError> {
        let SweepParts {
            client,
            store,
            lineages,
            figures,
            ..
        } = &self.parts;
        let doomed = dead.into_iter().map(|object| Doomed {
            path: lineages.segment(object.level, object.segment),
            what: object,
        });
        let deleted = delete_all(store, doomed.collect()).await;
        for Doomed { path, what } in &deleted.gone {
            tracing::info!(
                object = %path,
                level = what.level,
                bytes = what.size_bytes,
                commit = what.commit,
                dead_since_ms = what.dead_ms,
                grace_ms = self.grace_ms(),
                "deleted an object that no log leads to"
            );
            Figures::add(&figures.objects_deleted, 1);
            Figures::add(&figures.bytes_deleted, what.size_bytes);
        }
        let mut gone: Vec<_> = deleted.gone.iter().map(|it| it.what.commit).collect();
        gone.sort_unstable();
        let count = gone.len();
        if count > 0 {
            client.forget_objects(gone).await?;
        }
        match deleted.failure {
            None => Ok(count),
            Some(error) => {
                Figures::add(&figures.deletes_failed, 1);
                Err(error.into())
            }
        }
    }

    /// Says what would be deleted, each once.
    async fn tell(&mut self) -> Result<(), RoundError> {
        let dead = self.dead().await?;
        for object in dead.iter().filter(|it| !self.told.contains(&it.commit)) {
            tracing::info!(
                object = %self.parts.lineages.segment(object.level, object.segment),
                level = object.level,
                bytes = object.size_bytes,
                commit = object.commit,
                dead_since_ms = object.dead_ms,
                grace_ms = self.grace_ms(),
                "dry run: would delete an object that no log leads to"
            );
        }
        self.told = dead.iter().map(|it| it.commit).collect();
        Ok(())
    }

    fn grace_ms(&self) -> TimestampMs {
        TimestampMs::try_from(self.parts.grace.as_millis()).unwrap_or(TimestampMs::MAX)
    }
}
