//! xerial's framing and raw blocks.

use super::*;

const HEADER: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

fn raw(plain: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new()
        .compress_vec(plain)
        .expect("it compresses")
}

fn framed(blocks: &[&[u8]]) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    for plain in blocks {
        let block = raw(plain);
        out.extend_from_slice(&i32::try_from(block.len()).expect("small").to_be_bytes());
        out.extend_from_slice(&block);
    }
    out
}

fn unpack(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    decompress(input, Compression::Snappy, CAP_BYTES)
}

#[test]
fn both_framings_are_taken() {
    let plain = text();
    assert_eq!(unpack(&raw(&plain)).as_ref(), Ok(&plain));
    assert_eq!(unpack(&framed(&[&plain])).as_ref(), Ok(&plain));
    assert_eq!(
        unpack(&framed(&[b"one ", b"", b"two"])),
        Ok(b"one two".to_vec())
    );
    assert_eq!(unpack(HEADER), Ok(Vec::new()), "a stream without blocks");
    assert_eq!(unpack(&raw(b"")), Ok(Vec::new()));
    let streams = [
        framed(&[b"one ", b"two "]),
        framed(&[]),
        framed(&[b"three"]),
    ]
    .concat();
    assert_eq!(unpack(&streams), Ok(b"one two three".to_vec()));
}

#[test]
fn xerial_is_written_in_blocks_of_32_kib() {
    let plain = text();
    let packed = compress(&plain, Compression::Snappy).expect("it compresses");
    let blocks: Vec<&[u8]> = plain.chunks(32 << 10).collect();
    assert!(blocks.len() > 2);
    assert_eq!(packed, framed(&blocks));
}

#[test]
fn malformed_streams_are_refused() {
    let good = framed(&[b"some text"]);
    let version = |at: usize, version: u8| {
        let mut bytes = good.clone();
        bytes[at] = version;
        bytes
    };
    let block = |length: i32, block: &[u8]| [HEADER, &length.to_be_bytes(), block].concat();
    let malformed = |reason| CompressionError::Malformed {
        codec: Compression::Snappy,
        reason,
    };
    let truncated = CompressionError::Truncated {
        codec: Compression::Snappy,
    };
    let version_unknown = malformed("its xerial version is unknown");
    let damaged = malformed("a block is damaged");
    let claims = malformed("a block claims more than its bytes can become");
    // The official stream format begins with a chunk of its own.
    let official = {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(b"some text").expect("it compresses");
        encoder.into_inner().expect("it compresses")
    };
    for (name, input, expected) in [
        ("version 0", version(11, 0), version_unknown.clone()),
        ("compatible version 2", version(15, 2), version_unknown),
        (
            "header alone, short",
            good[..12].to_vec(),
            truncated.clone(),
        ),
        (
            "length of a block, short",
            good[..18].to_vec(),
            truncated.clone(),
        ),
        (
            "block, short",
            good[..good.len() - 1].to_vec(),
            truncated.clone(),
        ),
        (
            "negative length",
            block(-1, b""),
            malformed("a block has a negative length"),
        ),
        ("length beyond the end", block(i32::MAX, b"x"), truncated),
        ("empty block", block(0, b""), damaged.clone()),
        ("damaged block", block(3, &[9, 0, 0]), damaged),
        (
            "no length",
            block(1, &[0x80]),
            malformed("a block does not begin with its length"),
        ),
        (
            "claim of 1 MB in 4 bytes",
            vec![0x80, 0x80, 0x40, 0],
            claims.clone(),
        ),
        (
            "claim of 1 MB in a frame",
            block(4, &[0x80, 0x80, 0x40, 0]),
            claims.clone(),
        ),
        ("official stream", official, claims.clone()),
    ] {
        assert_eq!(unpack(&input), Err(expected), "{name}");
    }
}

/// 25 bytes that claim 4 GiB.
#[test]
fn a_claim_beyond_the_cap_is_refused() {
    let mut claim = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    claim.extend_from_slice(&[0; 20]);
    let expected = CompressionError::TooLarge {
        codec: Compression::Snappy,
        cap_bytes: CAP_BYTES,
    };
    assert_eq!(unpack(&claim), Err(expected.clone()));
    let framed = [HEADER, &25_i32.to_be_bytes(), &claim].concat();
    assert_eq!(unpack(&framed), Err(expected));
}
