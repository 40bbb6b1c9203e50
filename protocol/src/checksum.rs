//! CRC-32C (Castagnoli), the checksum of record batches and of Floe's own formats.
//! Owns the choice of the implementation: hardware instructions where the processor has them, decided
//! at run time. Knows no format.

/// CRC-32C of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// CRC-32C of what `crc` covers followed by `bytes`; 0 is the checksum of nothing.
#[must_use]
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, bytes)
}

/// CRC-32C of `A` followed by `B`, from the checksums of both and the length of `B`, without the bytes.
#[must_use]
pub fn crc32c_combine(crc_a: u32, crc_b: u32, len_b_bytes: usize) -> u32 {
    ::crc32c::crc32c_combine(crc_a, crc_b, len_b_bytes)
}
