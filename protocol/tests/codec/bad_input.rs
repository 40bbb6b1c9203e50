//! What a broken or hostile client may send, one row per case: what is refused is refused before anything is
//! allocated, and what Kafka's clients were seen to send is accepted.

use floe_protocol::budget::Budget;
use floe_protocol::decoder::{DecodeError, Decoder, HEADER_TAGS_MAX, STRUCT_TAGS_MAX};
use floe_protocol::header::RequestHeader;
use floe_protocol::messages::api_versions::ApiVersionsRequest;
use floe_protocol::messages::fetch::FetchRequest;
use floe_protocol::messages::find_coordinator::FindCoordinatorRequest;
use floe_protocol::messages::heartbeat::HeartbeatRequest;
use floe_protocol::messages::metadata::MetadataRequest;
use floe_protocol::messages::produce::ProduceRequest;
use floe_protocol::messages::sasl_authenticate::SaslAuthenticateRequest;
use floe_protocol::messages::{Message, Request};

use crate::decoder;

fn read<M: Message>(bytes: &[u8], version: i16) -> Result<M, DecodeError> {
    M::decode(&mut decoder(bytes), version)
}

fn truncated(wanted_bytes: usize, remaining_bytes: usize) -> DecodeError {
    DecodeError::Truncated {
        wanted_bytes,
        remaining_bytes,
    }
}

#[test]
fn lengths_beyond_the_frame() {
    for (name, bytes, version, expected) in [
        ("plain string", &b"\0\x05abc"[..], 0, truncated(5, 3)),
        (
            "plain string, longest",
            b"\x7f\xffabc",
            0,
            truncated(32767, 3),
        ),
        ("compact string", b"\x06abc", 3, truncated(5, 3)),
        (
            "compact string, longest",
            b"\x80\x80\x02abc",
            3,
            truncated(32767, 3),
        ),
        (
            "compact string, too long",
            b"\x81\x80\x02abc",
            3,
            DecodeError::StringTooLong(32768),
        ),
        ("no length", b"\0", 0, truncated(2, 1)),
        ("tag size", b"\x01\0\x01\x00\x7f", 3, truncated(127, 0)),
    ] {
        let error = read::<FindCoordinatorRequest>(bytes, version).unwrap_err();
        assert_eq!(error, expected, "{name}");
    }
    let error = read::<SaslAuthenticateRequest>(b"\x7f\xff\xff\xffa", 0).unwrap_err();
    assert_eq!(error, truncated(0x7fff_ffff, 1), "plain bytes");
    let error = read::<SaslAuthenticateRequest>(b"\xff\xff\xff\xff\x0fa", 2).unwrap_err();
    assert_eq!(error, truncated(0xffff_fffe, 1), "compact bytes");
    let records = b"\xff\xff\0\x01\0\0\0\0\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\0\x7f\xff\xff\xff";
    assert_eq!(
        read::<ProduceRequest>(records, 3).unwrap_err(),
        truncated(0x7fff_ffff, 0)
    );
}

#[test]
fn counts_beyond_the_frame() {
    let beyond = |count, element_bytes, remaining_bytes| DecodeError::CountBeyondFrame {
        count,
        element_bytes,
        remaining_bytes,
    };
    for (name, bytes, version, expected) in [
        (
            "plain",
            &b"\x7f\xff\xff\xff"[..],
            0,
            beyond(0x7fff_ffff, 2, 0),
        ),
        (
            "plain, one too many",
            b"\0\0\0\x03\0\0\0\0",
            0,
            beyond(3, 2, 4),
        ),
        (
            "compact",
            b"\xff\xff\xff\xff\x0f",
            9,
            beyond(0xffff_fffe, 2, 0),
        ),
        (
            "compact, one too many",
            b"\x03\x01\0\x01",
            9,
            beyond(2, 2, 3),
        ),
        (
            "with ids",
            b"\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            12,
            beyond(1, 18, 17),
        ),
    ] {
        let error = read::<MetadataRequest>(bytes, version).unwrap_err();
        assert_eq!(error, expected, "{name}");
    }
}

