//! The 16 attribute bits of a batch (protocol guide, "Record Batch"; bit 6: KIP-534).

use super::BatchError;
use crate::compression::Compression;

/// Codec, timestamp type and flags of a batch; unused bits are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Attributes(pub u16);

impl Attributes {
    const CODEC_MASK: u16 = 0x0007;
    const LOG_APPEND_TIME: u16 = 0x0008;
    const TRANSACTIONAL: u16 = 0x0010;
    const CONTROL: u16 = 0x0020;
    const DELETE_HORIZON: u16 = 0x0040;

    /// How the records are compressed.
    ///
    /// # Errors
    /// The codec is none of Kafka's.
    pub fn compression(self) -> Result<Compression, BatchError> {
        match self.0 & Self::CODEC_MASK {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            codec => Err(BatchError::UnknownCodec { codec }),
        }
    }

    /// Whether all records have the batch's max timestamp, set by the broker.
    #[must_use]
    pub const fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Whether the batch is part of a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a marker of a transaction instead of an application's records.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the time at which compaction may drop the tombstones.
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The same with another codec.
    #[must_use]
    pub const fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !Self::CODEC_MASK | compression.codec())
    }

    /// The same with log append time.
    #[must_use]
    pub const fn with_log_append_time(self) -> Self {
        Self(self.0 | Self::LOG_APPEND_TIME)
    }

    /// The same as part of a transaction.
    #[must_use]
    pub const fn with_transactional(self) -> Self {
        Self(self.0 | Self::TRANSACTIONAL)
    }

    /// The same as a marker.
    #[must_use]
    pub const fn with_control(self) -> Self {
        Self(self.0 | Self::CONTROL)
    }

    /// The same with the base timestamp as a delete horizon.
    #[must_use]
    pub const fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    /// The same with the base timestamp as the time it was made for.
    #[must_use]
    pub const fn without_delete_horizon(self) -> Self {
        Self(self.0 & !Self::DELETE_HORIZON)
    }
}
