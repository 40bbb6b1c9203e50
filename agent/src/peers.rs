//! Agents of one zone read from each other before they read from the store, so that a zone GETs a chunk
//! once, however many of its agents have readers for it, and what was just written not at all.
//!
//! ```text
//! chunk missing ─▶ its segment's writer, if it is near ─▶ the chunk's owner, unless that is here ─▶ GET
//!                  from what it keeps in memory            from its cache, or by a GET of its own
//! ```
//!
//! What holds here:
//! - nobody is needed: a peer that is silent for [`SILENCE`], busy, gone or wrong is passed by, and the
//!   store is read instead;
//! - who is asked asks no other peer, so that nobody waits in a circle;
//! - a peer is believed no more than the store: its bytes are checked by the same readers, and one whose
//!   bytes are damaged counts as failed;
//! - whom to ask follows from the watched registry alone: no call to metadata, no LIST.
//!
//! Decision 15 has the reasons.

mod aside;
mod ask;
mod evicted;
mod metrics;
mod neighbourhood;
mod pieces;
mod server;

#[expect(
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
mod proto {
    tonic::include_proto!("floe.peer.v1");
}

use std::time::Duration;

use floe_storage::segment::SegmentId;

pub(crate) use ask::{Peers, PeersParts};
pub(crate) use metrics::PeerMetrics;
pub(crate) use server::{PeerServer, PeerServerParts};

/// A peer that says nothing for this long is passed by.
const SILENCE: Duration = Duration::from_millis(75);
/// How often a peer that reads the store says that it is still at it.
const SIGN_OF_LIFE: Duration = Duration::from_millis(25);
/// How long an answer may take in all, whatever signs of life it gives.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a chunk in one message, of which there may be a few under way per answer.
const PIECE_BYTES: u64 = 128 * 1024;
/// Bytes of one message: a piece, and what is said with it.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Which chunk of which segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChunkId {
    /// The object.
    pub(crate) segment: SegmentId,
    /// Its level.
    pub(crate) level: u8,
    /// Which [`CHUNK_BYTES`](floe_storage::cache::CHUNK_BYTES) of it, from 0.
    pub(crate) number: u64,
}

#[cfg(test)]
mod tests;
