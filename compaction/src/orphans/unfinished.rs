//! What uploads leave in a folder when they are cut off: a file beside the name that it would have become, with a
//! number behind it. No listing shows these, so the folder itself is read.
//!
//! ```text
//! segments/0/1a/<lineage>-<segment id>       an object
//! segments/0/1a/<lineage>-<segment id>#3     an upload that is under way, or was when its process ended
//! ```
//!
//! Below the lowest accepted write epoch nobody needs what such an upload would become, so it may go while it is
//! under way: the upload fails then, or the object is an orphan.

use std::io;
use std::path::{Path as FilePath, PathBuf};

use floe_storage::key::{self, Lineages};
use floe_storage::segment::SegmentId;
use object_store::path::Path;

use super::listing::{Owner, owner_of};
use super::{LEVELS, OrphansParts};
use crate::rounds::RoundError;
use crate::sweep::Figures;

/// The segment that the unfinished upload `file`, a name relative to the store, would have become; `None` for
/// other files, and for segments of others.
#[must_use]
pub fn unfinished_of(lineages: &Lineages, file: &str) -> Option<SegmentId> {
    let (name, number) = file.rsplit_once('#')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let path = Path::parse(name).ok().filter(|_| is_number)?;
    match owner_of(lineages, &path) {
        Owner::Us { id, .. } => Some(id),
        Owner::Foreign | Owner::Unreadable => None,
    }
}

/// Removes the unfinished uploads below `lowest_accepted` of all levels.
pub(super) async fn sweep(
    parts: &OrphansParts,
    folder: &FilePath,
    lowest_accepted: u32,
) -> Result<(), RoundError> {
    for level in LEVELS {
        let level = key::segments(level);
        for shard in names(&folder.join(level.as_ref())).await? {
            let shard = format!("{level}/{shard}");
            for file in names(&folder.join(&shard)).await? {
                let file = format!("{shard}/{file}");
                let id = unfinished_of(&parts.lineages, &file);
                if let Some(id) = id.filter(|id| id.write_epoch < lowest_accepted) {
                    remove(parts, &folder.join(&file), id, lowest_accepted).await?;
                }
            }
        }
    }
    Ok(())
}

async fn remove(
    parts: &OrphansParts,
    file: &FilePath,
    id: SegmentId,
    lowest_accepted: u32,
) -> Result<(), RoundError> {
    let (name, write_epoch) = (file.display(), id.write_epoch);
    if parts.is_dry_run {
        tracing::info!(file = %name, write_epoch, lowest_accepted, "dry run: would delete an unfinished upload");
        return Ok(());
    }
    let bytes = tokio::fs::metadata(file).await.map_or(0, |it| it.len());
    if let Err(reason) = tokio::fs::remove_file(file).await
        && reason.kind() != io::ErrorKind::NotFound
    {
        Figures::add(&parts.figures.deletes_failed, 1);
        return Err(failed(file, reason));
    }
    tracing::info!(file = %name, bytes, write_epoch, lowest_accepted, "deleted an unfinished upload");
    Figures::add(&parts.figures.orphans_deleted, 1);
    Figures::add(&parts.figures.orphan_bytes_deleted, bytes);
    Ok(())
}

/// The names in a folder, sorted; none if there is no such folder.
async fn names(folder: &PathBuf) -> Result<Vec<String>, RoundError> {
    let mut names = Vec::new();
    let mut entries = match tokio::fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(reason) if is_no_folder(&reason) => return Ok(names),
        Err(reason) => return Err(failed(folder, reason)),
    };
    loop {
        match entries.next_entry().await {
            Ok(None) => break,
            // A name that is no text is none of ours.
            Ok(Some(entry)) => names.extend(entry.file_name().into_string()),
            Err(reason) => return Err(failed(folder, reason)),
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn is_no_folder(reason: &io::Error) -> bool {
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    kinds.contains(&reason.kind())
}

fn failed(path: &FilePath, reason: io::Error) -> RoundError {
    RoundError::Folder {
        folder: path.display().to_string(),
        reason,
    }
}
