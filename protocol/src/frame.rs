//! The int32 length in front of every request and response, judged before a byte of the frame is taken.
//! Owns the limits and the recognition of peers that do not speak Kafka at all: their first four bytes, read as a
//! length, are always far above the limit. Reads no sockets and sizes no buffer; the length it returns is a claim.

use crate::api::ApiKey;

/// The bytes of the length itself.
pub const LENGTH_BYTES: usize = 4;
/// The largest Produce request, in bytes after the length.
pub const PRODUCE_FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;
/// The largest request of any other API, in bytes after the length.
pub const OTHER_FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest request of a connection that must authenticate and has not, in bytes after the length.
pub const UNAUTHENTICATED_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Why a frame is refused and its connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length of zero, which no request has.
    #[error("frame of length 0")]
    Empty,
    /// A length below zero.
    #[error("negative frame length {0}")]
    Negative(i32),
    /// A length above the limit.
    #[error("frame of {length_bytes} bytes is larger than the {max_bytes} allowed")]
    TooLong {
        /// The claimed length.
        length_bytes: usize,
        /// The limit in force.
        max_bytes: usize,
    },
    /// The first bytes are those of an HTTP request.
    #[error("an http request ({0}) on a kafka listener")]
    Http(&'static str),
    /// The first bytes are those of a TLS handshake.
    #[error("a tls handshake on a plaintext kafka listener")]
    Tls,
}

/// Judges the length at the start of `buffer`: the bytes of the frame that follow it, or `None` while fewer than
/// four bytes are there. `max_bytes` is the limit of the connection; that of the API comes after, when its key is
/// there too ([`bytes_max`]).
///
/// # Errors
/// No Kafka frame can start like this, or none of this size is allowed: close the connection.
pub fn check_length(buffer: &[u8], max_bytes: usize) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = buffer.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    match usize::try_from(length) {
        Ok(0) => Err(FrameError::Empty),
        Ok(length_bytes) if length_bytes <= max_bytes => Ok(Some(length_bytes)),
        Ok(length_bytes) => Err(foreign(*prefix).unwrap_or(FrameError::TooLong {
            length_bytes,
            max_bytes,
        })),
        Err(_) => Err(FrameError::Negative(length)),
    }
}

/// The largest frame of an API, in bytes after the length, given its key as sent.
#[must_use]
pub const fn bytes_max(api_key: i16) -> usize {
    match ApiKey::from_wire(api_key) {
        Some(ApiKey::Produce) => PRODUCE_FRAME_BYTES_MAX,
        _ => OTHER_FRAME_BYTES_MAX,
    }
}

/// The protocol whose first bytes these are, if it is a common one and not Kafka.
const fn foreign(start: [u8; LENGTH_BYTES]) -> Option<FrameError> {
    Some(match &start {
        b"GET " => FrameError::Http("GET"),
        b"HEAD" => FrameError::Http("HEAD"),
        b"POST" => FrameError::Http("POST"),
        b"PUT " => FrameError::Http("PUT"),
        b"PATC" => FrameError::Http("PATCH"),
        b"DELE" => FrameError::Http("DELETE"),
        b"OPTI" => FrameError::Http("OPTIONS"),
        b"CONN" => FrameError::Http("CONNECT"),
        b"TRAC" => FrameError::Http("TRACE"),
        b"PRI " => FrameError::Http("PRI"),
        // Record type "handshake", version 3.x (RFC 8446, section 5.1).
        [0x16, 0x03, 0x00..=0x04, _] => FrameError::Tls,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row per case of "length < 0, 0, > limit (HTTP, TLS hello)".
    #[test]
    fn lengths_are_judged_before_anything_is_read() {
        let too_long = |length_bytes, max_bytes| {
            Err(FrameError::TooLong {
                length_bytes,
                max_bytes,
            })
        };
        let max = PRODUCE_FRAME_BYTES_MAX;
        for (start, expected) in [
            (&b""[..], Ok(None)),
            (b"\0\0\0", Ok(None)),
            (b"\0\0\0\x01", Ok(Some(1))),
            (b"\0\0\0\x0arest", Ok(Some(10))),
            (b"\x06\x40\0\0", Ok(Some(max))),
            (b"\x06\x40\0\x01", too_long(max + 1, max)),
            (b"\x7f\xff\xff\xff", too_long(0x7fff_ffff, max)),
            (b"\0\0\0\0", Err(FrameError::Empty)),
            (b"\xff\xff\xff\xff", Err(FrameError::Negative(-1))),
            (b"\x80\0\0\0", Err(FrameError::Negative(i32::MIN))),
            (b"GET / HTTP/1.1\r\n", Err(FrameError::Http("GET"))),
            (b"POST /api", Err(FrameError::Http("POST"))),
            (b"PRI * HTTP/2.0\r\n", Err(FrameError::Http("PRI"))),
            (b"\x16\x03\x01\x02\0\x01", Err(FrameError::Tls)),
            (b"SSH-2.0", too_long(0x5353_482d, max)),
        ] {
            assert_eq!(check_length(start, max), expected, "{start:02x?}");
        }
    }

    #[test]
    fn every_foreign_start_exceeds_every_limit() {
        for start in [
            *b"CONN",
            *b"DELE",
            *b"GET ",
            *b"HEAD",
            *b"OPTI",
            *b"\x16\x03\0\0",
        ] {
            assert!(foreign(start).is_some());
            assert!(i32::from_be_bytes(start).unsigned_abs() as usize > PRODUCE_FRAME_BYTES_MAX);
        }
    }

    #[test]
    fn only_produce_gets_the_full_limit() {
        assert_eq!(
            bytes_max(ApiKey::Produce.to_wire()),
            PRODUCE_FRAME_BYTES_MAX
        );
        for key in ApiKey::ALL
            .into_iter()
            .skip(1)
            .map(ApiKey::to_wire)
            .chain([-1, 4, i16::MAX])
        {
            assert_eq!(bytes_max(key), OTHER_FRAME_BYTES_MAX, "key {key}");
        }
    }
}
