//! The reading half: bytes of the socket become frames.
//!
//! The length prefix of a frame sizes nothing: a frame is charged to the memory budget and given room
//! in steps of [`STEP_BYTES`] as its bytes arrive. Where the budget has no room the socket is not read;
//! nothing is dropped. Frames that fit the read buffer are copied out of it, so that a small request
//! never pins a large buffer; larger ones are read from the socket straight into their own.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use floe_protocol::api::ApiKey;
use floe_protocol::frame;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::close::CloseCause;
use crate::dispatch::Frame;
use crate::memory::{MemoryBudget, MemoryPermit, STEP_BYTES, Share};

/// Read at once, if the socket has as much.
const BUFFER_BYTES: usize = 64 * 1024;

/// Length prefix and API key: what must be there before a frame is judged.
const HEAD_BYTES: usize = 6;

const LENGTH_BYTES: usize = 4;

/// Largest frame of any API but Produce.
pub(crate) const OTHER_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A started frame has this long in any case.
const FRAME_PATIENCE: Duration = Duration::from_secs(30);

/// Beyond that it must come at this rate.
const FRAME_BYTES_PER_SECOND_MIN: usize = 1024;

/// Limits of one connection that settings may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadLimits {
    /// Largest Produce frame in bytes.
    pub(crate) produce_frame_bytes_max: usize,
    /// A connection without requests is closed after this long; `None` for never.
    pub(crate) idle: Option<Duration>,
}

/// Cuts what a socket sends into frames.
pub(crate) struct FrameReader<'a> {
    stream: &'a TcpStream,
    memory: &'a MemoryBudget,
    limits: ReadLimits,
    /// Read and not yet cut; without memory of its own while it is empty and the client is silent.
    buffer: BytesMut,
}

/// Where and whose the next frame is.
struct Head {
    frame_bytes: usize,
    share: Share,
}

impl<'a> FrameReader<'a> {
    pub(crate) fn new(stream: &'a TcpStream, memory: &'a MemoryBudget, limits: ReadLimits) -> Self {
        Self {
            stream,
            memory,
            limits,
            buffer: BytesMut::new(),
        }
    }

    /// Reads the next frame. Cancel-safe only between frames: a cancelled read may lose the part of a
    /// large frame that came, so the connection must then be closed. Only the wait for a first byte,
    /// which ends in [`CloseCause::Idle`], may be repeated.
    pub(crate) async fn next(&mut self) -> Result<Frame, CloseCause> {
        let started = self.wait_for_start().await?;
        let head = self.head(started).await?;
        self.buffer.advance(LENGTH_BYTES);
        let waited_from = Instant::now();
        let first = head.frame_bytes.min(STEP_BYTES);
        let permit = match self.memory.try_reserve(head.share, first) {
            Some(permit) => permit,
            None => self.memory.reserve(head.share, first).await,
        };
        // Time spent waiting for our memory is not the client's.
        let started = started + waited_from.elapsed();
        if let Some(small) = self.buffer.get(..head.frame_bytes) {
            let bytes = Bytes::copy_from_slice(small);
            self.buffer.advance(head.frame_bytes);
            return Ok(Frame {
                bytes,
                permit,
                arrived: Instant::now(),
            });
        }
        self.large(&head, permit, started).await
    }

    /// Waits until at least one byte of the next frame is there.
    async fn wait_for_start(&mut self) -> Result<Instant, CloseCause> {
        while self.buffer.is_empty() {
            self.buffer.reserve(BUFFER_BYTES);
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(CloseCause::ByClient),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A silent connection holds no buffer.
                    self.buffer = BytesMut::new();
                    self.readable_within_idle().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Instant::now())
    }

    async fn readable_within_idle(&self) -> Result<(), CloseCause> {
        let Some(idle) = self.limits.idle else {
            return Ok(self.stream.readable().await?);
        };
        match timeout_at(Instant::now() + idle, self.stream.readable()).await {
            Ok(ready) => Ok(ready?),
            Err(_) => Err(CloseCause::Idle {
                seconds: idle.as_secs(),
            }),
        }
    }

