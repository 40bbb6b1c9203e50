//! A thread with a runtime of its own that keeps a component alive.
//!
//! A component outlives the test that happened to start it, and must be gone when the last test
//! ends; the runtime of any one test is the wrong home for it.

use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

/// Tells the starter the port of the component, or why there is none.
pub(super) type Started = mpsc::SyncSender<Result<u16, String>>;

/// Resolves when the component is to end.
pub(super) type Stopped = oneshot::Receiver<()>;

/// Owner of a component's thread. Dropping it ends the component and waits for that.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Runs `component` on a new thread and returns once it has said its port.
    ///
    /// # Errors
    ///
    /// What the component said instead, or that it said nothing within `limit`.
    pub(super) fn start<F>(
        limit: Duration,
        component: impl FnOnce(Started, Stopped) -> F + Send + 'static,
    ) -> Result<(Keeper, u16), String>
    where
        F: Future<Output = ()>,
    {
        let (started, port) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let thread =
            std::thread::spawn(move || {
                match tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                {
                    Ok(runtime) => runtime.block_on(component(started, stopped)),
                    Err(error) => _ = started.send(Err(error.to_string())),
                }
            });
        let keeper = Keeper {
            stop: Some(stop),
            thread: Some(thread),
        };
        let port = port
            .recv_timeout(limit)
            .map_err(|_| format!("not ready within {limit:?}"))??;
        Ok((keeper, port))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Dropping the sender is the sign to stop.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
