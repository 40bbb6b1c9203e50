//! Single requests in Kafka's protocol, for what no client library asks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::budget::Budget;
use floe_protocol::decoder::Decoder;
use floe_protocol::encoder::Encoder;
use floe_protocol::header::{RequestHeader, decode_response_header};
use floe_protocol::messages::{Message, Request};

const LIMIT: Duration = Duration::from_secs(30);

/// Header and body, without the length.
///
/// # Panics
///
/// If the request cannot be written in this version.
pub fn encode<R: Request>(correlation_id: i32, version: i16, request: &R) -> Bytes {
    let header = RequestHeader {
        api_key: R::KEY.to_wire(),
        api_version: version,
        correlation_id,
        client_id: Some("floe-tests".into()),
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

/// Reads an answer, without its length.
///
/// # Panics
///
/// If it is none to this request.
pub fn decode<R: Request>(correlation_id: i32, version: i16, answer: Bytes) -> R::Response {
    let mut decoder = Decoder::new(answer, Budget::of_bytes(usize::MAX));
    let found = decode_response_header(&mut decoder, R::KEY, version).expect("a response header");
    assert_eq!(
        found, correlation_id,
        "answers come in the order of requests"
    );
    R::Response::decode(&mut decoder, version).expect("a response of its version")
}

/// Sends one request over a connection of its own and waits for the answer.
///
/// # Panics
///
/// If there is none within 30 s.
pub fn call<R: Request>(address: SocketAddr, version: i16, request: &R) -> R::Response {
    let frame = encode(1, version, request);
    let length = u32::try_from(frame.len()).expect("a frame is small");
    let mut socket = TcpStream::connect(address).expect("the broker listens");
    socket
        .set_read_timeout(Some(LIMIT))
        .expect("a socket has a timeout");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&frame);
    socket.write_all(&bytes).expect("the broker reads");
    let mut length = [0; 4];
    socket.read_exact(&mut length).expect("the broker answers");
    let length = usize::try_from(u32::from_be_bytes(length)).expect("a usize has 32 bits");
    let mut answer = vec![0; length];
    socket
        .read_exact(&mut answer)
        .expect("the broker answers in full");
    decode::<R>(1, version, answer.into())
}
