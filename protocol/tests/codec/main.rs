//! Tests of the Kafka codec as a whole: every API in every version, against itself, against another implementation,
//! against golden bytes, and against what a broken or hostile client sends.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod differential;
mod facts;
mod golden;
mod round_trip;

// The reader of the schema text, as the build script has it.
#[allow(dead_code, reason = "the build script uses what the tests do not")]
#[path = "../../build/model.rs"]
mod model;
#[path = "../../build/parse.rs"]
mod parse;
#[allow(dead_code, reason = "the build script uses what the tests do not")]
#[path = "../../build/versions.rs"]
mod versions;

use bytes::Bytes;
use floe_protocol::arbitrary::{APIS, AnyMessage, MessageCodec};
use floe_protocol::budget::Budget;
use floe_protocol::decoder::{DecodeError, Decoder};
use floe_protocol::encoder::Encoder;

/// The body of a message in `version`.
fn encode(message: &dyn AnyMessage, version: i16) -> Bytes {
    let mut e = Encoder::new();
    message
        .encode_any(&mut e, version)
        .unwrap_or_else(|error| panic!("{error}: {message:?}"));
    e.into_body()
}

/// A decoder of a whole frame under the budget of its size.
fn decoder(bytes: &[u8]) -> Decoder {
    Decoder::new(
        Bytes::copy_from_slice(bytes),
        Budget::for_frame(bytes.len()),
    )
}

/// Reads a message and gives it with the bytes left over.
fn decode(
    codec: &MessageCodec,
    bytes: &[u8],
    version: i16,
) -> Result<(Box<dyn AnyMessage>, usize), DecodeError> {
    let mut d = decoder(bytes);
    let message = (codec.decode)(&mut d, version)?;
    Ok((message, d.remaining_bytes()))
}

/// Calls `check` for the request and the response of every API in every version.
fn for_each_message(mut check: impl FnMut(&str, &MessageCodec, i16)) {
    for api in APIS {
        for version in api.key.decodable_versions() {
            for (what, codec) in api.both() {
                check(&format!("{} {what} {version}", api.key), &codec, version);
            }
        }
    }
}
