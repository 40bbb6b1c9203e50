//! Every message against another implementation, `kafka-protocol` (Kafka 4.1): what we write it reads, and what it
//! then writes are the same bytes. Defaults, ranges and header versions are compared as well.

use std::collections::BTreeSet;

use bytes::BytesMut;
use floe_protocol::api::ApiKey;
use floe_protocol::arbitrary::{APIS, ApiCodec, Random};
use kafka_protocol::messages::{ApiKey as TheirKey, RequestKind, ResponseKind};

use crate::{decode, encode};

/// What the other implementation lacks of our ranges; `golden` has bytes for these.
const LACKING: [(i16, i16); 9] = [
    (2, 11),
    (8, 10),
    (9, 10),
    (27, 2),
    (78, 2),
    (79, 2),
    (88, 0),
    (89, 0),
    (90, 1),
];
/// Those of them that it lists all the same.
const LISTED_IN_VAIN: [(i16, i16); 2] = [(8, 10), (9, 10)];

/// Calls `check` for every API and version that both have, and gives those that only we have.
fn for_each_common(mut check: impl FnMut(&ApiCodec, TheirKey, i16)) -> BTreeSet<(i16, i16)> {
    let mut lacking = BTreeSet::new();
    for api in APIS {
        for version in api.key.decodable_versions() {
            let pair = (api.key.to_wire(), version);
            let has = |key: &TheirKey| {
                let range = key.valid_versions();
                (range.min..=range.max).contains(&version) && !LISTED_IN_VAIN.contains(&pair)
            };
            match TheirKey::try_from(api.key.to_wire()).ok().filter(has) {
                Some(key) => check(&api, key, version),
                None => _ = lacking.insert(pair),
            }
        }
    }
    lacking
}

#[test]
fn only_the_known_versions_go_without_a_comparison() {
    let lacking = for_each_common(|_, _, _| {});
    assert_eq!(lacking.into_iter().collect::<Vec<_>>(), LACKING);
}

fn through_their_request(key: TheirKey, bytes: &[u8], version: i16) -> BytesMut {
    let mut input = bytes::Bytes::copy_from_slice(bytes);
    let request = RequestKind::decode(key, &mut input, version).unwrap();
    assert!(
        input.is_empty(),
        "{key:?} request {version} has {} bytes left",
        input.len()
    );
    let mut output = BytesMut::new();
    request.encode(&mut output, version).unwrap();
    output
}

fn through_their_response(key: TheirKey, bytes: &[u8], version: i16) -> BytesMut {
    let mut input = bytes::Bytes::copy_from_slice(bytes);
    let response = ResponseKind::decode(key, &mut input, version).unwrap();
    assert!(
        input.is_empty(),
        "{key:?} response {version} has {} bytes left",
        input.len()
    );
    let mut output = BytesMut::new();
    response.encode(&mut output, version).unwrap();
    output
}

#[test]
fn random_messages_go_through_the_other_implementation_unchanged() {
    let mut random = Random::new(11);
    for_each_common(|api, key, version| {
        for _ in 0..60 {
            let request = (api.request.arbitrary)(&mut random, version);
            let ours = encode(request.as_ref(), version);
            let theirs = through_their_request(key, &ours, version);
            assert_eq!(theirs, ours, "{} request {version}: {request:?}", api.key);
            let (read, _) = decode(&api.request, &theirs, version).unwrap();
            assert!(
                read.equals(request.as_ref()),
                "{} request {version}",
                api.key
            );

            let response = (api.response.arbitrary)(&mut random, version);
            let ours = encode(response.as_ref(), version);
            let theirs = through_their_response(key, &ours, version);
            assert_eq!(theirs, ours, "{} response {version}: {response:?}", api.key);
            let (read, _) = decode(&api.response, &theirs, version).unwrap();
            assert!(
                read.equals(response.as_ref()),
                "{} response {version}",
                api.key
            );
        }
    });
}

#[test]
fn ranges_and_headers_agree() {
    for_each_common(|api, key, version| {
        let api = api.key;
        let headers = (
            api.request_header_version(version),
            api.response_header_version(version),
        );
        let theirs = (
            key.request_header_version(version),
            key.response_header_version(version),
        );
        assert_eq!(headers, theirs, "{api} {version}");
    });
    for api in ApiKey::ALL {
        let Ok(key) = TheirKey::try_from(api.to_wire()) else {
            continue;
        };
        assert_eq!(format!("{key:?}"), format!("{}", api.name()), "names");
        // InitProducerId 6 is unstable in 4.2 and in no range of ours.
        let newest = key.valid_versions().max - i16::from(api == ApiKey::InitProducerId);
        assert!(
            *api.decodable_versions().end() >= newest,
            "{api} ends before {newest}"
        );
        assert_eq!(
            *api.decodable_versions().start(),
            key.valid_versions().min,
            "{api}"
        );
    }
}
