//! Request and response headers (protocol guide, "Protocol Request Header"; KIP-482, KIP-511).
//!   0 key i16 | 2 version i16 | 4 correlation id i32 | 8 client id, nullable string | tagged fields from v2 on
//! The first eight bytes are the same in every version; `HeaderStart` reads them without looking at more, which is
//! all that an ApiVersions request of an unknown version may be asked for.

use crate::api::ApiKey;
use crate::decoder::{DecodeError, Decoder};
use crate::encoder::Encoder;
use crate::str::Str;

/// The bytes of [`HeaderStart`].
pub const HEADER_START_BYTES: usize = 8;

/// What every request starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderStart {
    /// The key as sent, known or not.
    pub api_key: i16,
    /// The version as sent, supported or not.
    pub api_version: i16,
    /// Repeated in the response.
    pub correlation_id: i32,
}

impl HeaderStart {
    /// Reads the first eight bytes of a frame (after its length); `None` if there are fewer.
    #[must_use]
    pub fn peek(frame: &[u8]) -> Option<Self> {
        let [key_high, key_low, version_high, version_low, id @ ..] =
            *frame.first_chunk::<HEADER_START_BYTES>()?;
        Some(Self {
            api_key: i16::from_be_bytes([key_high, key_low]),
            api_version: i16::from_be_bytes([version_high, version_low]),
            correlation_id: i32::from_be_bytes(id),
        })
    }

    /// The key, if Floe has it.
    #[must_use]
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::from_wire(self.api_key)
    }

    /// Whether this is an ApiVersions request of a version nobody can parse here, to be answered with a v0 body
    /// and `UNSUPPORTED_VERSION` instead of a closed connection (KIP-511).
    #[must_use]
    pub fn is_unsupported_api_versions(&self) -> bool {
        self.api() == Some(ApiKey::ApiVersions) && !ApiKey::ApiVersions.can_decode(self.api_version)
    }
}

/// A request header, version 1 or 2 as key and version demand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHeader {
    /// The key as sent.
    pub api_key: i16,
    /// The version as sent.
    pub api_version: i16,
    /// Repeated in the response.
    pub correlation_id: i32,
    /// What the client calls itself; bytes that are not UTF-8 were replaced.
    pub client_id: Option<Str>,
}

impl RequestHeader {
    /// Reads a header. Tagged fields follow the client id where key and version are flexible; for an unknown key
    /// or version they are left unread.
    ///
    /// # Errors
    /// The frame is malformed: close the connection.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let (api_key, api_version, correlation_id) = (d.i16()?, d.i16()?, d.i32()?);
        let client_id = d.nullable_string_lossy()?;
        if ApiKey::from_wire(api_key).is_some_and(|api| api.is_flexible(api_version)) {
            d.skip_header_tags()?;
        }
        Ok(Self {
            api_key,
            api_version,
            correlation_id,
            client_id,
        })
    }

    /// Writes the header, as a client does.
    ///
    /// # Errors
    /// The client id is longer than 32,767 bytes.
    pub fn encode(&self, e: &mut Encoder) -> Result<(), crate::encoder::EncodeError> {
        e.i16(self.api_key);
        e.i16(self.api_version);
        e.i32(self.correlation_id);
        e.nullable_string(self.client_id.as_ref(), false)?;
        if ApiKey::from_wire(self.api_key).is_some_and(|api| api.is_flexible(self.api_version)) {
            e.uvarint(0);
        }
        Ok(())
    }
}

/// Writes the header of the response to a request of `api` and `version`.
pub fn encode_response_header(e: &mut Encoder, api: ApiKey, version: i16, correlation_id: i32) {
    e.i32(correlation_id);
    if api.response_header_version(version) >= 1 {
        e.uvarint(0);
    }
}

/// Reads the header of a response, as a client does, and gives its correlation id.
///
/// # Errors
/// The frame is malformed.
pub fn decode_response_header(
    d: &mut Decoder,
    api: ApiKey,
    version: i16,
) -> Result<i32, DecodeError> {
    let correlation_id = d.i32()?;
    if api.response_header_version(version) >= 1 {
        d.skip_header_tags()?;
    }
    Ok(correlation_id)
}
