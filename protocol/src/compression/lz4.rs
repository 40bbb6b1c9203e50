//! LZ4 frames as Kafka reads them (LZ4 frame format 1.6; KIP-57): one frame, version 01, independent
//! blocks, the header's checksum right, an end mark; what follows the end mark is ignored.
//!
//! ```text
//! magic u32 | FLG | BD | content size u64, if any | header checksum
//! | [size u32, top bit: stored | data | checksum u32, if any] … | 0 u32 | checksum u32, if any
//! ```
//!
//! The frame is taken apart here and not by the library, so that the rules are Kafka's and a block
//! never gets more room than its bytes can fill.

use std::io::Write;

use lz4_flex::block::decompress_into;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::{Compression, CompressionError, output::Output};

const MAGIC: u32 = 0x184d_2204;
const FLG_VERSION_MASK: u8 = 0b1100_0000;
const FLG_VERSION_1: u8 = 0b0100_0000;
const FLG_INDEPENDENT_BLOCKS: u8 = 0b0010_0000;
const FLG_BLOCK_CHECKSUMS: u8 = 0b0001_0000;
const FLG_CONTENT_SIZE: u8 = 0b0000_1000;
const FLG_CONTENT_CHECKSUM: u8 = 0b0000_0100;
/// A reserved bit, and a dictionary, which nobody could supply.
const FLG_REFUSED: u8 = 0b0000_0011;
const BD_RESERVED: u8 = 0b1000_1111;
/// Top bit of a block's size: its data is stored as it is.
const STORED: u32 = 1 << 31;
/// The densest sequence adds 255 bytes per byte.
const EXPANSION_MAX: usize = 255;

/// What a frame's header says.
#[derive(Clone, Copy, Debug)]
struct Frame {
    block_bytes_max: usize,
    block_checksums: bool,
    content_checksum: bool,
    content_size_bytes: Option<u64>,
}

pub(super) fn decompress(input: &[u8], output: &mut Output) -> Result<(), CompressionError> {
    let (frame, mut rest) = frame_header(input, output)?;
    loop {
        let (size, after) = uint32(rest, output)?;
        rest = after;
        if size == 0 {
            break;
        }
        rest = block(size, rest, frame, output)?;
    }
    if frame.content_checksum {
        let (checksum, _) = uint32(rest, output)?;
        check(checksum, output.as_slice(), output)?;
    }
    let size_bytes = u64::try_from(output.as_slice().len()).unwrap_or(u64::MAX);
    if frame
        .content_size_bytes
        .is_some_and(|claimed| claimed != size_bytes)
    {
        return Err(output.malformed("its content size is wrong"));
    }
    Ok(())
}

fn frame_header<'a>(
    input: &'a [u8],
    output: &Output,
) -> Result<(Frame, &'a [u8]), CompressionError> {
    let (magic, descriptor) = uint32(input, output)?;
    if magic != MAGIC {
        return Err(output.malformed("it is no LZ4 frame"));
    }
    let (&[flg, bd], mut rest) = descriptor
        .split_first_chunk::<2>()
        .ok_or_else(|| output.truncated())?;
    if flg & FLG_VERSION_MASK != FLG_VERSION_1 || flg & FLG_REFUSED != 0 || bd & BD_RESERVED != 0 {
        return Err(output.malformed("its version or flags are unknown"));
    }
    if flg & FLG_INDEPENDENT_BLOCKS == 0 {
        return Err(output.malformed("its blocks depend on each other"));
    }
    let mut content_size_bytes = None;
    if flg & FLG_CONTENT_SIZE != 0 {
        let (size, after) = rest
            .split_first_chunk::<8>()
            .ok_or_else(|| output.truncated())?;
        content_size_bytes = Some(u64::from_le_bytes(*size));
        rest = after;
    }
    let described = descriptor
        .get(..descriptor.len() - rest.len())
        .unwrap_or_default();
    let (&checksum, rest) = rest.split_first().ok_or_else(|| output.truncated())?;
    let [_, expected, ..] = XxHash32::oneshot(0, described).to_le_bytes();
    if checksum != expected {
        return Err(output.malformed("the checksum of its header is wrong"));
    }
    let block_bytes_max = match bd >> 4 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        _ => return Err(output.malformed("its block size is unknown")),
    };
    let frame = Frame {
        block_bytes_max,
        block_checksums: flg & FLG_BLOCK_CHECKSUMS != 0,
        content_checksum: flg & FLG_CONTENT_CHECKSUM != 0,
        content_size_bytes,
    };
    Ok((frame, rest))
}

/// Takes the block whose size field was `size` and returns what follows it.
fn block<'a>(
    size: u32,
    bytes: &'a [u8],
    frame: Frame,
    output: &mut Output,
) -> Result<&'a [u8], CompressionError> {
    let size_bytes = usize::try_from(size & !STORED).unwrap_or(usize::MAX);
    if size_bytes > frame.block_bytes_max {
        return Err(output.malformed("a block is larger than its frame allows"));
    }
    let (data, mut rest) = bytes
        .split_at_checked(size_bytes)
        .ok_or_else(|| output.truncated())?;
    if frame.block_checksums {
        let (checksum, after) = uint32(rest, output)?;
        check(checksum, data, output)?;
        rest = after;
    }
    if size & STORED != 0 {
        output.put(data)?;
        return Ok(rest);
    }
    let plain_bytes_max = data
        .len()
        .saturating_mul(EXPANSION_MAX)
        .min(frame.block_bytes_max);
    let room_bytes = plain_bytes_max.min(output.left_bytes());
    let refused = if room_bytes < plain_bytes_max {
        output.too_large()
    } else {
        output.malformed("a block is damaged")
    };
    output.fill(room_bytes, |room| {
        decompress_into(data, room).map_err(|_| refused)
    })?;
    Ok(rest)
}

fn check(checksum: u32, data: &[u8], output: &Output) -> Result<(), CompressionError> {
    if checksum == XxHash32::oneshot(0, data) {
        Ok(())
    } else {
        Err(output.malformed("a checksum is wrong"))
    }
}

fn uint32<'a>(bytes: &'a [u8], output: &Output) -> Result<(u32, &'a [u8]), CompressionError> {
    let (head, rest) = bytes
        .split_first_chunk::<4>()
        .ok_or_else(|| output.truncated())?;
    Ok((u32::from_le_bytes(*head), rest))
}

pub(super) fn compress(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let failed = || CompressionError::Encoder {
        codec: Compression::Lz4,
        input_bytes: input.len(),
    };
    let frame = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
    encoder.write_all(input).map_err(|_| failed())?;
    encoder.finish().map_err(|_| failed())
}
