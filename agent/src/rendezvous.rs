//! Rendezvous hashing: whoever has the greatest weight with a thing has the thing. All processes agree on
//! that without a word, and a candidate that comes or goes moves only what it has itself.

/// The weight of a thing with a candidate, of the bytes that identify both; the same in every process and
/// release.
pub(crate) fn weight(bytes: impl IntoIterator<Item = u8>) -> u64 {
    // FNV-1a, then the finalizer of MurmurHash3, whose every output bit depends on every input bit.
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = bytes.into_iter().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_never_changes() {
        // Agents of adjacent releases must agree.
        assert_eq!(weight(*b""), 0xefd0_1f60_ba99_2926);
        assert_eq!(weight(*b"floe"), 0x8de1_ae1d_f17c_4142);
    }
}
