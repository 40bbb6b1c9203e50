//! An engine in memory that several handles share, with faults drawn from a seed.
//!
//! It needs no task of its own: a batch gets its fate and its time when it is submitted, and takes
//! effect when anyone looks after that time. What a killed owner left behind lands as a random prefix
//! when the next one acquires, as late writes on a real store do; the rest never lands. With the same
//! seed, the same calls and paused time every run is the same.

use std::collections::{BTreeMap, VecDeque};
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use floe_planted::Bug;
use futures::stream::{self, BoxStream, StreamExt};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::{Durable, Engine, EngineError, Row, RowChange, Session};

/// How often and how badly the engine misbehaves. Probabilities lie between 0 and 1.
#[derive(Clone, Debug)]
pub struct Faults {
    /// How long a write, a barrier and each half of an acquisition take, at random in this range.
    pub latency: Range<Duration>,
    /// A batch takes effect, but its owner is told that the engine is unavailable.
    pub lost_reply: f64,
    /// A batch has no effect, and its owner is told that the engine is unavailable.
    pub lost_batch: f64,
    /// A read or barrier fails.
    pub failed_read: f64,
    /// An acquisition fails; half of the times after it has fenced the older owner.
    pub failed_acquisition: f64,
}

impl Faults {
    /// No faults and no latency.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            latency: Duration::ZERO..Duration::ZERO,
            lost_reply: 0.0,
            lost_batch: 0.0,
            failed_read: 0.0,
            failed_acquisition: 0.0,
        }
    }
}

/// A handle to a store in memory; clones share it, as processes share a bucket.
#[derive(Clone, Debug)]
pub struct MemoryEngine {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    rows: BTreeMap<Bytes, Bytes>,
    epoch: u64,
    /// Of the newest epoch's session, in the order of submission and of `due`.
    pending: VecDeque<Pending>,
    /// Batches of the newest epoch that took effect or never will.
    settled: u64,
    /// Why the newest epoch's session ended.
    ended: Option<EngineError>,
    faults: Faults,
    rng: SmallRng,
}

#[derive(Debug)]
struct Pending {
    batch: Vec<RowChange>,
    due: Instant,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Lands,
    LandsUnanswered,
    IsLost,
}

impl MemoryEngine {
    /// An empty store whose faults are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        let shared = Shared {
            rows: BTreeMap::new(),
            epoch: 0,
            pending: VecDeque::new(),
            settled: 0,
            ended: None,
            faults,
            rng: SmallRng::seed_from_u64(seed),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// Misbehaves differently from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// All rows that have taken effect by now, for checks from outside.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut shared = self.lock();
        shared.settle();
        shared
            .rows
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Batches of the newest owner that took effect by now, or never will.
    #[must_use]
    pub fn settled(&self) -> u64 {
        let mut shared = self.lock();
        shared.settle();
        shared.settled
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn delay(&self) {
        let latency = self.lock().latency();
        tokio::time::sleep(latency).await;
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn epoch(&self) -> Result<u64, EngineError> {
        self.delay().await;
        Ok(self.lock().epoch)
    }

    fn is_apart(&self) -> bool {
        true
    }

    async fn acquire(&self, expected_epoch: u64) -> Result<Arc<dyn Session>, EngineError> {
        self.delay().await;
        let fails = {
            let mut shared = self.lock();
            let fails = shared.faults.failed_acquisition;
            let fails = shared.draw(fails);
            if fails && shared.draw(0.5) {
                return Err(UNAVAILABLE);
            }
            if shared.epoch != expected_epoch {
                return Err(EngineError::UnexpectedEpoch {
                    expected: expected_epoch,
                });
            }
            shared.fence();
            fails
        };
        self.delay().await;
        if fails {
            return Err(UNAVAILABLE);
        }
        Ok(Arc::new(MemorySession {
            engine: self.clone(),
            epoch: expected_epoch + 1,
            submitted: Mutex::new(0),
        }))
    }

    fn look(&self, range: Range<Bytes>) -> BoxStream<'_, Result<Row, EngineError>> {
        let rows = self.rows().into_iter();
        let asked = rows.filter(move |(key, _)| range.contains(key));
        stream::iter(asked.map(Ok)).boxed()
    }
}

const UNAVAILABLE: EngineError = EngineError::Unavailable(None);

impl Shared {
    /// Lets the newest session end with a random prefix of what it has under way.
    fn fence(&mut self) {
        self.settle();
        let landing = self.rng.random_range(0..=self.pending.len());
        for _ in 0..landing {
            self.settle_first();
        }
        self.pending.clear();
        self.settled = 0;
        self.ended = None;
        self.epoch += 1;
    }

    /// Lets take effect what is due by now.
    fn settle(&mut self) {
        let now = Instant::now();
        while self.pending.front().is_some_and(|first| first.due <= now) {
            self.settle_first();
        }
    }

