//! `floe fsck`: does the store hold what the metadata says, whole, and nothing that nobody needs?
//!
//! ```text
//! census ─▶ each live object: there? its size? footer, index, with --deep every byte
//!    │           └─ something wrong ─▶ fresh census: does a log still lead to it? ─▶ only then it is told
//!    └──▶ all names of ours: known? ─ no, and below the lowest accepted write epoch ─▶ left over
//! ```
//!
//! It owns nothing and changes nothing; the cluster may run meanwhile. An object is deleted only when no log leads
//! to it, and a commit never comes back to life: what was missing at some moment, and is live in a census that was
//! begun later, is missing.

mod objects;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use floe_compaction::orphans::{LEVELS, Owner, owner_of};
use floe_metadata::api::objects::SegmentSummary;
use floe_metadata::transfer::{Census, Observer, TransferError};
use floe_protocol::types::TimestampMs;
use floe_storage::clock::Clock;
use floe_storage::key::{self, Lineages};
use floe_storage::store::{Caller, OpenError, Store, StoreError, StoreUrl};
use floe_storage::tasks::Tasks;
use futures::{StreamExt as _, stream};
use object_store::path::Path;

use self::objects::{Look, look_at};
pub use self::report::{Finding, Leftover, Report};
use crate::config::{Config, FsckTask};
use crate::start::transfer_config;

/// Objects looked at at once; each holds a few MiB at most with `--deep`.
const AT_ONCE: usize = 16;
/// Progress is told after so many objects.
const TELL_EVERY: usize = 1000;
/// By default what nobody needs may wait for two searches and this.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);

/// Why a store could not be checked. Says nothing about what is in it.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The store.
    #[error(transparent)]
    Open(#[from] Box<OpenError>),
    /// There is no such folder.
    #[error("'{}': {reason}", folder.display())]
    NoFolder {
        /// Its name.
        folder: PathBuf,
        /// The system's words.
        reason: io::Error,
    },
    /// Metadata.
    #[error("{store}: {source}")]
    Metadata {
        /// Where.
        store: StoreUrl,
        /// What is wrong.
        source: Box<TransferError>,
    },
    /// The store failed while it was looked at.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks the store of `config`. `tell` is told how far it is.
///
/// # Errors
/// See [`FsckError`]; what is wrong with the contents is in the report.
pub async fn run(
    config: &Config,
    task: FsckTask,
    tell: &dyn Fn(&str),
) -> Result<Report, FsckError> {
    if let StoreUrl::Folder(folder) = &config.store
        && !folder.exists()
    {
        // Opening it would make it.
        return Err(FsckError::NoFolder {
            folder: folder.clone(),
            reason: io::Error::from(io::ErrorKind::NotFound),
        });
    }
    let service = transfer_config(config).await.map_err(Box::new)?;
    let failed = |source| FsckError::Metadata {
        store: config.store.clone(),
        source: Box::new(source),
    };
    let tasks = Tasks::new();
    let observer = Observer::open(&service, &tasks).await.map_err(failed)?;
    let census = observer.census().await.map_err(failed)?;
    tell(&format!(
        "metadata knows {} objects that logs lead to, and {} dead ones",
        census.live.len(),
        census.dead.len()
    ));
    let check = Check {
        store: &service.store,
        lineages: observer.cluster().lineages(),
        is_deep: task.is_deep,
        tell,
    };
    let mut report = Report::default();
    let suspects = check.live(&census, &mut report).await?;
    let names = check.names(census.epochs.lowest_accepted).await?;
    // Begun after everything that was seen: what is wrong in its light is wrong.
    let fresh = observer.census().await.map_err(failed)?;
    for (commit, finding) in suspects {
        if fresh.live(commit).is_some() {
            report.findings.push(finding);
        } else {
            report.moved_on += 1;
        }
    }
    let orphan_age = task.orphan_age.unwrap_or_else(|| default_age(config));
    check.leftovers(&fresh, names, orphan_age, &mut report);
    report.dead = fresh.dead.len();
    Ok(report)
}

fn default_age(config: &Config) -> Duration {
    let name = |name| {
        let ms = config.settings.integer(name, 0);
        Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    };
    let round = name("floe.orphans.interval.ms").saturating_add(name("floe.orphans.margin.ms"));
    round.saturating_mul(2).saturating_add(ORPHAN_AGE)
}

struct Check<'a> {
    store: &'a Store,
    lineages: Lineages,
    is_deep: bool,
    tell: &'a dyn Fn(&str),
}

/// A name of ours that metadata did not know, or not yet.
struct Named {
    path: Path,
    id: floe_storage::segment::SegmentId,
    size_bytes: u64,
    modified_ms: TimestampMs,
}

impl Check<'_> {
    /// Looks at all live objects; returns what seems wrong with them, by commit.
    async fn live(
        &self,
        census: &Census,
        report: &mut Report,
    ) -> Result<BTreeMap<u64, Finding>, FsckError> {
        let looks = stream::iter(census.live.iter().copied()).map(|summary| self.look(summary));
        let mut looks = looks.buffer_unordered(AT_ONCE);
        let mut suspects = BTreeMap::new();
        while let Some(look) = looks.next().await {
            let (summary, path, look) = look?;
            report.objects += 1;
            report.bytes += summary.size_bytes;
            if let Look::Bad { is_missing, faults } = look {
                let finding = Finding {
                    path,
                    is_missing,
                    faults,
                };
                suspects.insert(summary.commit, finding);
            }
            if report.objects.is_multiple_of(TELL_EVERY) {
                let (done, all) = (report.objects, census.live.len());
                (self.tell)(&format!("{done} of {all} objects looked at"));
            }
        }
        Ok(suspects)
    }

    async fn look(
        &self,
        summary: SegmentSummary,
    ) -> Result<(SegmentSummary, Path, Look), FsckError> {
        let path = self.lineages.segment(summary.level, summary.segment);
        let look = look_at(self.store, &path, &summary, self.is_deep).await?;
        Ok((summary, path, look))
    }

    /// All names of ours below `lowest_accepted`, as far as there are so many, and how many there are above.
    async fn names(&self, lowest_accepted: u32) -> Result<Vec<Named>, FsckError> {
        let mut names = Vec::new();
        for level in LEVELS {
            let mut listing = self.store.list(&key::segments(level), Caller::Compaction);
            while let Some(object) = listing.next().await {
                let object = object?;
                let Owner::Us { id, .. } = owner_of(&self.lineages, &object.location) else {
                    continue;
                };
                if id.write_epoch < lowest_accepted {
                    names.push(Named {
                        path: object.location,
                        id,
                        size_bytes: object.size,
                        modified_ms: object.last_modified.timestamp_millis(),
                    });
                }
            }
        }
        Ok(names)
    }

    /// Names below the lowest accepted write epoch that metadata does not know.
    fn leftovers(&self, census: &Census, names: Vec<Named>, age: Duration, report: &mut Report) {
        let age_ms = TimestampMs::try_from(age.as_millis()).unwrap_or(TimestampMs::MAX);
        let old_before_ms = Clock::system().now_ms().saturating_sub(age_ms);
        for named in names {
            if census.is_known(named.id) {
                continue;
            }
            if named.modified_ms < old_before_ms {
                report.leftovers.push(Leftover {
                    path: named.path,
                    size_bytes: named.size_bytes,
                });
            } else {
                report.young += 1;
            }
        }
    }
}
