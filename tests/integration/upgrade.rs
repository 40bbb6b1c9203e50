//! Two releases that differ by one feature level: rolled forward and back under load, and raised when there is no
//! way back any more.

use std::net::SocketAddr;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};
use floe_tests::fleet::Fleet;
use floe_tests::raw;

use crate::cluster::{AGENTS, on_s3, troubled};
use crate::target::BINARY;

/// The release after the one under test.
const NEXT: &str = env!("CARGO_BIN_EXE_floe-next");

/// Asks for a level as `kafka-features.sh upgrade` does; the answer's code and words.
fn raise(address: SocketAddr, level: i16, validate_only: bool) -> (i16, String) {
    let update = FeatureUpdateKey {
        feature: "floe.level".into(),
        max_version_level: level,
        ..FeatureUpdateKey::default()
    };
    let request = UpdateFeaturesRequest {
        feature_updates: vec![update],
        validate_only,
        ..UpdateFeaturesRequest::default()
    };
    let response = raw::call(address, 2, &request);
    let message = response.error_message.map(|message| message.to_string());
    (response.error_code, message.unwrap_or_default())
}

/// Replaces every broker's program, one broker after the other.
fn roll(fleet: &mut Fleet, binary: &str) {
    for broker in fleet.brokers() {
        let status = broker.terminate();
        assert_eq!(status.code(), Some(0), "{}", broker.process().text());
        broker.replace_binary(binary);
        broker.restart();
    }
    fleet.wait_for(AGENTS);
}

#[test]
fn forward_and_back_and_then_for_good() {
    let failed = ErrorCode::FeatureUpdateFailed.code();
    let invalid = ErrorCode::InvalidUpdateVersion.code();
    let setup = on_s3();
    troubled("rolling upgrade and rollback on S3", &setup, |fleet, _| {
        let address = fleet.brokers()[AGENTS - 1].address();
        // Half-way, in a cluster of both releases, the level cannot be raised.
        let first = &mut fleet.brokers()[0];
        first.terminate();
        first.replace_binary(NEXT);
        first.restart();
        fleet.wait_for(AGENTS);
        let (code, words) = raise(address, 2, false);
        assert_eq!(code, failed, "{words}");
        assert!(
            words.contains("understands feature levels up to 1, not 2"),
            "{words}"
        );
        assert_eq!(fleet.feature_level(), 1);
        roll(fleet, NEXT);
        assert_eq!(fleet.feature_level(), 1);
        roll(fleet, BINARY);
    });

    let mut is_raised = false;
    troubled("rolling upgrade for good on S3", &on_s3(), |fleet, _| {
        roll(fleet, NEXT);
        let address = fleet.brokers()[0].address();
        if !is_raised {
            assert_eq!(raise(address, 2, true), (0, String::new()));
            assert_eq!(fleet.feature_level(), 1, "that was only asked");
            is_raised = true;
        }
        assert_eq!(raise(address, 2, false), (0, String::new()));
        assert_eq!(fleet.feature_level(), 2);
        assert_eq!(raise(address, 2, false), (0, String::new()), "a repeat");
        assert_eq!(raise(address, 1, false).0, invalid);
        assert_eq!(raise(address, 3, false).0, failed);
        let old = fleet.brokers()[1].setup().clone().binary(BINARY);
        let (status, lines) = old.any_ports().run_to_end();
        assert_eq!(status.code(), Some(1), "{lines:?}");
        let says = "the cluster is at feature level 2, this release understands 1: use a newer one";
        assert!(lines.iter().any(|line| line.contains(says)), "{lines:?}");
        roll(fleet, NEXT);
        assert_eq!(fleet.feature_level(), 2);
    });
}
