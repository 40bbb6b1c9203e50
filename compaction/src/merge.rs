//! Runs one merge: reads what is alive of some segments, front to back, and writes it by partition, then
//! offset, into one object or a few, each of which replaces its part of the sources in one atomic step.
//!
//! ```text
//! begin ─▶ for each partition, each of its extents: read ─▶ check ─▶ write
//!                                                    │        large enough: finish ─▶ complete ─▶ next
//!                                                    └ damaged: left where it is
//! ```
//!
//! Batches are copied as they are: only base offset and leader epoch, outside of their checksum, become
//! final. What is damaged is never spread: an extent that cannot be read whole and right stays in its
//! source, which so stays alive, and everything else is merged
//! ([decision 22](../../docs/decisions/0022-what-is-merged-when-and-what-is-not.md)).
//!
//! Stopping at any point is safe. An object that was not completed is an orphan; a completion whose answer
//! is lost is repeated under the same name until there is one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::objects::{MergeError, MergeRequest, MergeSource};
use floe_metadata::api::{Extent, RequestError};
use floe_metadata::client::Client;
use floe_protocol::types::{TimestampMs, TopicPartition};
use floe_storage::clock::Clock;
use floe_storage::key::Lineages;
use floe_storage::segment::{SegmentId, StreamWriter};
use floe_storage::store::{Caller, Store, StoreError, Upload, UploadOptions};
use tokio::time::Instant;

use self::output::{CopyError, Output};
use self::source::{Damage, Held, Source};
use crate::planner::{FINAL_LEVEL, JobSpec};

mod output;
mod source;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// Pause before a completion is repeated; doubles from then on.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A lease lasts at least so long.
const LEASE_MIN: Duration = Duration::from_secs(60);
/// A lease lasts a second longer for each of these bytes: a store and a machine that are slower are in trouble.
const LEASED_BYTES_PER_SECOND: u64 = 8 << 20;
/// The most a source reads at once.
const WINDOW_BYTES_MAX: u64 = 4 << 20;

/// How a merge uses memory and cuts its outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MergeConfig {
    /// Bytes of all sources in memory at once. Default 96 MiB: more makes fewer and larger requests.
    pub read_bytes: u64,
    /// Memory that may describe one output: it is cut when there is more. Default 48 MiB, about half a
    /// million batches.
    pub description_bytes: u64,
    /// An output of the last level is cut at the first end of a partition behind this size, and anywhere at
    /// twice this size. Default 512 MiB.
    pub output_bytes: u64,
    /// How outputs are uploaded.
    pub upload: UploadOptions,
}

impl Default for MergeConfig {
    fn default() -> Self {
        Self {
            read_bytes: 96 << 20,
            description_bytes: 48 << 20,
            output_bytes: 512 << 20,
            upload: UploadOptions::default(),
        }
    }
}

/// Names for outputs: never one that was given before. Taken when an output begins, so that a long merge
/// has the present write epoch.
pub struct Names {
    /// The next one; `None` while this process is not registered.
    pub next: Box<dyn Fn() -> Option<SegmentId> + Send + Sync>,
    /// The registration that made this name is no longer accepted.
    pub refused: Box<dyn Fn(SegmentId) + Send + Sync>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// What merges are made with.
#[derive(Debug)]
pub struct Merger {
    /// Metadata.
    pub client: Client,
    /// Where segments are.
    pub store: Store,
    /// Part of their keys.
    pub lineages: Lineages,
    /// For the outputs.
    pub names: Names,
    /// Stamps outputs.
    pub clock: Clock,
    /// Memory and sizes.
    pub config: MergeConfig,
}

/// Why a merge ended early. What it completed before stays; the rest is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MergeFailure {
    /// A source is leased by somebody else or no longer alive.
    #[error("a source was taken meanwhile")]
    Taken,
    /// Metadata cannot be asked.
    #[error(transparent)]
    Metadata(#[from] RequestError),
    /// This process is not registered and has no names to give.
    #[error("not registered")]
    Unnamed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lease ran out.
    #[error("not done within the {0:?} of its lease")]
    TooSlow(Duration),
    /// The runtime is going down.
    #[error("stopped")]
    Stopped,
}

/// What a merge did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MergeReport {
    /// Objects that replace others now.
    pub completed: Vec<SegmentId>,
    /// Objects that nobody needs, since their sources were replaced meanwhile: orphans.
    pub orphans: Vec<SegmentId>,
    /// Bytes read from sources.
    pub read_bytes: u64,
    /// Bytes of all objects that were written.
    pub written_bytes: u64,
    /// Commits of sources with damaged extents.
    pub damaged: Vec<u64>,
    /// Extents that were left where they are, for they are damaged.
    pub damaged_extents: u64,
    /// The most bytes of sources, outputs and descriptions held at once.
    pub held_bytes_max: u64,
}

