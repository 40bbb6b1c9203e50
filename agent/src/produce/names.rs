//! Names for segments: write epoch and incarnation from the process's registration, and a counter that
//! never goes back. No name is ever used twice, whatever is registered anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use floe_metadata::api::Registration;
use floe_planted::Bug;
use floe_storage::segment::SegmentId;

use crate::presence::Presence;

/// Names segments while this process is registered.
#[derive(Debug)]
pub(crate) struct Names {
    presence: Arc<Presence>,
    counter: AtomicU64,
}

impl Names {
    pub(crate) const fn new(presence: Arc<Presence>) -> Self {
        Self {
            presence,
            counter: AtomicU64::new(0),
        }
    }

    /// A name nobody ever had; `None` until this process is registered, lanes are woken then.
    pub(crate) fn try_next(&self) -> Option<SegmentId> {
        let registration = self.presence.registration()?;
        Some(self.next_of(registration))
    }

    fn next_of(&self, registration: Registration) -> SegmentId {
        let Registration {
            incarnation,
            write_epoch,
        } = registration;
        let incarnation = if Bug::NamesReused.is_planted() {
            1
        } else {
            incarnation
        };
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        SegmentId {
            write_epoch,
            incarnation,
            counter,
        }
    }

    /// The registration that made the name `segment` is no longer accepted. Many segments of one
    /// registration are refused together; one new registration is enough.
    pub(crate) fn refused(&self, segment: SegmentId) {
        self.presence.refused(Registration {
            incarnation: segment.incarnation,
            write_epoch: segment.write_epoch,
        });
    }
}
