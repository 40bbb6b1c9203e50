//! Pieces, lengths and limits of what is written; the types themselves are tested by the round trips of messages.

use super::*;
use crate::messages::Message;
use crate::messages::api_versions::ApiVersionsRequest;
use crate::messages::fetch::FetchRequest;
use crate::messages::find_coordinator::FindCoordinatorRequest;
use crate::messages::metadata::{MetadataResponse, MetadataResponseTopic};
use crate::messages::sasl_handshake::SaslHandshakeRequest;

fn body(write: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut e = Encoder::new();
    write(&mut e);
    let length = e.len_bytes();
    let body = e.into_body();
    assert_eq!(body.len(), length);
    body
}

#[test]
fn varints_take_their_shortest_form() {
    for (value, expected) in [
        (0, &b"\0"[..]),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (u32::MAX, b"\xff\xff\xff\xff\x0f"),
    ] {
        assert_eq!(body(|e| e.uvarint(value)), expected, "{value}");
    }
}

#[test]
fn an_empty_frame_is_its_length() {
    assert_eq!(Encoder::new().finish().concat(), [0; 4]);
    assert_eq!(Encoder::new().into_body(), "");
}

#[test]
fn the_length_covers_all_pieces() {
    for sizes in [
        &[][..],
        &[1],
        &[127, 128],
        &[128, 1],
        &[128, 128],
        &[1000, 0, 1000],
    ] {
        let mut e = Encoder::new();
        let records: Records = sizes
            .iter()
            .map(|size| Bytes::from(vec![7; *size]))
            .collect();
        e.nullable_records(Some(&records), false).unwrap();
        e.i16(9);
        let expected = 4 + records.len_bytes() + 2;
        assert_eq!(e.len_bytes(), expected, "{sizes:?}");
        let pieces = e.finish();
        assert!(pieces.iter().all(|piece| !piece.is_empty()), "{sizes:?}");
        let frame = pieces.concat();
        assert_eq!(
            frame[..4],
            u32::try_from(expected).unwrap().to_be_bytes(),
            "{sizes:?}"
        );
        assert_eq!(frame.len(), 4 + expected, "{sizes:?}");
        assert!(frame.ends_with(&[0, 9]), "{sizes:?}");
    }
}

#[test]
fn a_record_chunk_may_come_first() {
    let mut e = Encoder::new();
    e.append(&Bytes::from(vec![1; 500]));
    e.append(&Bytes::from(vec![2; 500]));
    let pieces = e.finish();
    assert_eq!(
        pieces.iter().map(Bytes::len).collect::<Vec<_>>(),
        [4, 500, 500]
    );
    assert_eq!(pieces[0], 1000_u32.to_be_bytes()[..]);
}

#[test]
fn strings_have_the_limit_of_a_plain_one() {
    for (version, length, fits) in [
        (0, 32_767, true),
        (0, 32_768, false),
        (3, 32_767, true),
        (3, 32_768, false),
    ] {
        let request = FindCoordinatorRequest {
            key: Str::from("a".repeat(length)),
            ..Default::default()
        };
        let written = request.encode(&mut Encoder::new(), version);
        let expected = if fits {
            Ok(())
        } else {
            Err(EncodeError::TooLong {
                length,
                max: 32_767,
            })
        };
        assert_eq!(written, expected, "{version} {length}");
    }
}

#[test]
fn null_is_refused_in_versions_without_it() {
    let topic = MetadataResponseTopic {
        name: None,
        ..Default::default()
    };
    let response = MetadataResponse {
        topics: vec![topic],
        ..Default::default()
    };
    let error = response.encode(&mut Encoder::new(), 11);
    assert_eq!(
        error,
        Err(EncodeError::UnexpectedNull {
            field: "Name",
            version: 11
        })
    );
    assert_eq!(response.encode(&mut Encoder::new(), 12), Ok(()));
}

#[test]
fn a_field_the_version_lacks_is_left_out() {
    let request = ApiVersionsRequest {
        client_software_name: "name".into(),
        client_software_version: "1".into(),
    };
    assert_eq!(body(|e| request.encode(e, 2).unwrap()), "");
    assert_eq!(body(|e| request.encode(e, 3).unwrap()), "\x05name\x021\0");
}

#[test]
fn versions_the_schema_lacks_are_refused() {
    let request = SaslHandshakeRequest::default();
    for version in [-1, 2, i16::MAX] {
        let error = request.encode(&mut Encoder::new(), version);
        assert_eq!(error, Err(EncodeError::UnknownVersion(version)));
    }
}

#[test]
fn tagged_fields_are_written_unless_they_are_the_default() {
    let plain = FetchRequest::default();
    let mut named = plain.clone();
    named.cluster_id = Some("a".into());
    let (plain, named) = (
        body(|e| plain.encode(e, 12).unwrap()),
        body(|e| named.encode(e, 12).unwrap()),
    );
    assert_eq!(
        plain.strip_suffix(b"\0"),
        named.strip_suffix(b"\x01\0\x02\x02a")
    );
    assert!(plain.ends_with(b"\0"));
}