#[test]
fn negative_lengths_and_nulls() {
    for (name, bytes, version, expected) in [
        (
            "string null",
            &b"\xff\xff"[..],
            0,
            DecodeError::UnexpectedNull,
        ),
        (
            "string below null",
            b"\xff\xfe",
            0,
            DecodeError::NegativeLength(-2),
        ),
        (
            "string at the end",
            b"\x80\0",
            0,
            DecodeError::NegativeLength(-32768),
        ),
        ("compact string null", b"\0", 3, DecodeError::UnexpectedNull),
    ] {
        let error = read::<FindCoordinatorRequest>(bytes, version).unwrap_err();
        assert_eq!(error, expected, "{name}");
    }
    for (name, bytes, version, expected) in [
        (
            "array null",
            &b"\xff\xff\xff\xff"[..],
            0,
            DecodeError::UnexpectedNull,
        ),
        (
            "array below null",
            b"\xff\xff\xff\xfe",
            1,
            DecodeError::NegativeLength(-2),
        ),
        (
            "array at the end",
            b"\x80\0\0\0",
            1,
            DecodeError::NegativeLength(i32::MIN),
        ),
    ] {
        let error = read::<MetadataRequest>(bytes, version).unwrap_err();
        assert_eq!(error, expected, "{name}");
    }
    let bytes = read::<SaslAuthenticateRequest>(b"\xff\xff\xff\xff", 0).unwrap_err();
    assert_eq!(bytes, DecodeError::UnexpectedNull);
}

/// Null and empty differ: version 0 has no null, and empty means all; from 1 on null means all.
#[test]
fn null_and_empty_are_told_apart() {
    let topics = |bytes: &[u8], version| read::<MetadataRequest>(bytes, version).unwrap().topics;
    assert_eq!(topics(b"\0\0\0\0", 0), Some(Vec::new()));
    assert_eq!(topics(b"\0\0\0\0", 1), Some(Vec::new()));
    assert_eq!(topics(b"\xff\xff\xff\xff", 1), None);
    assert_eq!(topics(b"\0\x01\0\0\0", 9), None);
    assert_eq!(topics(b"\x01\x01\0\0\0", 9), Some(Vec::new()));
}

#[test]
fn varints() {
    for (bytes, expected) in [
        (&b"\0"[..], Ok(0)),
        (b"\x7f", Ok(127)),
        (b"\x80\x01", Ok(128)),
        (b"\xff\xff\xff\xff\x0f", Ok(u32::MAX)),
        (b"\x81\0", Ok(1)),
        (b"\x81\x80\x80\x80\0", Ok(1)),
        (b"\x80\x80\x80\x80\0", Ok(0)),
        (b"\x81\x80\x80\x80\x80\0", Err(DecodeError::VarintTooLong)),
        (b"\xff\xff\xff\xff\xff\x01", Err(DecodeError::VarintTooLong)),
        (b"\xff\xff\xff\xff\x1f", Err(DecodeError::VarintTooLong)),
        (b"", Err(truncated(1, 0))),
        (b"\x80", Err(truncated(1, 0))),
    ] {
        assert_eq!(decoder(bytes).uvarint(), expected, "{bytes:02x?}");
    }
}

#[test]
fn strings_are_utf8_except_for_the_client_id() {
    let error = read::<FindCoordinatorRequest>(b"\0\x02\xff\xfe", 0).unwrap_err();
    assert_eq!(error, DecodeError::NotUtf8);
    let header = RequestHeader::decode(&mut decoder(b"\0\x12\0\0\0\0\0\x01\0\x03a\xffb")).unwrap();
    assert_eq!(header.client_id.unwrap(), "a\u{fffd}b");
}

#[test]
fn every_byte_but_zero_is_true() {
    for (byte, expected) in [(0, false), (1, true), (2, true), (0xff, true)] {
        let bytes = [0, 0, 0, 0, byte];
        let request = read::<MetadataRequest>(&bytes, 4).unwrap();
        assert_eq!(request.allow_auto_topic_creation, expected, "{byte}");
    }
}

/// The tagged fields of an empty Heartbeat, whose schema has none.
fn heartbeat_with_tags(tags: &[u8]) -> Result<HeartbeatRequest, DecodeError> {
    let mut bytes = b"\x01\0\0\0\0\x01\0".to_vec();
    bytes.extend_from_slice(tags);
    read(&bytes, 4)
}

#[test]
fn unknown_tags_are_skipped_in_any_order_and_number() {
    for (name, tags) in [
        ("none", &b"\0"[..]),
        ("one", b"\x01\x05\x02ab"),
        ("empty", b"\x01\x05\0"),
        ("unordered", b"\x02\x09\x01a\x05\x01b"),
        ("repeated", b"\x03\x05\x01a\x05\x01b\x05\x01c"),
        ("highest", b"\x01\xff\xff\xff\xff\x0f\x01a"),
    ] {
        let request = heartbeat_with_tags(tags).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(request, HeartbeatRequest::default(), "{name}");
    }
}

fn fetch_with_tags(tags: &[u8], version: i16) -> Result<FetchRequest, DecodeError> {
    // Max wait, min bytes, max bytes, isolation, session id and epoch, topics, forgotten topics, rack.
    let mut bytes = vec![0; 12];
    if version <= 14 {
        bytes.extend([0; 4]);
    }
    bytes.extend_from_slice(b"\0\0\0\0\0\0\0\0\0\x01\x01\x01");
    bytes.extend_from_slice(tags);
    read(&bytes, version)
}

