//! Rows of configs that belong to no topic.

use std::sync::Arc;

use crate::api::admin::{ConfigKind, ConfigValues, NamedConfigs};
use crate::state::codec::{Reader, RowError, put_bytes, put_len, put_u64};

const VERSION: u8 = 1;

/// How many rows there are, so that a lost one is noticed, and the next one's number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(in crate::state) struct ConfigFigures {
    pub(in crate::state) next_number: u64,
    pub(in crate::state) resources: u64,
}

impl ConfigFigures {
    pub(in crate::state) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_u64(&mut out, self.next_number);
        put_u64(&mut out, self.resources);
        out
    }

    pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let figures = Self {
            next_number: reader.u64()?,
            resources: reader.u64()?,
        };
        reader.finish()?;
        Ok(figures)
    }
}

/// The configs of one resource; never none.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::state) struct ConfigRow(pub(in crate::state) NamedConfigs);

impl ConfigRow {
    pub(in crate::state) fn encode(&self) -> Vec<u8> {
        let Self(NamedConfigs { kind, name, values }) = self;
        let mut out = vec![VERSION, kind.number()];
        put_bytes(&mut out, name.as_bytes());
        put_len(&mut out, values.len());
        for (key, value) in values.iter() {
            put_bytes(&mut out, key.as_bytes());
            put_bytes(&mut out, value.as_bytes());
        }
        out
    }

    pub(in crate::state) fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(bytes, VERSION)?;
        let number = reader.u8()?;
        let kind = ConfigKind::of_number(number).ok_or(RowError::UnknownTag(number))?;
        let name = Arc::from(reader.str()?);
        let mut values = ConfigValues::new();
        for _ in 0..reader.count()? {
            let key = reader.str()?.to_owned();
            values.insert(key, reader.str()?.to_owned());
        }
        reader.finish()?;
        if values.is_empty() {
            return Err(RowError::OutOfRange);
        }
        let values = Arc::new(values);
        Ok(Self(NamedConfigs { kind, name, values }))
    }
}
