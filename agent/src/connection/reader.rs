//! The reading half: bytes of the socket become frames.
//!
//! The length prefix of a frame sizes nothing. A frame that is not there as a whole is charged to the
//! memory budget as its bytes arrive, never much more than what was sent, and room for it is made in
//! steps of [`STEP_BYTES`]. Where the budget has no room the socket is not read; nothing is dropped.
//!
//! Frames that fit the read buffer are copied out of it, so that a small request never pins a large
//! buffer; larger ones are read from the socket straight into their own. A small request other than
//! Produce is handled at once and gone: it is not charged, so that heartbeats get through whatever
//! others hold.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use floe_protocol::api::ApiKey;
use floe_protocol::frame::{self, LENGTH_BYTES};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::close::CloseCause;
use crate::dispatch::Frame;
use crate::memory::{MemoryBudget, MemoryPermit, STEP_BYTES, Share};

/// Read at once, if the socket has as much.
const BUFFER_BYTES: usize = 64 * 1024;

/// Length prefix and API key: what must be there before a frame is judged.
const HEAD_BYTES: usize = LENGTH_BYTES + 2;

/// Least that a frame under way is charged, and most that it is charged ahead of its bytes.
const CHARGE_BYTES_MIN: usize = 4 * 1024;

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

/// A frame that has begun.
struct Begun {
    /// Its length, without the prefix; 0 while the prefix is not there.
    frame_bytes: usize,
    share: Share,
    /// When its first byte came; later by the time it waited for our memory.
    started: Instant,
    permit: MemoryPermit,
    charged_bytes: usize,
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
        self.wait_for_start().await?;
        let mut begun = self.head().await?;
        if self.buffer.len() >= begun.frame_bytes {
            return self.whole(begun).await;
        }
        self.charge(&mut begun, self.buffer.len()).await;
        if begun.frame_bytes > BUFFER_BYTES {
            return self.large(begun).await;
        }
        while self.buffer.len() < begun.frame_bytes {
            self.charge(&mut begun, self.buffer.len()).await;
            self.read_into_buffer(&begun).await?;
        }
        self.whole(begun).await
    }

    /// Waits until at least one byte of the next frame is there.
    async fn wait_for_start(&mut self) -> Result<(), CloseCause> {
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
        Ok(())
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

    /// Reads until the head of a frame is there, judges it, and takes the length off the buffer.
    async fn head(&mut self) -> Result<Begun, CloseCause> {
        let mut begun = Begun {
            frame_bytes: 0,
            share: Share::Requests,
            started: Instant::now(),
            permit: MemoryPermit::empty(),
            charged_bytes: 0,
        };
        loop {
            let length = frame::check_length(&self.buffer, self.limits.produce_frame_bytes_max)?;
            if let Some(frame_bytes) = length {
                begun.frame_bytes = frame_bytes;
                if frame_bytes < HEAD_BYTES - LENGTH_BYTES {
                    return Err(CloseCause::FrameShorterThanHeader { bytes: frame_bytes });
                }
            }
            let key = self.buffer.get(LENGTH_BYTES..HEAD_BYTES);
            if let Some(key) = key.and_then(|key| key.first_chunk()) {
                begun.share = judge(begun.frame_bytes, i16::from_be_bytes(*key))?;
                self.buffer.advance(LENGTH_BYTES);
                return Ok(begun);
            }
            self.read_into_buffer(&begun).await?;
        }
    }

    /// Charges a frame of which `received_bytes` are there for those and the next read.
    async fn charge(&self, begun: &mut Begun, received_bytes: usize) {
        let ahead = received_bytes.clamp(CHARGE_BYTES_MIN, STEP_BYTES);
        self.charge_up_to(begun, received_bytes.saturating_add(ahead))
            .await;
    }

    async fn charge_up_to(&self, begun: &mut Begun, bytes: usize) {
        let bytes = bytes.min(begun.frame_bytes);
        let more = bytes.saturating_sub(begun.charged_bytes);
        if more == 0 {
            return;
        }
        let waited_from = Instant::now();
        if begun.charged_bytes == 0 {
            begun.permit = match self.memory.try_reserve(begun.share, more) {
                Some(permit) => permit,
                None => self.memory.reserve(begun.share, more).await,
            };
        } else {
            self.memory.grow(begun.share, &mut begun.permit, more).await;
        }
        begun.charged_bytes = bytes;
        // Time spent waiting for our memory is not the client's.
        begun.started += waited_from.elapsed();
    }

    /// Takes a frame that is in the buffer as a whole.
    async fn whole(&mut self, mut begun: Begun) -> Result<Frame, CloseCause> {
        if begun.share == Share::Produce {
            let frame_bytes = begun.frame_bytes;
            self.charge_up_to(&mut begun, frame_bytes).await;
        }
        let bytes =
            Bytes::copy_from_slice(self.buffer.get(..begun.frame_bytes).unwrap_or_default());
        self.buffer.advance(begun.frame_bytes);
        Ok(Frame {
            bytes,
            permit: begun.permit,
            arrived: Instant::now(),
        })
    }

    /// Reads a frame that is larger than the buffer into memory of its own.
    async fn large(&mut self, mut begun: Begun) -> Result<Frame, CloseCause> {
        let frame_bytes = begun.frame_bytes;
        // Room that is not yet written to costs nothing: only what arrives is charged.
        let mut body = Vec::with_capacity(frame_bytes.min(STEP_BYTES));
        body.extend_from_slice(&self.buffer);
        self.buffer = BytesMut::new();
        while body.len() < frame_bytes {
            self.charge(&mut begun, body.len()).await;
            if body.len() == body.capacity() {
                body.reserve_exact((frame_bytes - body.len()).min(STEP_BYTES));
            }
            let room = body.capacity().min(begun.charged_bytes) - body.len();
            let received_bytes = body.len();
            let mut target = (&mut body).limit(room);
            read_some(self.stream, &mut target, &begun, received_bytes).await?;
        }
        Ok(Frame {
            bytes: Bytes::from(body),
            permit: begun.permit,
            arrived: Instant::now(),
        })
    }

    async fn read_into_buffer(&mut self, begun: &Begun) -> Result<(), CloseCause> {
        // Room for a whole read, so that small frames cost few system calls.
        self.buffer.reserve(BUFFER_BYTES);
        let received_bytes = self.buffer.len();
        read_some(self.stream, &mut self.buffer, begun, received_bytes).await
    }
}

