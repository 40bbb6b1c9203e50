//! Who is waiting for which partition. A change wakes those interested in its partition, nobody else.
//!
//! A wake-up cannot be lost: the waiter registers before its owner looks at the picture, and the
//! picture changes before the registered are woken. Whichever of look and change comes first, either
//! the look shows the change or the wake-up finds the registration.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use floe_protocol::types::TopicPartition;
use tokio::sync::Notify;

use super::View;

/// The registrations of all waiters.
#[derive(Debug, Default)]
pub(super) struct Interests {
    registered: Mutex<Registered>,
}

#[derive(Debug, Default)]
struct Registered {
    /// Names the next waiter.
    next: u64,
    /// Per partition the waiters by name, which is also the order they are woken in.
    partitions: BTreeMap<TopicPartition, BTreeMap<u64, Arc<Notify>>>,
}

impl Interests {
    fn add(&self, partitions: &[TopicPartition], wake: &Arc<Notify>) -> u64 {
        let mut registered = self.lock();
        let name = registered.next;
        registered.next += 1;
        for partition in partitions {
            registered
                .partitions
                .entry(*partition)
                .or_default()
                .insert(name, Arc::clone(wake));
        }
        name
    }

    fn remove(&self, partitions: &[TopicPartition], name: u64) {
        let mut registered = self.lock();
        for partition in partitions {
            if let Some(waiters) = registered.partitions.get_mut(partition) {
                waiters.remove(&name);
                if waiters.is_empty() {
                    registered.partitions.remove(partition);
                }
            }
        }
    }

    /// Wakes who is interested in any of `touched`.
    pub(super) fn wake(&self, touched: &[TopicPartition]) {
        let registered = self.lock();
        if registered.partitions.is_empty() {
            return;
        }
        for waiters in touched
            .iter()
            .filter_map(|touched| registered.partitions.get(touched))
        {
            waiters.values().for_each(|wake| wake.notify_one());
        }
    }

    /// Wakes everybody.
    pub(super) fn wake_all(&self) {
        for waiters in self.lock().partitions.values() {
            waiters.values().for_each(|wake| wake.notify_one());
        }
    }

    #[cfg(test)]
    pub(super) fn partition_count(&self) -> usize {
        self.lock().partitions.len()
    }

    fn lock(&self) -> MutexGuard<'_, Registered> {
        self.registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Interest in changes of some partitions, from its making until it is dropped.
#[derive(Debug)]
pub struct Waiter {
    view: Arc<View>,
    partitions: Box<[TopicPartition]>,
    name: u64,
    wake: Arc<Notify>,
}

impl Waiter {
    pub(super) fn new(view: Arc<View>, partitions: &[TopicPartition]) -> Self {
        let wake = Arc::new(Notify::new());
        let name = view.interests.add(partitions, &wake);
        Self {
            view,
            partitions: partitions.into(),
            name,
            wake,
        }
    }

    /// Returns once something changed since the waiter was made or this last returned, at once if it
    /// already has. Several changes in between count as one. Cancel-safe: a cancelled wait has not
    /// taken the wake-up.
    pub async fn changed(&mut self) {
        self.wake.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.view.interests.remove(&self.partitions, self.name);
    }
}
