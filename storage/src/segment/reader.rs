//! Reads a segment's footer and index back. One suffix GET of 64 KiB brings both but for segments of
//! thousands of batches, which take a second one.

use std::ops::Range;

use bytes::Bytes;
use floe_protocol::checksum;
use object_store::path::Path;

use super::index::columns_bytes_max;
use super::{FOOTER_BYTES, Footer, FooterError, HEADER_BYTES, Index, IndexError};
use crate::error::StoreError;
use crate::store::{Caller, Store};

/// How much of an object's end is read in the hope to find the whole index in it.
pub const TAIL_BYTES: u64 = 64 * 1024;

/// Why a segment's end makes no sense: a damaged object, or no segment. Nothing to retry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TailError {
    /// The footer.
    #[error(transparent)]
    Footer(#[from] FooterError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The index is not the one the footer was written for.
    #[error("checksum of the index is {found:08x} and should be {expected:08x}")]
    IndexCrc {
        /// Of the bytes.
        found: u32,
        /// In the footer.
        expected: u32,
    },
    /// Footer and index disagree on what there is.
    #[error("footer and index count differently")]
    Totals,
}

/// Why a segment could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The store; ask it whether to retry.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object is damaged or no segment.
    #[error("segment '{path}' is damaged: {reason}")]
    Damaged {
        /// The object's key.
        path: String,
        /// What is wrong with it.
        reason: TailError,
    },
}

/// Reads footer and index of the segment at `path`.
///
/// # Errors
/// The store failed, or the object is no intact segment.
pub async fn read_index(
    store: &Store,
    path: &Path,
    caller: Caller,
) -> Result<(Footer, Index), ReadError> {
    let damaged = |reason| ReadError::Damaged {
        path: path.to_string(),
        reason,
    };
    let tail = store.get_suffix(path, TAIL_BYTES, caller).await?;
    let footer = Footer::parse(&tail.bytes, tail.object_bytes)
        .map_err(|reason| damaged(TailError::Footer(reason)))?;
    let wanted = index_range(&footer);
    let tail_start = tail.object_bytes - tail.bytes.len() as u64;
    let packed = match wanted.start.checked_sub(tail_start) {
        Some(skip) => {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            let end = tail.bytes.len().saturating_sub(super::footer::FOOTER_BYTES);
            if skip <= end {
                tail.bytes.slice(skip..end)
            } else {
                Bytes::new()
            }
        }
        None => store.get_range(path, wanted, caller).await?,
    };
    let index = decode_index(&footer, &packed).map_err(damaged)?;
    Ok((footer, index))
}

/// Where the index of a segment lies.
#[must_use]
pub fn index_range(footer: &Footer) -> Range<u64> {
    let start = footer.index_position_bytes;
    start..start + u64::from(footer.index_length_bytes)
}

/// Footer and index of a whole segment at hand.
///
/// # Errors
/// The bytes are no intact segment.
pub fn parse(object: &[u8]) -> Result<(Footer, Index), TailError> {
    let footer = Footer::parse(object, object.len() as u64)?;
    super::footer::parse_header(object)?;
    let range = index_range(&footer);
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let end = usize::try_from(range.end).unwrap_or(usize::MAX);
    let index = decode_index(&footer, object.get(start..end).unwrap_or_default())?;
    Ok((footer, index))
}

/// The index that `footer` describes, from its stored bytes.
///
/// # Errors
/// The bytes are not those the footer was written for.
pub fn decode_index(footer: &Footer, packed: &[u8]) -> Result<Index, TailError> {
    let found = checksum::crc32c(packed);
    if found != footer.index_crc {
        return Err(TailError::IndexCrc {
            found,
            expected: footer.index_crc,
        });
    }
    let body_bytes = footer.index_position_bytes.saturating_sub(HEADER_BYTES);
    let index = Index::decode(packed, columns_bytes_max(body_bytes))?;
    let records: u64 = index
        .extents
        .iter()
        .map(super::IndexExtent::record_count)
        .sum();
    let inside = index.extents.iter().all(|extent| {
        let end = extent.position_bytes.saturating_add(extent.length_bytes());
        extent.position_bytes >= HEADER_BYTES && end <= footer.index_position_bytes
    });
    let agree = inside
        && index.extents.len() as u64 == u64::from(footer.extent_count)
        && index.batch_count() as u64 == u64::from(footer.batch_count)
        && records == footer.record_count;
    if agree {
        Ok(index)
    } else {
        Err(TailError::Totals)
    }
}

const _: () = assert!(FOOTER_BYTES < TAIL_BYTES, "the tail holds the footer");
