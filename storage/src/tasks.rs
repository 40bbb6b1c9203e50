//! The tasks of one process: waited for when it stops, ended together when it dies.
//!
//! Every task outlives its maker only on a [`Tasks`], so that a process can be killed at whatever await
//! each of its tasks has reached: by a second signal, and by the simulation, which runs several
//! processes on one runtime.

use std::future::Future;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one process; clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    killed: CancellationToken,
}

impl Tasks {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` on the present runtime until it ends, is aborted, or all are killed.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let killed = self.killed.clone();
        let task = async move {
            tokio::select! {
                biased;
                () = killed.cancelled_owned() => {}
                () = task => {}
            }
        };
        self.tracker.spawn(task).abort_handle()
    }

    /// Drops every task where it stands, and those spawned later before they begin.
    pub fn kill(&self) {
        self.killed.cancel();
    }

    /// Waits until all tasks have ended; to be called when nothing spawns any more. Cancel-safe.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ended_waits_for_all() {
        let tasks = Tasks::new();
        tasks.spawn(sleep(Duration::from_secs(1)));
        tasks.spawn(sleep(Duration::from_secs(3)));
        assert!(
            timeout(Duration::from_secs(2), tasks.ended())
                .await
                .is_err()
        );
        assert!(timeout(Duration::from_secs(2), tasks.ended()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn killed_tasks_stop_where_they_stand() {
        let tasks = Tasks::new();
        let (held, reached) = (Arc::new(()), Arc::new(Notify::new()));
        let (theirs, at) = (Arc::clone(&held), Arc::clone(&reached));
        tasks.spawn(async move {
            let _theirs = theirs;
            at.notify_one();
            std::future::pending::<()>().await;
        });
        reached.notified().await;
        tasks.kill();
        tasks.ended().await;
        assert_eq!(Arc::strong_count(&held), 1);

        let (late, ran) = (Tasks::new(), Arc::new(Notify::new()));
        late.kill();
        let theirs = Arc::clone(&ran);
        late.spawn(async move { theirs.notify_one() });
        late.ended().await;
        assert!(
            timeout(Duration::from_secs(1), ran.notified())
                .await
                .is_err()
        );
    }
}
