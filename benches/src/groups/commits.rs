//! Commits of offsets by consumers that each wait for the answer before they commit again, as a broker makes them:
//! it takes one request of a connection after the other.

use std::net::SocketAddr;
use std::time::Duration;

use floe_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use floe_protocol::str::Str;
use tokio::task::JoinSet;

use crate::time::now;
use crate::wire::Wire;

/// Partitions that offsets are committed of, by turns.
const PARTITIONS: i64 = 100;

/// What came of a load.
#[derive(Debug)]
pub struct Commits {
    /// How many were acknowledged.
    pub count: usize,
    /// How long it lasted.
    pub took: Duration,
    /// How long half of them took, at the longest.
    pub p50: Duration,
    /// The same of all but one in a hundred.
    pub p99: Duration,
}

/// As many commits as go within `lasts`, by `consumers`, each on a connection and in a group of its own.
///
/// # Panics
///
/// If one is refused: a benchmark ends there.
pub async fn measure(
    address: SocketAddr,
    topic: &'static str,
    consumers: usize,
    lasts: Duration,
) -> Commits {
    let mut connecting = JoinSet::new();
    for number in 0..consumers {
        connecting.spawn(async move { (number, Wire::connect(address).await) });
    }
    let wires = connecting.join_all().await;
    let start = now();
    let end = start + lasts;
    let mut loads = JoinSet::new();
    for (number, mut wire) in wires {
        loads.spawn(async move {
            let mut took = Vec::new();
            let mut request = request(number, topic);
            while now() < end {
                let sent = now();
                advance(&mut request);
                let answer = wire.call(8, &request).await;
                let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
                let codes: Vec<_> = partitions.map(|partition| partition.error_code).collect();
                assert_eq!(codes, [0], "a commit of a simple consumer");
                took.push(sent.elapsed());
            }
            took
        });
    }
    let mut each: Vec<_> = loads.join_all().await.into_iter().flatten().collect();
    each.sort_unstable();
    let at = |hundredths: usize| {
        let place = each.len().saturating_sub(1) * hundredths / 100;
        each.get(place).copied().unwrap_or_default()
    };
    Commits {
        count: each.len(),
        took: start.elapsed(),
        p50: at(50),
        p99: at(99),
    }
}

fn request(number: usize, topic: &'static str) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: Str::from(format!("committer-{number}")),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from_static(topic),
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

/// The next offset, of the next partition.
fn advance(request: &mut OffsetCommitRequest) {
    let topics = request.topics.iter_mut();
    for partition in topics.flat_map(|topic| &mut topic.partitions) {
        partition.committed_offset += 1;
        let index = partition.committed_offset % PARTITIONS;
        partition.partition_index = i32::try_from(index).unwrap_or_default();
    }
}
