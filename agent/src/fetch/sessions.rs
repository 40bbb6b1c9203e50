//! Incremental fetch sessions (KIP-227): the partitions a consumer reads, and what it was last told of
//! each, so that requests and answers name only what changed.
//!
//! ```text
//! id 0, epoch -1    no session               id 0 or n, epoch 0    close n, open a new one
//! id n, epoch -1    close n, no session      id n, epoch 1, 2, …   the session's next request
//! ```
//!
//! Bounded in sessions and in partitions over all of them. When there is no room and nothing idle, the
//! answer carries session id 0, which is always legal: the client goes on with full requests.

mod session;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use floe_metadata::api::PartitionBounds;
use floe_protocol::types::{LeaderEpoch, Offset, PartitionIndex, TopicId};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use self::session::Session;

/// Sessions at most, as Kafka's `max.incremental.fetch.session.cache.slots`.
const SESSIONS_MAX: usize = 1000;
/// Partitions over all sessions; about 200 bytes each.
const PARTITIONS_MAX: usize = 100_000;
/// A session unused for this long gives way to a new one, as Kafka's
/// `min.incremental.fetch.session.eviction.ms`.
const IDLE_AFTER: Duration = Duration::from_secs(120);

/// The wire's "no session".
pub(crate) const NO_SESSION: i32 = 0;
/// The wire's "close the session, or have none".
const FINAL_EPOCH: i32 = -1;
/// The wire's "open a session".
const INITIAL_EPOCH: i32 = 0;

/// A topic as a request names it: by name below version 13, by id from then on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum TopicKey {
    /// By name.
    Name(Arc<str>),
    /// By id.
    Id(TopicId),
}

/// One partition as a request names it.
pub(crate) type PartitionKey = (TopicKey, PartitionIndex);

/// What a consumer asks of one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// Which.
    pub(crate) key: PartitionKey,
    /// The id its name stood for when it was asked for; `None` where unknown or asked by id.
    pub(crate) named_id: Option<TopicId>,
    /// Where to read.
    pub(crate) fetch_offset: Offset,
    /// Most bytes of records.
    pub(crate) max_bytes: u64,
    /// The leader epoch the client knows, -1 for none.
    pub(crate) current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record the client has, -1 for none.
    pub(crate) last_fetched_epoch: LeaderEpoch,
}

/// A request's view of its session.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Session id on the wire.
    pub(crate) id: i32,
    /// Session epoch on the wire.
    pub(crate) epoch: i32,
    /// Whether topics are named by id (version 13 and up).
    pub(crate) uses_ids: bool,
    /// Partitions to read; in an incremental request those that are new or changed.
    pub(crate) asked: Vec<Asked>,
    /// Partitions that leave the session.
    pub(crate) forgotten: Vec<PartitionKey>,
}

/// Why a request does not fit its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// Nobody has this session (any more).
    #[error("fetch session {0} is not known")]
    NotFound(i32),
    /// Not the session's next request.
    #[error("fetch session {id} expects epoch {expected}, not {found}")]
    Epoch {
        /// Which.
        id: i32,
        /// Its next epoch.
        expected: i32,
        /// The request's.
        found: i32,
    },
    /// The session names topics the other way.
    #[error("fetch session {0} mixes topic names and topic ids")]
    TopicId(i32),
}

/// What an answer says of one partition, as far as sessions care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    /// The bounds; `None` with an error.
    pub(crate) bounds: Option<PartitionBounds>,
    /// Whether there are records.
    pub(crate) has_records: bool,
}

/// A request that has been placed: what to read, in order, and which session to answer in.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Partitions to read, in the order to serve them.
    pub(crate) asked: Vec<Asked>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    None,
    Open {
        uses_ids: bool,
    },
    Incremental {
        id: i32,
        session: Arc<Mutex<Session>>,
    },
}

/// All sessions of this agent.
#[derive(Debug)]
pub(crate) struct Sessions {
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Cache {
    slots: BTreeMap<i32, Slot>,
    partitions: usize,
    random: StdRng,
    sessions_max: usize,
    partitions_max: usize,
}

#[derive(Debug)]
struct Slot {
    session: Arc<Mutex<Session>>,
    last_used: Instant,
    /// Partitions counted for it in the cache.
    partitions: usize,
}

impl Sessions {
    /// No sessions; ids are drawn from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_limits(seed, SESSIONS_MAX, PARTITIONS_MAX)
    }

