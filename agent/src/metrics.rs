//! What this process counts, in Prometheus' text format at `/metrics`.
//!
//! Names are `floe_<part>_<what>_<unit>`; counters end in `_total`. Handles are cheap clones of atomics:
//! the hot path never looks a label up, it holds its counter.

pub(crate) mod collect;
pub(crate) mod compaction;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use floe_protocol::api::ApiKey;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};

/// Counters of the process. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Record batch bytes taken from producers and committed.
    pub produced_bytes: Counter,
    /// Records committed.
    pub produced_records: Counter,
    /// Record batch bytes sent to consumers.
    pub fetched_bytes: Counter,
    /// Records sent to consumers, counted by offsets.
    pub fetched_records: Counter,
    /// Connections open now.
    pub connections_open: Gauge,
    /// Connections accepted.
    pub connections_accepted: Counter,
    /// Connections refused because descriptors ran short.
    pub connections_refused: Counter,
    /// Bytes that followed the body of a request and were ignored.
    pub trailing_bytes: Counter,
    /// Panics that were caught in a handler: each is a bug.
    pub handler_panics: Counter,
    requests: Vec<Option<Histogram>>,
    closes: Family<CauseLabel, Counter>,
    registry: Arc<Mutex<Registry>>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ApiLabel {
    api: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Metrics {
    /// Counters at zero; request latencies are kept for the APIs of `handled`.
    #[must_use]
    pub fn new(handled: &[ApiKey]) -> Self {
        let mut registry = Registry::default();
        let requests = request_histograms(&mut registry, handled);
        let metrics = Self {
            produced_bytes: Counter::default(),
            produced_records: Counter::default(),
            fetched_bytes: Counter::default(),
            fetched_records: Counter::default(),
            connections_open: Gauge::default(),
            connections_accepted: Counter::default(),
            connections_refused: Counter::default(),
            trailing_bytes: Counter::default(),
            handler_panics: Counter::default(),
            requests,
            closes: Family::default(),
            registry: Arc::new(Mutex::new(registry)),
        };
        metrics.register_all();
        metrics
    }

    fn register_all(&self) {
        let rows: [(&str, &str, &Counter); 7] = [
            (
                "floe_produce_bytes",
                "Record batch bytes committed",
                &self.produced_bytes,
            ),
            (
                "floe_produce_records",
                "Records committed",
                &self.produced_records,
            ),
            (
                "floe_fetch_bytes",
                "Record batch bytes sent to consumers",
                &self.fetched_bytes,
            ),
            (
                "floe_fetch_records",
                "Records sent to consumers",
                &self.fetched_records,
            ),
            (
                "floe_connections_accepted",
                "Connections accepted",
                &self.connections_accepted,
            ),
            (
                "floe_connections_refused",
                "Connections refused",
                &self.connections_refused,
            ),
            (
                "floe_requests_trailing_bytes",
                "Bytes after a body, ignored",
                &self.trailing_bytes,
            ),
        ];
        for (name, help, counter) in rows {
            self.register(name, help, counter.clone());
        }
        self.register(
            "floe_requests_panics",
            "Panics in handlers",
            self.handler_panics.clone(),
        );
        self.register(
            "floe_connections_open",
            "Connections open",
            self.connections_open.clone(),
        );
        self.register(
            "floe_connections_closed",
            "Connections closed, by cause",
            self.closes.clone(),
        );
    }

    /// Adds a metric; `name` without unit suffix and `_total`.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        self.lock().register(name, help, metric);
    }

    /// Adds what is read from its owner at each scrape.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.lock().register_collector(collector);
    }

    /// Notes how long a request took from its last byte to its answer.
    pub fn request_took(&self, api_key: ApiKey, took: Duration) {
        let slot = usize::try_from(api_key.to_wire()).ok();
        if let Some(Some(histogram)) = slot.and_then(|slot| self.requests.get(slot)) {
            histogram.observe(took.as_secs_f64());
        }
    }

    /// Notes why a connection was closed.
    pub fn connection_closed(&self, cause: &'static str) {
        self.closes.get_or_create(&CauseLabel { cause }).inc();
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// Never in practice: the text is written to memory.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.lock())?;
        Ok(out)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One histogram per handled API, at the index of its key.
fn request_histograms(registry: &mut Registry, handled: &[ApiKey]) -> Vec<Option<Histogram>> {
    let family = Family::<ApiLabel, Histogram, fn() -> Histogram>::new_with_constructor(|| {
        // 0.1 ms to 52 s.
        Histogram::new(exponential_buckets(0.000_1, 2.0, 20))
    });
    registry.register_with_unit(
        "floe_request_duration",
        "From a request's last byte to its answer",
        Unit::Seconds,
        family.clone(),
    );
    let mut histograms = Vec::new();
    for api_key in handled {
        let Ok(slot) = usize::try_from(api_key.to_wire()) else {
            continue;
        };
        if histograms.len() <= slot {
            histograms.resize(slot + 1, None);
        }
        if let Some(place) = histograms.get_mut(slot) {
            *place = Some(
                family
                    .get_or_create(&ApiLabel {
                        api: format!("{api_key:?}"),
                    })
                    .clone(),
            );
        }
    }
    histograms
}
