//! Health and metrics over HTTP.
//!
//! | path | answer |
//! | --- | --- |
//! | `/livez` | 200 while the process works |
//! | `/readyz` | 200 while it serves Kafka clients, else 503 and why |
//! | `/metrics` | Prometheus' text format |

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// How far the process is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The store is being opened.
    Starting = 0,
    /// Clients are served.
    Ready = 1,
    /// What was begun is being finished.
    Stopping = 2,
}

/// What the paths answer from.
#[derive(Debug)]
pub(crate) struct Health {
    phase: AtomicU8,
    metrics: Metrics,
}

impl Health {
    /// A process that is starting.
    pub(crate) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Starting as u8),
            metrics,
        })
    }

    /// Notes how far the process is.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) == phase as u8
    }
}

/// Answers until `stopped`.
pub(crate) async fn run(listener: TcpListener, health: Arc<Health>, stopped: CancellationToken) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health);
    let server = axum::serve(listener, router);
    tokio::select! {
        biased;
        // Not gracefully: a client that keeps its connection open must not hold up the end.
        () = stopped.cancelled() => {}
        ended = async { server.await } => {
            if let Err(error) = ended {
                tracing::error!(%error, "health and metrics are no longer served");
            }
        }
    }
}

async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if health.is(Phase::Ready) {
        (StatusCode::OK, "ok\n")
    } else if health.is(Phase::Stopping) {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match health.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