    /// Reads until the head of a frame is in the buffer, and judges it.
    async fn head(&mut self, started: Instant) -> Result<Head, CloseCause> {
        loop {
            let length = frame::check_length(&self.buffer, self.limits.produce_frame_bytes_max)?;
            let key = self
                .buffer
                .get(LENGTH_BYTES..HEAD_BYTES)
                .and_then(|key| key.first_chunk());
            if let Some(frame_bytes) = length {
                if frame_bytes < HEAD_BYTES - LENGTH_BYTES {
                    return Err(CloseCause::FrameShorterThanHeader { bytes: frame_bytes });
                }
                if let Some(key) = key {
                    return self.judge(frame_bytes, i16::from_be_bytes(*key));
                }
            }
            let progress = Progress {
                frame_bytes: length.unwrap_or(0),
                started,
            };
            self.read_into_buffer(progress).await?;
        }
    }

    fn judge(&self, frame_bytes: usize, api_key: i16) -> Result<Head, CloseCause> {
        if api_key == ApiKey::Produce.to_wire() {
            return Ok(Head {
                frame_bytes,
                share: Share::Produce,
            });
        }
        if frame_bytes > OTHER_FRAME_BYTES_MAX {
            return Err(CloseCause::FrameTooLargeForApi {
                api_key,
                bytes: frame_bytes,
            });
        }
        Ok(Head {
            frame_bytes,
            share: Share::Requests,
        })
    }

    /// Reads a frame that is not in the buffer as a whole.
    async fn large(
        &mut self,
        head: &Head,
        mut permit: MemoryPermit,
        mut started: Instant,
    ) -> Result<Frame, CloseCause> {
        let mut body = Vec::with_capacity(head.frame_bytes.min(STEP_BYTES));
        body.extend_from_slice(&self.buffer);
        self.buffer = BytesMut::new();
        while body.len() < head.frame_bytes {
            if body.len() == body.capacity() {
                let waited_from = Instant::now();
                let step = (head.frame_bytes - body.len()).min(STEP_BYTES);
                self.memory.grow(head.share, &mut permit, step).await;
                started += waited_from.elapsed();
                body.reserve_exact(step);
            }
            let room = body.capacity().min(head.frame_bytes) - body.len();
            let progress = Progress {
                frame_bytes: head.frame_bytes,
                started,
            };
            let deadline = progress.received(body.len());
            let mut target = (&mut body).limit(room);
            read_some(self.stream, &mut target, &deadline).await?;
        }
        Ok(Frame {
            bytes: Bytes::from(body),
            permit,
            arrived: Instant::now(),
        })
    }

    async fn read_into_buffer(&mut self, progress: Progress) -> Result<(), CloseCause> {
        // Room for a whole read, so that small frames cost few system calls.
        self.buffer.reserve(BUFFER_BYTES);
        let deadline = progress.received(self.buffer.len());
        read_some(self.stream, &mut self.buffer, &deadline).await
    }
}

/// How far a started frame is.
struct Progress {
    frame_bytes: usize,
    started: Instant,
}

struct Deadline {
    frame_bytes: usize,
    received_bytes: usize,
    started: Instant,
    at: Instant,
}

impl Progress {
    fn received(self, received_bytes: usize) -> Deadline {
        let earned = received_bytes / FRAME_BYTES_PER_SECOND_MIN;
        let earned = Duration::from_secs(u64::try_from(earned).unwrap_or(u64::MAX));
        let Self {
            frame_bytes,
            started,
        } = self;
        let at = started + FRAME_PATIENCE.max(earned);
        Deadline {
            frame_bytes,
            received_bytes,
            started,
            at,
        }
    }
}

/// Reads what the socket has, at least one byte.
async fn read_some(
    stream: &TcpStream,
    target: &mut impl BufMut,
    deadline: &Deadline,
) -> Result<(), CloseCause> {
    let Deadline {
        frame_bytes,
        received_bytes,
        started,
        at,
    } = *deadline;
    loop {
        match stream.try_read_buf(target) {
            Ok(0) => {
                return Err(CloseCause::WithinFrame {
                    received_bytes,
                    frame_bytes,
                });
            }
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        }
        match timeout_at(at, stream.readable()).await {
            Ok(ready) => ready?,
            Err(_) => {
                let seconds = started.elapsed().as_secs();
                return Err(CloseCause::TooSlow {
                    received_bytes,
                    frame_bytes,
                    seconds,
                });
            }
        }
    }
}
