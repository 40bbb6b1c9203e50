//! `floe object inspect KEY`: what one object of the store says of itself.

use floe_protocol::record_batch::Attributes;
use floe_storage::key;
use floe_storage::segment::reader::{ReadError, read_index};
use floe_storage::segment::{Footer, Index, IndexBatch, IndexExtent};
use floe_storage::store::{Caller, OpenError, Store, StoreError, StoreOptions};
use object_store::path::Path;

use crate::config::{Config, ObjectTask};
use crate::verify;

/// Why an object was not shown.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// An error of use.
    #[error(
        "'{0}' is no segment's key; they look like segments/LEVEL/XX/LINEAGE-EPOCH-INCARNATION-COUNTER"
    )]
    NoSegment(String),
    /// The store.
    #[error(transparent)]
    Open(#[from] Box<OpenError>),
    /// The object, or the store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is to be said about an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspected {
    /// For people, one fact per line.
    pub text: String,
    /// Whether something is wrong with it.
    pub is_damaged: bool,
}

/// Does what was asked.
///
/// # Errors
/// See [`ObjectError`].
pub async fn run(config: &Config, task: &ObjectTask) -> Result<Inspected, ObjectError> {
    let ObjectTask::Inspect { key, is_verified } = task;
    let refused = || ObjectError::NoSegment(key.clone());
    let path = Path::parse(key).map_err(|_| refused())?;
    let (lineage, level, id) = key::parse_segment(&path).ok_or_else(refused)?;
    let store = Store::open(&config.store, StoreOptions::default())
        .await
        .map_err(Box::new)?;
    let (footer, index) = read_index(&store, &path, Caller::Probe).await?;
    let mut faults = Vec::new();
    if (footer.level, footer.id) != (level, id) {
        let Footer { level, id, .. } = footer;
        faults.push(format!("its footer is of segment {id} of level {level}"));
    }
    let mut text = format!("object             {path}\nlineage            {lineage}\n");
    say(&mut text, &footer, &index);
    if *is_verified {
        faults.extend(verify::body(&store, &path, &footer, &index).await?);
        if faults.is_empty() {
            text.push_str("verified           every checksum matches\n");
        }
    }
    for fault in &faults {
        add(&mut text, format_args!("DAMAGED            {fault}"));
    }
    Ok(Inspected {
        text,
        is_damaged: !faults.is_empty(),
    })
}

fn add(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.push_str(&line.to_string());
    text.push('\n');
}

fn say(text: &mut String, footer: &Footer, index: &Index) {
    let Footer {
        id,
        level,
        created_ms,
        index_position_bytes,
        index_length_bytes,
        index_crc,
        extent_count,
        batch_count,
        record_count,
    } = footer;
    add(text, format_args!("segment            {id}"));
    let (epoch, incarnation, counter) = (id.write_epoch, id.incarnation, id.counter);
    add(
        text,
        format_args!(
            "named by           write epoch {epoch}, incarnation {incarnation}, which counts {counter}"
        ),
    );
    add(text, format_args!("level              {level}"));
    add(text, format_args!("created            {created_ms} ms"));
    add(
        text,
        format_args!(
            "index              {index_length_bytes} bytes at {index_position_bytes}, CRC32C {index_crc:08x}"
        ),
    );
    add(
        text,
        format_args!(
            "holds              {extent_count} extents, {batch_count} batches, {record_count} offsets"
        ),
    );
    for extent in &index.extents {
        say_extent(text, extent);
    }
}

fn say_extent(text: &mut String, extent: &IndexExtent) {
    let end = extent.position_bytes.saturating_add(extent.length_bytes());
    let offsets = match extent.base_offset {
        Some(first) => format!("offsets from {first} on"),
        None => "offsets given at its commit".to_owned(),
    };
    add(
        text,
        format_args!(
            "extent             {}: bytes {} to {end}, {} batches, {} offsets, {offsets}, CRC32C {:08x}",
            extent.partition,
            extent.position_bytes,
            extent.batches.len(),
            extent.record_count(),
            extent.crc,
        ),
    );
    for batch in &extent.batches {
        say_batch(text, batch);
    }
}

fn say_batch(text: &mut String, batch: &IndexBatch) {
    let attributes = Attributes(batch.attributes);
    let codec = attributes.compression();
    let codec = codec.map_or_else(|error| error.to_string(), |codec| format!("{codec:?}"));
    let kind = match (attributes.is_control(), attributes.is_transactional()) {
        (true, _) => ", control",
        (false, true) => ", transactional",
        (false, false) => "",
    };
    let producer = if batch.producer_id < 0 {
        String::new()
    } else {
        format!(
            ", producer {} epoch {} sequence {}",
            batch.producer_id, batch.producer_epoch, batch.base_sequence
        )
    };
    add(
        text,
        format_args!(
            "  batch            {} bytes, {} offsets, {codec}{kind}, times {} to {}{producer}",
            batch.length_bytes, batch.record_count, batch.base_timestamp_ms, batch.max_timestamp_ms,
        ),
    );
}
