//! Why a connection was closed, and the one log line about it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use floe_protocol::api::ApiKey;
use floe_protocol::decoder::DecodeError;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::frame::FrameError;
use tokio::time::Instant;

use super::Connection;
use crate::broker::Broker;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseCause {
    /// The client left between two frames.
    #[error("closed by the client")]
    ByClient,
    /// The client left within a frame.
    #[error("closed by the client {received_bytes} bytes into a frame of {frame_bytes}")]
    WithinFrame {
        /// Bytes that came.
        received_bytes: usize,
        /// Bytes the frame was to have.
        frame_bytes: usize,
    },
    /// The length prefix is impossible, or no Kafka at all.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A frame without room for a header.
    #[error("frame of {bytes} bytes is shorter than its header")]
    FrameShorterThanHeader {
        /// Its size.
        bytes: usize,
    },
    /// Only Produce may send frames as large as the limit.
    #[error(
        "frame of {bytes} bytes for api key {api_key}, which may have {}",
        floe_protocol::frame::OTHER_FRAME_BYTES_MAX
    )]
    FrameTooLargeForApi {
        /// As sent.
        api_key: i16,
        /// Its size.
        bytes: usize,
    },
    /// Metadata has not been heard for so long that what this process knows may be outdated. The client
    /// goes to another one, or comes back.
    #[error("this process has not heard of the metadata's owner for too long to serve")]
    NoLease,
    /// An API that was not advertised.
    #[error("unknown api key {key}, version {version}")]
    UnknownApi {
        /// As sent.
        key: i16,
        /// As sent.
        version: i16,
    },
    /// A version that was not advertised.
    #[error("{api} version {version} is not supported")]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// As sent.
        version: i16,
    },
    /// The header or body cannot be read.
    #[error("malformed {api} request, version {version}: {source}")]
    Malformed {
        /// The API.
        api: ApiKey,
        /// Its version.
        version: i16,
        /// What is wrong.
        source: DecodeError,
    },
    /// A handler panicked and its response has no room for an error.
    #[error("{api} request, version {version}, failed inside the broker")]
    HandlerFailed {
        /// The API.
        api: ApiKey,
        /// Its version.
        version: i16,
    },
    /// A Produce without acknowledgement failed.
    #[error("produce without acknowledgement failed: {code:?}")]
    UnacknowledgedProduceFailed {
        /// The first error.
        code: ErrorCode,
    },
    /// A batch could not be decided in time; no later one may be acknowledged on this connection.
    #[error("produce was not decided, the client is told to send again")]
    ProduceUndecided,
    /// A frame came too slowly.
    #[error("{received_bytes} of {frame_bytes} bytes of a frame within {seconds} s")]
    TooSlow {
        /// Bytes that came.
        received_bytes: usize,
        /// Bytes the frame was to have.
        frame_bytes: usize,
        /// Since the frame began.
        seconds: u64,
    },
    /// The client did not take its answers.
    #[error("no answer could be written for {seconds} s")]
    NotReading {
        /// Since the last byte was taken.
        seconds: u64,
    },
    /// Nothing was asked for a long time.
    #[error("idle for {seconds} s")]
    Idle {
        /// Since the last request.
        seconds: u64,
    },
    /// The socket failed.
    #[error("connection failed: {0}")]
    Socket(#[from] std::io::Error),
    /// The broker stops.
    #[error("the broker is stopping")]
    Stopping,
}

impl CloseCause {
    /// A short name for counting.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::ByClient => "client",
            Self::WithinFrame { .. } => "within_frame",
            Self::Frame(_) | Self::FrameTooLargeForApi { .. } => "bad_frame",
            Self::FrameShorterThanHeader { .. } => "short_frame",
            Self::NoLease => "no_lease",
            Self::UnknownApi { .. } => "unknown_api",
            Self::UnsupportedVersion { .. } => "unsupported_version",
            Self::Malformed { .. } => "malformed",
            Self::HandlerFailed { .. } => "handler_failed",
            Self::UnacknowledgedProduceFailed { .. } => "unacknowledged_produce",
            Self::ProduceUndecided => "produce_undecided",
            Self::TooSlow { .. } => "too_slow",
            Self::NotReading { .. } => "not_reading",
            Self::Idle { .. } => "idle",
            Self::Socket(_) => "socket",
            Self::Stopping => "stopping",
        }
    }

    /// Whether this is how connections usually end.
    const fn is_ordinary(&self) -> bool {
        match self {
            Self::ByClient | Self::Idle { .. } | Self::Socket(_) | Self::Stopping => true,
            Self::WithinFrame { .. }
            | Self::Frame(_)
            | Self::FrameTooLargeForApi { .. }
            | Self::FrameShorterThanHeader { .. }
            | Self::NoLease
            | Self::UnknownApi { .. }
            | Self::UnsupportedVersion { .. }
            | Self::Malformed { .. }
            | Self::HandlerFailed { .. }
            | Self::UnacknowledgedProduceFailed { .. }
            | Self::ProduceUndecided
            | Self::TooSlow { .. }
            | Self::NotReading { .. } => false,
        }
    }
}

/// Counts a closed connection and logs why. What a client did wrong is one WARN line, of which at most
/// [`LINES_PER_SECOND`] are written; ordinary ends are for DEBUG.
pub(crate) fn report(broker: &Broker, connection: &Connection, cause: &CloseCause) {
    broker.metrics.connection_closed(cause.label());
    let client = connection.client();
    let client_id = client.client_id.as_deref().unwrap_or("");
    let (peer, client_id) = (connection.peer, shortened(client_id));
    if cause.is_ordinary() {
        tracing::debug!(%peer, client_id = ?client_id, %cause, "connection closed");
        return;
    }
    match LINES.take() {
        Turn::Write { skipped: 0 } => {
            tracing::warn!(%peer, client_id = ?client_id, %cause, "connection closed");
        }
        Turn::Write { skipped } => {
            tracing::warn!(%peer, client_id = ?client_id, %cause, skipped, "connection closed");
        }
        Turn::Skip => {}
    }
}

/// At most this much of a client's text gets into a log line; it is printed escaped.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    text.chars().take(CHARS_MAX).collect()
}

/// Lines about misbehaving clients per second, so that a flood of them does not become one of the log.
const LINES_PER_SECOND: u32 = 20;

static LINES: LineLimit = LineLimit(Mutex::new(None));

struct LineLimit(Mutex<Option<Window>>);

struct Window {
    started: Instant,
    written: u32,
    skipped: u64,
}

enum Turn {
    Write { skipped: u64 },
    Skip,
}

impl LineLimit {
    fn take(&self) -> Turn {
        let now = Instant::now();
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = guard.get_or_insert(Window {
            started: now,
            written: 0,
            skipped: 0,
        });
        if now.saturating_duration_since(window.started) >= Duration::from_secs(1) {
            let skipped = window.skipped;
            *window = Window {
                started: now,
                written: 1,
                skipped: 0,
            };
            return Turn::Write { skipped };
        }
        if window.written < LINES_PER_SECOND {
            window.written += 1;
            return Turn::Write { skipped: 0 };
        }
        window.skipped += 1;
        Turn::Skip
    }
}
