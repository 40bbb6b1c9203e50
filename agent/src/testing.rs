//! A broker in memory and a client that speaks bytes, for the tests of this crate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::api::ApiKey;
use floe_protocol::budget::Budget;
use floe_protocol::decoder::Decoder;
use floe_protocol::encoder::Encoder;
use floe_protocol::header::{RequestHeader, decode_response_header};
use floe_protocol::messages::{Message, Request};
use floe_protocol::str::Str;
use floe_storage::store::StoreUrl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::broker::Endpoint;
use crate::config::{ByteSize, Config, FlushConfig, ListenerConfig, MetadataUrl, Roles};
use crate::start::{RunningAgent, start};
use crate::topic_config::BrokerSettings;

/// Far beyond what any answer takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn local(port: u16) -> Endpoint {
    Endpoint {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// Each process draws its own, or two would be one to the cluster.
static NEXT_SEED: AtomicU64 = AtomicU64::new(7);

/// A broker in memory on free ports.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    let pairs = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config {
        roles: Roles::ALL,
        internal: None,
        store: StoreUrl::Memory,
        metadata: MetadataUrl::Store,
        listeners: vec![ListenerConfig {
            name: "default".to_owned(),
            listen: local(0),
            advertise: None,
        }],
        zone: None,
        memory_limit: ByteSize(64 << 20),
        http: local(0),
        settings: BrokerSettings::new(pairs.collect()).unwrap(),
        flush: FlushConfig {
            bytes: ByteSize(8 << 20),
            interval: Some(Duration::from_millis(1)),
        },
        feature_level: floe_metadata::api::FEATURE_LEVEL,
        seed: NEXT_SEED.fetch_add(1, Ordering::Relaxed),
    }
}

pub(crate) async fn agent(settings: &[(&str, &str)]) -> RunningAgent {
    start(config(settings)).await.unwrap()
}

/// How often the broker closed a connection for this cause.
pub(crate) fn closed(agent: &RunningAgent, cause: &str) -> u64 {
    figure(
        agent,
        &format!("floe_connections_closed_total{{cause=\"{cause}\"}}"),
    )
}

/// The value of a metric.
pub(crate) fn figure(agent: &RunningAgent, name: &str) -> u64 {
    let text = agent.broker().unwrap().metrics.render().unwrap();
    let line = text.lines().find(|line| line.starts_with(name));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// A client of one connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    last_id: i32,
}

impl Client {
    pub(crate) async fn connect(agent: &RunningAgent) -> Self {
        Self::connect_to(agent, 0).await
    }

    pub(crate) async fn connect_to(agent: &RunningAgent, listener: usize) -> Self {
        let port = agent.addresses()[listener].local.port();
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self { stream, last_id: 0 }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The broker may have closed already, which is what some tests are about.
        let _closed = self.stream.write_all(bytes).await.is_err();
    }

    /// Sends a frame with its length before it.
    pub(crate) async fn send_frame(&mut self, body: &[u8]) {
        let length = i32::try_from(body.len()).unwrap();
        self.send(&[&length.to_be_bytes(), body].concat()).await;
    }

    /// Sends a request and returns its correlation id.
    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.last_id += 1;
        let frame = request_frame(version, self.last_id, request);
        self.send_frame(&frame).await;
        self.last_id
    }

    /// Asks and waits for the answer.
    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let id = self.ask(version, request).await;
        self.answer::<R>(version, id).await
    }

    /// The next answer, which must be that to `id`.
    pub(crate) async fn answer<R: Request>(&mut self, version: i16, id: i32) -> R::Response {
        let frame = self
            .frame()
            .await
            .expect("an answer, not a closed connection");
        let mut decoder = Decoder::new(frame, Budget::of_bytes(usize::MAX));
        assert_eq!(
            decode_response_header(&mut decoder, R::KEY, version).unwrap(),
            id
        );
        let response = R::Response::decode(&mut decoder, version).unwrap();
        assert_eq!(decoder.remaining_bytes(), 0, "nothing after the answer");
        response
    }

    /// The next frame; `None` when the broker closed the connection.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let read = async {
            let length = self.stream.read_i32().await.ok()?;
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut frame).await.ok()?;
            Some(Bytes::from(frame))
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("an answer in time")
    }

    /// Waits until the broker has closed the connection without another answer.
    pub(crate) async fn expect_closed(&mut self, case: &str) {
        assert_eq!(self.frame().await, None, "{case}: must be closed");
    }
}

/// Header and body of a request, without the length.
pub(crate) fn request_frame<R: Request>(version: i16, id: i32, request: &R) -> Vec<u8> {
    let mut encoder = Encoder::new();
    header(R::KEY, version, id).encode(&mut encoder).unwrap();
    request.encode(&mut encoder, version).unwrap();
    encoder.into_body().to_vec()
}

/// A header of a client called `test`.
pub(crate) fn header(api: ApiKey, version: i16, id: i32) -> RequestHeader {
    RequestHeader {
        api_key: api.to_wire(),
        api_version: version,
        correlation_id: id,
        client_id: Some(Str::from("test")),
    }
}

/// The bytes of a header.
pub(crate) fn header_bytes(api: ApiKey, version: i16, id: i32) -> Vec<u8> {
    let mut encoder = Encoder::new();
    header(api, version, id).encode(&mut encoder).unwrap();
    encoder.into_body().to_vec()
}
