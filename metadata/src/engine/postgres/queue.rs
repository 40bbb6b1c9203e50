//! Batches on their way to the server. The writer takes all that wait as one group; whatever arrives
//! while it is written is the next group.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::engine::{Durable, EngineError, RowChange};

/// Bytes of rows in one group; a batch is never split.
const GROUP_BYTES: usize = 4 << 20;
/// Deleted rows that are remembered to be swept; those beyond are found by the next scan.
const GONE_MAX: usize = 65_536;

type Answer = oneshot::Sender<Result<(), EngineError>>;

/// The newest change of each key.
pub(super) type Changes = BTreeMap<Bytes, Option<Bytes>>;

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Taken from `waiting`, not yet durable.
    writing: Arc<Changes>,
    /// Groups of rows that are durable, which is the sequence in the owner's row.
    durable: i64,
    /// Rows that may have no value any more.
    gone: Vec<Bytes>,
    /// Why nothing is taken any more.
    ended: Option<EngineError>,
}

#[derive(Debug)]
struct Waiting {
    batch: Vec<RowChange>,
    /// Wants a proof of ownership begun after it was submitted.
    proves: bool,
    answer: Answer,
}

/// What one statement makes durable.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) changes: Arc<Changes>,
    /// A write is wanted even if there are no rows.
    pub(super) proves: bool,
    answers: Vec<Answer>,
}

/// Where the newest value of a row is to be found.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Here: it may not be on the server yet.
    UnderWay(Option<Bytes>),
    /// On the server, once that shows this sequence.
    Durable { sequence: i64 },
}

impl Queue {
    pub(super) fn submit(&self, batch: Vec<RowChange>) -> Durable {
        let answered = self.push(batch, false);
        Durable::new(async {
            answered
                .await
                .unwrap_or(Err(EngineError::Unavailable(None)))
        })
    }

    /// Proves that no newer owner existed when this was called.
    pub(super) async fn prove(&self) -> Result<(), EngineError> {
        let answered = self.push(Vec::new(), true);
        answered
            .await
            .unwrap_or(Err(EngineError::Unavailable(None)))
    }

    fn push(
        &self,
        batch: Vec<RowChange>,
        proves: bool,
    ) -> oneshot::Receiver<Result<(), EngineError>> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.lock();
        match &state.ended {
            Some(error) => drop(answer.send(Err(error.clone()))),
            None => state.waiting.push_back(Waiting {
                batch,
                proves,
                answer,
            }),
        }
        drop(state);
        self.arrived.notify_one();
        answered
    }

    /// The newest change of `key` that is not durable yet, else what the server must show to be asked.
    pub(super) fn find(&self, key: &Bytes) -> Result<Found, EngineError> {
        let state = self.lock();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let mut waiting = state
            .waiting
            .iter()
            .rev()
            .flat_map(|waiting| waiting.batch.iter().rev());
        let newest = waiting
            .find(|(changed, _)| changed == key)
            .map(|(_, value)| value)
            .or_else(|| state.writing.get(key));
        Ok(match newest {
            Some(value) => Found::UnderWay(value.clone()),
            None => Found::Durable {
                sequence: state.durable,
            },
        })
    }

    /// The sequence of the newest durable group.
    pub(super) fn durable(&self) -> Result<i64, EngineError> {
        let state = self.lock();
        match &state.ended {
            Some(error) => Err(error.clone()),
            None => Ok(state.durable),
        }
    }

    /// Refuses everything from now on, and what waits; the first reason given stays and is returned.
    pub(super) fn end(&self, reason: &EngineError) -> EngineError {
        let mut state = self.lock();
        let reason = state.ended.get_or_insert_with(|| reason.clone()).clone();
        for waiting in state.waiting.drain(..) {
            drop(waiting.answer.send(Err(reason.clone())));
        }
        drop(state);
        self.arrived.notify_one();
        reason
    }

    /// The next group: its rows stay to be found until it is durable. `None` when ended. Cancel-safe.
    pub(super) async fn next(&self) -> Option<Group> {
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

    /// The group is durable, `sequence` being the owner's from now on.
    pub(super) fn written(&self, group: Group, sequence: i64) {
        let deleted = group.changes.iter().filter(|(_, value)| value.is_none());
        self.note_gone(deleted.map(|(key, _)| key.clone()));
        let mut state = self.lock();
        state.writing = Arc::default();
        state.durable = sequence;
        drop(state);
        group.answer(&Ok(()));
    }

    /// Remembers rows without a value, to be swept.
    pub(super) fn note_gone(&self, keys: impl Iterator<Item = Bytes>) {
        let mut state = self.lock();
        let room = GONE_MAX.saturating_sub(state.gone.len());
        state.gone.extend(keys.take(room));
    }

    /// How many rows are to be swept.
    pub(super) fn gone_count(&self) -> usize {
        self.lock().gone.len()
    }

    /// Takes up to `count` rows to be swept.
    pub(super) fn take_gone(&self, count: usize) -> Vec<Bytes> {
        let mut state = self.lock();
        let rest = state.gone.len().saturating_sub(count);
        state.gone.split_off(rest)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    /// Tells all who submitted a part of it.
    pub(super) fn answer(self, outcome: &Result<(), EngineError>) {
        for answer in self.answers {
            // Nobody may be waiting any more.
            drop(answer.send(outcome.clone()));
        }
    }
}

impl State {
    fn take_group(&mut self) -> Group {
        let mut changes = Changes::new();
        let mut answers = Vec::with_capacity(self.waiting.len());
        let (mut bytes, mut proves) = (0, false);
        while bytes < GROUP_BYTES
            && let Some(waiting) = self.waiting.pop_front()
        {
            for (key, value) in waiting.batch {
                bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
                changes.insert(key, value);
            }
            proves |= waiting.proves;
            answers.push(waiting.answer);
        }
        self.writing = Arc::new(changes);
        Group {
            changes: Arc::clone(&self.writing),
            proves,
            answers,
        }
    }
}

#[cfg(test)]
mod tests;
