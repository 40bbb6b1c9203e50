//! The ordered, fenced key-value store under the sequencer: a small contract that all engines keep.
//!
//! ```text
//!            acquire(expected 6) = epoch 7                 acquire(expected 7) = epoch 8
//! epoch 6 ───────────────────────┤fence                            │
//! epoch 7                        └─ submit a, b, c … durable a, b ─┤fence (c lands before it or never)
//! epoch 8                                                          └─ sees a, b and, if it landed, c
//! ```
//!
//! - **Order.** Batches take effect in the order they are submitted; each wholly or not at all. When
//!   one is durable, all before it are (prefix durability).
//! - **Fence.** Once an epoch is acquired nothing of an older session takes effect, for ever; the new
//!   session sees everything that did.
//! - **Any error ends a session.** What was under way is unknown until the next session reads it.
//!   Fenced or lost means: stop at once, answer nobody.
//!
//! [`conformance`] states the contract as tests; it runs against every engine.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

#[cfg(test)]
pub(crate) mod conformance;
pub mod memory;
pub mod postgres;
pub mod slatedb;

/// A key and its new value; `None` deletes the row. Keys are never empty.
pub type RowChange = (Bytes, Option<Bytes>);

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// A store that at most one process owns at a time.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// The epoch of the newest owner, 0 when there never was one.
    ///
    /// # Errors
    /// `Unavailable` and `Damaged`; asking has no effect.
    async fn epoch(&self) -> Result<u64, EngineError>;

    /// Becomes the owner of epoch `expected_epoch + 1` and fences all older sessions, provided that
    /// the newest epoch is `expected_epoch`.
    ///
    /// # Errors
    /// [`EngineError::UnexpectedEpoch`] without effect; after `Unavailable` the epoch may be taken.
    async fn acquire(&self, expected_epoch: u64) -> Result<Arc<dyn Session>, EngineError>;

    /// Whether it lies outside of the cluster's store, so that somebody can set one back without the other.
    fn is_apart(&self) -> bool;

    /// The rows of a half-open range of keys in order, all of one moment, without being the owner or
    /// disturbing it. Nothing when there never was one. What was durable before this call shows.
    ///
    /// # Errors
    /// Any ends the stream. A busy owner may tidy up what is being looked at: then it is `Unavailable`
    /// and may be asked for again.
    fn look(&self, range: Range<Bytes>) -> BoxStream<'_, Result<Row, EngineError>>;
}

/// Ownership of an engine, until it is fenced, lost or released.
#[async_trait]
pub trait Session: fmt::Debug + Send + Sync + 'static {
    /// The epoch of this ownership.
    fn epoch(&self) -> u64;

    /// Hands over a batch, of which a later change of a key overrides an earlier one. Takes effect
    /// after all batches submitted before it; any number may be under way. The answer is to be
    /// awaited, but the batch does not depend on it. An empty batch is durable when all before it are.
    fn submit(&self, batch: Vec<RowChange>) -> Durable;

    /// The value of a row, with all batches submitted before this call applied.
    ///
    /// # Errors
    /// Any ends the session.
    async fn get(&self, key: &Bytes) -> Result<Option<Bytes>, EngineError>;

    /// The rows of a half-open range of keys in order, with all batches submitted before this call
    /// applied and durable; batches submitted later may or may not show.
    ///
    /// # Errors
    /// Any ends the stream and the session.
    fn scan(&self, range: Range<Bytes>) -> BoxStream<'_, Result<Row, EngineError>>;

    /// Proves that no newer owner existed when this was called.
    ///
    /// # Errors
    /// Any ends the session.
    async fn barrier(&self) -> Result<(), EngineError>;

    /// Makes everything submitted durable and lets go. Calls made later fail with `Closed`.
    ///
    /// # Errors
    /// As for a batch; the session ends in any case.
    async fn release(&self) -> Result<(), EngineError>;
}

/// The answer to come whether a batch is durable. Dropping it changes nothing for the batch.
pub struct Durable(BoxFuture<'static, Result<(), EngineError>>);

impl Durable {
    /// The answer `outcome` will give.
    pub fn new(outcome: impl Future<Output = Result<(), EngineError>> + Send + 'static) -> Self {
        Self(Box::pin(outcome))
    }
}

impl Future for Durable {
    type Output = Result<(), EngineError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Durable")
    }
}

/// Why a session, or an attempt to get one, failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// Another owner has acquired a newer epoch. Nothing of this session takes effect any more.
    #[error("fenced by a newer owner")]
    Fenced,
    /// The newest epoch is not the expected one; nothing happened.
    #[error("the engine's epoch is not {expected}")]
    UnexpectedEpoch {
        /// The epoch the caller expected.
        expected: u64,
    },
    /// The engine cannot be reached or gave up. Whether what was under way took effect is unknown:
    /// acquire the next epoch and look.
    #[error("the metadata engine is unavailable{}", cause(.0.as_deref()))]
    Unavailable(#[source] Option<Arc<dyn Error + Send + Sync>>),
    /// What is stored is not what was written, or was written by something newer. Stop and keep it
    /// as it is.
    #[error("the metadata engine's data is damaged or of another version{}", cause(Some(&**.0)))]
    Damaged(#[source] Arc<dyn Error + Send + Sync>),
    /// The engine is there and must not be used as it is set up. Nothing happened; the message says
    /// what to do.
    #[error("{0}")]
    Refused(#[source] Arc<dyn Error + Send + Sync>),
    /// The session was released.
    #[error("the session was released")]
    Closed,
}

/// The whole chain of causes, for people.
fn cause(error: Option<&(dyn Error + Send + Sync + 'static)>) -> String {
    let mut text = String::new();
    let mut next: Option<&(dyn Error + 'static)> = error.map(|error| error as _);
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}
