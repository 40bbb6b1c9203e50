//! Rebuilds a state from all of its rows, resident and paged, in one pass in key order: from an export, or
//! from an engine that is looked at from one end to the other. Paged rows are checked and let go of,
//! except those that [`Recovery`] asks for.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::recovery::{DamagedState, Recovery};
use super::rows::{Place, RowKey, producer, topic};
use super::{State, StateConfig};
use crate::api::Revision;

/// A state that is being rebuilt from all rows.
#[derive(Debug)]
pub struct Rebuild {
    recovery: Recovery,
    /// Rows the recovery asks for; known from the first paged row on.
    wanted: Option<BTreeSet<RowKey>>,
    last: Option<RowKey>,
    figures: RowFigures,
}

/// What only a look at every row tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RowFigures {
    /// Bytes of all segments whose objects are in the store: live, or dead and not forgotten.
    pub segment_bytes: u64,
    /// Rows of producer states.
    pub producer_states: u64,
}

impl Rebuild {
    /// A state of which no row is known yet.
    #[must_use]
    pub fn new(config: StateConfig) -> Self {
        Self {
            recovery: State::recover(config),
            wanted: None,
            last: None,
            figures: RowFigures::default(),
        }
    }

    /// Takes the next of the rows in [`RowKey::all`], in key order.
    ///
    /// # Errors
    /// The row is damaged, out of order, of a newer release, or does not fit those before it.
    pub fn row(&mut self, key: &Bytes, value: &Bytes) -> Result<(), DamagedState> {
        let key = RowKey::from(key.clone());
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(DamagedState::Unasked(key));
        }
        let damaged = |error| DamagedState::Row {
            key: key.clone(),
            error,
        };
        match key.place().map_err(damaged)? {
            Place::Producer { .. } => {
                producer::decode(value).map_err(damaged)?;
                self.figures.producer_states += 1;
                if self.wanted().remove(&key) {
                    self.recovery.admit([(key.clone(), Some(value.clone()))])?;
                }
            }
            Place::DeletedTopic(_) => {
                topic::decode_deleted(value).map_err(damaged)?;
            }
            _ => self.recovery.row(key.clone(), value)?,
        }
        self.last = Some(key);
        Ok(())
    }

    fn wanted(&mut self) -> &mut BTreeSet<RowKey> {
        let Self {
            recovery, wanted, ..
        } = self;
        wanted.get_or_insert_with(|| recovery.missing().into_iter().collect())
    }

    /// Commands applied so far; 0 before the first row.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.recovery.revision()
    }

    /// The state, and what only its rows tell.
    ///
    /// # Errors
    /// Rows are missing, or contradict each other.
    pub fn finish(self) -> Result<(State, RowFigures), DamagedState> {
        let state = self.recovery.finish()?;
        let segment_bytes = state.segments.size_bytes();
        let figures = RowFigures {
            segment_bytes,
            ..self.figures
        };
        Ok((state, figures))
    }
}
