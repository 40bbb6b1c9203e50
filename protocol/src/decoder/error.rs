//! Why a frame is refused.

/// Why a frame cannot be decoded. The connection it came from is closed: after an error nobody knows what the
/// client meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A fixed-size value or a length reaches beyond the end.
    #[error("{wanted_bytes} bytes wanted where {remaining_bytes} remain")]
    Truncated {
        /// What the value or its length asks for.
        wanted_bytes: usize,
        /// What the frame, or the tagged field around it, still holds.
        remaining_bytes: usize,
    },
    /// An array claims more elements than could fit into what remains.
    #[error(
        "{count} elements of at least {element_bytes} bytes where {remaining_bytes} bytes remain"
    )]
    CountBeyondFrame {
        /// The claimed number of elements.
        count: usize,
        /// The smallest size of one element on the wire.
        element_bytes: usize,
        /// What the frame still holds.
        remaining_bytes: usize,
    },
    /// A length or count below -1.
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// Null where the schema does not allow it.
    #[error("null where a value is required")]
    UnexpectedNull,
    /// A varint of more than five bytes, or of more than 32 bits.
    #[error("varint does not fit 32 bits")]
    VarintTooLong,
    /// A compact string longer than a plain one could be, which Kafka refuses too.
    #[error("string of {0} bytes is longer than 32767")]
    StringTooLong(usize),
    /// A string that is not UTF-8.
    #[error("string is not utf-8")]
    NotUtf8,
    /// More tagged fields than allowed in one place.
    #[error("{count} tagged fields where {max} are allowed")]
    TooManyTags {
        /// The claimed number.
        count: u32,
        /// The limit of this place.
        max: u32,
    },
    /// Decoding would take more memory than a frame of this size is worth.
    #[error("{wanted_bytes} decoded bytes wanted where the budget has {remaining_bytes} left")]
    OverBudget {
        /// What the next reservation asks for.
        wanted_bytes: usize,
        /// What is left.
        remaining_bytes: usize,
    },
    /// A version this message's schema does not have.
    #[error("version {0} of this message is not known")]
    UnknownVersion(i16),
}
