//! Rows of registered processes.

use crate::api::{BrokerAddress, NewProcess};
use crate::state::codec::{Reader, RowError, put_bytes, put_i64, put_len, put_u32};

const VERSION: u8 = 1;

pub(in crate::state) fn encode(told: &NewProcess, is_listed: bool) -> Vec<u8> {
    let NewProcess {
        nonce,
        attempt,
        internal,
        zone,
        brokers,
        feature_level,
    } = told;
    let mut out = vec![VERSION];
    out.extend_from_slice(nonce);
    put_u32(&mut out, *attempt);
    put_bytes(&mut out, internal.as_bytes());
    put_len(&mut out, usize::from(zone.is_some()));
    if let Some(zone) = zone {
        put_bytes(&mut out, zone.as_bytes());
    }
    put_u32(&mut out, *feature_level);
    put_len(&mut out, brokers.len());
    for broker in brokers {
        put_bytes(&mut out, broker.listener.as_bytes());
        put_i64(&mut out, i64::from(broker.node_id));
        put_bytes(&mut out, broker.host.as_bytes());
        put_u32(&mut out, u32::from(broker.port));
    }
    put_len(&mut out, usize::from(is_listed));
    out
}

/// What a process told, and whether it is listed.
pub(in crate::state) fn decode(bytes: &[u8]) -> Result<(NewProcess, bool), RowError> {
    let mut reader = Reader::versioned(bytes, VERSION)?;
    let nonce = reader.array()?;
    let attempt = reader.u32()?;
    let internal = reader.str()?.to_owned();
    let zone = match reader.u64()? {
        0 => None,
        1 => Some(reader.str()?.to_owned()),
        _ => return Err(RowError::OutOfRange),
    };
    let feature_level = reader.u32()?;
    let mut brokers = Vec::new();
    for _ in 0..reader.count()? {
        brokers.push(BrokerAddress {
            listener: reader.str()?.to_owned(),
            node_id: reader.i64()?.try_into().map_err(|_| RowError::OutOfRange)?,
            host: reader.str()?.to_owned(),
            port: reader.u32()?.try_into().map_err(|_| RowError::OutOfRange)?,
        });
    }
    let is_listed = match reader.u64()? {
        0 => false,
        1 => true,
        _ => return Err(RowError::OutOfRange),
    };
    reader.finish()?;
    let told = NewProcess {
        nonce,
        attempt,
        internal,
        zone,
        brokers,
        feature_level,
    };
    Ok((told, is_listed))
}