    fn settle_first(&mut self) {
        let Some(first) = self.pending.pop_front() else {
            return;
        };
        if first.fate == Fate::IsLost {
            // What came after a batch may not land without it.
            self.pending.clear();
            self.ended = Some(UNAVAILABLE);
            return;
        }
        for (key, value) in first.batch {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        if first.fate == Fate::LandsUnanswered {
            self.ended = Some(UNAVAILABLE);
        } else if self.ended.is_none() {
            self.settled += 1;
        }
    }

    fn latency(&mut self) -> Duration {
        let Range { start, end } = self.faults.latency.clone();
        if start < end {
            self.rng.random_range(start..end)
        } else {
            start
        }
    }

    fn draw(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability)
    }

    fn fate(&mut self) -> Fate {
        let (lost_reply, lost_batch) = (self.faults.lost_reply, self.faults.lost_batch);
        if self.draw(lost_reply) {
            Fate::LandsUnanswered
        } else if self.draw(lost_batch) {
            Fate::IsLost
        } else {
            Fate::Lands
        }
    }
}

#[derive(Debug)]
struct MemorySession {
    engine: MemoryEngine,
    epoch: u64,
    /// Batches submitted so far.
    submitted: Mutex<u64>,
}

impl MemorySession {
    /// The store, if this session still owns it.
    fn owned(&self) -> Result<MutexGuard<'_, Shared>, EngineError> {
        let mut shared = self.engine.lock();
        if shared.epoch != self.epoch && !Bug::NoFence.is_planted() {
            return Err(EngineError::Fenced);
        }
        shared.settle();
        match &shared.ended {
            Some(error) => Err(error.clone()),
            None => Ok(shared),
        }
    }

    /// The answer for the `number`th batch, counted from 1.
    fn outcome(engine: &MemoryEngine, epoch: u64, number: u64) -> Result<(), EngineError> {
        let mut shared = engine.lock();
        if shared.epoch != epoch && !Bug::NoFence.is_planted() {
            return Err(EngineError::Fenced);
        }
        shared.settle();
        if shared.settled >= number {
            return Ok(());
        }
        Err(shared.ended.clone().unwrap_or(UNAVAILABLE))
    }

    async fn read_fault(&self) -> Result<(), EngineError> {
        self.engine.delay().await;
        let mut shared = self.owned()?;
        let probability = shared.faults.failed_read;
        if shared.draw(probability) {
            shared.ended = Some(UNAVAILABLE);
            return Err(UNAVAILABLE);
        }
        Ok(())
    }
}

#[async_trait]
impl Session for MemorySession {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn submit(&self, batch: Vec<RowChange>) -> Durable {
        let mut submitted = self
            .submitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (due, number) = match self.owned() {
            Ok(mut shared) => {
                let due = Instant::now() + shared.latency();
                let due = shared.pending.back().map_or(due, |last| last.due.max(due));
                let fate = shared.fate();
                shared.pending.push_back(Pending { batch, due, fate });
                *submitted += 1;
                (due, *submitted)
            }
            Err(error) => return Durable::new(async { Err(error) }),
        };
        let (engine, epoch) = (self.engine.clone(), self.epoch);
        Durable::new(async move {
            tokio::time::sleep_until(due).await;
            Self::outcome(&engine, epoch, number)
        })
    }

    async fn get(&self, key: &Bytes) -> Result<Option<Bytes>, EngineError> {
        self.read_fault().await?;
        let shared = self.owned()?;
        let under_way = shared
            .pending
            .iter()
            .rev()
            .flat_map(|pending| pending.batch.iter().rev());
        for (changed, value) in under_way {
            if changed == key {
                return Ok(value.clone());
            }
        }
        Ok(shared.rows.get(key).cloned())
    }

    fn scan(&self, range: Range<Bytes>) -> BoxStream<'_, Result<Row, EngineError>> {
        let all_before = self.submit(Vec::new());
        let first = Box::pin(async move {
            all_before.await?;
            self.read_fault().await
        });
        stream::once(first)
            .flat_map(move |ready| match ready {
                Ok(()) => stream::iter(self.rows_in(&range)).boxed(),
                Err(error) => stream::iter(vec![Err(error)]).boxed(),
            })
            .boxed()
    }

    async fn barrier(&self) -> Result<(), EngineError> {
        self.read_fault().await?;
        // Half of the time passes after the proof, so that a fence can come in between.
        self.engine.delay().await;
        Ok(())
    }

    async fn release(&self) -> Result<(), EngineError> {
        self.submit(Vec::new()).await?;
        self.owned()?.ended = Some(EngineError::Closed);
        Ok(())
    }
}

impl MemorySession {
    fn rows_in(&self, range: &Range<Bytes>) -> Vec<Result<Row, EngineError>> {
        if range.start >= range.end {
            return Vec::new();
        }
        let bounds = (Bound::Included(&range.start), Bound::Excluded(&range.end));
        match self.owned() {
            Ok(shared) => shared
                .rows
                .range::<Bytes, _>(bounds)
                .map(|(key, value)| Ok((key.clone(), value.clone())))
                .collect(),
            Err(error) => vec![Err(error)],
        }
    }
}

#[cfg(test)]
mod tests;
