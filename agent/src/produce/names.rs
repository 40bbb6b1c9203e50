//! Names for segments: the incarnation from the process's registration, the newest write epoch that it
//! knows, and a counter that never goes back. No name is ever used twice, whatever is registered anew.

use std::sync::Arc;

use floe_metadata::api::Registration;
use floe_planted::Bug;
use floe_storage::segment::SegmentId;

use crate::presence::Presence;

/// Names segments while this process is registered.
#[derive(Debug)]
pub(crate) struct Names {
    presence: Arc<Presence>,
}

impl Names {
    pub(crate) const fn new(presence: Arc<Presence>) -> Self {
        Self { presence }
    }

    /// A name nobody ever had; `None` until this process is registered, lanes are woken then.
    pub(crate) fn try_next(&self) -> Option<SegmentId> {
        let registration = self.presence.naming()?;
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
        // One counter for all who name segments in this process: records and merges must not meet.
        let counter = self.presence.count_segment();
        SegmentId {
            write_epoch,
            incarnation,
            counter,
        }
    }

    /// The registration that made the name `segment` is no longer accepted. Many segments of one
    /// registration are refused together; one new registration is enough.
    pub(crate) fn refused(&self, segment: SegmentId) {
        self.presence.refused(segment.incarnation);
    }
}
