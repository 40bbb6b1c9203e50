//! What groups cost: commits of offsets, heartbeats of many groups, and the time until a large group is stable after
//! somebody came or died. Requests are made by hand, so that the load is the broker's and not a client library's.

use bytes::Bytes;
use floe_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use floe_protocol::str::Str;

pub mod classic;
pub mod commits;
pub mod consumers;
pub mod heartbeats;

/// A request to join a classic group, whose members are given up after `session_ms` of silence.
fn join(group: &str, session_ms: i32) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from(group.to_owned()),
        session_timeout_ms: session_ms,
        rebalance_timeout_ms: 300_000,
        protocol_type: Str::from_static("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from_static("range"),
            metadata: Bytes::from_static(&[0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        }],
        ..JoinGroupRequest::default()
    }
}
