//! ApiVersions: what this broker serves, and in which versions (KIP-35, KIP-511, KIP-584).
//!
//! Tools infer a broker's version from these ranges, so they are exactly Kafka 4.2's, cut to the APIs of
//! [`HANDLED`].

use floe_protocol::api::ApiKey;
use floe_protocol::encoder::Encoder;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::header::{HeaderStart, encode_response_header};
use floe_protocol::messages::Message as _;
use floe_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

use super::{Context, Handler, Refuse};
use crate::connection::close::CloseCause;
use crate::dispatch::{Answer, HANDLED};

/// Tools read the release of Kafka from it: name, lowest and highest version, of which the highest is
/// finalized. 29 is 4.2-IV1.
pub(super) const METADATA_VERSION: (&str, i16, i16) = ("metadata.version", 7, 29);

/// Clients that may use the consumer protocol look for it (KIP-848): lowest and highest version, of which the
/// highest is finalized.
pub(super) const GROUP_VERSION: (&str, i16, i16) = ("group.version", 0, 1);

/// Our own feature level: what all agents and owners of the metadata must understand.
pub(super) const FLOE_LEVEL: &str = "floe.level";

impl Handler for ApiVersionsRequest {
    async fn handle(self, context: &Context) -> ApiVersionsResponse {
        if context.version >= 3 {
            let (name, version) = (&self.client_software_name, &self.client_software_version);
            if !is_software_word(name) || !is_software_word(version) {
                return error(ErrorCode::InvalidRequest);
            }
            context.connection.note_software(name, version);
        }
        let (name, min_version, max_version) = METADATA_VERSION;
        let level = context.broker.view.feature_level();
        ApiVersionsResponse {
            api_keys: HANDLED.iter().copied().map(entry).collect(),
            supported_features: vec![
                supported(name, min_version, max_version),
                supported(GROUP_VERSION.0, GROUP_VERSION.1, GROUP_VERSION.2),
                supported(FLOE_LEVEL, 1, version(context.broker.levels.known())),
            ],
            // Clients take features over only when this number grows, and no other of them changes.
            finalized_features_epoch: i64::from(level),
            finalized_features: vec![
                finalized(name, max_version),
                finalized(GROUP_VERSION.0, GROUP_VERSION.2),
                finalized(FLOE_LEVEL, version(level)),
            ],
            ..ApiVersionsResponse::default()
        }
    }
}

impl Refuse for ApiVersionsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ApiVersionsResponse> {
        Some(error(code))
    }
}

fn supported(name: &'static str, min_version: i16, max_version: i16) -> SupportedFeatureKey {
    SupportedFeatureKey {
        name: name.into(),
        min_version,
        max_version,
    }
}

fn finalized(name: &'static str, level: i16) -> FinalizedFeatureKey {
    FinalizedFeatureKey {
        name: name.into(),
        max_version_level: level,
        min_version_level: level,
    }
}

/// As Kafka's protocol has it.
fn version(level: u32) -> i16 {
    i16::try_from(level).unwrap_or(i16::MAX)
}

fn error(code: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: code.code(),
        ..ApiVersionsResponse::default()
    }
}

fn entry(api: ApiKey) -> ApiVersion {
    let versions = api.valid_versions();
    ApiVersion {
        api_key: api.to_wire(),
        min_version: *versions.start(),
        max_version: *versions.end(),
    }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?` (KIP-511).
fn is_software_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(inner)
}

/// The answer to a version of ApiVersions that is not known here: a body of version 0 that names the
/// versions of this one API. The client then asks again. Only the first bytes of the frame are read.
pub(crate) fn unsupported(frame: &[u8]) -> Answer {
    let Some(start) = HeaderStart::peek(frame) else {
        return Answer::Close(CloseCause::FrameShorterThanHeader { bytes: frame.len() });
    };
    let mut encoder = Encoder::new();
    encode_response_header(&mut encoder, ApiKey::ApiVersions, 0, start.correlation_id);
    let response = ApiVersionsResponse {
        api_keys: vec![entry(ApiKey::ApiVersions)],
        ..error(ErrorCode::UnsupportedVersion)
    };
    match response.encode(&mut encoder, 0) {
        Ok(()) => Answer::Frame(encoder.finish()),
        Err(_) => Answer::Close(CloseCause::UnsupportedVersion {
            api: ApiKey::ApiVersions,
            version: start.api_version,
        }),
    }
}
