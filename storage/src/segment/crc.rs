//! CRC32C of two byte strings put together, from the CRCs of the two: no second look at the bytes.
//!
//! A CRC is a remainder modulo a polynomial P over the field of two elements. Appending n bytes to a
//! string multiplies its remainder by x^(8n) mod P, so `crc(ab) = crc(a) · x^(8·len b) + crc(b)`. With a
//! table of x^(2^k) the power takes one product of 32 steps per set bit of n.

/// The Castagnoli polynomial, lowest power in the highest bit, without x^32.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `POWERS[k]` is x^(8·2^k) mod P.
static POWERS: [u32; 64] = powers();

/// The CRC32C of a byte string `a` followed by `b`, of which `b` has `b_bytes` bytes.
pub(crate) fn combine(a_crc: u32, b_crc: u32, b_bytes: u64) -> u32 {
    let mut shifted = a_crc;
    let mut rest = b_bytes;
    for power in &POWERS {
        if rest == 0 {
            break;
        }
        if rest & 1 == 1 {
            shifted = product(shifted, *power);
        }
        rest >>= 1;
    }
    shifted ^ b_crc
}

#[expect(
    clippy::indexing_slicing,
    reason = "a constant: out of bounds would not compile"
)]
const fn powers() -> [u32; 64] {
    // x^8: bit 31 is x^0, so x^8 is bit 23.
    let mut power = 1 << 23;
    let mut table = [0; 64];
    let mut k = 0;
    while k < 64 {
        table[k] = power;
        power = product(power, power);
        k += 1;
    }
    table
}

/// a · b mod P.
const fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    let mut bit = 1 << 31;
    while bit != 0 {
        if a & bit != 0 {
            sum ^= b;
        }
        // b · x mod P, without a branch.
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
        bit >>= 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn combining_is_the_crc_of_both(
            a in prop::collection::vec(any::<u8>(), 0..300),
            b in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let both = [a.as_slice(), b.as_slice()].concat();
            let combined = combine(crc32c::crc32c(&a), crc32c::crc32c(&b), b.len() as u64);
            prop_assert_eq!(combined, crc32c::crc32c(&both));
        }

        #[test]
        fn long_lengths_agree_with_the_crc_crate(a: u32, b: u32, length in 0usize..1 << 40) {
            let expected = crc32c::crc32c_combine(a, b, length);
            prop_assert_eq!(combine(a, b, length as u64), expected);
        }
    }
}
