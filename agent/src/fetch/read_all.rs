//! Reads what a fetch found for all its partitions: shares the answer's room out, reads side by side,
//! keeps the order of the request.

use floe_metadata::api::{Extent, PartitionBounds, RequestError};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::Offset;
use floe_storage::cache::Pool;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::FetchPath;
use super::charge::{charged, reserve, reserve_old};
use super::cursor::ReadError;
use super::long_poll::{Answered, Fetch};
use super::look::{Look, Position};
use super::planner::{Demand, Share, share_out};
use super::plans::PLAN_EXTENTS_MAX;
use super::reader::{Found, Scan, Want};
use crate::error;
use crate::memory::MemoryPermit;

/// Partitions of one fetch that are read at the same time.
const READS_AT_ONCE_MAX: usize = 16;

/// A partition that is about to be read.
struct Reading {
    index: usize,
    position: Position,
    /// Where its records lie; `None` to be looked up.
    extents: Option<Vec<Extent>>,
    bounds: PartitionBounds,
    want: Want,
}

/// What became of it.
struct Read {
    index: usize,
    bounds: PartitionBounds,
    from: i64,
    /// Its records are older than the tail.
    is_old: bool,
    result: Result<Found, ErrorCode>,
}

impl FetchPath {
    /// Reads what `looks` found, one answer per position, in order.
    pub(super) async fn read_all(&self, fetch: &Fetch, looks: Vec<Look>) -> Vec<Answered> {
        let mut demands = demands(fetch, &looks);
        let mut old_permit = self.reserve_old(fetch, &looks, &mut demands).await;
        let wanted = wanted_bytes(&demands);
        let mut permit = MemoryPermit::empty();
        let mut max_bytes = fetch.max_bytes;
        if wanted > 0 {
            permit = reserve(&self.memory, wanted.min(max_bytes)).await;
            max_bytes = max_bytes.min(permit.size_bytes() as u64);
        }
        let shares = share_out(&demands, max_bytes);
        let mut answers = Vec::with_capacity(looks.len());
        let mut readings = Vec::new();
        for (index, (look, share)) in looks.into_iter().zip(shares).enumerate() {
            let position = fetch
                .positions
                .get(index)
                .and_then(|position| position.as_ref().ok());
            let (bounds, extents) = match look {
                Look::Error(error) => {
                    answers.push(Answered::error(error));
                    continue;
                }
                Look::Beyond(_) => {
                    answers.push(Answered::error(ErrorCode::OffsetNotAvailable));
                    continue;
                }
                Look::Nothing(bounds) => (bounds, None),
                Look::Resident(extents, bounds) => (bounds, Some(extents)),
                Look::Older(bounds) => (bounds, None),
            };
            answers.push(Answered::nothing(bounds));
            if let (Some(position), Some(share)) = (position, share) {
                let want = want(fetch, position, &bounds, share);
                readings.push(Reading {
                    index,
                    position: *position,
                    extents,
                    bounds,
                    want,
                });
            }
        }
        for read in self.read_side_by_side(readings).await {
            if let Some(answer) = answers.get_mut(read.index) {
                *answer = answered(read, &mut permit, &mut old_permit);
            }
        }
        answers
    }

    /// Reserves memory for what is older than the tail, and cuts the demands to what there is: a replay waits
    /// for memory that other replays hold, and nobody else does.
    async fn reserve_old(
        &self,
        fetch: &Fetch,
        looks: &[Look],
        demands: &mut [Demand],
    ) -> MemoryPermit {
        let is_old = |look: &Look| matches!(look, Look::Older(_));
        let mut old = Vec::new();
        let mut new_bytes = 0_u64;
        for (look, demand) in looks.iter().zip(demands) {
            if is_old(look) {
                old.push(demand);
            } else {
                new_bytes = new_bytes.saturating_add(demand.wanted_bytes());
            }
        }
        let wanted = old.iter().map(|demand| demand.wanted_bytes());
        let wanted = wanted.fold(0, u64::saturating_add);
        if wanted == 0 {
            return MemoryPermit::empty();
        }
        let wanted = wanted.min(fetch.max_bytes).max(1);
        let permit = reserve_old(&self.memory, wanted, new_bytes > 0).await;
        let mut left = permit.size_bytes() as u64;
        for demand in old {
            demand.max_bytes = demand.max_bytes.min(left);
            if left == 0 {
                demand.available_bytes = 0;
            }
            left -= demand.wanted_bytes().min(left);
        }
        permit
    }

    async fn read_side_by_side(&self, readings: Vec<Reading>) -> Vec<Read> {
        let mut done = Vec::with_capacity(readings.len());
        let mut rest = readings.into_iter();
        let mut under_way: FuturesUnordered<_> = rest
            .by_ref()
            .take(READS_AT_ONCE_MAX)
            .map(|reading| self.read_one(reading))
            .collect();
        while let Some(read) = under_way.next().await {
            done.push(read);
            under_way.extend(rest.next().map(|reading| self.read_one(reading)));
        }
        done
    }

