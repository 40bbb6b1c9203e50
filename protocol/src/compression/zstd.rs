//! Zstandard (RFC 8878; KIP-110): any sequence of frames, with or without their sizes, as long as the
//! window a frame asks for is at most 8 MiB.

use zstd::stream::read::Decoder;

use super::{Compression, CompressionError, output::Output};

/// Binary logarithm of the largest window: 8 MiB, what RFC 8878 asks every decoder to support.
const WINDOW_LOG_MAX: u32 = 23;
/// The library's default: the level of Kafka's clients, too.
const LEVEL: i32 = 3;

pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), CompressionError> {
    let mut decoder =
        Decoder::with_buffer(input).map_err(|_| output.malformed("no decoder could be made"))?;
    decoder
        .window_log_max(WINDOW_LOG_MAX)
        .map_err(|_| output.malformed("no decoder could be made"))?;
    output.drain(
        decoder,
        "it is no sequence of zstd frames with windows of at most 8 MiB",
    )
}

pub(super) fn compress(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    zstd::bulk::compress(input, LEVEL).map_err(|_| CompressionError::Encoder {
        codec: Compression::Zstd,
        input_bytes: input.len(),
    })
}
