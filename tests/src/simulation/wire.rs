//! A client's end of a connection: encodes requests, hands them to the agent's dispatch, decodes answers.
//! Everything of the real path runs but the socket.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use floe_agent::broker::Broker;
use floe_agent::loopback::Loopback;
use floe_protocol::api::ApiKey;
use floe_protocol::messages::Request;
use rand::Rng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use crate::raw;

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
        let frame = raw::encode(correlation_id, version, request);
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
            Ok(raw::decode::<R>(
                correlation_id,
                version,
                Bytes::from(chunks.concat()).slice(4..),
            ))
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

/// A version that some client could speak.
#[must_use]
pub fn any_version(api: ApiKey, random: &mut StdRng) -> i16 {
    random.random_range(api.decodable_versions())
}
