//! The watched picture of the cluster: what an agent answers from without asking metadata.
//!
//! One task keeps it: subscribe, take the snapshot, apply each watch batch, subscribe again after a
//! reset. Everything in it is durable. What a reader relies on:
//! - bounds and extents of one answer belong to one moment;
//! - a high watermark or log start never goes back, whatever owner the picture comes from;
//! - a [`Waiter`] made before a look at the picture is woken by every change the look did not show.
//!
//! An owner in another process tells of extents only where this process reads, see [`followed`].
//!
//! The picture may lag behind the owner. Negative answers (unknown topic, offset out of range) need a
//! fresh look through [`Client`].

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use floe_protocol::types::{LeaderEpoch, Offset, TopicId, TopicPartition};
use floe_storage::latest;
use floe_storage::tasks::Tasks;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::followed::{Changes, Followed};
use self::interest::Interests;
pub use self::interest::Waiter;
use self::picture::Picture;
pub use self::picture::Tail;
use super::{Client, Stopped, Subscription, WatchStream};
use crate::api::admin::{ConfigKind, ConfigValues};
use crate::api::{PartitionBounds, Process, RequestError, Revision, Snapshot, Topic, WatchEvent};

mod followed;
mod interest;
mod picture;

/// Extents kept resident over all partitions: 64 Ki of them are about 4 MiB.
const RESIDENT_EXTENTS_MAX: usize = 64 * 1024;

/// How long extents of a partition are followed after the last look at it.
const FOLLOW_FOR: Duration = Duration::from_secs(120);

/// How often it is seen to that what nobody looks at is no longer followed, and that nothing is resident for
/// too long.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Pause before a subscription is tried again that an owner refused.
const RESUBSCRIBE_AFTER: Duration = Duration::from_millis(20);

/// The watched picture; shared by everyone in an agent.
#[derive(Debug)]
pub struct View {
    picture: RwLock<Picture>,
    interests: Interests,
    followed: Arc<Followed>,
    began: Instant,
    /// `None` until the first snapshot. Sent after the picture has changed.
    revision: latest::Writer<Option<Revision>>,
    /// The revision of the last batch that changed more than records. Sent after the picture has changed.
    changes: latest::Writer<Revision>,
}

