//! CRC-32C (Castagnoli), the checksum of record batches and of Floe's own formats.
//! Owns the choice of the implementation and the algebra on checksums. Knows no format.
//!
//! Bytes are summed by vector instructions where the processor has them, decided at run time. Two
//! checksums are combined by a multiplication of polynomials modulo CRC-32C's: appending `n` bytes to
//! `A` multiplies its checksum by x^(8n), and those powers come from a table of 16 × 16 entries.

use crc_fast::{CrcAlgorithm, Digest};

/// The polynomial, bit-reversed: bit 31 is x^0.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x^0.
const ONE: u32 = 1 << 31;
/// Hexadecimal digits of a length.
const DIGITS: usize = 16;

/// At `[i][d]`: x to the power of the bits in `d` × 16^i bytes.
const SHIFTS: [[u32; 16]; DIGITS] = shifts();

/// CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32C of what `crc` covers followed by `bytes`; 0 is the checksum of nothing.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
    digest.update(bytes);
    u32::try_from(digest.finalize()).unwrap_or_else(|_| unreachable!("CRC-32C has 32 bits"))
}

/// CRC-32C of `A` followed by `B`, from the checksums of both and the length of `B`, without the bytes.
/// Costs about as much as summing a few KiB, whatever the length.
#[must_use]
pub fn crc32c_combine(crc_a: u32, crc_b: u32, len_b_bytes: usize) -> u32 {
    let mut shifted = crc_a;
    let mut digits = len_b_bytes;
    for powers in &SHIFTS {
        if digits == 0 {
            break;
        }
        if !digits.is_multiple_of(16) {
            let power = powers.get(digits % 16).copied().unwrap_or(ONE);
            shifted = multiply(shifted, power);
        }
        digits /= 16;
    }
    shifted ^ crc_b
}

/// The product of two polynomials modulo CRC-32C's.
const fn multiply(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < u32::BITS {
        product ^= b & 0_u32.wrapping_sub(a >> 31);
        a <<= 1;
        b = (b >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(b & 1));
        bit += 1;
    }
    product
}

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which checks the bounds"
)]
const fn shifts() -> [[u32; 16]; DIGITS] {
    let mut shifts = [[ONE; 16]; DIGITS];
    // x^8: one byte.
    let mut unit = ONE >> 8;
    let mut row = 0;
    while row < DIGITS {
        let mut digit = 1;
        while digit < 16 {
            shifts[row][digit] = multiply(shifts[row][digit - 1], unit);
            digit += 1;
        }
        unit = multiply(shifts[row][15], unit);
        row += 1;
    }
    shifts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, bit by bit.
    fn reference(bytes: &[u8]) -> u32 {
        let mut crc = !0_u32;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    (crc >> 1) ^ POLYNOMIAL
                } else {
                    crc >> 1
                };
            }
        }
        !crc
    }

    #[test]
    fn known_checksums() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn every_length_and_alignment_agrees_with_the_definition() {
        let bytes: Vec<u8> = (0..3000_u32)
            .map(|i| ((i * 167) >> 3).to_le_bytes()[0])
            .collect();
        for start in 0..9 {
            for len in (0..600).chain([1000, 1023, 1024, 1025, 2047, 2900]) {
                let piece = &bytes[start..start + len];
                assert_eq!(
                    crc32c(piece),
                    reference(piece),
                    "start {start}, length {len}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn appending_and_combining_agree_with_summing_the_whole(
            bytes in proptest::collection::vec(any::<u8>(), 0..5000),
            cut in any::<proptest::sample::Index>(),
        ) {
            let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
            let whole = crc32c(&bytes);
            prop_assert_eq!(crc32c_append(crc32c(a), b), whole);
            prop_assert_eq!(crc32c_combine(crc32c(a), crc32c(b), b.len()), whole);
        }

        /// (A || B) || C = A || (B || C), for lengths that no test can allocate.
        #[test]
        fn combining_is_associative(
            a: u32, b: u32, c: u32, len_b in 0..usize::MAX / 2, len_c in 0..usize::MAX / 2,
        ) {
            let left = crc32c_combine(crc32c_combine(a, b, len_b), c, len_c);
            let right = crc32c_combine(a, crc32c_combine(b, c, len_c), len_b + len_c);
            prop_assert_eq!(left, right);
        }
    }
}
