//! Bytes and record batches in scripts and transcripts.

use bytes::Bytes;
use floe_protocol::compression::Compression;
use floe_protocol::record_batch::{BatchBuilder, BatchHeader, RecordIter};
use serde_json::{Value, json};

/// No batch of a script is larger.
const DECOMPRESSED_BYTES_MAX: usize = 16 << 20;

/// Bytes of a script: text, text after `hex:`, or null.
pub(crate) fn raw(value: &Value) -> Result<Option<Vec<u8>>, String> {
    let Some(text) = value.as_str() else {
        return match value {
            Value::Null => Ok(None),
            other => Err(format!("no bytes: {other}")),
        };
    };
    match text.strip_prefix("hex:") {
        Some(digits) => from_hex(digits)
            .map(Some)
            .ok_or_else(|| format!("no hex: {digits}")),
        None => Ok(Some(text.as_bytes().to_vec())),
    }
}

/// Records of a script: [`raw`] bytes, or a list of batches `{records: [{key, value, time}], codec, producer: [id, epoch,
/// sequence], attributes, transactional, base_offset, damage}`. `damage: [[position, bits]]` flips bits of a byte of the batch.
pub(crate) fn build(value: &Value) -> Result<Option<Vec<u8>>, String> {
    let Some(batches) = value.as_array() else {
        return raw(value);
    };
    let mut bytes = Vec::new();
    for batch in batches {
        bytes.extend(self::batch(batch)?);
    }
    Ok(Some(bytes))
}

fn batch(spec: &Value) -> Result<Vec<u8>, String> {
    let codec = spec["codec"].as_str().unwrap_or("none");
    let codec = Compression::ALL.into_iter().find(|it| it.name() == codec);
    let mut builder = BatchBuilder::new(codec.ok_or("no such codec")?);
    let int = |value: &Value| value.as_i64().unwrap_or_default();
    if spec["transactional"] == json!(true) {
        builder = builder.transactional();
    }
    if !spec["producer"].is_null() {
        let epoch = i16::try_from(int(&spec["producer"][1])).map_err(|why| why.to_string())?;
        let sequence = i32::try_from(int(&spec["producer"][2])).map_err(|why| why.to_string())?;
        builder = builder.producer(int(&spec["producer"][0]), epoch, sequence);
    }
    if !spec["base_offset"].is_null() {
        builder = builder.base_offset(int(&spec["base_offset"]));
    }
    if spec["records"] == json!([]) {
        builder = builder.last_offset(0);
    }
    for record in spec["records"].as_array().into_iter().flatten() {
        let value = match &record["size"] {
            Value::Null => raw(&record["value"])?,
            size => Some(vec![b'x'; usize::try_from(int(size)).unwrap_or_default()]),
        };
        let time = record["time"]
            .as_i64()
            .unwrap_or_else(floe_tests::wait::wall_ms);
        let time = time + int(&record["ahead"]);
        builder.append(time, raw(&record["key"])?.as_deref(), value.as_deref());
    }
    let mut bytes = builder.build().map_err(|why| why.to_string())?.to_vec();
    for damage in spec["damage"].as_array().into_iter().flatten() {
        let at = usize::try_from(int(&damage[0])).unwrap_or(usize::MAX);
        let byte = bytes.get_mut(at).ok_or("no such byte")?;
        *byte ^= u8::try_from(int(&damage[1])).map_err(|why| why.to_string())?;
    }
    if let Some(length) = spec["cut"].as_u64() {
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    }
    Ok(bytes)
}

/// Record batches of an answer; of times only whether there is one, since both brokers were asked at times of their own.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let header = BatchHeader::parse(&rest).map_err(|why| why.to_string())?;
        let mut records = Vec::new();
        for record in
            RecordIter::new(&rest, DECOMPRESSED_BYTES_MAX).map_err(|why| why.to_string())?
        {
            let record = record.map_err(|why| why.to_string())?;
            let text = |bytes: Option<Bytes>| bytes.map(|bytes| to_text(&bytes));
            records.push(json!({
                "offset": record.offset, "key": text(record.key), "value": text(record.value),
            }));
        }
        batches.push(json!({
            "base_offset": header.base_offset, "last_offset": header.last_offset(), "attributes": header.attributes.0,
            "producer_epoch": header.producer_epoch, "base_sequence": header.base_sequence, "records": records,
        }));
        rest = rest.split_off(header.size_bytes().min(rest.len()));
    }
    Ok(Value::Array(batches))
}

/// Bytes for people: text if they are, else hexadecimal digits.
pub(crate) fn to_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("hex:{}", to_hex(bytes)),
    }
}

/// Two digits a byte.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of an even number of digits.
pub(crate) fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(std::str::from_utf8);
    let pairs =
        pairs.map(|pair| u8::from_str_radix(pair.ok().filter(|it| it.len() == 2)?, 16).ok());
    pairs.collect()
}