    fn with_limits(seed: u64, sessions_max: usize, partitions_max: usize) -> Self {
        Self {
            cache: Mutex::new(Cache {
                slots: BTreeMap::new(),
                partitions: 0,
                random: StdRng::seed_from_u64(seed),
                sessions_max,
                partitions_max,
            }),
        }
    }

    /// Finds out what a request reads, and moves its session on.
    ///
    /// # Errors
    /// The request does not fit: answer the code at the top level, with session id 0.
    pub(crate) fn place(&self, now: Instant, ask: Ask) -> Result<Placed, SessionError> {
        let Ask {
            id,
            epoch,
            uses_ids,
            asked,
            forgotten,
        } = ask;
        let mut cache = self.lock();
        if epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            cache.close(id);
            let kind = if epoch == INITIAL_EPOCH {
                Kind::Open { uses_ids }
            } else {
                Kind::None
            };
            return Ok(Placed { asked, kind });
        }
        let slot = cache.slots.get_mut(&id).ok_or(SessionError::NotFound(id))?;
        let session = Arc::clone(&slot.session);
        let mut inside = lock(&session);
        inside.check(id, epoch, uses_ids)?;
        slot.last_used = now;
        inside.update(asked, &forgotten);
        let asked = inside.asked();
        if asked.is_empty() {
            cache.close(id);
            return Ok(Placed {
                asked,
                kind: Kind::None,
            });
        }
        cache.recount(id, asked.len());
        drop(inside);
        Ok(Placed {
            asked,
            kind: Kind::Incremental { id, session },
        })
    }

    /// Ends a request that was answered with `told`, one entry per partition of `placed`, in its order.
    /// Returns the session id of the answer and, per partition, whether the answer names it.
    pub(crate) fn answer(&self, now: Instant, placed: Placed, told: &[Told]) -> (i32, Vec<bool>) {
        match placed.kind {
            Kind::None => (NO_SESSION, vec![true; told.len()]),
            Kind::Open { uses_ids } => {
                let session = Session::open(uses_ids, placed.asked, told);
                (self.lock().open(now, session), vec![true; told.len()])
            }
            Kind::Incremental { id, session } => {
                let mut inside = lock(&session);
                let named = placed
                    .asked
                    .iter()
                    .zip(told)
                    .map(|(asked, told)| inside.tell(&asked.key, *told))
                    .collect();
                (id, named)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn close(&mut self, id: i32) {
        if let Some(slot) = self.slots.remove(&id) {
            self.partitions -= slot.partitions;
        }
    }

    fn recount(&mut self, id: i32, partitions: usize) {
        if let Some(slot) = self.slots.get_mut(&id) {
            self.partitions = self.partitions - slot.partitions + partitions;
            slot.partitions = partitions;
        }
    }

    /// Keeps a session if there is room; its id, or [`NO_SESSION`].
    fn open(&mut self, now: Instant, session: Session) -> i32 {
        let partitions = session.len();
        if partitions == 0 || !self.make_room(now, partitions) {
            return NO_SESSION;
        }
        let id = loop {
            let id = self.random.random_range(1..=i32::MAX);
            if !self.slots.contains_key(&id) {
                break id;
            }
        };
        let session = Arc::new(Mutex::new(session));
        self.slots.insert(
            id,
            Slot {
                session,
                last_used: now,
                partitions,
            },
        );
        self.partitions += partitions;
        id
    }

    /// Closes idle sessions, longest unused first, until one of `partitions` fits.
    fn make_room(&mut self, now: Instant, partitions: usize) -> bool {
        while self.slots.len() >= self.sessions_max
            || self.partitions + partitions > self.partitions_max
        {
            let idlest = self.slots.iter().min_by_key(|(_, slot)| slot.last_used);
            let Some((id, slot)) = idlest else {
                return false;
            };
            if now.saturating_duration_since(slot.last_used) < IDLE_AFTER {
                return false;
            }
            let id = *id;
            self.close(id);
        }
        true
    }
}

fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
