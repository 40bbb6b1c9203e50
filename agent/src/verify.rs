//! Reads a whole segment and holds every byte of it against its checksums: of each extent, of each batch, and what
//! the index says of them. Memory is bounded by one batch, or 4 MiB if that is more.

use std::ops::Range;

use bytes::Bytes;
use floe_protocol::checksum;
use floe_protocol::record_batch::{BatchHeader, CRC_START_BYTES};
use floe_storage::error::{StoreError, StoreErrorKind};
use floe_storage::segment::footer::parse_header;
use floe_storage::segment::{Footer, HEADER_BYTES, Index, IndexBatch, IndexExtent};
use floe_storage::store::{Caller, Store};
use object_store::path::Path;

/// Bytes read at once, unless one batch is larger.
const READ_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the header and the body of the segment at `path`, whose end is `footer` and `index`, and returns what is
/// wrong with them, one line each; nothing if all is well.
///
/// # Errors
/// The store failed. An object that has become shorter or has gone is what is wrong, not an error.
pub(crate) async fn body(
    store: &Store,
    path: &Path,
    footer: &Footer,
    index: &Index,
) -> Result<Vec<String>, StoreError> {
    let reader = Reader { store, path };
    let mut faults = Vec::new();
    match reader.read(0..HEADER_BYTES).await? {
        Err(fault) => faults.push(fault),
        Ok(bytes) => match parse_header(&bytes) {
            Err(error) => faults.push(format!("header: {error}")),
            Ok((id, created_ms)) if (id, created_ms) != (footer.id, footer.created_ms) => {
                faults.push(format!(
                    "header is of segment {id}, footer of {}",
                    footer.id
                ));
            }
            Ok(_) => {}
        },
    }
    for extent in &index.extents {
        if let Some(fault) = reader.extent(extent).await? {
            let partition = extent.partition;
            let at = extent.position_bytes;
            faults.push(format!("extent of {partition} at byte {at}: {fault}"));
        }
    }
    Ok(faults)
}

struct Reader<'a> {
    store: &'a Store,
    path: &'a Path,
}

impl Reader<'_> {
    /// The bytes, or why they are not there.
    async fn read(&self, range: Range<u64>) -> Result<Result<Bytes, String>, StoreError> {
        let read = self.store.get_range(self.path, range, Caller::Fetch).await;
        match read {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(error) => match error.kind() {
                StoreErrorKind::NotFound | StoreErrorKind::Invalid => Ok(Err(error.to_string())),
                _ => Err(error),
            },
        }
    }

    /// The first thing that is wrong with an extent.
    async fn extent(&self, extent: &IndexExtent) -> Result<Option<String>, StoreError> {
        let (mut at, mut crc) = (extent.position_bytes, 0);
        let mut next_offset = extent.base_offset;
        let mut batches = extent.batches.iter().zip(1..).peekable();
        while batches.peek().is_some() {
            let mut some = Vec::new();
            let mut bytes = 0;
            while let Some((batch, number)) = batches.next_if(|(batch, _)| {
                bytes == 0 || bytes + u64::from(batch.length_bytes) <= READ_BYTES
            }) {
                bytes += u64::from(batch.length_bytes);
                some.push((batch, number));
            }
            let read = match self.read(at..at + bytes).await? {
                Ok(read) => read,
                Err(fault) => return Ok(Some(fault)),
            };
            at += bytes;
            crc = checksum::crc32c_append(crc, &read);
            let mut left = read;
            for (batch, number) in some {
                let length = usize::try_from(batch.length_bytes).unwrap_or(usize::MAX);
                let bytes = left.split_to(length.min(left.len()));
                if let Err(fault) = check_batch(batch, &bytes, &mut next_offset) {
                    return Ok(Some(format!("batch {number}: {fault}")));
                }
            }
        }
        let expected = extent.crc;
        Ok((crc != expected).then(|| differs("checksum", crc, expected)))
    }
}

fn differs(what: &str, found: u32, expected: u32) -> String {
    format!("{what} is {found:08x} and should be {expected:08x}")
}

/// Holds a batch against its index entry and its own checksum. `next_offset` is the least offset it may have;
/// `None` in level 0, where offsets do not exist yet.
fn check_batch(
    batch: &IndexBatch,
    bytes: &[u8],
    next_offset: &mut Option<i64>,
) -> Result<(), String> {
    let header = BatchHeader::parse(bytes).map_err(|error| error.to_string())?;
    let found = checksum::crc32c(bytes.get(CRC_START_BYTES..).unwrap_or_default());
    if found != header.crc {
        return Err(differs("checksum", found, header.crc));
    }
    let is_indexed = header.size_bytes() == bytes.len()
        && header.offset_count() == batch.record_count
        && header.attributes.0 == batch.attributes
        && header.max_timestamp_ms == batch.max_timestamp_ms
        && header.producer_id == batch.producer_id
        && header.producer_epoch == batch.producer_epoch
        && header.base_sequence == batch.base_sequence;
    if !is_indexed {
        return Err("it is not the batch that the index describes".to_owned());
    }
    if let Some(least) = next_offset {
        if header.base_offset < *least {
            return Err(format!(
                "its offset is {} and should be at least {least}",
                header.base_offset
            ));
        }
        *next_offset = Some(header.last_offset().saturating_add(1));
    }
    Ok(())
}
