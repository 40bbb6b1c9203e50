//! Tests of the codecs: what is taken, what is refused, what is written.

mod fuzz;
mod lz4;
mod snappy;

use std::io::{Read, Write};

use proptest::prelude::*;

use super::*;

const CAP_BYTES: usize = 1 << 20;
/// All that compress.
const CODECS: [Compression; 4] = [
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Text that compresses, of several blocks of every codec.
fn text() -> Vec<u8> {
    (0..20_000_u32)
        .flat_map(|i| format!("{} ", i * i % 1009).into_bytes())
        .collect()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut mutator = crate::fuzzing::Mutator::new(7);
    (0..len).map(|_| mutator.next().to_le_bytes()[0]).collect()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    compress(plain, Compression::Gzip).expect("it compresses")
}

#[test]
fn what_is_compressed_comes_back() {
    let inputs = [
        Vec::new(),
        vec![7],
        vec![0; 100_000],
        text(),
        noise(70_000),
        noise(65_536),
    ];
    for codec in Compression::ALL {
        for plain in &inputs {
            let packed = compress(plain, codec).expect("it compresses");
            assert_eq!(
                decompress(&packed, codec, plain.len()).as_ref(),
                Ok(plain),
                "{codec}"
            );
        }
    }
}

#[test]
fn the_cap_is_exact() {
    let plain = text();
    for codec in Compression::ALL {
        let packed = compress(&plain, codec).expect("it compresses");
        for cap_bytes in [0, 1, 16 << 10, plain.len() - 1] {
            assert_eq!(
                decompress(&packed, codec, cap_bytes),
                Err(CompressionError::TooLarge { codec, cap_bytes }),
                "{codec}, {cap_bytes}"
            );
        }
        assert!(decompress(&packed, codec, plain.len()).is_ok(), "{codec}");
        assert!(decompress(&packed, codec, usize::MAX).is_ok(), "{codec}");
    }
}

#[test]
fn every_truncation_is_an_error_or_a_shorter_text() {
    let plain = &text()[..3000];
    for codec in CODECS {
        let packed = compress(plain, codec).expect("it compresses");
        for len in 0..packed.len() {
            if let Ok(short) = decompress(&packed[..len], codec, CAP_BYTES) {
                // Streams without an end of their own: xerial after its header, zstd before a frame.
                assert!(short.is_empty(), "{codec}, {len} bytes");
            }
        }
    }
}

#[test]
fn gzip_takes_members_in_a_row_and_nothing_else() {
    let two = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
    assert_eq!(
        decompress(&two, Compression::Gzip, CAP_BYTES),
        Ok(b"one two".to_vec())
    );
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(b"zlib").expect("it compresses");
    let zlib = zlib.finish().expect("it compresses");
    let mut damaged = gzip(b"some text");
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    for (name, input) in [
        ("zlib", zlib),
        (
            "garbage behind",
            [gzip(b"one"), b"garbage behind".to_vec()].concat(),
        ),
        ("wrong checksum", damaged),
    ] {
        let found = decompress(&input, Compression::Gzip, CAP_BYTES);
        assert!(
            matches!(found, Err(CompressionError::Malformed { .. })),
            "{name}: {found:?}"
        );
    }
    let short = gzip(b"some text");
    assert_eq!(
        decompress(&short[..short.len() - 1], Compression::Gzip, CAP_BYTES),
        Err(CompressionError::Truncated {
            codec: Compression::Gzip
        })
    );
}

#[test]
fn gzip_is_written_as_one_member() {
    let packed = gzip(&text());
    let mut plain = Vec::new();
    let mut decoder = flate2::bufread::GzDecoder::new(packed.as_slice());
    decoder.read_to_end(&mut plain).expect("it is gzip");
    assert_eq!(plain, text());
    assert!(
        decoder.into_inner().is_empty(),
        "bytes follow the first member"
    );
}

/// A frame whose window is 2^`window_log`, its size unknown beforehand.
fn zstd_frame(window_log: u32, plain: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).expect("an encoder");
    encoder.window_log(window_log).expect("a window");
    encoder.write_all(plain).expect("it compresses");
    encoder.finish().expect("it compresses")
}

#[test]
fn zstd_takes_any_frames_within_the_window() {
    let sized = compress(b"sized ", Compression::Zstd).expect("it compresses");
    let mut checked = ::zstd::stream::write::Encoder::new(Vec::new(), 19).expect("an encoder");
    checked.include_checksum(true).expect("a checksum");
    checked.write_all(b"checked ").expect("it compresses");
    let checked = checked.finish().expect("it compresses");
    let skippable = [
        &0x184d_2a50_u32.to_le_bytes()[..],
        &3_u32.to_le_bytes(),
        b"any",
    ]
    .concat();
    let frames = [sized, zstd_frame(23, b"unsized "), skippable, checked].concat();
    let plain = b"sized unsized checked ".to_vec();
    assert_eq!(decompress(&frames, Compression::Zstd, CAP_BYTES), Ok(plain));
    for (name, input) in [
        ("window of 16 MiB", zstd_frame(24, &text())),
        ("window of 128 MiB", zstd_frame(27, b"small")),
        (
            "garbage behind",
            [zstd_frame(20, b"one"), b"garbage".to_vec()].concat(),
        ),
        (
            "a dictionary that nobody has",
            b"\x28\xb5\x2f\xfd\x21\x07\x00\x01\x00\x00".to_vec(),
        ),
    ] {
        let found = decompress(&input, Compression::Zstd, CAP_BYTES);
        assert!(
            matches!(found, Err(CompressionError::Malformed { .. })),
            "{name}: {found:?}"
        );
    }
    let mut short = zstd_frame(20, &text());
    short.pop();
    assert_eq!(
        decompress(&short, Compression::Zstd, CAP_BYTES),
        Err(CompressionError::Truncated {
            codec: Compression::Zstd
        })
    );
}

#[test]
fn zstd_is_written_as_one_frame_that_knows_its_size() {
    let plain = text();
    let packed = compress(&plain, Compression::Zstd).expect("it compresses");
    let size = ::zstd::zstd_safe::get_frame_content_size(&packed).expect("a frame");
    assert_eq!(size, u64::try_from(plain.len()).ok());
    assert_eq!(
        ::zstd::zstd_safe::find_frame_compressed_size(&packed),
        Ok(packed.len())
    );
}

proptest! {
    #[test]
    fn garbage_is_survived(
        garbage in proptest::collection::vec(any::<u8>(), 0..400),
        codec in proptest::sample::select(CODECS.to_vec()),
    ) {
        if let Ok(plain) = decompress(&garbage, codec, 4096) {
            prop_assert!(plain.len() <= 4096);
        }
    }

    #[test]
    fn random_bytes_come_back(
        plain in proptest::collection::vec(any::<u8>(), 0..3000),
        repeat in 0..40_usize,
        codec in proptest::sample::select(CODECS.to_vec()),
    ) {
        let plain = plain.repeat(repeat);
        let packed = compress(&plain, codec).expect("it compresses");
        prop_assert_eq!(decompress(&packed, codec, plain.len()), Ok(plain));
    }
}