    async fn read_one(&self, reading: Reading) -> Read {
        let Reading {
            index,
            position,
            extents,
            bounds,
            want,
        } = reading;
        let is_old = extents.is_none();
        let result = self.read_planned(&position, extents, want).await;
        Read {
            index,
            bounds,
            from: want.from,
            is_old,
            result,
        }
    }

    /// Reads from `extents` or looks up where to read. An object that is gone was replaced after the plan
    /// was made: it is planned anew, once. Where compaction left nothing, it is read on behind that.
    async fn read_planned(
        &self,
        position: &Position,
        extents: Option<Vec<Extent>>,
        want: Want,
    ) -> Result<Found, ErrorCode> {
        let partition = position.partition;
        let planned = match extents {
            Some(extents) => Some((extents, Pool::Tail)),
            None => {
                let known = self.plans.find(Instant::now(), partition, want.from);
                known.map(|extents| (extents, Pool::CatchUp))
            }
        };
        let mut from = want.from;
        if let Some((extents, pool)) = planned {
            let scan = Scan { partition, pool };
            let found = self.reader.read(&extents, want, scan).await;
            if found.error.as_ref().is_some_and(ReadError::is_gone) {
                self.metrics.replanned();
                self.plans.forget(partition);
                if found.size_bytes > 0 {
                    // The next fetch begins behind this, and plans anew what is not there.
                    return Ok(found);
                }
            } else {
                match behind(&extents, &found, &want) {
                    Some(end) => from = end,
                    None => return self.judged(position, found),
                }
            }
        }
        let pool = Pool::CatchUp;
        loop {
            let looked_up = self.client.look_up(partition, from, PLAN_EXTENTS_MAX);
            let extents = looked_up.await.map_err(|error| of_look_up(&error))?.extents;
            self.plans.remember(Instant::now(), partition, &extents);
            let scan = Scan { partition, pool };
            let found = self.reader.read(&extents, want, scan).await;
            match behind(&extents, &found, &want) {
                Some(end) if end > from => from = end,
                _ => return self.judged(position, found),
            }
        }
    }

    /// Reports what went wrong; it is the partition's answer only if nothing was read before it.
    fn judged(&self, position: &Position, found: Found) -> Result<Found, ErrorCode> {
        let Some(read_error) = &found.error else {
            return Ok(found);
        };
        self.metrics.failed(position.partition, read_error);
        if found.size_bytes > 0 {
            return Ok(found);
        }
        Err(error::of_read_error(read_error))
    }
}

fn demands(fetch: &Fetch, looks: &[Look]) -> Vec<Demand> {
    let demand = |(look, position): (&Look, &Result<Position, ErrorCode>)| match position {
        Ok(position) => Demand {
            available_bytes: look.available_bytes(position, fetch.isolation),
            max_bytes: position.max_bytes,
        },
        Err(_) => Demand {
            available_bytes: 0,
            max_bytes: 0,
        },
    };
    looks.iter().zip(&fetch.positions).map(demand).collect()
}

fn want(fetch: &Fetch, position: &Position, bounds: &PartitionBounds, share: Share) -> Want {
    Want {
        from: position.fetch_offset,
        upper: fetch.isolation.upper(bounds),
        max_bytes: share.bytes,
        at_least_one: share.at_least_one,
    }
}

fn wanted_bytes(demands: &[Demand]) -> u64 {
    let wanted = demands.iter().map(Demand::wanted_bytes);
    wanted.fold(0, u64::saturating_add)
}

fn answered(read: Read, permit: &mut MemoryPermit, old_permit: &mut MemoryPermit) -> Answered {
    match read.result {
        Err(error) => Answered::error(error),
        Ok(found) => {
            let size = usize::try_from(found.size_bytes).unwrap_or(usize::MAX);
            let old = if read.is_old {
                old_permit.split(size)
            } else {
                MemoryPermit::empty()
            };
            Answered {
                error: ErrorCode::None,
                bounds: Some(read.bounds),
                records: charged(found.pieces, [permit.split(size), old]),
                offset_count: found.end_offset.abs_diff(read.from),
            }
        }
    }
}

/// Where to read on: the end of `extents`, if no record was left in them and there is more.
fn behind(extents: &[Extent], found: &Found, want: &Want) -> Option<Offset> {
    let end = extents.last()?.end_offset;
    (found.is_through && found.size_bytes == 0 && end < want.upper).then_some(end)
}

/// Of the codes a fetch may carry, Java's consumer takes few for "ask again".
const fn of_look_up(error: &RequestError) -> ErrorCode {
    match error {
        RequestError::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
        // No look-up is refused for another reason.
        _ => ErrorCode::OffsetNotAvailable,
    }
}
