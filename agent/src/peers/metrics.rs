//! What agents of a zone read from each other.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::metrics::Metrics;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Counters of both sides.
#[derive(Clone, Debug)]
pub(crate) struct PeerMetrics {
    /// Chunks had from the memory of who wrote them.
    pub(super) fresh: Counter,
    /// Chunks had from who has them in this zone.
    pub(super) chunk: Counter,
    /// The peer did not have it.
    pub(super) not_here: Counter,
    /// The peer was asked too much at once.
    pub(super) busy: Counter,
    /// The peer answered with an error, or with what is no answer.
    pub(super) failed: Counter,
    /// The peer was silent for too long.
    pub(super) silent: Counter,
    /// What a peer gave turned out to be damaged.
    pub(super) damaged: Counter,
    /// Bytes had from peers.
    pub(super) bytes: Counter,
    /// Bytes given to peers.
    pub(super) served_bytes: Counter,
}

impl PeerMetrics {
    /// Counters at zero, shown by `metrics`.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let reads = Family::<OutcomeLabel, Counter>::default();
        let outcome = |outcome| reads.get_or_create(&OutcomeLabel { outcome }).clone();
        let ours = Self {
            fresh: outcome("fresh"),
            chunk: outcome("chunk"),
            not_here: outcome("not_here"),
            busy: outcome("busy"),
            failed: outcome("failed"),
            silent: outcome("silent"),
            damaged: Counter::default(),
            bytes: Counter::default(),
            served_bytes: Counter::default(),
        };
        metrics.register(
            "floe_peer_reads",
            "Chunks asked of agents of the same zone, by outcome",
            reads,
        );
        metrics.register(
            "floe_peer_damaged",
            "Chunks of other agents that did not pass their checks",
            ours.damaged.clone(),
        );
        metrics.register(
            "floe_peer_bytes",
            "Bytes had from agents of the same zone",
            ours.bytes.clone(),
        );
        metrics.register(
            "floe_peer_served_bytes",
            "Bytes given to agents of the same zone",
            ours.served_bytes.clone(),
        );
        ours
    }
}
