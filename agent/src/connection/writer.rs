//! The writing half: answers leave in the order of their requests, as few system calls as possible.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures::stream::FuturesOrdered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::close::CloseCause;
use crate::dispatch::{Answer, AnswerFuture};

/// Requests of one connection that may be under way; then it is not read. Stock clients keep 5.
pub(crate) const IN_FLIGHT_MAX: usize = 64;

/// Pieces of one write.
const PIECES_MAX: usize = 64;

/// No further answer is taken up while this much waits for the socket.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// A client that takes nothing for this long has given up on its answers: twice the longest default
/// request timeout of the known clients (librdkafka, 60 s).
const WRITE_PATIENCE: Duration = Duration::from_secs(120);

/// Answers on their way to one client.
pub(crate) struct AnswerWriter<'a> {
    stream: &'a TcpStream,
    answers: FuturesOrdered<Waiting>,
    /// What is to be written next, in order; no piece is empty.
    pieces: VecDeque<Bytes>,
    pieces_bytes: usize,
    /// Set by an answer that closes the connection; nothing after it is taken up.
    close: Option<CloseCause>,
}

/// An answer's place in the order.
enum Waiting {
    Ready(Option<Answer>),
    Later(AnswerFuture),
}

impl Future for Waiting {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        match &mut *self {
            // Polled to its end once, as the contract of futures has it; silence is harmless.
            Self::Ready(answer) => Poll::Ready(answer.take().unwrap_or(Answer::Silent)),
            Self::Later(future) => future.as_mut().poll(context),
        }
    }
}

impl<'a> AnswerWriter<'a> {
    pub(crate) fn new(stream: &'a TcpStream) -> Self {
        Self {
            stream,
            answers: FuturesOrdered::new(),
            pieces: VecDeque::new(),
            pieces_bytes: 0,
            close: None,
        }
    }

    /// Whether another request may be taken up.
    pub(crate) fn has_room(&self) -> bool {
        self.answers.len() < IN_FLIGHT_MAX && self.close.is_none()
    }

    /// Whether every answer has been written.
    pub(crate) fn is_idle(&self) -> bool {
        self.answers.is_empty() && self.pieces.is_empty() && self.close.is_none()
    }

    /// Puts an answer that is ready at its place in the order.
    pub(crate) fn push_ready(&mut self, answer: Answer) {
        if self.answers.is_empty() && self.close.is_none() {
            self.take_up(answer);
        } else {
            self.answers.push_back(Waiting::Ready(Some(answer)));
        }
    }

    /// Puts an answer that is being worked on at its place in the order.
    pub(crate) fn push_later(&mut self, answer: AnswerFuture) {
        self.answers.push_back(Waiting::Later(answer));
    }

    fn take_up(&mut self, answer: Answer) {
        let pieces = match answer {
            Answer::Frame(pieces) => pieces,
            Answer::Last(pieces, cause) => {
                self.close = Some(cause);
                pieces
            }
            Answer::Silent => return,
            Answer::Close(cause) => {
                self.close = Some(cause);
                return;
            }
        };
        for piece in pieces {
            self.pieces_bytes += piece.len();
            if !piece.is_empty() {
                self.pieces.push_back(piece);
            }
        }
    }

    /// Writes answers as they become ready; returns only when the connection must be closed. All state
    /// is in the writer: cancel-safe.
    pub(crate) async fn run(&mut self) -> CloseCause {
        loop {
            if let Err(cause) = self.run_until(|_| false).await {
                return cause;
            }
        }
    }

    /// Writes answers until `enough` says so. Cancel-safe.
    pub(crate) async fn run_until(
        &mut self,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<(), CloseCause> {
        loop {
            self.take_up_ready();
            if enough(self) {
                return Ok(());
            }
            if !self.pieces.is_empty() {
                self.write_some().await?;
            } else if let Some(cause) = self.close.take() {
                return Err(cause);
            } else {
                let answer = self.next_answer().await;
                self.take_up(answer);
            }
        }
    }

    /// Takes up the answers that are ready now, so that one write carries them all.
    fn take_up_ready(&mut self) {
        while self.close.is_none() && self.pieces_bytes < WAITING_BYTES_MAX {
            let Some(Some(answer)) = self.answers.next().now_or_never() else {
                return;
            };
            self.take_up(answer);
        }
    }

    /// Waits for the next answer, for ever if none is under way.
    async fn next_answer(&mut self) -> Answer {
        match self.answers.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Writes some of what waits, at least one byte.
    async fn write_some(&mut self) -> Result<(), CloseCause> {
        let deadline = Instant::now() + WRITE_PATIENCE;
        loop {
            let mut slices = [IoSlice::new(&[]); PIECES_MAX];
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
            }
            let count = self.pieces.len().min(PIECES_MAX);
            match self
                .stream
                .try_write_vectored(slices.get(..count).unwrap_or_default())
            {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => {
                    self.advance(written);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            match timeout_at(deadline, self.stream.writable()).await {
                Ok(ready) => ready?,
                Err(_) => {
                    return Err(CloseCause::NotReading {
                        seconds: WRITE_PATIENCE.as_secs(),
                    });
                }
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.pieces_bytes -= written;
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn nothing_is_written_behind_a_last_answer() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (client, accepted) = tokio::join!(
            TcpStream::connect(listener.local_addr().unwrap()),
            listener.accept()
        );
        let (mut client, stream) = (client.unwrap(), accepted.unwrap().0);
        let mut writer = AnswerWriter::new(&stream);
        let frame = |text: &'static str| vec![Bytes::from_static(text.as_bytes())];
        writer.push_ready(Answer::Frame(frame("one ")));
        writer.push_later(Box::pin(async move {
            Answer::Last(frame("last"), CloseCause::ProduceUndecided)
        }));
        writer.push_ready(Answer::Frame(frame("too late")));
        let cause = writer.run().await;
        assert!(matches!(cause, CloseCause::ProduceUndecided), "{cause}");
        drop(stream);
        let mut written = String::new();
        client.read_to_string(&mut written).await.unwrap();
        assert_eq!(written, "one last");
    }
}
