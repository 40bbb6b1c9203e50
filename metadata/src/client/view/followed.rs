//! Which partitions the picture's readers read, so that a distant owner tells of their extents and of
//! nobody else's.
//!
//! A partition is followed from its first look on, and until nobody has looked for a while. Of others the
//! picture is told where they end and no more: a reader that comes looks the extents up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use floe_protocol::types::TopicPartition;
use tokio::sync::Notify;

/// Partitions that are followed from now on (`true`), or no longer.
pub(crate) type Changes = BTreeMap<TopicPartition, bool>;

/// The second of the last look at a partition; 0 while it is not followed.
#[derive(Debug, Default)]
pub(super) struct LastLook(AtomicU32);

impl LastLook {
    /// Notes a look; `false` if the partition is not followed.
    fn renew(&self, second: u32) -> bool {
        let seen = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                (last != 0).then_some(second)
            });
        seen.is_ok()
    }

    /// Ends what was last renewed before `second`; whether it did.
    fn end_before(&self, second: u32) -> bool {
        let seen = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                (last != 0 && last < second).then_some(0)
            });
        seen.is_ok()
    }
}

/// The followed partitions, and how the owner is told of changes.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    partitions: BTreeSet<TopicPartition>,
    /// What the current stream has not been told; `None` while there is none.
    changes: Option<Changes>,
    /// Counts streams.
    stream: u64,
}

impl Followed {
    /// A reader looked at the partition that `last` belongs to. `second` counts from 1.
    pub(super) fn look(&self, partition: TopicPartition, last: &LastLook, second: u32) {
        if last.renew(second) {
            return;
        }
        let mut state = self.lock();
        last.0.store(second, Ordering::Relaxed);
        if state.partitions.insert(partition) {
            if let Some(changes) = &mut state.changes {
                changes.insert(partition, true);
            }
            self.changed.notify_one();
        }
    }

    /// Ends to follow what was not looked at since `second`. `last` finds a partition's last look, `None`
    /// when it is gone.
    pub(super) fn end_before<'a>(
        &self,
        second: u32,
        last: impl Fn(TopicPartition) -> Option<&'a LastLook>,
    ) {
        let mut state = self.lock();
        let State {
            partitions,
            changes,
            ..
        } = &mut *state;
        partitions.retain(|partition| {
            let has_ended = last(*partition).is_none_or(|last| last.end_before(second));
            if let (true, Some(changes)) = (has_ended, changes.as_mut()) {
                changes.insert(*partition, false);
            }
            !has_ended
        });
        self.changed.notify_one();
    }

    /// Nobody is told of changes, until a stream begins.
    pub(super) fn end_stream(&self) {
        let mut state = self.lock();
        state.stream += 1;
        state.changes = None;
        self.changed.notify_one();
    }

    /// Begins another stream, which ends the one before. Returns its number and what it is to be told first.
    pub(crate) fn begin_stream(&self) -> (u64, Vec<TopicPartition>) {
        let mut state = self.lock();
        state.stream += 1;
        state.changes = Some(Changes::new());
        self.changed.notify_one();
        (state.stream, state.partitions.iter().copied().collect())
    }

    /// What a stream is to be told next; waits for it. `None` once it was ended.
    pub(crate) async fn changes(&self, stream: u64) -> Option<Changes> {
        loop {
            {
                let mut state = self.lock();
                if state.stream != stream {
                    // The permit may have been meant for the stream that runs now.
                    self.changed.notify_one();
                    return None;
                }
                if let Some(changes) = state.changes.as_mut().filter(|it| !it.is_empty()) {
                    return Some(std::mem::take(changes));
                }
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::testing::partition;

    #[test]
    fn a_stream_is_told_what_begins_and_ends() {
        let followed = Followed::default();
        let (one, two) = (LastLook::default(), LastLook::default());
        followed.look(partition(1, 1), &one, 1);
        let (stream, first) = followed.begin_stream();
        assert_eq!(first, [partition(1, 1)]);
        assert_eq!(followed.changes(stream).now_or_never(), None);

        followed.look(partition(1, 2), &two, 5);
        followed.look(partition(1, 1), &one, 3);
        followed.end_before(4, |asked| {
            Some(if asked == partition(1, 1) { &one } else { &two })
        });
        let told = followed.changes(stream).now_or_never().unwrap().unwrap();
        assert_eq!(
            told,
            [(partition(1, 1), false), (partition(1, 2), true)].into()
        );

        // What ended begins anew with the next look.
        followed.look(partition(1, 1), &one, 6);
        let told = followed.changes(stream).now_or_never().unwrap().unwrap();
        assert_eq!(told, [(partition(1, 1), true)].into());

        // What is gone is not followed.
        followed.end_before(0, |asked| (asked == partition(1, 2)).then_some(&two));
        let told = followed.changes(stream).now_or_never().unwrap().unwrap();
        assert_eq!(told, [(partition(1, 1), false)].into());
    }

    #[test]
    fn another_stream_begins_with_all() {
        let followed = Followed::default();
        let one = LastLook::default();
        let (old, first) = followed.begin_stream();
        assert!(first.is_empty());
        followed.look(partition(1, 1), &one, 1);
        let (new, first) = followed.begin_stream();
        assert_eq!(first, [partition(1, 1)]);
        assert_eq!(followed.changes(old).now_or_never(), Some(None));
        assert_eq!(followed.changes(new).now_or_never(), None);
        followed.end_stream();
        assert_eq!(followed.changes(new).now_or_never(), Some(None));
    }
}