/// What an error does not tell: what was done before it.
pub type MergeOutcome = (MergeReport, Result<(), MergeFailure>);

impl Merger {
    /// Runs one merge. To be dropped to stop it.
    pub async fn run(&self, spec: &JobSpec) -> MergeOutcome {
        let mut report = MergeReport::default();
        let result = self.merge(spec, &mut report).await;
        (report, result)
    }

    async fn merge(&self, spec: &JobSpec, report: &mut MergeReport) -> Result<(), MergeFailure> {
        let lease = lease(spec.size_bytes);
        let lease_ms = TimestampMs::try_from(lease.as_millis()).unwrap_or(TimestampMs::MAX);
        let begun = self.client.begin_merge(spec.sources.clone(), lease_ms);
        let sources = begun.await?.ok_or(MergeFailure::Taken)?;
        let mut job = Job::new(self, spec.level, sources);
        job.deadline = (Instant::now() + lease, lease);
        let result = job.run(report).await;
        report.read_bytes = job
            .sources
            .iter()
            .map(|(_, source)| source.read_bytes())
            .sum();
        report.held_bytes_max = job.held.max() + job.output_bytes_max;
        let Job { output, .. } = job;
        if let Some(output) = output {
            output.writer.abort().await;
        }
        result
    }

    /// Tells metadata of `request` until there is an answer.
    async fn complete(&self, request: MergeRequest) -> Result<(), MergeError> {
        let mut pause = PAUSE_MIN;
        loop {
            match self.client.complete_merge(request.clone()).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(error) => {
                    tracing::debug!(segment = %request.segment, %error, "completing a merge again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

/// How long a job of this size may take.
fn lease(size_bytes: u64) -> Duration {
    LEASE_MIN + Duration::from_secs(size_bytes / LEASED_BYTES_PER_SECOND)
}

/// An extent to copy, and from which source.
#[derive(Clone, Copy, Debug)]
struct Piece {
    partition: TopicPartition,
    source: usize,
    extent: Extent,
}

/// A merge under way.
struct Job<'a> {
    merger: &'a Merger,
    level: u8,
    /// Commit and reader of each.
    sources: Vec<(u64, Source)>,
    /// By partition, then offset.
    pieces: Vec<Piece>,
    output: Option<Output>,
    held: Arc<Held>,
    output_bytes_max: u64,
    deadline: (Instant, Duration),
}

impl<'a> Job<'a> {
    fn new(merger: &'a Merger, level: u8, begun: Vec<MergeSource>) -> Self {
        let held = Arc::default();
        // Each source holds a window and has asked for another.
        let windows = 2 * begun.len().max(1) as u64;
        let window_bytes = (merger.config.read_bytes / windows).clamp(1, WINDOW_BYTES_MAX);
        let mut sources = Vec::with_capacity(begun.len());
        let mut pieces = Vec::new();
        for MergeSource { summary, extents } in begun {
            let path = merger.lineages.segment(summary.level, summary.segment);
            let ranges = extents.iter().map(|(_, extent)| {
                extent.position_bytes..extent.position_bytes + u64::from(extent.length_bytes)
            });
            let store = merger.store.clone();
            let source = Source::new(store, path, ranges, window_bytes, Arc::clone(&held));
            pieces.extend(extents.iter().map(|(partition, extent)| Piece {
                partition: *partition,
                source: sources.len(),
                extent: *extent,
            }));
            sources.push((summary.commit, source));
        }
        pieces.sort_unstable_by_key(|piece| (piece.partition, piece.extent.base_offset));
        Self {
            merger,
            level,
            sources,
            pieces,
            output: None,
            held,
            output_bytes_max: 0,
            deadline: (Instant::now() + LEASE_MIN, LEASE_MIN),
        }
    }

    async fn run(&mut self, report: &mut MergeReport) -> Result<(), MergeFailure> {
        for (_, source) in &mut self.sources {
            source.ask();
        }
        for piece in std::mem::take(&mut self.pieces) {
            let (deadline, lease) = self.deadline;
            if Instant::now() >= deadline {
                return Err(MergeFailure::TooSlow(lease));
            }
            if self.is_full(&piece) {
                self.finish(report).await?;
            }
            self.copy(piece, report).await?;
        }
        self.finish(report).await
    }

    /// Whether the output ends before `piece`.
    fn is_full(&self, piece: &Piece) -> bool {
        let Some(output) = &self.output else {
            return false;
        };
        let config = &self.merger.config;
        let with_it = output.writer.size_bytes() + u64::from(piece.extent.length_bytes);
        let is_partitions_end = output.last_partition() != Some(piece.partition);
        let cut_at = config.output_bytes;
        output.description_bytes() >= config.description_bytes
            || self.level == FINAL_LEVEL
                && !output.is_empty()
                && (with_it > cut_at && is_partitions_end || with_it > 2 * cut_at)
    }

    async fn copy(&mut self, piece: Piece, report: &mut MergeReport) -> Result<(), MergeFailure> {
        if self.output.is_none() {
            self.output = Some(self.begin()?);
        }
        let (Some(output), Some((commit, source))) =
            (&mut self.output, self.sources.get_mut(piece.source))
        else {
            return Ok(());
        };
        let copied = output
            .copy(source, *commit, piece.partition, &piece.extent)
            .await;
        match copied {
            Ok(()) => Ok(()),
            Err(CopyError::Damaged {
                position_bytes,
                damage,
            }) => {
                report.damaged_extents += 1;
                // One line per object: it may hold thousands of extents.
                if !report.damaged.contains(commit) {
                    report.damaged.push(*commit);
                    report_damage(source, &piece, position_bytes, &damage);
                }
                Ok(())
            }
            Err(CopyError::Store(error)) => Err(error.into()),
            Err(CopyError::Ended) => Err(MergeFailure::Stopped),
        }
    }

    fn begin(&self) -> Result<Output, MergeFailure> {
        let merger = self.merger;
        let id = (merger.names.next)().ok_or(MergeFailure::Unnamed)?;
        let path = merger.lineages.segment(self.level, id);
        let config = merger.config.upload;
        let upload = Upload::new(merger.store.clone(), path, Caller::Compaction, config);
        let writer = StreamWriter::new(id, self.level, merger.clock.now_ms(), upload);
        Ok(Output::new(id, self.level, writer))
    }

    /// Finishes the output, if there is something in it, and lets it replace its sources.
    async fn finish(&mut self, report: &mut MergeReport) -> Result<(), MergeFailure> {
        let Some(output) = self.output.take() else {
            return Ok(());
        };
        let held = output.writer.buffered_bytes_max() as u64 + output.description_bytes();
        self.output_bytes_max = self.output_bytes_max.max(held);
        if output.is_empty() {
            output.writer.abort().await;
            return Ok(());
        }
        let (id, level) = (output.id, output.level);
        let request = output.finish().await?;
        report.written_bytes += request.size_bytes;
        let size_bytes = request.size_bytes;
        let sources = request.sources.len();
        match self.merger.complete(request).await {
            Ok(()) => {
                tracing::debug!(segment = %id, level, size_bytes, sources, "merged");
                report.completed.push(id);
            }
            Err(error) => {
                tracing::info!(segment = %id, level, size_bytes, %error, "a merge came too late");
                report.orphans.push(id);
                if matches!(
                    error,
                    MergeError::TooOld { .. } | MergeError::NotRegistered(_)
                ) {
                    (self.merger.names.refused)(id);
                }
            }
        }
        Ok(())
    }
}

fn report_damage(source: &Source, piece: &Piece, position_bytes: u64, damage: &Damage) {
    tracing::error!(
        object = %source.path,
        byte = position_bytes,
        partition = %piece.partition,
        first_offset = piece.extent.base_offset,
        end_offset = piece.extent.end_offset,
        %damage,
        "a segment is damaged: what cannot be read of it stays where it is, the first are these offsets"
    );
}
