//! A client's connection without a socket: the simulation hands frames to the same dispatch that the
//! sockets' connections use, and gets the same bytes back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::time::Instant;

use crate::broker::{Broker, Endpoint};
use crate::config::DEFAULT_LISTENER;
use crate::connection::Connection;
use crate::dispatch::{Answer, Dispatched, Frame, dispatch};
use crate::memory::Share;

/// One connection. Requests sent on it take effect in the order of sending.
#[derive(Debug)]
pub struct Loopback {
    broker: Arc<Broker>,
    connection: Arc<Connection>,
    /// Whether an answer has closed it.
    closed: Arc<AtomicBool>,
}

impl Loopback {
    /// Connects to `broker`. `id` must not be that of another connection.
    #[must_use]
    pub fn connect(broker: &Arc<Broker>, id: u64) -> Self {
        let endpoint = Endpoint {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: 9092,
        };
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let listener = Arc::from(DEFAULT_LISTENER);
        let connection = Arc::new(Connection::new(id, peer, Arc::new(endpoint), listener));
        Self {
            broker: Arc::clone(broker),
            connection,
            closed: Arc::default(),
        }
    }

    /// Hands in one frame without its length prefix. When this resolves, the request has taken effect
    /// in its turn; what it resolves to waits for the answer with its length prefix, `None` if there is none
    /// or the connection is closed instead. Wait for answers in the order of the requests.
    pub async fn send(
        &self,
        frame: Bytes,
    ) -> impl Future<Output = Option<Vec<Bytes>>> + Send + use<> {
        let permit = self
            .broker
            .memory
            .reserve(Share::Produce, frame.len())
            .await;
        let frame = Frame {
            bytes: frame,
            permit,
            arrived: Instant::now(),
        };
        let dispatched = dispatch(&self.broker, &self.connection, frame).await;
        let closed = Arc::clone(&self.closed);
        async move {
            let answer = match dispatched {
                Dispatched::Ready(answer) => answer,
                Dispatched::Waiting(answer) => answer.await,
            };
            if closed.load(Ordering::Relaxed) {
                return None;
            }
            match answer {
                Answer::Frame(chunks) => Some(chunks),
                Answer::Silent => None,
                Answer::Last(chunks, _) => {
                    closed.store(true, Ordering::Relaxed);
                    Some(chunks)
                }
                Answer::Close(_) => {
                    closed.store(true, Ordering::Relaxed);
                    None
                }
            }
        }
    }
}
