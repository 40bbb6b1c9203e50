//! What a lane gathers between two segments, and how it becomes a segment. No I/O, no waiting.
//!
//! Batches keep the order in which they came, and with it the order within each partition. Their bytes
//! stay slices of the frames they arrived in; only stamping a time of log append copies a batch.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::record_batch::{BatchHeader, stamp_log_append_time};
use floe_protocol::types::{TimestampMs, TopicPartition};
use floe_storage::segment::{SealedSegment, SegmentId, Writer};
use tokio::time::Instant;

use super::completion::Ticket;
use super::flush::Gathered;

/// A checked batch on its way into a segment.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Where it goes.
    pub(crate) partition: TopicPartition,
    /// Its parsed header.
    pub(crate) header: BatchHeader,
    /// The whole batch.
    pub(crate) bytes: Bytes,
    /// Whether the broker sets its records' time (`message.timestamp.type=LogAppendTime`).
    pub(crate) log_append_time: bool,
    /// Whom to answer.
    pub(crate) ticket: Ticket,
}

/// How many requests of one connection wait in the batcher it is pinned to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    round: u64,
    requests: u32,
}

/// Batches that wait for their segment.
#[derive(Debug, Default)]
pub(crate) struct Batcher {
    waiting: VecDeque<(Instant, Batch)>,
    bytes: u64,
    /// Counts the cuts: a [`Window`] of an earlier round has nothing waiting here.
    round: u64,
    requests_of_one_connection: u32,
}

impl Batcher {
    /// Takes the batches of one request of the connection that `window` counts for.
    pub(crate) fn push(&mut self, now: Instant, window: &mut Window, batches: Vec<Batch>) {
        if window.round != self.round {
            *window = Window {
                round: self.round,
                requests: 0,
            };
        }
        window.requests = window.requests.saturating_add(1);
        self.requests_of_one_connection = self.requests_of_one_connection.max(window.requests);
        self.bytes += batches
            .iter()
            .map(|batch| batch.bytes.len() as u64)
            .sum::<u64>();
        self.waiting
            .extend(batches.into_iter().map(|batch| (now, batch)));
    }

    /// What waits now.
    pub(crate) fn gathered(&self, now: Instant) -> Gathered {
        let age = |at: Option<&(Instant, Batch)>| {
            at.map_or(Duration::ZERO, |(arrived, _)| {
                now.saturating_duration_since(*arrived)
            })
        };
        Gathered {
            bytes: self.bytes,
            batches: self.waiting.len(),
            requests_of_one_connection: self.requests_of_one_connection,
            waited: age(self.waiting.front()),
            quiet: age(self.waiting.back()),
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the oldest batches for one segment: at least one, and no more than reach the limits.
    pub(crate) fn cut(&mut self, bytes_max: u64, batches_max: usize) -> Vec<Batch> {
        let mut bytes = 0;
        let mut count = 0;
        for (_, batch) in &self.waiting {
            let next = bytes + batch.bytes.len() as u64;
            if count > 0 && (next > bytes_max || count >= batches_max) {
                break;
            }
            bytes = next;
            count += 1;
        }
        self.bytes -= bytes;
        self.round += 1;
        self.requests_of_one_connection = 0;
        self.waiting
            .drain(..count)
            .map(|(_, batch)| batch)
            .collect()
    }
}

/// Whom to answer for one batch of a segment, in the order of the segment's index.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The batch's place in its request.
    pub(crate) ticket: Ticket,
    /// The time the batch was stamped with, if it was.
    pub(crate) log_append_time_ms: Option<TimestampMs>,
}

/// A segment that is ready to be stored.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The segment.
    pub(crate) segment: SealedSegment,
    /// One per batch, in the order of the index.
    pub(crate) answers: Vec<Answer>,
}

/// Makes a segment of `batches`, which come in the order of arrival; `now_ms` is its creation time and
/// the time of log append where the broker sets one.
///
/// # Panics
/// The writer lost a batch or found one twice.
pub(crate) fn seal(mut batches: Vec<Batch>, id: SegmentId, now_ms: TimestampMs) -> Sealed {
    // Stable: within a partition the order of arrival stays, as in the index.
    batches.sort_by_key(|batch| batch.partition);
    let mut writer = Writer::new(id, 0, now_ms);
    let mut answers = Vec::with_capacity(batches.len());
    for batch in batches {
        let Batch {
            partition,
            header,
            bytes,
            log_append_time,
            ticket,
        } = batch;
        if log_append_time {
            let (header, bytes) = stamped(&bytes, now_ms);
            writer.push(partition, &header, bytes, None);
            answers.push(Answer {
                ticket,
                log_append_time_ms: Some(now_ms),
            });
        } else {
            writer.push(partition, &header, bytes, None);
            answers.push(Answer {
                ticket,
                log_append_time_ms: None,
            });
        }
    }
    let segment = writer.seal();
    assert_eq!(
        segment.index.batch_count(),
        answers.len(),
        "one answer per batch of {id}"
    );
    Sealed { segment, answers }
}

fn stamped(bytes: &Bytes, now_ms: TimestampMs) -> (BatchHeader, Bytes) {
    let bytes = stamp_log_append_time(bytes, now_ms);
    match BatchHeader::parse(&bytes) {
        Ok(header) => (header, bytes),
        Err(error) => panic!("a stamped batch is no batch: {error}"),
    }
}
