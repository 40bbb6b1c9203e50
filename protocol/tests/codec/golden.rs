//! Golden bytes: those of Kafka's own classes for what the other implementation lacks and for the newest versions of
//! the busiest APIs, and a few that were built by hand after the protocol guide.

use bytes::Bytes;
use floe_protocol::api::ApiKey;
use floe_protocol::arbitrary::{APIS, MessageCodec};
use floe_protocol::encoder::Encoder;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::header::{self, HeaderStart, RequestHeader};
use floe_protocol::messages::Message;
use floe_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use floe_protocol::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use floe_protocol::records::Records;

use crate::{decode, decoder, encode};

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn codec_of(key: i16, kind: &str) -> MessageCodec {
    let api = APIS
        .into_iter()
        .find(|api| api.key.to_wire() == key)
        .unwrap();
    if kind == "request" {
        api.request
    } else {
        api.response
    }
}

#[test]
fn kafkas_own_bytes_are_read_and_written() {
    let text = include_str!("../data/kafka-4.2.0-messages.txt");
    let lines: Vec<_> = text
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(lines.len(), 3 * 28);
    for case in lines.chunks(3) {
        let [name, hex, expected] = *case else {
            panic!("a case has three lines")
        };
        let [key, version, kind] = *name.split(' ').collect::<Vec<_>>() else {
            panic!("{name}")
        };
        let version = version.parse().unwrap();
        let bytes = from_hex(hex);
        let codec = codec_of(key.parse().unwrap(), kind);
        let (message, left) = decode(&codec, &bytes, version).unwrap();
        assert_eq!(format!("{message:?}"), expected, "{name}");
        assert_eq!(left, 0, "{name}");
        assert_eq!(encode(message.as_ref(), version), bytes, "{name}");
    }
}

/// The whole answer to an ApiVersions request of an unknown version: 4 bytes of header, 16 of body.
#[test]
fn the_fallback_answer_of_api_versions() {
    let start = HeaderStart::peek(&from_hex("0012 0005 00000007")).unwrap();
    assert!(start.is_unsupported_api_versions());
    let versions = ApiKey::ApiVersions.valid_versions();
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.into(),
        api_keys: vec![ApiVersion {
            api_key: ApiKey::ApiVersions.to_wire(),
            min_version: *versions.start(),
            max_version: *versions.end(),
        }],
        ..Default::default()
    };
    let mut e = Encoder::new();
    header::encode_response_header(&mut e, ApiKey::ApiVersions, 0, start.correlation_id);
    let header_bytes = e.len_bytes();
    response.encode(&mut e, 0).unwrap();
    assert_eq!(
        e.len_bytes() - header_bytes,
        12,
        "body: error code, count and one entry"
    );
    let expected = from_hex("00000010 00000007 0023 00000001 0012 0000 0004");
    assert_eq!(e.finish().concat(), expected);
}

#[test]
fn headers_of_both_versions() {
    for (hex, key, version, client, rest) in [
        ("0012 0000 00000001 ffff", 18, 0, None, 0),
        ("0012 0003 00000001 0002 6162 00", 18, 3, Some("ab"), 0),
        (
            "0012 0003 00000001 0002 6162 02 05 01 ff 00 00 aa",
            18,
            3,
            Some("ab"),
            1,
        ),
        ("0003 0008 00000001 0002 6162 00", 3, 8, Some("ab"), 1),
        ("0011 0001 00000001 0000", 17, 1, Some(""), 0),
        (
            "0001 000c 00000001 0002 ffc3 00",
            1,
            12,
            Some("\u{fffd}\u{fffd}"),
            0,
        ),
        ("7fff 0001 00000001 0001 61 aa", 32767, 1, Some("a"), 1),
    ] {
        let mut d = decoder(&from_hex(hex));
        let header = RequestHeader::decode(&mut d).unwrap();
        assert_eq!(
            (header.api_key, header.api_version),
            (key, version),
            "{hex}"
        );
        assert_eq!(
            (header.correlation_id, header.client_id.as_deref()),
            (1, client),
            "{hex}"
        );
        assert_eq!(d.remaining_bytes(), rest, "{hex}");
    }
}

#[test]
fn response_headers_have_tags_in_flexible_versions_except_for_api_versions() {
    for (api, version, expected) in [
        (ApiKey::Metadata, 8, "00000009"),
        (ApiKey::Metadata, 9, "0000000900"),
        (ApiKey::ApiVersions, 2, "00000009"),
        (ApiKey::ApiVersions, 3, "00000009"),
        (ApiKey::SaslHandshake, 1, "00000009"),
        (ApiKey::DescribeCluster, 0, "0000000900"),
    ] {
        let mut e = Encoder::new();
        header::encode_response_header(&mut e, api, version, 9);
        let bytes = e.into_body();
        assert_eq!(bytes, from_hex(expected), "{api} {version}");
        let mut d = decoder(&bytes);
        assert_eq!(header::decode_response_header(&mut d, api, version), Ok(9));
        assert_eq!(d.remaining_bytes(), 0, "{api} {version}");
    }
}

/// A Fetch answer keeps the chunks of its records: the very same memory, in order, after the fields before them.
#[test]
fn records_are_written_without_a_copy() {
    let (first, second) = (Bytes::from(vec![1; 4096]), Bytes::from(vec![2; 4096]));
    let head = Bytes::from(vec![3; 61]);
    let records: Records = [head.clone(), first.clone(), second.clone()]
        .into_iter()
        .collect();
    let partition = PartitionData {
        records: Some(records),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        partitions: vec![partition],
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..Default::default()
    };
    let mut e = Encoder::new();
    response.encode(&mut e, 12).unwrap();
    let length = e.len_bytes();
    let pieces = e.finish();
    assert_eq!(pieces.len(), 4, "{pieces:?}");
    assert!(pieces[0].ends_with(&head), "a small chunk joins the fields");
    assert_eq!(
        (pieces[1].as_ptr(), pieces[2].as_ptr()),
        (first.as_ptr(), second.as_ptr())
    );
    let frame = pieces.concat();
    assert_eq!(frame[..4], u32::try_from(length).unwrap().to_be_bytes());
    let read = FetchResponse::decode(&mut decoder(&frame[4..]), 12).unwrap();
    assert_eq!(read, response);
}
