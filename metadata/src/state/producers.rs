//! Producer states in memory: bounded, the rest in rows.
//!
//! States lie in a slab and are found by a hash of producer, topic slot and partition. A state whose row
//! is behind it is *unsaved* since the commit that changed it first; those are kept in a queue, oldest
//! first, for the write-back. When there are too many states a clock hand goes round, takes the mark of
//! use off those it finds marked and lets go of the others, after saving what is unsaved.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use floe_protocol::types::{PartitionIndex, ProducerId};
use foldhash::quality::FixedState;
use hashbrown::HashTable;

use super::producer::ProducerState;
use super::topics::SlotId;

/// Whose state, and where.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct ProducerKey {
    pub(super) id: ProducerId,
    pub(super) slot: SlotId,
    pub(super) partition: PartitionIndex,
}

/// A state in memory.
#[derive(Clone, Debug)]
pub(super) struct Resident {
    pub(super) key: ProducerKey,
    pub(super) state: ProducerState,
    /// The first commit whose change the row lacks, 0 if it lacks none.
    unsaved_since: u64,
    /// No later commit changed it.
    pub(super) last_commit: u64,
    /// Not changed yet since it is in memory.
    is_new: bool,
    /// Changed again since the clock hand came by.
    used: bool,
    /// Rebuilt from commits alone; the row may know earlier batches.
    pub(super) partial: bool,
}

/// Memory one state takes: its place in the slab and in the hash table.
pub(super) const RESIDENT_BYTES: usize = size_of::<Resident>() + 8;

/// States per piece of the slab, which grows without copying.
const PIECE: usize = 1024;

/// Where a state lies in the slab.
pub(super) type Seat = u32;

/// The states in memory.
#[derive(Debug)]
pub(super) struct Producers {
    slab: Vec<Vec<Option<Resident>>>,
    free: Vec<Seat>,
    seats: HashTable<Seat>,
    hasher: FixedState,
    unsaved: VecDeque<(u64, Seat)>,
    unsaved_len: usize,
    hand: Seat,
    sweep_hand: Seat,
}

fn place(seat: Seat) -> (usize, usize) {
    let seat = usize::try_from(seat).unwrap_or(usize::MAX);
    (seat / PIECE, seat % PIECE)
}

fn at(slab: &[Vec<Option<Resident>>], seat: Seat) -> Option<&Resident> {
    let (piece, place) = place(seat);
    slab.get(piece)?.get(place)?.as_ref()
}

impl Producers {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            slab: Vec::new(),
            free: Vec::new(),
            seats: HashTable::new(),
            hasher: FixedState::with_seed(hash_seed),
            unsaved: VecDeque::new(),
            unsaved_len: 0,
            hand: 0,
            sweep_hand: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    /// States whose rows are behind them.
    pub(super) const fn unsaved_len(&self) -> usize {
        self.unsaved_len
    }

    pub(super) fn get(&self, seat: Seat) -> Option<&Resident> {
        at(&self.slab, seat)
    }

    fn seat_mut(&mut self, seat: Seat) -> Option<&mut Option<Resident>> {
        let (piece, place) = place(seat);
        self.slab.get_mut(piece)?.get_mut(place)
    }

    /// A state that `commit` changes, so that its row lacks the change.
    pub(super) fn change(&mut self, seat: Seat, commit: u64) -> Option<&mut Resident> {
        let resident = self.seat_mut(seat)?.as_mut()?;
        let was_saved = resident.unsaved_since == 0;
        if was_saved {
            resident.unsaved_since = commit;
            self.unsaved.push_back((commit, seat));
            self.unsaved_len += 1;
        }
        let resident = self.seat_mut(seat)?.as_mut()?;
        // The change that brought a state does not count: most states are never seen again.
        resident.used |= !std::mem::take(&mut resident.is_new);
        resident.last_commit = commit;
        Some(resident)
    }

    /// A state whose beginning is in a row that was read now.
    pub(super) fn partial_mut(&mut self, key: &ProducerKey) -> Option<&mut Resident> {
        let seat = self.find(key)?;
        self.seat_mut(seat)?
            .as_mut()
            .filter(|resident| resident.partial)
    }

