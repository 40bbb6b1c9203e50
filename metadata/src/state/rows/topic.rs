//! Rows of topics that exist and of topics that were deleted lately.

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_protocol::types::{TimestampMs, TopicId};

use crate::api::Topic;
use crate::state::codec::{Reader, RowError, put_bytes, put_i64, put_len};

const VERSION: u8 = 1;

pub(in crate::state) fn encode(topic: &Topic) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_bytes(&mut out, topic.name.as_bytes());
    put_i64(&mut out, i64::from(topic.partition_count));
    put_i64(&mut out, i64::from(topic.replication_factor));
    put_i64(&mut out, topic.created_ms);
    put_len(&mut out, topic.configs.len());
    for (key, value) in topic.configs.iter() {
        put_bytes(&mut out, key.as_bytes());
        put_bytes(&mut out, value.as_bytes());
    }
    out
}

pub(in crate::state) fn decode(id: TopicId, bytes: &[u8]) -> Result<Topic, RowError> {
    let mut reader = Reader::versioned(bytes, VERSION)?;
    let name = Arc::from(reader.str()?);
    let partition_count = i32::try_from(reader.i64()?).map_err(|_| RowError::OutOfRange)?;
    let replication_factor = i16::try_from(reader.i64()?).map_err(|_| RowError::OutOfRange)?;
    let created_ms = reader.i64()?;
    let mut configs = BTreeMap::new();
    for _ in 0..reader.count()? {
        let key = reader.str()?.to_owned();
        configs.insert(key, reader.str()?.to_owned());
    }
    reader.finish()?;
    if partition_count < 1 {
        return Err(RowError::OutOfRange);
    }
    let configs = Arc::new(configs);
    Ok(Topic {
        id,
        name,
        partition_count,
        replication_factor,
        configs,
        created_ms,
    })
}

pub(in crate::state) fn encode_deleted(deleted_ms: TimestampMs) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_i64(&mut out, deleted_ms);
    out
}

pub(in crate::state) fn decode_deleted(bytes: &[u8]) -> Result<TimestampMs, RowError> {
    let mut reader = Reader::versioned(bytes, VERSION)?;
    let deleted_ms = reader.i64()?;
    reader.finish()?;
    Ok(deleted_ms)
}
