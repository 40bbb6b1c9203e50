//! Batches on their way to the WAL. One task takes all that waits, writes it as one group and flushes
//! the WAL once; whatever arrives meanwhile is the next group. Handing batches to SlateDB earlier
//! would freeze some of them into WAL objects of their own, one PUT each.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use slatedb::{Db, WriteBatch};
use tokio::sync::{Notify, oneshot};

use super::clock::{self, SessionClock};
use super::{CLOCK_KEY, engine_error};
use crate::engine::{EngineError, RowChange};

/// Bytes of rows in one group; a batch is never split.
const GROUP_BYTES: usize = 8 << 20;

type Answer = oneshot::Sender<Result<(), EngineError>>;

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Vec<RowChange>, Answer)>,
    /// Taken from `waiting`, not yet to be found in the database.
    writing: Vec<RowChange>,
    /// Why nothing is taken any more.
    ended: Option<EngineError>,
}

/// WALs since the last memtable was written out.
#[derive(Debug)]
pub(super) struct Wals {
    pub(super) count: AtomicU64,
    pub(super) grown: Notify,
}

impl Queue {
    pub(super) fn push(&self, batch: Vec<RowChange>) -> oneshot::Receiver<Result<(), EngineError>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        match &state.ended {
            Some(error) => drop(answer.send(Err(error.clone()))),
            None => state.waiting.push_back((batch, answer)),
        }
        drop(state);
        self.arrived.notify_one();
        answered
    }

    /// The newest change of `key` that the database may not show yet.
    pub(super) fn find(&self, key: &Bytes) -> Result<Option<Option<Bytes>>, EngineError> {
        let state = self.lock();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let waiting = state
            .waiting
            .iter()
            .rev()
            .flat_map(|(batch, _)| batch.iter().rev());
        let newest = waiting
            .chain(state.writing.iter().rev())
            .find(|(changed, _)| changed == key);
        Ok(newest.map(|(_, value)| value.clone()))
    }

    pub(super) fn check(&self) -> Result<(), EngineError> {
        self.lock().ended.clone().map_or(Ok(()), Err)
    }

    /// Refuses everything from now on, and what waits; the first reason given stays.
    pub(super) fn end(&self, reason: &EngineError) {
        let mut state = self.lock();
        let reason = state.ended.get_or_insert_with(|| reason.clone()).clone();
        for (_, answer) in state.waiting.drain(..) {
            drop(answer.send(Err(reason.clone())));
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// The next group: its rows stay to be found until [`Queue::written`]. `None` when ended.
    async fn next(&self) -> Option<(WriteBatch, Vec<Answer>)> {
        loop {
            {
                let mut state = self.lock();
                if state.ended.is_some() {
                    return None;
                }
                if !state.waiting.is_empty() {
                    return Some(state.take_group());
                }
            }
            self.arrived.notified().await;
        }
    }

    fn written(&self) {
        self.lock().writing = Vec::new();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_group(&mut self) -> (WriteBatch, Vec<Answer>) {
        let mut group = WriteBatch::new();
        let mut answers = Vec::with_capacity(self.waiting.len());
        let mut bytes = 0;
        while bytes < GROUP_BYTES
            && let Some((batch, answer)) = self.waiting.pop_front()
        {
            for (key, value) in &batch {
                bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
                match value {
                    Some(value) => group.put_bytes(key.clone(), value.clone()),
                    None => group.delete(key),
                }
            }
            self.writing.extend(batch);
            answers.push(answer);
        }
        (group, answers)
    }
}

/// Writes group after group until the queue ends or the database fails.
pub(super) async fn run(queue: Arc<Queue>, db: Arc<Db>, clock: Arc<SessionClock>, wals: Arc<Wals>) {
    while let Some((group, answers)) = queue.next().await {
        let outcome = write(&queue, &db, &clock, group).await;
        match outcome {
            Ok(false) => {}
            Ok(true) => {
                wals.count.fetch_add(1, Ordering::Relaxed);
                wals.grown.notify_one();
            }
            Err(ref error) => queue.end(error),
        }
        for answer in answers {
            // Nobody may be waiting any more.
            drop(answer.send(outcome.clone().map(|_| ())));
        }
    }
}

/// Makes a group durable; says whether that took a WAL object.
async fn write(
    queue: &Queue,
    db: &Db,
    clock: &SessionClock,
    mut group: WriteBatch,
) -> Result<bool, EngineError> {
    if queue.lock().writing.is_empty() {
        return Ok(false);
    }
    group.put_bytes(
        Bytes::from_static(CLOCK_KEY),
        clock::encode(clock.advance()),
    );
    db.write(group).await.map_err(engine_error)?;
    queue.written();
    db.flush().await.map_err(engine_error)?;
    Ok(true)
}