/// Whose memory a frame takes.
fn judge(frame_bytes: usize, api_key: i16) -> Result<Share, CloseCause> {
    if api_key == ApiKey::Produce.to_wire() {
        return Ok(Share::Produce);
    }
    if frame_bytes > frame::OTHER_FRAME_BYTES_MAX {
        return Err(CloseCause::FrameTooLargeForApi {
            api_key,
            bytes: frame_bytes,
        });
    }
    Ok(Share::Requests)
}

/// When a frame of which `received_bytes` are there has come too slowly.
fn deadline(started: Instant, received_bytes: usize) -> Instant {
    let earned = received_bytes / FRAME_BYTES_PER_SECOND_MIN;
    let earned = Duration::from_secs(u64::try_from(earned).unwrap_or(u64::MAX));
    started + FRAME_PATIENCE.max(earned)
}

/// Reads what the socket has of a frame that has begun, at least one byte.
async fn read_some(
    stream: &TcpStream,
    target: &mut impl BufMut,
    begun: &Begun,
    received_bytes: usize,
) -> Result<(), CloseCause> {
    let frame_bytes = begun.frame_bytes;
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
        let end = deadline(begun.started, received_bytes);
        match timeout_at(end, stream.readable()).await {
            Ok(ready) => ready?,
            Err(_) => {
                return Err(CloseCause::TooSlow {
                    received_bytes,
                    frame_bytes,
                    seconds: begun.started.elapsed().as_secs(),
                });
            }
        }
    }
}
