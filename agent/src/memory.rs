//! One budget for the bytes that clients make the agent hold, so that no client can make it grow.
//!
//! The limit of the process is cut into shares ([`MemoryPlan`]). Three of them are counted here: frames
//! of Produce requests until their batches are committed, frames of all other requests (a reserve of
//! their own, so that metadata and heartbeats get through when producers fill theirs), and answers. Of answers those
//! with old records are counted once more: they take half of that share at most.
//! A [`MemoryPermit`] travels with the bytes it stands for. Nothing is dropped when a share is used up:
//! whoever needs more waits, and its socket is not read meanwhile.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A frame is reserved in steps of this many bytes as it arrives, whatever its length prefix says.
pub const STEP_BYTES: usize = 1024 * 1024;

/// Least memory limit a broker works with.
pub const LIMIT_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Old records take one of this many parts of the memory of answers at most, all answers together.
const CATCH_UP_PARTS: usize = 2;

/// How the memory limit of the process is divided; all figures in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryPlan {
    /// Produce frames, from the socket until their batches are committed.
    pub produce_bytes: usize,
    /// Frames of all other requests.
    pub request_bytes: usize,
    /// Answers that wait for a slow reader, a client or another agent.
    pub answer_bytes: usize,
    /// Sealed segments of this process that are kept for readers of the tail.
    pub fresh_bytes: usize,
    /// The cache of chunks read from the store: one half for readers of the newest records, the other for those
    /// of old ones.
    pub cache_bytes: usize,
    /// The metadata engine's buffers and cache.
    pub engine_bytes: usize,
}

impl MemoryPlan {
    /// Divides `limit_bytes`; a limit below [`LIMIT_BYTES_MIN`] counts as that.
    #[must_use]
    pub fn new(limit_bytes: u64) -> Self {
        let limit = usize::try_from(limit_bytes.max(LIMIT_BYTES_MIN)).unwrap_or(usize::MAX);
        let percent = |share: usize| limit / 100 * share;
        Self {
            produce_bytes: percent(26),
            request_bytes: percent(5),
            answer_bytes: percent(12),
            fresh_bytes: percent(18),
            // The partitions of one object are read by a consumer at somewhat different times; a chunk that
            // did not stay from the first to the last of them is paid for twice.
            cache_bytes: percent(30),
            engine_bytes: percent(9),
        }
    }
}

/// Whose bytes are reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Produce frames.
    Produce,
    /// Frames of all other requests.
    Requests,
    /// Answers.
    Answers,
    /// Old records in answers, which are reserved as [`Share::Answers`] besides.
    CatchUp,
}

/// Counts reserved bytes by share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    produce: Pool,
    requests: Pool,
    answers: Pool,
    catch_up: Pool,
}

#[derive(Clone, Debug)]
struct Pool {
    bytes: Arc<Semaphore>,
    capacity_bytes: usize,
    /// One frame at a time may grow beyond the share: if many half-read frames held the whole share,
    /// each waiting for the others, none would ever be finished.
    overdraft: Arc<Semaphore>,
}

impl Pool {
    fn new(capacity_bytes: usize) -> Self {
        let capacity_bytes = capacity_bytes.clamp(STEP_BYTES, Semaphore::MAX_PERMITS);
        Self {
            bytes: Arc::new(Semaphore::new(capacity_bytes)),
            capacity_bytes,
            overdraft: Arc::new(Semaphore::new(1)),
        }
    }

    /// What a reservation of `bytes` takes: never more than there is, or it would wait for ever.
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.capacity_bytes)).unwrap_or(u32::MAX)
    }

    fn try_reserve(&self, bytes: usize) -> Option<MemoryPermit> {
        let permit = Arc::clone(&self.bytes)
            .try_acquire_many_owned(self.permits(bytes))
            .ok()?;
        Some(MemoryPermit {
            bytes: Some(permit),
            overdraft: None,
        })
    }

    async fn reserve(&self, bytes: usize) -> MemoryPermit {
        let permit = Arc::clone(&self.bytes)
            .acquire_many_owned(self.permits(bytes))
            .await;
        // The semaphores are never closed, so the error cannot occur; no permit is the safe reading.
        MemoryPermit {
            bytes: permit.ok(),
            overdraft: None,
        }
    }
}

impl MemoryBudget {
    /// A budget with the shares of `plan`.
    #[must_use]
    pub fn new(plan: &MemoryPlan) -> Self {
        Self {
            produce: Pool::new(plan.produce_bytes),
            requests: Pool::new(plan.request_bytes),
            answers: Pool::new(plan.answer_bytes),
            catch_up: Pool::new(plan.answer_bytes / CATCH_UP_PARTS),
        }
    }

    const fn pool(&self, share: Share) -> &Pool {
        match share {
            Share::Produce => &self.produce,
            Share::Requests => &self.requests,
            Share::Answers => &self.answers,
            Share::CatchUp => &self.catch_up,
        }
    }

    /// Reserves `bytes` if the share has them now. A reservation above the whole share takes the share.
    #[must_use]
    pub fn try_reserve(&self, share: Share, bytes: usize) -> Option<MemoryPermit> {
        self.pool(share).try_reserve(bytes)
    }

    /// Reserves `bytes`, waiting in order of arrival. Cancel-safe. A reservation above the whole share
    /// takes the share. The caller must hold no other permit of the share: see [`MemoryBudget::grow`].
    pub async fn reserve(&self, share: Share, bytes: usize) -> MemoryPermit {
        self.pool(share).reserve(bytes).await
    }

