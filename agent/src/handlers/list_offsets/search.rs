//! Finds a record by its time: metadata names the extent, the extent's batch headers name the batch,
//! the batch's records are decoded.

use std::ops::Range;

use bytes::Bytes;
use floe_metadata::api::{Extent, RequestError};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::record_batch::{BatchError, RecordIter, WalkLimits};
use floe_protocol::types::{Offset, TimestampMs, TopicPartition};

use super::{Context, Found, Position, unsure};
use crate::error;
use crate::fetch::ReadError;

/// Extents that are looked up at once when the first did not hold what was promised.
const EXTENTS_AT_ONCE: usize = 64;

/// Which record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// The first with this time or a later one.
    AtOrAfter(TimestampMs),
    /// The first among those with the greatest time.
    Greatest,
}

/// A search in one partition.
pub(super) struct Search<'a> {
    pub(super) context: &'a Context,
    pub(super) partition: TopicPartition,
    /// Only records at these offsets count: log start to what may be read.
    pub(super) offsets: Range<Offset>,
    /// The topic's limit on batches, which bounds what decompressing one may take.
    pub(super) max_message_bytes: usize,
}

/// Why an attempt failed.
enum Failure {
    /// Metadata did not answer, or knows better.
    Refused(ErrorCode),
    /// The records could not be read.
    Read(ReadError),
}

impl Search<'_> {
    /// What is wanted. An object that is not there was replaced after metadata had named it: metadata is asked
    /// anew, once.
    pub(super) async fn run(&self, wanted: Wanted) -> Found {
        let fetch = &self.context.broker.fetch;
        let mut tried = self.attempt(wanted).await;
        if matches!(&tried, Err(Failure::Read(error)) if error.is_gone()) {
            fetch.replanned();
            tried = self.attempt(wanted).await;
        }
        tried.map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Read(error) => {
                fetch.report(self.partition, &error);
                error::of_read_error(&error)
            }
        })
    }

    async fn attempt(&self, wanted: Wanted) -> Result<Option<Position>, Failure> {
        let metadata = &self.context.broker.metadata;
        let (extent, least_ms) = match wanted {
            Wanted::AtOrAfter(least_ms) => (
                metadata
                    .extent_for_timestamp(self.partition, least_ms)
                    .await,
                least_ms,
            ),
            Wanted::Greatest => {
                let extent = metadata.extent_with_max_timestamp(self.partition).await;
                let greatest_ms = extent.as_ref().ok().and_then(Option::as_ref);
                let greatest_ms = greatest_ms.map_or(0, |extent| extent.max_timestamp_ms);
                (extent, greatest_ms)
            }
        };
        let Some(extent) = extent.map_err(|error| self.failed(&error))? else {
            return Ok(None);
        };
        let mut extents = vec![extent];
        loop {
            let Some(last) = extents.last().copied() else {
                return Ok(None);
            };
            for extent in extents
                .iter()
                .filter(|extent| extent.max_timestamp_ms >= least_ms)
            {
                let found = self.in_extent(extent, least_ms).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            // The time in a batch's header is its producer's word, and what lies below the log start
            // does not count: what was promised may be missing.
            if last.end_offset >= self.offsets.end {
                return Ok(None);
            }
            let next = metadata
                .look_up(self.partition, last.end_offset, EXTENTS_AT_ONCE)
                .await;
            extents = next.map_err(|error| self.failed(&error))?.extents;
        }
    }

    fn failed(&self, error: &RequestError) -> Failure {
        Failure::Refused(match error {
            RequestError::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            // No look-up is refused for another reason.
            _ => unsure(self.context.version),
        })
    }

    async fn in_extent(
        &self,
        extent: &Extent,
        least_ms: TimestampMs,
    ) -> Result<Option<Position>, Failure> {
        let fetch = &self.context.broker.fetch;
        let mut batches = fetch.batches(extent);
        loop {
            let batch = batches.next(|batch| {
                batch.header.max_timestamp_ms >= least_ms
                    && batch.base_offset < self.offsets.end
                    && batch.end_offset() > self.offsets.start
            });
            let Some(batch) = batch.await.map_err(Failure::Read)? else {
                return Ok(None);
            };
            match self.in_batch(&batch, least_ms) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    // Its producer sent it so: the CRC is right. Consumers cannot read it either.
                    tracing::debug!(partition = %self.partition, %error, "unreadable batch");
                }
            }
        }
    }

    fn in_batch(
        &self,
        batch: &Bytes,
        least_ms: TimestampMs,
    ) -> Result<Option<Position>, BatchError> {
        // The limit may have been higher when the batch came.
        let limit = self.max_message_bytes.max(batch.len());
        let cap = WalkLimits::new(limit).decompressed_bytes_max;
        for record in RecordIter::new(batch, cap)? {
            let record = record?;
            if record.timestamp_ms >= least_ms && self.offsets.contains(&record.offset) {
                let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
                return Ok(Some(Position {
                    offset,
                    timestamp_ms,
                }));
            }
        }
        Ok(None)
    }
}
