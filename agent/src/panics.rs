//! What a panic costs: one request, if it happened in a handler, else the process.
//!
//! A handler works on one client's request and leaves nothing half done that others see, so its panic is
//! caught. Anywhere else a panic means that an invariant is broken or a task is gone that others wait
//! for; going on would turn that into silence. Ending is safe at any moment, and a restart takes a
//! second.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::task::Poll;

use tokio_util::sync::CancellationToken;

thread_local! {
    /// How deep this thread is in [`guarded`].
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// A panic that was caught; the hook has reported it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Panicked;

/// Calls `work` and catches its panic.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    DEPTH.set(DEPTH.get() + 1);
    // What a panicking handler leaves behind is its own: requests share nothing but types that stay
    // whole when a thread unwinds.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    result.map_err(|_| Panicked)
}

/// Awaits `work` and catches its panic.
pub(crate) async fn guarded_future<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let mut work = pin!(work);
    poll_fn(|context| match guarded(|| work.as_mut().poll(context)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// Reports every panic as before, and from now on cancels the token it returns at the first one that
/// nobody catches for the sake of others.
#[must_use]
pub fn watch() -> CancellationToken {
    let fatal = CancellationToken::new();
    let (report, reported) = (panic::take_hook(), fatal.clone());
    panic::set_hook(Box::new(move |info| {
        report(info);
        if DEPTH.get() == 0 {
            reported.cancel();
        }
    }));
    fatal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guarded_panic_ends_its_future_only() {
        assert_eq!(guarded_future(async { 1 }).await, Ok(1));
        let panicking = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        assert_eq!(guarded_future(panicking).await, Err::<(), _>(Panicked));
        assert_eq!(DEPTH.get(), 0);
    }
}
