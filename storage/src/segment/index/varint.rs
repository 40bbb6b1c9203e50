//! LEB128 numbers: seven bits a byte, the low ones first; signed ones zigzag, so that small
//! differences of either sign are short.

use super::IndexError;

/// Appends `value` in one to ten bytes.
pub(super) fn put(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends `value`, zigzag.
pub(super) fn put_signed(value: i64, out: &mut Vec<u8>) {
    put(((value << 1) ^ (value >> 63)).cast_unsigned(), out);
}

/// Takes a number from the front of `bytes`.
pub(super) fn take(bytes: &mut &[u8]) -> Result<u64, IndexError> {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let (&byte, rest) = bytes.split_first().ok_or(IndexError::CutOff)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if shift == 63 && bits > 1 {
            return Err(IndexError::Number);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
        if shift > 63 {
            return Err(IndexError::Number);
        }
    }
}

/// Takes a zigzag number from the front of `bytes`.
pub(super) fn take_signed(bytes: &mut &[u8]) -> Result<i64, IndexError> {
    let value = take(bytes)?;
    Ok((value >> 1).cast_signed() ^ (value & 1).cast_signed().wrapping_neg())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, signed: i64) {
            let mut bytes = Vec::new();
            put(value, &mut bytes);
            put_signed(signed, &mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take(&mut rest), Ok(value));
            prop_assert_eq!(take_signed(&mut rest), Ok(signed));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn bad_numbers_are_refused() {
        assert_eq!(take(&mut [].as_slice()), Err(IndexError::CutOff));
        assert_eq!(take(&mut [0x80].as_slice()), Err(IndexError::CutOff));
        assert_eq!(take(&mut [0xff; 11].as_slice()), Err(IndexError::Number));
        let mut past_64_bits = [0xff; 10];
        past_64_bits[9] = 2;
        assert_eq!(take(&mut past_64_bits.as_slice()), Err(IndexError::Number));
        past_64_bits[9] = 1;
        assert_eq!(take(&mut past_64_bits.as_slice()), Ok(u64::MAX));
    }
}
