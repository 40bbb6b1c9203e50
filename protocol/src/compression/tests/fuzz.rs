//! Mutated streams of every codec. Checksums that stand in the way of the mutants are repaired.

use twox_hash::XxHash32;

use super::*;
use crate::fuzzing::{Mutator, iterations};

const SMALL_CAP_BYTES: usize = 1 << 16;

fn seeds(codec: Compression) -> Vec<Vec<u8>> {
    let text = text();
    let mut seeds: Vec<_> = [&text[..40], &text[..5000], &text, &noise(300), &[0; 20_000]]
        .into_iter()
        .map(|plain| compress(plain, codec).expect("it compresses"))
        .collect();
    match codec {
        Compression::Snappy => {
            let raw = snap::raw::Encoder::new()
                .compress_vec(&text)
                .expect("it compresses");
            seeds.push(raw);
        }
        Compression::Zstd => seeds.push(zstd_frame(23, &text)),
        Compression::None | Compression::Gzip | Compression::Lz4 => {}
    }
    seeds
}

/// Makes the header of an LZ4 frame whole again.
fn repair(stream: &mut [u8]) {
    let Some(descriptor) = stream.get_mut(4..) else {
        return;
    };
    let described = match descriptor.first() {
        Some(flg) if flg & 8 != 0 => 10,
        _ => 2,
    };
    if descriptor.len() > described {
        let [_, checksum, ..] = XxHash32::oneshot(0, &descriptor[..described]).to_le_bytes();
        descriptor[described] = checksum;
    }
}

#[test]
fn mutated_streams() {
    for codec in CODECS {
        let seeds = seeds(codec);
        let mut mutator = Mutator::new(u64::from(codec.codec()));
        let (mut taken, mut refused) = (0_u64, 0_u64);
        for _ in 0..iterations(1500) {
            let mut stream = seeds[mutator.below(seeds.len())].clone();
            mutator.mutate(&mut stream);
            if codec == Compression::Lz4 && mutator.below(8) > 0 {
                repair(&mut stream);
            }
            match decompress(&stream, codec, SMALL_CAP_BYTES) {
                Ok(plain) => {
                    assert!(plain.len() <= SMALL_CAP_BYTES, "{codec}");
                    taken += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
        // gzip's checksum refuses nearly all; the others must let mutants through to be tested.
        assert!(
            refused > 0 && (taken > 0 || codec == Compression::Gzip),
            "{codec}: {taken}"
        );
    }
}