impl View {
    /// Starts the task that keeps the picture until `token` is cancelled.
    pub fn start(client: Client, tasks: &Tasks, token: CancellationToken) -> Arc<Self> {
        let view = Arc::new(Self::empty(RESIDENT_EXTENTS_MAX));
        let kept = Arc::clone(&view);
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = kept.tidy() => {}
                Stopped = kept.keep(&client) => token.cancelled().await,
            }
        });
        view
    }

    fn empty(resident_extents_max: usize) -> Self {
        Self {
            picture: RwLock::new(Picture::new(resident_extents_max)),
            interests: Interests::default(),
            followed: Arc::default(),
            began: Instant::now(),
            revision: latest::channel(None).0,
            changes: latest::channel(0).0,
        }
    }

    /// Whether there has been a snapshot.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.revision.get().is_some()
    }

    /// Waits for the first snapshot. Cancel-safe.
    pub async fn ready(&self) {
        self.wait(|_| true).await;
    }

    /// The picture shows everything up to and including this revision; 0 before the first snapshot.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision.get().unwrap_or(0)
    }

    /// The revisions at which more than records changed, for who waits for such a change to show.
    #[must_use]
    pub fn changes(&self) -> latest::Reader<Revision> {
        self.changes.reader()
    }

    /// Waits until the picture shows `revision`. Cancel-safe; bound it with a timeout, since it lasts
    /// as long as there is no owner.
    pub async fn wait_revision(&self, revision: Revision) {
        self.wait(|shown| shown >= revision).await;
    }

    async fn wait(&self, enough: impl Fn(Revision) -> bool) {
        let shown = self.revision.reader();
        // The writer lives in `self`, so the series cannot end during the call.
        shown.wait_for(|shown| shown.is_some_and(&enough)).await;
    }

    /// The topic called `name`.
    #[must_use]
    pub fn topic_by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().topic_by_name(name)
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.read().topic(id)
    }

    /// All topics, sorted by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.read().topics()
    }

    /// The bounds of `partition`.
    #[must_use]
    pub fn bounds(&self, partition: TopicPartition) -> Option<PartitionBounds> {
        self.read().bounds(partition)
    }

    /// The leader epoch of all partitions.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.read().leader_epoch()
    }

    /// The feature level of the cluster.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        self.read().feature_level()
    }

    /// The newest write epoch that is known, to name segments with; 0 before the first snapshot.
    #[must_use]
    pub fn write_epoch(&self) -> u32 {
        self.read().write_epoch()
    }

    /// The configs that were set for what is no topic; none where nothing was.
    #[must_use]
    pub fn configs(&self, kind: ConfigKind, name: &str) -> Option<Arc<ConfigValues>> {
        self.read().configs(kind, name)
    }

    /// Everything of a kind that has configs, by name.
    #[must_use]
    pub fn all_configs(&self, kind: ConfigKind) -> Vec<(Arc<str>, Arc<ConfigValues>)> {
        self.read().all_configs(kind)
    }

    /// The registered processes, by incarnation.
    #[must_use]
    pub fn processes(&self) -> Arc<[Process]> {
        self.read().processes()
    }

    /// The extents from the one that holds `from` on, at least one and then as many as `max_bytes`
    /// admits, if they are resident; with the bounds of the same moment. No extents at the high
    /// watermark and beyond.
    #[must_use]
    pub fn tail(&self, partition: TopicPartition, from: Offset, max_bytes: u64) -> Tail {
        let second = self.second();
        let picture = self.read();
        picture.look(partition, |last| {
            self.followed.look(partition, last, second);
        });
        picture.tail(partition, from, max_bytes)
    }

    /// Seconds since the view was made, from 1.
    fn second(&self) -> u32 {
        let elapsed = self.began.elapsed().as_secs();
        u32::try_from(elapsed).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Sweeps again and again, whoever owns the metadata and whether anything happens. Never ends.
    async fn tidy(&self) {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        loop {
            sweep.tick().await;
            self.sweep();
        }
    }

    /// Lets go of what has been resident for too long, and ends to follow what nobody has looked at for long.
    fn sweep(&self) {
        self.write().pass_to(self.second());
        let kept = u32::try_from(FOLLOW_FOR.as_secs()).unwrap_or(u32::MAX);
        if let Some(second) = self.second().checked_sub(kept) {
            let picture = self.read();
            self.followed
                .end_before(second, |partition| picture.last_look(partition));
        }
    }

    /// Registers interest in changes of `partitions` (records, log start, deletion of the topic) from
    /// this moment on, until the waiter is dropped. Look at the picture after this call.
    #[must_use]
    pub fn waiter(self: &Arc<Self>, partitions: &[TopicPartition]) -> Waiter {
        Waiter::new(Arc::clone(self), partitions)
    }

    /// Runs until the service has stopped for good.
    async fn keep(&self, client: &Client) -> Stopped {
        loop {
            if client.wait_for_owner().await.is_err() {
                return Stopped;
            }
            self.followed.end_stream();
            let followed = Some(Arc::clone(&self.followed));
            match client.subscribe_to(self.revision.get(), followed).await {
                Ok(Subscription { snapshot, stream }) => {
                    if snapshot.is_none_or(|snapshot| self.replace(&snapshot)) {
                        self.follow(stream).await;
                    } else {
                        tokio::time::sleep(RESUBSCRIBE_AFTER).await;
                    }
                }
                Err(error) => {
                    debug_assert_eq!(error, RequestError::Unavailable);
                    tokio::time::sleep(RESUBSCRIBE_AFTER).await;
                }
            }
        }
    }

    /// Applies what happens until the position is lost.
    async fn follow(&self, mut stream: WatchStream) {
        while let Ok(batch) = stream.next().await {
            let touched = {
                let mut picture = self.write();
                picture.pass_to(self.second());
                batch
                    .events
                    .iter()
                    .flat_map(|event| picture.apply(event))
                    .collect::<Vec<_>>()
            };
            self.show(batch.revision);
            let is_record = |event: &WatchEvent| {
                matches!(event, WatchEvent::Committed(_) | WatchEvent::Advanced(_))
            };
            if !batch.events.iter().all(is_record) {
                self.changes.set(batch.revision);
            }
            self.interests.wake(&touched);
        }
    }

    /// Starts anew from a snapshot, unless it is older than what is shown: then the answer is `false`.
    fn replace(&self, snapshot: &Snapshot) -> bool {
        if self
            .revision
            .get()
            .is_some_and(|shown| snapshot.revision < shown)
        {
            tracing::error!(
                offered = snapshot.revision,
                shown = self.revision(),
                "metadata offered an older history than was seen before; keeping the newer view"
            );
            return false;
        }
        self.write().replace(snapshot);
        self.show(snapshot.revision);
        self.changes.set(snapshot.revision);
        // What a snapshot changed is not known one by one; resets are rare.
        self.interests.wake_all();
        true
    }

    fn show(&self, revision: Revision) {
        self.revision.set(Some(revision));
    }

    fn read(&self) -> RwLockReadGuard<'_, Picture> {
        // A panic while the lock was held is a broken invariant that ends the process elsewhere.
        self.picture.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Picture> {
        self.picture.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