#[test]
fn of_repeated_known_tags_the_last_one_wins() {
    let tags = b"\x03\0\x02\x02a\x63\x01x\0\x02\x02b";
    let request = fetch_with_tags(tags, 12).unwrap();
    assert_eq!(request.cluster_id.unwrap(), "b");
}

#[test]
fn a_known_tag_in_an_older_version_is_skipped() {
    // Replica state: id 7, epoch 9, no tags; known from version 15 on.
    let tags = b"\x02\x01\x0d\0\0\0\x07\0\0\0\0\0\0\0\x09\0\0\x02\x02a";
    let old = fetch_with_tags(tags, 14).unwrap();
    assert_eq!(
        (old.replica_state.replica_id, old.cluster_id.unwrap()),
        (-1, "a".into())
    );
    let new = fetch_with_tags(tags, 15).unwrap();
    assert_eq!(
        (
            new.replica_state.replica_id,
            new.replica_state.replica_epoch
        ),
        (7, 9)
    );
    assert_eq!(new.cluster_id.unwrap(), "a");
}

#[test]
fn a_known_tag_does_not_read_beyond_its_size() {
    // A string of two bytes in a field of two.
    let error = fetch_with_tags(b"\x01\0\x02\x03ab", 12).unwrap_err();
    assert_eq!(error, truncated(2, 1));
    // What is left of the field is skipped.
    let request = fetch_with_tags(b"\x02\0\x04\x02abc\x63\0", 12).unwrap();
    assert_eq!(request.cluster_id.unwrap(), "a");
}

fn tags(count: u32) -> Vec<u8> {
    let mut bytes = vec![
        count.to_le_bytes()[0] | 0x80,
        u8::try_from(count >> 7).unwrap(),
    ];
    for _ in 0..count {
        bytes.extend([0x63, 0]);
    }
    bytes
}

#[test]
fn tags_have_a_limit() {
    let max = STRUCT_TAGS_MAX;
    assert_eq!(
        heartbeat_with_tags(&tags(max)),
        Ok(HeartbeatRequest::default())
    );
    let error = heartbeat_with_tags(&tags(max + 1)).unwrap_err();
    assert_eq!(
        error,
        DecodeError::TooManyTags {
            count: max + 1,
            max
        }
    );
    let header = |count| {
        let mut bytes = b"\0\x12\0\x03\0\0\0\x01\xff\xff".to_vec();
        bytes.extend(tags(count));
        RequestHeader::decode(&mut decoder(&bytes))
    };
    let max = HEADER_TAGS_MAX;
    assert_eq!(header(max).unwrap().client_id, None);
    let error = header(max + 1).unwrap_err();
    assert_eq!(
        error,
        DecodeError::TooManyTags {
            count: max + 1,
            max
        }
    );
}

#[test]
fn a_frame_shorter_than_its_header() {
    let whole = b"\0\x12\0\x03\0\0\0\x01\0\x01a\0";
    for end in 0..whole.len() {
        assert!(
            RequestHeader::decode(&mut decoder(&whole[..end])).is_err(),
            "{end} bytes"
        );
    }
    assert!(RequestHeader::decode(&mut decoder(whole)).is_ok());
}

#[test]
fn a_version_the_schema_lacks_is_an_error() {
    for version in [-1, 5, i16::MIN, i16::MAX] {
        let error = read::<ApiVersionsRequest>(b"\0\0\0\0", version).unwrap_err();
        assert_eq!(error, DecodeError::UnknownVersion(version));
    }
    assert!(!ProduceRequest::KEY.can_decode(2));
    assert!(ProduceRequest::KEY.valid_versions().contains(&0));
}

/// Two bytes of the wire are a struct of many more in memory: the budget ends it, not the heap.
#[test]
fn empty_structs_run_into_the_budget() {
    let count: u32 = 1 << 20;
    let mut bytes = count.to_be_bytes().to_vec();
    bytes.resize(4 + 2 * count as usize, 0);
    let budget = Budget::for_frame(bytes.len());
    let available = budget.remaining_bytes();
    let mut d = Decoder::new(bytes.into(), budget);
    let error = MetadataRequest::decode(&mut d, 0).unwrap_err();
    let DecodeError::OverBudget {
        wanted_bytes,
        remaining_bytes,
    } = error
    else {
        panic!("{error}")
    };
    assert!(
        wanted_bytes > 40 * count as usize && remaining_bytes == available,
        "{error}"
    );
    assert_eq!(d.budget().remaining_bytes(), available, "nothing was taken");
}
