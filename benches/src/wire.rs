//! A connection in Kafka's protocol that sends requests ahead of their answers, for loads that no client library makes:
//! thousands of members, or one request of one kind as often as it goes.

use std::collections::VecDeque;
use std::net::SocketAddr;

use floe_protocol::messages::Request;
use floe_tests::raw;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// One connection.
#[derive(Debug)]
pub struct Wire {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    next: i32,
    /// Correlation ids and versions of what is under way.
    asked: VecDeque<(i32, i16)>,
}

impl Wire {
    /// Connects.
    ///
    /// # Panics
    ///
    /// If nobody listens: a benchmark ends there.
    pub async fn connect(address: SocketAddr) -> Wire {
        let socket = TcpStream::connect(address).await;
        let socket = socket.unwrap_or_else(|why| panic!("{address}: {why}"));
        socket.set_nodelay(true).ok();
        let (reader, writer) = socket.into_split();
        Wire {
            reader: BufReader::new(reader),
            writer,
            next: 0,
            asked: VecDeque::new(),
        }
    }

    /// Sends a request; its answer is the next one for which there is none yet.
    ///
    /// # Panics
    ///
    /// If the broker has closed the connection.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.next += 1;
        let body = raw::encode(self.next, version, request);
        let mut frame = u32::try_from(body.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes()
            .to_vec();
        frame.extend_from_slice(&body);
        let sent = self.writer.write_all(&frame).await;
        sent.unwrap_or_else(|why| panic!("a request is not taken: {why}"));
        self.asked.push_back((self.next, version));
    }

    /// The answer to the oldest request without one, which must be of this kind.
    ///
    /// # Panics
    ///
    /// If the broker closes the connection instead.
    pub async fn receive<R: Request>(&mut self) -> R::Response {
        let (id, version) = self
            .asked
            .pop_front()
            .unwrap_or_else(|| panic!("nothing was asked"));
        let read = async {
            let length = self.reader.read_u32().await?;
            let mut body = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            self.reader.read_exact(&mut body).await?;
            Ok::<_, std::io::Error>(body)
        };
        let body = read.await.unwrap_or_else(|why| panic!("no answer: {why}"));
        raw::decode::<R>(id, version, body.into())
    }

    /// One request and its answer.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request).await;
        self.receive::<R>().await
    }
}
