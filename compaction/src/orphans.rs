//! Objects that metadata does not know and never will: uploads whose commit never came, outputs of merges that
//! lost, and PUTs that landed after their names were given up.
//!
//! ```text
//! raise the write epoch ─▶ all have passed that ─▶ margin ─▶ raise the lowest accepted
//!      ─▶ list the names below it ─▶ does metadata know them? ─▶ delete those it does not
//! ```
//!
//! What makes an orphan is no age but a proof (decision 23): a commit under a name below the lowest accepted write
//! epoch is refused for ever, so what is not known *after* that was raised never will be. Names that arrive
//! later still are met by a later round. Only names of our own lineages are touched, each as far as its write
//! epochs reach ([`Lineages`]).
//!
//! Nothing has to be remembered: a process that starts anew waits the whole margin again. Several processes may do
//! this at once; each raises no further than the write epoch that it saw itself a margin ago.

mod listing;
#[cfg(test)]
mod tests;
mod unfinished;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::client::Client;
use floe_storage::key::Lineages;
use floe_storage::store::Store;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::listing::Names;
pub use self::listing::{Owner, owner_of};
pub use self::unfinished::unfinished_of;
use crate::rounds::{Pace, RoundError};
use crate::sweep::Figures;

/// Levels at which there are segments.
pub const LEVELS: std::ops::RangeInclusive<u8> = 0..=2;

/// How long processes may take to show a revision: one that is silent loses its lease long before.
const PASS_PATIENCE: Duration = Duration::from_secs(60);

/// What the search for orphans is made of.
#[derive(Debug)]
pub struct OrphansParts {
    /// The way to metadata.
    pub client: Client,
    /// Where the objects are.
    pub store: Store,
    /// The folder that is the store, if it is one: uploads that were cut off leave files there which no listing
    /// shows.
    pub folder: Option<PathBuf>,
    /// Whose names are ours.
    pub lineages: Lineages,
    /// Pause between two rounds.
    pub every: Duration,
    /// How long after a new write epoch names of earlier ones are still committed. Longer than an upload, a merge
    /// and the time in which processes find out about the new one; what takes longer is done again.
    pub margin: Duration,
    /// Only to say what would be deleted.
    pub is_dry_run: bool,
    /// Where it is counted.
    pub figures: Arc<Figures>,
}

/// Deletes orphans until `stopping` is cancelled. May be dropped at any moment.
pub async fn run(parts: OrphansParts, stopping: CancellationToken) {
    let mut orphans = Orphans {
        parts,
        strangers_told: (0, 0),
    };
    stopping.run_until_cancelled(orphans.keep_searching()).await;
}

#[derive(Debug)]
struct Orphans {
    parts: OrphansParts,
    /// Names that are not ours and names that are none, as last told.
    strangers_told: (usize, usize),
}

impl Orphans {
    async fn keep_searching(&mut self) {
        let mut pace = Pace::new("the search for orphans", self.parts.every);
        loop {
            sleep(pace.pause()).await;
            pace.ended(self.round().await);
        }
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let lowest_accepted = self.raise().await?;
        let mut names = Names::new(&self.parts, lowest_accepted);
        for level in LEVELS {
            names.sweep(level).await?;
        }
        if let Some(folder) = &self.parts.folder {
            unfinished::sweep(&self.parts, folder, lowest_accepted).await?;
        }
        let strangers = names.strangers();
        self.tell_strangers(strangers);
        Ok(())
    }

    /// Refuses all names of before this round, once nobody needs them; returns the lowest write epoch that is
    /// accepted, durably.
    async fn raise(&self) -> Result<u32, RoundError> {
        let client = &self.parts.client;
        let mut epochs = client.write_epochs().await?;
        if epochs.present == epochs.lowest_accepted {
            epochs = client.raise_write_epoch(epochs.present).await?;
        }
        let revision = client.quorum().await?.revision;
        match timeout(PASS_PATIENCE, client.passed(revision)).await {
            Ok(passed) => passed?,
            Err(_) => return Err(RoundError::NotPassed(revision)),
        }
        sleep(self.parts.margin).await;
        let raised = client.raise_lowest_accepted(epochs.present).await?;
        tracing::debug!(
            lowest_accepted = raised.lowest_accepted,
            present = raised.present,
            "names of earlier write epochs are refused from now on"
        );
        Ok(raised.lowest_accepted)
    }

    /// Says that there are names which nobody here may touch, when their number changed.
    fn tell_strangers(&mut self, (foreign, unreadable): (usize, usize)) {
        Figures::set(&self.parts.figures.names_foreign, foreign + unreadable);
        if self.strangers_told == (foreign, unreadable) {
            return;
        }
        self.strangers_told = (foreign, unreadable);
        tracing::info!(
            foreign,
            unreadable,
            "names among the segments that are not of this cluster; they are left alone"
        );
    }
}
