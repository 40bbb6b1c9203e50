//! A client's end of a connection: encodes requests, hands them to the agent's dispatch, decodes answers.
//! Everything of the real path runs but the socket.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use floe_agent::broker::Broker;
use floe_agent::loopback::Loopback;
use floe_protocol::api::ApiKey;
use floe_protocol::budget::Budget;
use floe_protocol::decoder::Decoder;
use floe_protocol::encoder::Encoder;
use floe_protocol::header::{RequestHeader, decode_response_header};
use floe_protocol::messages::{Message, Request};
use rand::Rng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

/// The connection ended without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

/// One connection to an agent, without a socket.
#[derive(Debug)]
pub struct Link {
    loopback: Loopback,
    /// The process at the other end died.
    dead: CancellationToken,
    next_correlation_id: i32,
}

impl Link {
    /// Connects to a process that dies with `dead`.
    #[must_use]
    pub fn new(broker: &Arc<Broker>, dead: CancellationToken, id: u64) -> Self {
        Self {
            loopback: Loopback::connect(broker, id),
            dead,
            next_correlation_id: 0,
        }
    }

    /// Sends a request; when this resolves it has taken effect in its turn. The answer comes later.
    pub async fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> impl Future<Output = Result<R::Response, Closed>> + Send + use<R> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1);
        let frame = encode(correlation_id, version, request);
        let taken = self
            .dead
            .run_until_cancelled(self.loopback.send(frame))
            .await;
        let dead = self.dead.clone();
        async move {
            let answer = taken.ok_or(Closed)?;
            let chunks = dead
                .run_until_cancelled(answer)
                .await
                .flatten()
                .ok_or(Closed)?;
            Ok(decode::<R>(correlation_id, version, &chunks))
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The agent closed the connection.
    pub async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, Closed> {
        self.send(version, request).await.await
    }
}

fn encode<R: Request>(correlation_id: i32, version: i16, request: &R) -> Bytes {
    let header = RequestHeader {
        api_key: R::KEY.to_wire(),
        api_version: version,
        correlation_id,
        client_id: Some("simulation".into()),
    };
    let mut encoder = Encoder::new();
    header
        .encode(&mut encoder)
        .expect("a header can be written");
    request
        .encode(&mut encoder, version)
        .expect("a request can be written");
    encoder.into_body()
}

fn decode<R: Request>(correlation_id: i32, version: i16, chunks: &[Bytes]) -> R::Response {
    let frame = Bytes::from(chunks.concat()).slice(4..);
    let budget = Budget::of_bytes(usize::MAX);
    let mut decoder = Decoder::new(frame, budget);
    let found = decode_response_header(&mut decoder, R::KEY, version).expect("a response header");
    assert_eq!(
        found, correlation_id,
        "answers come in the order of requests"
    );
    R::Response::decode(&mut decoder, version).expect("a response of its version")
}

/// A version that some client could speak.
#[must_use]
pub fn any_version(api: ApiKey, random: &mut StdRng) -> i16 {
    random.random_range(api.decodable_versions())
}
