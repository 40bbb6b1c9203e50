//! Calls between the processes of one cluster, over gRPC: the side that serves them where the sequencer's
//! owner is, and the side that carries a process's calls to it.
//!
//! ```text
//! Client ─▶ calls ─┬─▶ sequencer                                 the owner is here
//!                  └─▶ connection ─▶ network ─▶ server ─▶ Client ─▶ sequencer      it is elsewhere
//! ```
//!
//! Whoever calls proves with the cluster's secret that it belongs to the cluster. Other services of a
//! process are served beside this one, over the same port and with the same proof.

mod admin;
mod channel;
mod commits;
mod connection;
mod convert;
mod group_stream;
mod groups;
pub mod network;
mod objects;
mod secret;
mod server;
pub mod simulated;
mod topics;
mod watch;

#[expect(
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod proto {
    tonic::include_proto!("floe.metadata.v1");
}

use std::time::Duration;

use tokio_util::sync::CancellationToken;
pub use tonic::service::Routes;
use tonic::transport::Server;

use self::network::Incoming;

pub use channel::{Calls, calls};
pub(crate) use connection::{Carrier, Connection, Knock};
pub use secret::{Checking, Secret, Signing};
pub use server::Grpc;
pub(crate) use server::MetadataServer;

/// Serves calls of other processes on all connections that come in, until `ended`.
pub async fn serve(incoming: Incoming, services: Routes, ended: CancellationToken) {
    let server = Server::builder()
        .http2_keepalive_interval(Some(PING_AFTER))
        .http2_keepalive_timeout(Some(PING_PATIENCE))
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .add_routes(services);
    tokio::select! {
        biased;
        // Not gracefully: streams last as long as their callers.
        () = ended.cancelled() => {}
        served = server.serve_with_incoming(incoming) => {
            if let Err(error) = served {
                tracing::error!(%error, "other processes are no longer served");
            }
        }
    }
}

/// A connection that is silent for this long is asked whether the other side lives.
const PING_AFTER: Duration = Duration::from_millis(400);
/// How long it may take to answer that.
const PING_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of one direction of a connection under way, all calls together; and of one call: a snapshot must
/// not stop commits.
const WINDOW_BYTES: u32 = 16 << 20;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// Bytes of one message between processes: the commit of a segment of many partitions, or the part of a
/// snapshot that holds the largest topic.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests;
