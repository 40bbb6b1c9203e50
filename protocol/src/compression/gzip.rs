//! gzip: one or more members (RFC 1952). Not zlib (RFC 1950), which Kafka does not read either.

use std::io::Write;

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Compression, CompressionError, output::Output};

pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), CompressionError> {
    output.drain(
        MultiGzDecoder::new(input),
        "it is no sequence of gzip members",
    )
}

pub(super) fn compress(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(input)
        .and_then(|()| encoder.finish())
        .map_err(|_| CompressionError::Encoder {
            codec: Compression::Gzip,
            input_bytes: input.len(),
        })
}
