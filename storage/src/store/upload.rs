//! One object of unknown length, written front to back with bounded memory. What is smaller than a part
//! leaves as one create-only PUT; the rest as a multipart upload, whose parts are all of one size but
//! the last, as some stores want it.
//!
//! ```text
//! write ─▶ part that fills ─▶ parts under way, few ─▶ complete
//! ```
//!
//! A name that is never used twice is the caller's part: a multipart upload does not ask whether the name
//! is free, and one that failed may still appear. Whoever failed starts over under another name.

use std::fmt;

use bytes::{Bytes, BytesMut};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};
use tokio::task::JoinSet;

use super::{Caller, Created, Store, StoreError};
use crate::error::{Fault, StoreErrorKind};

/// How an object is cut into parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UploadOptions {
    /// Bytes of each part but the last. Default 8 MiB: stores want 5 MiB at least and 10,000 parts at most.
    pub part_bytes: usize,
    /// Parts under way at once, at least 1. Default 2: with the one that fills, three parts of memory.
    pub parts_at_once: usize,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            part_bytes: 8 << 20,
            parts_at_once: 2,
        }
    }
}

/// An object under construction. Dropped, it leaves at most parts that no listing shows.
pub struct Upload {
    store: Store,
    path: Path,
    caller: Caller,
    options: UploadOptions,
    /// The part that fills; never longer than a part.
    filling: BytesMut,
    multipart: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<object_store::Result<()>>,
    size_bytes: u64,
    buffered_bytes_max: usize,
}

impl Upload {
    /// An empty object at `path`; sends nothing yet.
    ///
    /// # Panics
    /// When `options` have no part or no room for one.
    #[must_use]
    pub fn new(store: Store, path: Path, caller: Caller, options: UploadOptions) -> Self {
        assert!(
            options.part_bytes > 0 && options.parts_at_once > 0,
            "an upload needs parts"
        );
        Self {
            store,
            path,
            caller,
            options,
            filling: BytesMut::new(),
            multipart: None,
            parts: JoinSet::new(),
            size_bytes: 0,
            buffered_bytes_max: 0,
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The most bytes that were held at once: parts under way and the one that fills.
    #[must_use]
    pub const fn buffered_bytes_max(&self) -> usize {
        self.buffered_bytes_max
    }

    /// Appends a copy of `bytes`; waits while enough parts are under way.
    ///
    /// # Errors
    /// A part failed; [`Self::abort`] and start over.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.size_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            // Only when more is known to follow: the last part is sent by `finish`, alone if it is all.
            if self.filling.len() == self.options.part_bytes {
                self.send().await?;
            }
            if self.filling.capacity() == 0 {
                self.filling.reserve(self.options.part_bytes);
            }
            let room = self.options.part_bytes - self.filling.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
        }
        let under_way = self.parts.len() * self.options.part_bytes;
        self.buffered_bytes_max = self.buffered_bytes_max.max(under_way + self.filling.len());
        Ok(())
    }

    /// Makes the object visible; returns its size in bytes.
    ///
    /// # Errors
    /// Whether the object is there, or will be, is not known unless the error says that it did not happen.
    pub async fn finish(mut self) -> Result<u64, StoreError> {
        if self.multipart.is_none() {
            return self.put().await;
        }
        let finished = self.complete().await;
        if finished.is_err() {
            self.abort().await;
        }
        finished
    }

    /// Gives up. Best effort: what is left of an upload that cannot be aborted is never visible, and the
    /// store's own rule for abandoned uploads removes it.
    pub async fn abort(mut self) {
        self.parts.shutdown().await;
        if let Some(mut multipart) = self.multipart.take()
            && let Err(error) = multipart.abort().await
        {
            tracing::debug!(path = %self.path, %error, "an upload could not be aborted");
        }
    }

    async fn put(self) -> Result<u64, StoreError> {
        let body = self.filling.freeze();
        match self
            .store
            .put_create(&self.path, vec![body], self.caller)
            .await?
        {
            Created::New => Ok(self.size_bytes),
            Created::Existed => Err(StoreError::of_fault(
                "upload",
                self.path.as_ref(),
                Fault::without_effect(StoreErrorKind::AlreadyExists, "the name is taken"),
            )),
        }
    }

    async fn complete(&mut self) -> Result<u64, StoreError> {
        if !self.filling.is_empty() {
            self.send().await?;
        }
        while !self.parts.is_empty() {
            self.part_ended().await?;
        }
        let Some(multipart) = &mut self.multipart else {
            return Err(self.failed(lost("there is no upload to complete")));
        };
        match multipart.complete().await {
            Ok(_) => Ok(self.size_bytes),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Sends the part that fills.
    async fn send(&mut self) -> Result<(), StoreError> {
        while self.parts.len() >= self.options.parts_at_once {
            self.part_ended().await?;
        }
        let part: Bytes = std::mem::take(&mut self.filling).freeze();
        let mut multipart = match self.multipart.take() {
            Some(multipart) => multipart,
            None => {
                let stack = self.store.stack(self.caller);
                let started = stack.put_multipart(&self.path).await;
                started.map_err(|error| self.failed(error))?
            }
        };
        // On a task of its own: a part goes on, and its time runs, only while it is polled.
        self.parts.spawn(multipart.put_part(part.into()));
        self.multipart = Some(multipart);
        Ok(())
    }

    async fn part_ended(&mut self) -> Result<(), StoreError> {
        match self.parts.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(self.failed(error)),
            Some(Err(error)) => Err(self.failed(lost(&error.to_string()))),
        }
    }

    fn failed(&self, error: object_store::Error) -> StoreError {
        StoreError::new("upload", self.path.as_ref(), error)
    }
}

fn lost(message: &str) -> object_store::Error {
    Fault::unknown(StoreErrorKind::Other, message).into()
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({}, {} bytes)", self.path, self.size_bytes)
    }
}
