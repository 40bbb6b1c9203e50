//! The latest of a series of values, for many to wait on, who wake in the order in which they came.
//!
//! `tokio::sync::watch` wakes its receivers in an order drawn at random, which would make a simulated
//! run depend on more than its seed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Begins a series.
pub fn channel<T: Clone>(first: T) -> (Writer<T>, Reader<T>) {
    let shared = Arc::new(Shared {
        value: Mutex::new((first, true)),
        changed: Notify::new(),
    });
    (Writer(Arc::clone(&shared)), Reader(shared))
}

#[derive(Debug)]
struct Shared<T> {
    /// The value, and whether another may follow.
    value: Mutex<(T, bool)>,
    changed: Notify,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, (T, bool)> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets values; dropping it ends the series.
#[derive(Debug)]
pub struct Writer<T>(Arc<Shared<T>>);

impl<T: Clone> Writer<T> {
    /// Makes `value` the latest.
    pub fn set(&self, value: T) {
        self.0.lock().0 = value;
        self.0.changed.notify_waiters();
    }

    /// The latest value.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.lock().0.clone()
    }

    /// Another reader of the series.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        Reader(Arc::clone(&self.0))
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.0.lock().1 = false;
        self.0.changed.notify_waiters();
    }
}

/// Reads the latest value; clones read the same series.
#[derive(Debug)]
pub struct Reader<T>(Arc<Shared<T>>);

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Clone> Reader<T> {
    /// The latest value.
    #[must_use]
    pub fn get(&self) -> T {
        self.0.lock().0.clone()
    }

    /// Waits for a value that passes; at once if the latest does, `None` if the series ends without. Values
    /// in between may be missed. Cancel-safe.
    pub async fn wait_for(&self, passes: impl Fn(&T) -> bool) -> Option<T> {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            {
                let latest = self.0.lock();
                if passes(&latest.0) {
                    return Some(latest.0.clone());
                }
                if !latest.1 {
                    return None;
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn readers_wake_in_the_order_they_came() {
        let (writer, reader) = channel(0);
        let (mut readers, woken) = (JoinSet::new(), Arc::new(Mutex::new(Vec::new())));
        for index in 0..20 {
            let (reader, woken) = (reader.clone(), Arc::clone(&woken));
            readers.spawn(async move {
                assert_eq!(reader.wait_for(|value| *value > 1).await, Some(2));
                woken.lock().expect("not poisoned").push(index);
            });
        }
        yield_now().await;
        writer.set(1);
        yield_now().await;
        writer.set(2);
        readers.join_all().await;
        assert_eq!(
            *woken.lock().expect("not poisoned"),
            (0..20).collect::<Vec<_>>()
        );
    }

    #[tokio::test]
    async fn the_end_of_a_series_ends_all_waiting() {
        let (writer, reader) = channel("first");
        assert_eq!((reader.get(), writer.get()), ("first", "first"));
        let waiting = tokio::join!(reader.wait_for(|value| *value == "never"), async {
            yield_now().await;
            writer.set("last");
            drop(writer);
        });
        assert_eq!(waiting.0, None);
        assert_eq!(
            reader.wait_for(|value| *value == "last").await,
            Some("last")
        );
    }
}
