//! Which engine keeps the metadata, as a user writes it: `store:` or `postgres://…`.

use std::str::FromStr;

use floe_metadata::engine::postgres::{PostgresUrl, PostgresUrlError};

/// Where the metadata is kept. Nothing printed shows a password.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum MetadataUrl {
    /// In the store, by the embedded engine.
    #[default]
    Store,
    /// In a database that speaks PostgreSQL's protocol.
    Postgres(PostgresUrl),
}

impl FromStr for MetadataUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "store:" => Ok(Self::Store),
            url => url.parse().map(Self::Postgres),
        }
    }
}
