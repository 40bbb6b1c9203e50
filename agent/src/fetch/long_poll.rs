//! One fetch, from the look at what is there to the records: waits until enough is there or time is up.
//!
//! ```text
//! look ─▶ enough, an error, or time up? ─yes─▶ reserve memory, read ─▶ something to say? ─▶ answer
//!   ▲                 │ no                                                   │ no
//!   └─── woken ───────┴──────────────────────────────────────────────────────┘
//! ```

use std::collections::BTreeSet;

use floe_metadata::api::PartitionBounds;
use floe_metadata::client::view::Waiter;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::records::Records;
use floe_protocol::types::TopicPartition;
use tokio::time::Instant;

use super::FetchPath;
use super::look::{Isolation, Look, Position, look};
use super::reader::LISTED_AHEAD_BYTES;

/// What a consumer asks for, sessions and names resolved.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    /// Partitions in the order to serve them; an error for one that is known to have none of it.
    pub(crate) positions: Vec<Result<Position, ErrorCode>>,
    /// Which records may be seen.
    pub(crate) isolation: Isolation,
    /// The answer waits for as many bytes.
    pub(crate) min_bytes: u64,
    /// Most bytes of records in the answer, but for a first batch that is larger.
    pub(crate) max_bytes: u64,
    /// The answer waits no longer than this.
    pub(crate) deadline: Instant,
}

/// The answer for one partition.
#[derive(Debug)]
pub(crate) struct Answered {
    /// `None` (0) or what is wrong; then there are neither bounds nor records.
    pub(crate) error: ErrorCode,
    /// The bounds the records were read under.
    pub(crate) bounds: Option<PartitionBounds>,
    /// Whole batches.
    pub(crate) records: Records,
    /// Offsets the records take, for counting.
    pub(crate) offset_count: u64,
}

impl Answered {
    pub(super) fn error(error: ErrorCode) -> Self {
        Self {
            error,
            bounds: None,
            records: Records::new(),
            offset_count: 0,
        }
    }

    pub(super) fn nothing(bounds: PartitionBounds) -> Self {
        Self {
            error: ErrorCode::None,
            bounds: Some(bounds),
            records: Records::new(),
            offset_count: 0,
        }
    }

    fn says_something(&self) -> bool {
        self.error != ErrorCode::None || !self.records.is_empty()
    }
}

impl FetchPath {
    /// Answers `fetch`, one entry per position, in order. Cancel-safe: a fetch has no effect.
    pub(crate) async fn fetch(&self, fetch: &Fetch) -> Vec<Answered> {
        let mut waiting: Option<Waiter> = None;
        // Positions above the local end that metadata has confirmed.
        let mut confirmed = BTreeSet::new();
        loop {
            let mut looks = self.look_at_all(fetch);
            self.ask_beyond(fetch, &mut looks, &mut confirmed).await;
            let is_last = Instant::now() >= fetch.deadline || self.stopping.is_cancelled();
            if is_last || is_enough(fetch, &looks) {
                let answers = self.read_all(fetch, looks).await;
                let any = answers.iter().any(Answered::says_something);
                if any || is_last || fetch.min_bytes == 0 || answers.is_empty() {
                    return answers;
                }
            }
            match &mut waiting {
                Some(waiter) => self.wait(waiter, fetch.deadline).await,
                // What happened before the waiter existed shows at the next look.
                None => waiting = Some(self.view.waiter(&partitions(fetch))),
            }
        }
    }

    fn look_at_all(&self, fetch: &Fetch) -> Vec<Look> {
        let look_at = |position: &Result<Position, ErrorCode>| match position {
            Ok(position) => look(&self.view, position, fetch.isolation, LISTED_AHEAD_BYTES),
            Err(error) => Look::Error(*error),
        };
        fetch.positions.iter().map(look_at).collect()
    }

    async fn wait(&self, waiter: &mut Waiter, deadline: Instant) {
        tokio::select! {
            biased;
            () = waiter.changed() => {}
            () = tokio::time::sleep_until(deadline) => {}
            () = self.stopping.cancelled() => {}
        }
    }

    /// Asks metadata about positions above the local end. What it does not confirm is out of range;
    /// what it confirms is waited for, until the local picture has caught up.
    async fn ask_beyond(&self, fetch: &Fetch, looks: &mut [Look], confirmed: &mut BTreeSet<usize>) {
        let mut indexes = Vec::new();
        let mut asked = Vec::new();
        for (index, (look, position)) in looks.iter().zip(&fetch.positions).enumerate() {
            if let (Look::Beyond(_), Ok(position)) = (look, position)
                && !confirmed.contains(&index)
            {
                indexes.push((index, position.fetch_offset));
                asked.push(position.partition);
            }
        }
        if asked.is_empty() {
            return;
        }
        let Ok(bounds) = self.client.bounds(asked).await else {
            // Nobody knows; the answer at the deadline says so.
            return;
        };
        for ((index, fetch_offset), bounds) in indexes.into_iter().zip(bounds) {
            let error = match bounds {
                Some(bounds) if fetch_offset <= bounds.high_watermark => {
                    confirmed.insert(index);
                    continue;
                }
                Some(_) => ErrorCode::OffsetOutOfRange,
                None => ErrorCode::UnknownTopicOrPartition,
            };
            if let Some(look) = looks.get_mut(index) {
                *look = Look::Error(error);
            }
        }
    }
}

/// Whether `looks` are worth an answer now: an error, or as many bytes as the client waits for.
fn is_enough(fetch: &Fetch, looks: &[Look]) -> bool {
    if looks.is_empty() || looks.iter().any(|look| matches!(look, Look::Error(_))) {
        return true;
    }
    let available: u64 = looks
        .iter()
        .zip(&fetch.positions)
        .filter_map(|(look, position)| {
            let position = position.as_ref().ok()?;
            let bytes = look.available_bytes(position, fetch.isolation);
            // One partition fills the answer only as far as the client wants of it.
            Some(if bytes == 0 {
                0
            } else {
                bytes.min(position.max_bytes).max(1)
            })
        })
        .fold(0, u64::saturating_add);
    available >= fetch.min_bytes.min(fetch.max_bytes.max(1))
}

fn partitions(fetch: &Fetch) -> Vec<TopicPartition> {
    fetch
        .positions
        .iter()
        .flatten()
        .map(|position| position.partition)
        .collect()
}
