//! LZ4 frames: every rule of Kafka's reader.

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::*;

fn pack(frame: FrameInfo, plain: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
    encoder.write_all(plain).expect("it compresses");
    encoder.finish().expect("it compresses")
}

fn independent() -> FrameInfo {
    FrameInfo::new().block_mode(BlockMode::Independent)
}

fn unpack(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    decompress(input, Compression::Lz4, CAP_BYTES)
}

/// A frame header with these flags and block descriptor, its checksum right.
fn header(flg: u8, bd: u8, content_size_bytes: Option<u64>) -> Vec<u8> {
    let mut described = vec![flg, bd];
    described.extend(
        content_size_bytes
            .iter()
            .flat_map(|size| size.to_le_bytes()),
    );
    let checksum = XxHash32::oneshot(0, &described).to_le_bytes()[1];
    [&[0x04, 0x22, 0x4d, 0x18], described.as_slice(), &[checksum]].concat()
}

/// A frame of one stored block.
fn stored(header: &[u8], plain: &[u8]) -> Vec<u8> {
    let size = u32::try_from(plain.len()).expect("small") | 1 << 31;
    [header, &size.to_le_bytes(), plain, &[0; 4]].concat()
}

#[test]
fn frames_of_all_options_are_taken() {
    let plain = text();
    let size = u64::try_from(plain.len()).ok();
    for block_size in [
        BlockSize::Max64KB,
        BlockSize::Max256KB,
        BlockSize::Max1MB,
        BlockSize::Max4MB,
    ] {
        let frame = independent().block_size(block_size);
        for (name, frame) in [
            ("plain", frame.clone()),
            ("content size", frame.clone().content_size(size)),
            ("block checksums", frame.clone().block_checksums(true)),
            ("content checksum", frame.clone().content_checksum(true)),
        ] {
            let packed = pack(frame, &plain);
            assert_eq!(
                unpack(&packed).as_ref(),
                Ok(&plain),
                "{name}, {block_size:?}"
            );
            let behind = [packed.as_slice(), b"whatever"].concat();
            assert_eq!(unpack(&behind).as_ref(), Ok(&plain), "bytes behind, {name}");
        }
    }
    assert_eq!(
        unpack(&stored(&header(0x60, 0x40, None), b"stored")),
        Ok(b"stored".to_vec())
    );
    assert_eq!(unpack(&pack(independent(), b"")), Ok(Vec::new()));
}

#[test]
fn a_frame_of_independent_64_kib_blocks_is_written() {
    let plain = text();
    let packed = compress(&plain, Compression::Lz4).expect("it compresses");
    assert_eq!(packed[..7], header(0x60, 0x40, None));
    assert_eq!(packed[packed.len() - 4..], [0; 4], "the end mark");
    let mut reread = Vec::new();
    FrameDecoder::new(packed.as_slice())
        .read_to_end(&mut reread)
        .expect("it is a frame");
    assert_eq!(reread, plain);
}

#[test]
fn damaged_frames_are_refused() {
    let plain = text();
    let linked = pack(FrameInfo::new().block_mode(BlockMode::Linked), &plain);
    let good = pack(
        independent().block_checksums(true).content_checksum(true),
        &plain,
    );
    let with = |at: usize, bits: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= bits;
        bytes
    };
    let malformed = |reason| CompressionError::Malformed {
        codec: Compression::Lz4,
        reason,
    };
    let flags = || malformed("its version or flags are unknown");
    let frame = |flg, bd| stored(&header(flg, bd, None), b"text");
    for (name, input, expected) in [
        (
            "linked blocks",
            linked,
            malformed("its blocks depend on each other"),
        ),
        ("magic", with(0, 1), malformed("it is no LZ4 frame")),
        (
            "legacy frame",
            vec![0x02, 0x21, 0x4c, 0x18, 0, 0],
            malformed("it is no LZ4 frame"),
        ),
        (
            "header checksum",
            with(6, 1),
            malformed("the checksum of its header is wrong"),
        ),
        ("version 0", frame(0x20, 0x40), flags()),
        ("version 2", frame(0xa0, 0x40), flags()),
        ("reserved flag", frame(0x62, 0x40), flags()),
        ("dictionary", frame(0x61, 0x40), flags()),
        (
            "reserved bits of the block descriptor",
            frame(0x60, 0x41),
            flags(),
        ),
        (
            "top bit of the block descriptor",
            frame(0x60, 0xc0),
            flags(),
        ),
        (
            "block size 3",
            frame(0x60, 0x30),
            malformed("its block size is unknown"),
        ),
        (
            "content size",
            stored(&header(0x68, 0x40, Some(5)), b"text"),
            malformed("its content size is wrong"),
        ),
        (
            "block checksum",
            with(12, 1),
            malformed("a checksum is wrong"),
        ),
        (
            "content checksum",
            with(good.len() - 1, 1),
            malformed("a checksum is wrong"),
        ),
        (
            "block larger than allowed",
            stored(&header(0x60, 0x40, None), &[0; 65_537]),
            malformed("a block is larger than its frame allows"),
        ),
        (
            "damaged block",
            [
                &header(0x60, 0x40, None)[..],
                &[3, 0, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            ]
            .concat(),
            malformed("a block is damaged"),
        ),
    ] {
        assert_eq!(
            unpack(&input).map(|plain| plain.len()),
            Err(expected),
            "{name}"
        );
    }
}

#[test]
fn the_end_mark_is_required() {
    let good = pack(independent(), &text());
    let truncated = Err(CompressionError::Truncated {
        codec: Compression::Lz4,
    });
    for less in 1..=4 {
        assert_eq!(
            unpack(&good[..good.len() - less]),
            truncated,
            "{less} bytes less"
        );
    }
    let checked = pack(independent().content_checksum(true), &text());
    assert_eq!(unpack(&checked[..checked.len() - 1]), truncated);
}

/// A block that becomes more than its frame's block size is no larger than it says.
#[test]
fn a_block_cannot_outgrow_its_frame() {
    let block = lz4_flex::block::compress(&[7; 65_537]);
    let size = u32::try_from(block.len()).expect("small");
    let frame = [
        &header(0x60, 0x40, None)[..],
        &size.to_le_bytes(),
        &block,
        &[0; 4],
    ]
    .concat();
    let expected = CompressionError::Malformed {
        codec: Compression::Lz4,
        reason: "a block is damaged",
    };
    assert_eq!(unpack(&frame), Err(expected));
}
