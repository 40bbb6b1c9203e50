//! The codecs of record batches (protocol guide, "Compression"; KIP-110). Reads what Kafka's brokers
//! read, writes what Kafka's clients read.
//!
//! Invariant: a stream never costs more memory than the caller's cap and a constant, whatever sizes it
//! claims. Knows nothing of batches.

mod gzip;
mod lz4;
mod output;
mod snappy;
mod zstd;

#[cfg(test)]
mod tests;

use output::Output;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952, one or more members.
    Gzip,
    /// Snappy blocks in xerial's framing, or one raw block.
    Snappy,
    /// One LZ4 frame of independent blocks.
    Lz4,
    /// Zstandard frames (KIP-110).
    Zstd,
}

impl Compression {
    /// All of them, in the order of their codec bits.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec bits in a batch's attributes.
    #[must_use]
    pub const fn codec(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Kafka's name of the codec.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Why bytes do not decompress, or do not compress.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CompressionError {
    /// More would come out than is allowed.
    #[error("{codec} stream decompresses to more than {cap_bytes} bytes")]
    TooLarge {
        /// The codec.
        codec: Compression,
        /// The caller's cap.
        cap_bytes: usize,
    },
    /// The stream ends where more must follow.
    #[error("{codec} stream is cut short")]
    Truncated {
        /// The codec.
        codec: Compression,
    },
    /// The stream is not what the codec's format says, or not of the kind that batches may hold.
    #[error("{codec} stream is malformed: {reason}")]
    Malformed {
        /// The codec.
        codec: Compression,
        /// What is wrong.
        reason: &'static str,
    },
    /// The library refused to compress, which needs memory it did not get or an input of 4 GiB.
    #[error("{codec} cannot compress {input_bytes} bytes")]
    Encoder {
        /// The codec.
        codec: Compression,
        /// What was to be compressed.
        input_bytes: usize,
    },
}

/// Decompresses all of `input`; at most `cap_bytes` may come out.
///
/// # Errors
/// The stream is malformed, cut short or larger than the cap. It stays so: do not try again.
pub fn decompress(
    input: &[u8],
    codec: Compression,
    cap_bytes: usize,
) -> Result<Vec<u8>, CompressionError> {
    let mut output = Output::new(codec, cap_bytes);
    match codec {
        Compression::None => output.put(input)?,
        Compression::Gzip => gzip::decompress(input, &mut output)?,
        Compression::Snappy => snappy::decompress(input, &mut output)?,
        Compression::Lz4 => lz4::decompress(input, &mut output)?,
        Compression::Zstd => zstd::decompress(input, &mut output)?,
    }
    Ok(output.into_bytes())
}

/// Compresses `input` so that every client reads it: one gzip member, xerial snappy, one LZ4 frame of
/// independent 64 KiB blocks, one zstd frame.
///
/// # Errors
/// The library refuses; see [`CompressionError::Encoder`].
pub fn compress(input: &[u8], codec: Compression) -> Result<Vec<u8>, CompressionError> {
    match codec {
        Compression::None => Ok(input.to_vec()),
        Compression::Gzip => gzip::compress(input),
        Compression::Snappy => snappy::compress(input),
        Compression::Lz4 => lz4::compress(input),
        Compression::Zstd => zstd::compress(input),
    }
}
