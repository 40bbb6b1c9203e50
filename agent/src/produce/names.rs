//! Names for segments: write epoch and incarnation from the process's registration, and a counter that
//! never goes back. No name is ever used twice, whatever is registered anew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use floe_metadata::api::Registration;
use floe_metadata::client::{Client, Stopped};
use floe_planted::Bug;
use floe_storage::segment::SegmentId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;

/// Pause before a registration is tried again that an owner did not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Names segments while this process is registered.
#[derive(Debug)]
pub(crate) struct Names {
    /// `None` while a registration is needed.
    registration: Mutex<Option<Registration>>,
    needed: Notify,
    counter: AtomicU64,
}

impl Names {
    /// No names yet: see [`Names::keep_registered`].
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            registration: Mutex::new(None),
            needed: Notify::new(),
            counter: AtomicU64::new(0),
        })
    }

    /// A name nobody ever had; `None` until this process is registered, lanes are woken then.
    pub(crate) fn try_next(&self) -> Option<SegmentId> {
        let Registration {
            incarnation,
            write_epoch,
        } = (*self.lock())?;
        let incarnation = if Bug::NamesReused.is_planted() {
            1
        } else {
            incarnation
        };
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        Some(SegmentId {
            write_epoch,
            incarnation,
            counter,
        })
    }

    /// The registration that made the name `segment` is no longer accepted.
    pub(crate) fn refused(&self, segment: SegmentId) {
        let mut registration = self.lock();
        let current = registration.is_some_and(|current| {
            current.incarnation == segment.incarnation && current.write_epoch == segment.write_epoch
        });
        // Many segments of one registration are refused together; one new registration is enough.
        if current {
            *registration = None;
            self.needed.notify_one();
        }
    }

    /// Registers this process now and whenever that is needed again, until `token` is cancelled or
    /// metadata has ended for good.
    pub(crate) async fn keep_registered(
        &self,
        client: &Client,
        activity: &Activity,
        token: &CancellationToken,
    ) {
        let keeping = async {
            loop {
                let registration = register(client).await?;
                tracing::info!(
                    incarnation = registration.incarnation,
                    write_epoch = registration.write_epoch,
                    "registered as a writer of segments"
                );
                *self.lock() = Some(registration);
                activity.wake_lanes();
                self.needed.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = token.cancelled() => {}
            ended = keeping => {
                let ended: Result<(), Stopped> = ended;
                tracing::debug!(?ended, "no more registrations");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Registration>> {
        self.registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn register(client: &Client) -> Result<Registration, Stopped> {
    loop {
        client.wait_for_owner().await?;
        match client.register().await {
            Ok(registration) => return Ok(registration),
            Err(error) => {
                tracing::debug!(%error, "registration was not answered");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(incarnation: u32) -> Registration {
        Registration {
            incarnation,
            write_epoch: 7,
        }
    }

    #[test]
    fn names_never_come_back() {
        let names = Names::new();
        assert_eq!(names.try_next(), None, "not registered yet");
        *names.lock() = Some(registered(1));
        let first = names.try_next().unwrap();
        let second = names.try_next().unwrap();
        assert_eq!(
            first,
            SegmentId {
                write_epoch: 7,
                incarnation: 1,
                counter: 0
            }
        );
        assert_eq!(second.counter, 1);
        names.refused(first);
        assert_eq!(names.try_next(), None, "a new registration is needed");
        *names.lock() = Some(registered(2));
        names.refused(second);
        let third = names
            .try_next()
            .expect("an old refusal does not touch the new registration");
        assert_eq!(
            third,
            SegmentId {
                write_epoch: 7,
                incarnation: 2,
                counter: 2
            }
        );
    }
}
