//! The head of an HTTP/1.1 request: its length, its method, and how its body is delimited.

use std::io::{self, Read};
use std::net::TcpStream;

/// A request head longer than this is refused; S3 clients stay below 8 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What the proxy has to know of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Length of the head with its empty line.
    pub(super) bytes: usize,
    /// Method as sent.
    pub(super) method: String,
    /// Length of the body behind the head.
    pub(super) body_bytes: u64,
    /// Whether the body has a transfer coding instead of a length.
    pub(super) is_chunked: bool,
}

impl Head {
    /// Reads into `buffer` until it begins with a whole head. `None` at the end between requests.
    ///
    /// # Errors
    ///
    /// If the connection ends inside a head, or the head is too long or not HTTP/1.
    pub(super) fn read(from: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Head>> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(head) = Head::parse(buffer)? {
                return Ok(Some(head));
            }
            let got = from.read(&mut chunk)?;
            if got == 0 {
                let between = buffer.is_empty();
                return if between {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
            buffer.extend_from_slice(chunk.get(..got).unwrap_or_default());
        }
    }

    /// The head at the begin of `buffer`, if it is complete.
    pub(super) fn parse(buffer: &[u8]) -> io::Result<Option<Head>> {
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            let too_long = buffer.len() > HEAD_BYTES_MAX;
            return if too_long {
                Err(invalid("head too long"))
            } else {
                Ok(None)
            };
        };
        let text = std::str::from_utf8(buffer.get(..end).unwrap_or_default())
            .map_err(|_| invalid("head is not text"))?;
        let mut lines = text.split("\r\n");
        let request_line = lines.next().unwrap_or_default();
        if !request_line.contains(" HTTP/1.") {
            return Err(invalid("not HTTP/1"));
        }
        let method = request_line
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_owned();
        let mut head = Head {
            bytes: end + 4,
            method,
            body_bytes: 0,
            is_chunked: false,
        };
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("header"))?;
            if name.eq_ignore_ascii_case("content-length") {
                head.body_bytes = value
                    .trim()
                    .parse()
                    .map_err(|_| invalid("content length"))?;
            }
            head.is_chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        Ok(Some(head))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
