//! The clock SlateDB stamps rows with. It follows the wall clock, but never falls: neither when the
//! wall clock is set back nor from one session to the next, since SlateDB refuses writes that are
//! stamped earlier than the newest row. It moves only when a group is written and every group carries
//! its time in a row, which the next session starts from.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use floe_storage::clock::Clock;
use slatedb_common::clock::{SystemClock, SystemClockTicker};

use crate::engine::EngineError;

#[derive(Debug)]
pub(super) struct SessionClock {
    wall: Clock,
    shown_ms: AtomicI64,
}

impl SessionClock {
    pub(super) fn new(wall: Clock) -> Self {
        let shown_ms = AtomicI64::new(wall.now_ms());
        Self { wall, shown_ms }
    }

    /// Never shows less than `floor_ms` from now on.
    pub(super) fn raise(&self, floor_ms: i64) {
        self.shown_ms.fetch_max(floor_ms, Ordering::SeqCst);
    }

    /// Moves to the wall clock's time, or stays; returns what it shows until the next call.
    pub(super) fn advance(&self) -> i64 {
        let wall_ms = self.wall.now_ms();
        self.shown_ms
            .fetch_max(wall_ms, Ordering::SeqCst)
            .max(wall_ms)
    }
}

pub(super) fn encode(shown_ms: i64) -> Bytes {
    Bytes::copy_from_slice(&shown_ms.to_be_bytes())
}

pub(super) fn decode(row: &Bytes) -> Result<i64, EngineError> {
    let bytes = row
        .as_ref()
        .try_into()
        .map_err(|error| EngineError::Damaged(Arc::new(error)))?;
    Ok(i64::from_be_bytes(bytes))
}

impl SystemClock for SessionClock {
    fn now(&self) -> DateTime<Utc> {
        let shown_ms = self.shown_ms.load(Ordering::SeqCst);
        DateTime::from_timestamp_millis(shown_ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn sleep<'a>(&'a self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn ticker<'a>(&'a self, duration: Duration) -> SystemClockTicker<'a> {
        SystemClockTicker::new(self, duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn never_falls_and_moves_only_when_told() {
        let clock = SessionClock::new(Clock::simulated(1_000));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(clock.now().timestamp_millis(), 1_000);
        assert_eq!(clock.advance(), 1_500);
        clock.raise(9_000);
        assert_eq!(
            clock.advance(),
            9_000,
            "the wall clock lags behind the newest row"
        );
        assert_eq!(decode(&encode(9_000)).unwrap(), 9_000);
        assert!(decode(&Bytes::from_static(b"short")).is_err());
    }
}