    /// Adds `bytes` to a permit of the same share, waiting if need be. Cancel-safe. Cannot deadlock: of
    /// all who wait here one may pass beyond the share, until its permit is dropped.
    pub async fn grow(&self, share: Share, permit: &mut MemoryPermit, bytes: usize) {
        if permit.overdraft.is_some() {
            return;
        }
        let pool = self.pool(share);
        if let Some(more) = pool.try_reserve(bytes) {
            return permit.merge(more);
        }
        tokio::select! {
            biased;
            more = pool.reserve(bytes) => permit.merge(more),
            overdraft = Arc::clone(&pool.overdraft).acquire_owned() => {
                permit.overdraft = overdraft.ok();
            }
        }
    }

    /// Bytes of the share that are reserved now.
    #[must_use]
    pub fn used_bytes(&self, share: Share) -> usize {
        let pool = self.pool(share);
        pool.capacity_bytes
            .saturating_sub(pool.bytes.available_permits())
    }

    /// Size of the share.
    #[must_use]
    pub const fn capacity_bytes(&self, share: Share) -> usize {
        self.pool(share).capacity_bytes
    }
}

/// The right to hold some bytes; returns them to their share when dropped.
#[derive(Debug, Default)]
#[must_use = "dropping a permit gives the bytes back"]
pub struct MemoryPermit {
    bytes: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl MemoryPermit {
    /// A permit for no bytes, for callers whose bytes are counted elsewhere.
    pub const fn empty() -> Self {
        Self {
            bytes: None,
            overdraft: None,
        }
    }

    /// Bytes this permit stands for; what was overdrawn is not counted.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Takes up to `bytes` off this permit into one of their own.
    pub fn split(&mut self, bytes: usize) -> Self {
        let part = self
            .bytes
            .as_mut()
            .and_then(|all| all.split(bytes.min(all.num_permits())));
        Self {
            bytes: part,
            overdraft: None,
        }
    }

    /// Adds another permit of the same share to this one.
    pub fn merge(&mut self, other: Self) {
        match (&mut self.bytes, other.bytes) {
            (Some(ours), Some(theirs)) => ours.merge(theirs),
            (ours @ None, theirs) => *ours = theirs,
            (Some(_), None) => {}
        }
        if self.overdraft.is_none() {
            self.overdraft = other.overdraft;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn budget(bytes: usize) -> MemoryBudget {
        MemoryBudget::new(&MemoryPlan {
            produce_bytes: bytes,
            request_bytes: bytes,
            answer_bytes: bytes,
            fresh_bytes: 0,
            cache_bytes: 0,
            engine_bytes: 0,
        })
    }

    #[test]
    fn plan_never_passes_the_limit() {
        for limit in [0, LIMIT_BYTES_MIN, 384 << 20, u64::from(u32::MAX) * 16] {
            let plan = MemoryPlan::new(limit);
            let sum = plan.produce_bytes
                + plan.request_bytes
                + plan.answer_bytes
                + plan.fresh_bytes
                + plan.cache_bytes
                + plan.engine_bytes;
            assert!(sum as u64 <= limit.max(LIMIT_BYTES_MIN), "limit {limit}");
        }
    }

    #[test]
    fn bytes_come_back_when_the_permit_is_dropped() {
        let budget = budget(4 * STEP_BYTES);
        let permit = budget.try_reserve(Share::Produce, 3 * STEP_BYTES).unwrap();
        assert_eq!(budget.used_bytes(Share::Produce), 3 * STEP_BYTES);
        assert!(budget.try_reserve(Share::Produce, 2 * STEP_BYTES).is_none());
        assert!(
            budget
                .try_reserve(Share::Requests, 2 * STEP_BYTES)
                .is_some()
        );
        drop(permit);
        assert_eq!(budget.used_bytes(Share::Produce), 0);
    }

    #[test]
    fn a_split_permit_gives_back_its_part() {
        let budget = budget(4 * STEP_BYTES);
        let mut permit = budget.try_reserve(Share::Produce, 1000).unwrap();
        drop(permit.split(400));
        assert_eq!(permit.size_bytes(), 600);
        drop(permit.split(10_000));
        assert_eq!(budget.used_bytes(Share::Produce), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn half_read_frames_cannot_block_each_other() {
        let budget = budget(2 * STEP_BYTES);
        let mut first = budget.reserve(Share::Produce, STEP_BYTES).await;
        let mut second = budget.reserve(Share::Produce, STEP_BYTES).await;
        budget.grow(Share::Produce, &mut first, STEP_BYTES).await;
        let mut waiting = Box::pin(budget.grow(Share::Produce, &mut second, STEP_BYTES));
        assert!(
            waiting.as_mut().now_or_never().is_none(),
            "only one frame may overdraw"
        );
        drop(first);
        waiting.await;
        drop(second);
        assert_eq!(budget.used_bytes(Share::Produce), 0);
    }

    #[test]
    fn a_reservation_above_the_share_takes_the_share() {
        let budget = budget(STEP_BYTES);
        let permit = budget
            .reserve(Share::Answers, 100 * STEP_BYTES)
            .now_or_never()
            .unwrap();
        assert_eq!(permit.size_bytes(), STEP_BYTES);
    }
}
