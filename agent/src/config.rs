//! How a broker is set up: flags, the environment, a file and defaults become one [`Config`].
//!
//! Precedence: flag, then environment (`FLOE_…`), then `floe.toml`, then the default. Each source gives
//! text per [`Setting`]; one parser turns text into values, so that all sources mean the same and an
//! error names where the text came from. Clocks, stores and clients are never settings.

mod args;
mod environment;
mod file;
mod metadata;
mod resolve;
mod size;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use args::{
    Args, Command, CommandLine, FsckTask, MetaCommand, MetaTask, ObjectCommand, ObjectTask, Task,
};
pub use metadata::MetadataUrl;
pub(crate) use resolve::is_wildcard;
pub use resolve::{Environment, resolve};
pub use size::ByteSize;

use floe_metadata::engine::postgres::PostgresUrlError;
use floe_storage::store::{StoreUrl, StoreUrlError};

use crate::broker::Endpoint;
use crate::topic_config::BrokerSettings;

/// Name of a listener that was given none.
pub const DEFAULT_LISTENER: &str = "default";

/// What is read when `--config` names no other file.
pub const DEFAULT_FILE: &str = "floe.toml";

/// Most of the machine's memory that is taken unless asked for more.
pub const MEMORY_LIMIT_BYTES_DEFAULT_MAX: u64 = 384 * 1024 * 1024;

/// Everything a broker is started with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where everything is kept.
    pub store: StoreUrl,
    /// Which engine keeps the metadata.
    pub metadata: MetadataUrl,
    /// Kafka listeners, at least one; names are unique.
    pub listeners: Vec<ListenerConfig>,
    /// What this process does.
    pub roles: Roles,
    /// Where other processes of the cluster reach it; `None` for any port of the first listener's
    /// interface.
    pub internal: Option<Endpoint>,
    /// Zone of this process.
    pub zone: Option<String>,
    /// What buffers and caches may take in all.
    pub memory_limit: ByteSize,
    /// Where health and metrics are served.
    pub http: Endpoint,
    /// Settings under Kafka's names.
    pub settings: BrokerSettings,
    /// When waiting records are written to the store.
    pub flush: FlushConfig,
    /// The newest feature level that this release understands. No setting: releases differ in it.
    pub feature_level: u32,
    /// Where all random numbers come from; drawn once per process.
    pub seed: u64,
}

/// What a process does, at least one thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    /// Serves Kafka clients.
    pub agent: bool,
    /// May own the sequencer.
    pub metadata: bool,
    /// Takes compaction jobs.
    pub compaction: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self {
        agent: true,
        metadata: true,
        compaction: true,
    };
}

/// When the records that wait are written to the store as one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushConfig {
    /// As soon as this many bytes wait.
    pub bytes: ByteSize,
    /// As soon as the oldest record has waited this long; `None` for the store's own default.
    pub interval: Option<Duration>,
}

/// One Kafka listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerConfig {
    /// Ties `--listen` and `--advertise` together.
    pub name: String,
    /// Where to listen; port 0 takes any free one.
    pub listen: Endpoint,
    /// What clients are told, if not where they came in.
    pub advertise: Option<Endpoint>,
}

/// Why the settings make no broker. One line each; the process exits with 2.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key of the file that no setting has.
    #[error("{file}: unknown setting '{key}'; known are {}", known())]
    UnknownKey {
        /// The file.
        file: String,
        /// The key.
        key: String,
    },
    /// The file is no TOML, or a value has the wrong type.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A value that cannot be used.
    #[error("{origin}: '{value}' {reason}")]
    Value {
        /// The flag, variable or key.
        origin: String,
        /// As given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that is no store.
    #[error("{origin}: {source}")]
    Store {
        /// The flag, variable or key.
        origin: String,
        /// What is wrong.
        source: StoreUrlError,
    },
    /// Something that is no engine. The text is not repeated: it may hold a password.
    #[error("{origin}: {source}")]
    Metadata {
        /// The flag, variable or key.
        origin: String,
        /// What is wrong.
        source: PostgresUrlError,
    },
    /// A broker setting that cannot be used.
    #[error("{origin}: {source}")]
    Broker {
        /// The flag, variable or key.
        origin: String,
        /// What is wrong.
        source: crate::topic_config::ConfigError,
    },
}

fn known() -> String {
    Setting::ALL
        .iter()
        .map(|setting| setting.key())
        .collect::<Vec<_>>()
        .join(", ")
}

/// A setting that all sources share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Setting {
    Store,
    Metadata,
    Listen,
    Advertise,
    Roles,
    Internal,
    Zone,
    MemoryLimit,
    Http,
    FlushSize,
    FlushInterval,
    Log,
    Set,
}

impl Setting {
    /// All of them, in the order of the help.
    pub(crate) const ALL: [Self; 13] = [
        Self::Store,
        Self::Metadata,
        Self::Listen,
        Self::Advertise,
        Self::Roles,
        Self::Internal,
        Self::Zone,
        Self::MemoryLimit,
        Self::Http,
        Self::FlushSize,
        Self::FlushInterval,
        Self::Log,
        Self::Set,
    ];

    /// Its key in the file; the flag is this with `--` before it.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Metadata => "metadata",
            Self::Listen => "listen",
            Self::Advertise => "advertise",
            Self::Roles => "roles",
            Self::Internal => "internal",
            Self::Zone => "zone",
            Self::MemoryLimit => "memory-limit",
            Self::Http => "http",
            Self::FlushSize => "flush-size",
            Self::FlushInterval => "flush-interval",
            Self::Log => "log",
            Self::Set => "set",
        }
    }

    /// Its environment variable.
    pub(crate) fn variable(self) -> String {
        format!("FLOE_{}", self.key().to_ascii_uppercase().replace('-', "_"))
    }

    /// Whether it may be given more than once; in the environment with commas between.
    pub(crate) const fn is_repeatable(self) -> bool {
        matches!(self, Self::Listen | Self::Advertise | Self::Set)
    }
}