    /// All states in memory, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Resident> {
        self.slab.iter().flatten().flatten()
    }

    /// Where a state lies, if it is in memory.
    pub(super) fn find(&self, key: &ProducerKey) -> Option<Seat> {
        let is_it = |seat: &Seat| self.get(*seat).is_some_and(|resident| resident.key == *key);
        self.seats.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// Takes in a state that is not in memory, which no commit after `last_commit` changed.
    pub(super) fn insert(
        &mut self,
        key: ProducerKey,
        state: ProducerState,
        last_commit: u64,
    ) -> Seat {
        let seat = self.free.pop().unwrap_or_else(|| self.new_seat());
        let resident = Resident {
            key,
            state,
            unsaved_since: 0,
            last_commit,
            is_new: true,
            used: false,
            partial: false,
        };
        let place = self.seat_mut(seat).expect("the seat was free");
        assert!(place.replace(resident).is_none(), "the seat was free");
        let Self {
            slab,
            seats,
            hasher,
            ..
        } = self;
        let hash_of = |seat: &Seat| at(slab, *seat).map_or(0, |it| hasher.hash_one(it.key));
        seats.insert_unique(hasher.hash_one(key), seat, hash_of);
        seat
    }

    fn new_seat(&mut self) -> Seat {
        let full = self.slab.last().is_none_or(|piece| piece.len() == PIECE);
        if full {
            self.slab.push(Vec::with_capacity(PIECE));
        }
        let before = self.slab.len().saturating_sub(1) * PIECE;
        let piece = self.slab.last_mut().expect("there is a piece");
        piece.push(None);
        Seat::try_from(before + piece.len() - 1).expect("fewer than 2^32 states")
    }

    /// The first commit whose changes some row lacks.
    pub(super) fn oldest_unsaved(&mut self) -> Option<u64> {
        while let Some((commit, seat)) = self.unsaved.front().copied() {
            if self
                .get(seat)
                .is_some_and(|resident| resident.unsaved_since == commit)
            {
                return Some(commit);
            }
            self.unsaved.pop_front();
        }
        None
    }

    /// The state that is unsaved for longest; counts as saved from now on.
    pub(super) fn save_oldest(&mut self) -> Option<&Resident> {
        self.oldest_unsaved()?;
        let (_, seat) = self.unsaved.pop_front()?;
        self.unsaved_len -= 1;
        let resident = self.seat_mut(seat)?.as_mut()?;
        resident.unsaved_since = 0;
        Some(resident)
    }

    /// Lets go of a state that was not used lately; says whether its row is behind it.
    pub(super) fn evict(&mut self) -> Option<(Resident, bool)> {
        if self.seats.is_empty() {
            return None;
        }
        loop {
            let seat = self.hand;
            self.hand = self.seat_after(seat);
            match self.seat_mut(seat) {
                Some(Some(resident)) if resident.used => resident.used = false,
                Some(Some(_)) => return self.remove(seat),
                Some(None) | None => {}
            }
        }
    }

    /// The seat a hand moves on to.
    fn seat_after(&self, seat: Seat) -> Seat {
        let (piece, place) = place(seat + 1);
        let is_seat = self
            .slab
            .get(piece)
            .is_some_and(|piece| place < piece.len());
        if is_seat { seat + 1 } else { 0 }
    }

    /// Lets go of the next state that `is_dead`, if one is among the next `seats`. Call by call this
    /// comes by all states.
    pub(super) fn sweep(
        &mut self,
        seats: &mut usize,
        is_dead: impl Fn(&Resident) -> bool,
    ) -> Option<Resident> {
        while *seats > 0 {
            *seats -= 1;
            let seat = self.sweep_hand;
            self.sweep_hand = self.seat_after(seat);
            if self.get(seat).is_some_and(&is_dead) {
                return self.remove(seat).map(|(resident, _)| resident);
            }
        }
        None
    }

    fn remove(&mut self, seat: Seat) -> Option<(Resident, bool)> {
        let resident = self.seat_mut(seat)?.take()?;
        let hash = self.hasher.hash_one(resident.key);
        if let Ok(entry) = self.seats.find_entry(hash, |at| *at == seat) {
            entry.remove();
        }
        self.free.push(seat);
        let unsaved = resident.unsaved_since != 0;
        if unsaved {
            self.unsaved_len -= 1;
        }
        Some((resident, unsaved))
    }
}
