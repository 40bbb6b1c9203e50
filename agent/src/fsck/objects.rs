//! One object: is it there, and is it what metadata says?

use floe_metadata::api::objects::SegmentSummary;
use floe_storage::segment::reader::{ReadError, read_index};
use floe_storage::store::{Caller, Store, StoreError, StoreErrorKind};
use object_store::path::Path;

use crate::verify;

/// What was seen.
#[derive(Debug)]
pub(super) enum Look {
    /// All is well.
    Good,
    /// Something is wrong.
    Bad {
        /// It is not there at all.
        is_missing: bool,
        /// One line each.
        faults: Vec<String>,
    },
}

impl Look {
    fn missing() -> Self {
        Self::Bad {
            is_missing: true,
            faults: Vec::new(),
        }
    }

    fn bad(fault: impl ToString) -> Self {
        Self::Bad {
            is_missing: false,
            faults: vec![fault.to_string()],
        }
    }
}

/// Looks at the object of a live segment.
///
/// # Errors
/// The store failed.
pub(super) async fn look_at(
    store: &Store,
    path: &Path,
    summary: &SegmentSummary,
    is_deep: bool,
) -> Result<Look, StoreError> {
    let Some(meta) = store.head(path, Caller::Compaction).await? else {
        return Ok(Look::missing());
    };
    if meta.size != summary.size_bytes {
        let (found, expected) = (meta.size, summary.size_bytes);
        return Ok(Look::bad(format!(
            "it has {found} bytes and should have {expected}"
        )));
    }
    let (footer, index) = match read_index(store, path, Caller::Compaction).await {
        Ok(read) => read,
        Err(ReadError::Damaged { reason, .. }) => return Ok(Look::bad(reason)),
        Err(ReadError::Store(error)) => {
            return match error.kind() {
                StoreErrorKind::NotFound => Ok(Look::missing()),
                StoreErrorKind::Invalid => Ok(Look::bad(error)),
                _ => Err(error),
            };
        }
    };
    if (footer.id, footer.level) != (summary.segment, summary.level) {
        let (id, level) = (footer.id, footer.level);
        return Ok(Look::bad(format!(
            "its footer is of segment {id} of level {level}"
        )));
    }
    if !is_deep {
        return Ok(Look::Good);
    }
    let faults = verify::body(store, path, &footer, &index).await?;
    if faults.is_empty() {
        return Ok(Look::Good);
    }
    Ok(Look::Bad {
        is_missing: false,
        faults,
    })
}
