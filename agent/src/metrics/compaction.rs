//! Figures of merging, retention and deletion, read at each scrape.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use floe_compaction::sweep::Figures;
use floe_compaction::worker::metrics::{CompactionMetrics, LevelMerges};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::collect::{counter, gauge};

/// What leaves logs and the store.
#[derive(Debug)]
pub(crate) struct DeletionFigures(pub(crate) Arc<Figures>);

/// A figure: name, help, and which it is.
type Row = (&'static str, &'static str, fn(&Figures) -> &AtomicU64);

const COUNTERS: [Row; 6] = [
    (
        "floe_retention_logs",
        "Log starts moved up by retention.ms or retention.bytes",
        |figures| &figures.logs_retained,
    ),
    (
        "floe_objects_deleted",
        "Objects deleted that no log led to",
        |figures| &figures.objects_deleted,
    ),
    (
        "floe_objects_deleted_bytes",
        "Bytes of objects deleted that no log led to",
        |figures| &figures.bytes_deleted,
    ),
    (
        "floe_orphans_deleted",
        "Objects deleted that metadata did not know",
        |figures| &figures.orphans_deleted,
    ),
    (
        "floe_orphans_deleted_bytes",
        "Bytes of objects deleted that metadata did not know",
        |figures| &figures.orphan_bytes_deleted,
    ),
    (
        "floe_objects_delete_failures",
        "Rounds in which an object could not be deleted",
        |figures| &figures.deletes_failed,
    ),
];

const GAUGES: [Row; 2] = [
    (
        "floe_objects_dead",
        "Objects that no log leads to and that are not deleted yet, counted up to 1,000",
        |figures| &figures.objects_dead,
    ),
    (
        "floe_objects_foreign",
        "Names among the segments that are not of this cluster",
        |figures| &figures.names_foreign,
    ),
];

impl Collector for DeletionFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, figure) in COUNTERS {
            counter(&mut encoder, name, help, Figures::read(figure(&self.0)))?;
        }
        for (name, help, figure) in GAUGES {
            let value = i64::try_from(Figures::read(figure(&self.0))).unwrap_or(i64::MAX);
            gauge(&mut encoder, name, help, value)?;
        }
        Ok(())
    }
}

/// What is merged.
#[derive(Debug)]
pub(crate) struct MergeFigures(pub(crate) Arc<CompactionMetrics>);

/// A counter by the level of the sources: name, help, and which it is.
type LevelRow = (&'static str, &'static str, fn(&LevelMerges) -> u64);

const MERGES: [LevelRow; 7] = [
    ("floe_merges", "Merges that were run to their end", |it| {
        it.jobs
    }),
    (
        "floe_merges_taken",
        "Merges that another process had begun",
        |it| it.taken,
    ),
    ("floe_merges_failed", "Merges that failed", |it| it.failures),
    (
        "floe_merges_orphans",
        "Objects that were written for nothing",
        |it| it.orphans,
    ),
    (
        "floe_merges_objects",
        "Objects that replaced others",
        |it| it.outputs,
    ),
    ("floe_merges_read_bytes", "Bytes read by merges", |it| {
        it.read_bytes
    }),
    (
        "floe_merges_written_bytes",
        "Bytes of objects that merges wrote",
        |it| it.written_bytes,
    ),
];

impl Collector for MergeFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let levels = self.0.levels();
        for (name, help, figure) in MERGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for level in &levels {
                let label = level.from_level.to_string();
                metric
                    .encode_family(&[("from_level", label.as_str())])?
                    .encode_counter::<NoLabelSet, _, u64>(&figure(level), None)?;
            }
        }
        let help = "Extents that merges left where they are, for they are damaged";
        let damaged = self.0.damaged_extents();
        counter(&mut encoder, "floe_merges_damaged_extents", help, damaged)
    }
}
