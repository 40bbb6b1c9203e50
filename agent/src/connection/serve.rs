//! The life of one connection: both halves in one task, so that neither waits for the other and no
//! wake-up goes from task to task.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Connection;
use super::close::{self, CloseCause};
use super::reader::{FrameReader, ReadLimits};
use super::writer::AnswerWriter;
use crate::broker::Broker;
use crate::dispatch::{Dispatched, Frame, dispatch};

/// How long a closed connection is still read, so that the last answers are not lost to a reset.
const LINGER: Duration = Duration::from_millis(250);

/// Bytes that are taken before other tasks of the thread get their turn.
const TURN_BYTES: usize = 512 * 1024;

/// What a frame counts for beside its bytes.
const FRAME_COST_BYTES: usize = 4 * 1024;

/// Serves a connection until it ends, by either side.
pub(crate) async fn serve(
    broker: Arc<Broker>,
    connection: Arc<Connection>,
    stream: TcpStream,
    stopping: CancellationToken,
) {
    let cause = run(&broker, &connection, &stream, &stopping).await;
    close::report(&broker, &connection, &cause);
    if !matches!(cause, CloseCause::ByClient | CloseCause::Socket(_)) {
        linger(stream).await;
    }
}

async fn run(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    stream: &TcpStream,
    stopping: &CancellationToken,
) -> CloseCause {
    let limits = ReadLimits {
        produce_frame_bytes_max: broker.limits.frame_bytes_max,
        idle: broker.limits.idle,
    };
    let mut reader = FrameReader::new(stream, &broker.memory, limits);
    let mut writer = AnswerWriter::new(stream);
    let mut stopped = std::pin::pin!(stopping.cancelled());
    let mut turn_bytes = 0;
    loop {
        let frame = tokio::select! {
            biased;
            () = &mut stopped => return finish(&mut writer).await,
            cause = writer.run() => return cause,
            frame = reader.next() => frame,
        };
        let outcome = match frame {
            Ok(frame) => {
                turn_bytes += frame.bytes.len() + FRAME_COST_BYTES;
                take(broker, connection, &mut writer, frame).await
            }
            // Silence while answers are under way is patience, not idleness.
            Err(CloseCause::Idle { .. }) if !writer.is_idle() => Ok(()),
            // What was asked before is still answered: the client may have closed its half only.
            Err(cause) => return finish_before(&mut writer, cause).await,
        };
        if let Err(cause) = outcome {
            return cause;
        }
        if turn_bytes >= TURN_BYTES {
            // A client that always has more to say must not keep the thread to itself.
            turn_bytes = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Gives a frame to its handler and its answer to the writer, which goes on writing meanwhile.
async fn take(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    writer: &mut AnswerWriter<'_>,
    frame: Frame,
) -> Result<(), CloseCause> {
    let dispatched = tokio::select! {
        biased;
        cause = writer.run() => return Err(cause),
        dispatched = dispatch(broker, connection, frame) => dispatched,
    };
    match dispatched {
        Dispatched::Ready(answer) => writer.push_ready(answer),
        Dispatched::Waiting(answer) => writer.push_later(answer),
    }
    if writer.has_room() {
        Ok(())
    } else {
        writer.run_until(AnswerWriter::has_room).await
    }
}

/// Writes the answers that are under way, then ends.
async fn finish(writer: &mut AnswerWriter<'_>) -> CloseCause {
    finish_before(writer, CloseCause::Stopping).await
}

async fn finish_before(writer: &mut AnswerWriter<'_>, cause: CloseCause) -> CloseCause {
    if writer.is_idle() {
        return cause;
    }
    match writer.run_until(AnswerWriter::is_idle).await {
        Ok(()) => cause,
        Err(other) => other,
    }
}

/// Closes our half and reads what still comes for a moment: a socket closed with unread bytes is reset,
/// and a reset may destroy answers the client has not read yet.
async fn linger(stream: TcpStream) {
    let deadline = Instant::now() + LINGER;
    let mut stream = stream;
    if tokio::io::AsyncWriteExt::shutdown(&mut stream)
        .await
        .is_err()
    {
        return;
    }
    let mut rest = vec![0; 16 * 1024];
    loop {
        match stream.try_read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        if !matches!(timeout_at(deadline, stream.readable()).await, Ok(Ok(()))) {
            return;
        }
    }
}
