//! Figures that others keep, read at each scrape: requests to the store, memory shares, the cache.

use std::fmt;
use std::sync::Arc;

use floe_metadata::client::view::View;
use floe_metadata::client::{Client, Owner};
use floe_storage::cache::{BlockCache, Pool};
use floe_storage::store::{RequestCount, Store};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::memory::{MemoryBudget, Share};

/// Requests to the store by caller and operation: what a bill is made of.
pub(crate) struct StoreRequests(pub(crate) Store);

impl fmt::Debug for StoreRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreRequests").finish_non_exhaustive()
    }
}

/// A counter by caller and operation: name, help, and which figure it is.
type CountRow = (&'static str, &'static str, fn(&RequestCount) -> u64);

const COUNTS: [CountRow; 3] = [
    (
        "floe_store_requests",
        "Requests to the store, retries included",
        |count| count.requests,
    ),
    (
        "floe_store_failures",
        "Requests to the store that failed",
        |count| count.failures,
    ),
    (
        "floe_store_bytes",
        "Bytes sent to the store or asked of it",
        |count| count.bytes,
    ),
];

impl Collector for StoreRequests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.request_counts().snapshot();
        for (name, help, figure) in COUNTS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for count in &counts {
                let labels = [
                    ("caller", count.caller.as_str()),
                    ("operation", count.operation.as_str()),
                ];
                metric
                    .encode_family(&labels)?
                    .encode_counter::<NoLabelSet, _, u64>(&figure(count), None)?;
            }
        }
        let limit = i64::try_from(self.0.concurrency_limit()).unwrap_or(i64::MAX);
        let help = "Requests to the store that may be under way at once";
        gauge(&mut encoder, "floe_store_concurrency_limit", help, limit)
    }
}

/// Who owns the sequencer, and how many processes there are, as this one sees it.
#[derive(Debug)]
pub(crate) struct ClusterFigures {
    pub(crate) client: Client,
    pub(crate) view: Arc<View>,
}

impl Collector for ClusterFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let is_owner = matches!(self.client.owner(), Owner::Ready { is_here: true, .. });
        let help = "Whether this process owns the metadata";
        gauge(
            &mut encoder,
            "floe_metadata_is_owner",
            help,
            i64::from(is_owner),
        )?;
        let processes = i64::try_from(self.view.processes().len()).unwrap_or(i64::MAX);
        let help = "Processes of the cluster that are registered";
        gauge(&mut encoder, "floe_cluster_processes", help, processes)?;
        let help = "Feature level of the cluster";
        let level = i64::from(self.view.feature_level());
        gauge(&mut encoder, "floe_cluster_feature_level", help, level)
    }
}

/// Bytes held by shares of the memory budget, and by the cache.
pub(crate) struct MemoryFigures {
    pub(crate) budget: MemoryBudget,
    pub(crate) cache: BlockCache,
}

impl fmt::Debug for MemoryFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFigures").finish_non_exhaustive()
    }
}

/// A figure of a share of memory.
type ShareRow = (
    &'static str,
    &'static str,
    fn(&MemoryBudget, Share) -> usize,
);

const SHARES: [ShareRow; 2] = [
    (
        "floe_memory_used_bytes",
        "Bytes reserved, by share",
        MemoryBudget::used_bytes,
    ),
    (
        "floe_memory_capacity_bytes",
        "Size of the share",
        MemoryBudget::capacity_bytes,
    ),
];

impl Collector for MemoryFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shares = [
            ("produce", Share::Produce),
            ("requests", Share::Requests),
            ("answers", Share::Answers),
            ("catch_up", Share::CatchUp),
        ];
        for (name, help, figure) in SHARES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (label, share) in shares {
                let value = i64::try_from(figure(&self.budget, share)).unwrap_or(i64::MAX);
                metric
                    .encode_family(&[("share", label)])?
                    .encode_gauge(&value)?;
            }
        }
        let stats = self.cache.stats();
        counter(
            &mut encoder,
            "floe_cache_hits",
            "Chunks found in the cache",
            stats.hits,
        )?;
        counter(
            &mut encoder,
            "floe_cache_misses",
            "Chunks that had to be waited for",
            stats.misses,
        )?;
        let used = i64::try_from(stats.used_bytes).unwrap_or(i64::MAX);
        gauge(
            &mut encoder,
            "floe_cache_used_bytes",
            "Bytes in the cache",
            used,
        )?;
        let stats = self.cache.pool_stats(Pool::CatchUp);
        counter(
            &mut encoder,
            "floe_cache_catch_up_misses",
            "Chunks that readers of old records had to wait for",
            stats.misses,
        )?;
        let used = i64::try_from(stats.used_bytes).unwrap_or(i64::MAX);
        gauge(
            &mut encoder,
            "floe_cache_catch_up_used_bytes",
            "Bytes in the cache that were read for readers of old records",
            used,
        )
    }
}

pub(super) fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

pub(super) fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: i64,
) -> fmt::Result {
    let metric = ConstGauge::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
