//! Snappy as Kafka uses it: raw blocks in the framing of xerial's snappy-java, or one bare raw block
//! (librdkafka). Not the official stream format.
//!
//! ```text
//! 82 53 4e 41 50 50 59 00 | version i32 | compatible version i32 | [length i32 | raw block] …
//! ```
//!
//! Several such streams may follow each other. A raw block begins with the length it claims to become,
//! a varint; the claim is compared with the cap and with what the block's bytes can at most encode
//! before anything is allocated.

use super::{Compression, CompressionError, output::Output};

const MAGIC: &[u8; 8] = b"\x82SNAPPY\0";
/// Version and oldest compatible version, both 1 ever since.
const VERSION: i32 = 1;
/// What snappy-java puts into a block.
const BLOCK_BYTES: usize = 32 << 10;
/// The densest element is a copy of 64 bytes in 3.
const EXPANSION_MAX: usize = 22;

pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), CompressionError> {
    if !input.starts_with(MAGIC) {
        return raw_block(input, output);
    }
    let mut rest = input;
    while !rest.is_empty() {
        rest = match rest.strip_prefix(MAGIC) {
            Some(versions) => stream_header(versions, output)?,
            None => framed_block(rest, output)?,
        };
    }
    Ok(())
}

fn stream_header<'a>(bytes: &'a [u8], output: &Output) -> Result<&'a [u8], CompressionError> {
    let (version, rest) = int32(bytes, output)?;
    let (compatible, rest) = int32(rest, output)?;
    if version < VERSION || compatible > VERSION {
        return Err(output.malformed("its xerial version is unknown"));
    }
    Ok(rest)
}

fn framed_block<'a>(bytes: &'a [u8], output: &mut Output) -> Result<&'a [u8], CompressionError> {
    let (length, rest) = int32(bytes, output)?;
    let length =
        usize::try_from(length).map_err(|_| output.malformed("a block has a negative length"))?;
    let (block, rest) = rest
        .split_at_checked(length)
        .ok_or_else(|| output.truncated())?;
    raw_block(block, output)?;
    Ok(rest)
}

fn raw_block(block: &[u8], output: &mut Output) -> Result<(), CompressionError> {
    let claimed = snap::raw::decompress_len(block)
        .map_err(|_| output.malformed("a block does not begin with its length"))?;
    if claimed > output.left_bytes() {
        return Err(output.too_large());
    }
    if claimed > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(output.malformed("a block claims more than its bytes can become"));
    }
    let malformed = output.malformed("a block is damaged");
    output.fill(claimed, |room| {
        snap::raw::Decoder::new()
            .decompress(block, room)
            .map_err(|_| malformed)
    })
}

fn int32<'a>(bytes: &'a [u8], output: &Output) -> Result<(i32, &'a [u8]), CompressionError> {
    let (head, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or_else(|| output.truncated())?;
    Ok((i32::from_be_bytes(*head), rest))
}

pub(super) fn compress(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let failed = || CompressionError::Encoder {
        codec: Compression::Snappy,
        input_bytes: input.len(),
    };
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for plain in input.chunks(BLOCK_BYTES) {
        let block = encoder.compress_vec(plain).map_err(|_| failed())?;
        let length = i32::try_from(block.len()).map_err(|_| failed())?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(out)
}
