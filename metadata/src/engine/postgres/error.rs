//! What can go wrong between us and a server, each with what to do about it.

use std::sync::Arc;
use std::time::Duration;

use floe_storage::key::Lineage;
use tokio_postgres::error::SqlState;

use super::schema;
use crate::engine::EngineError;

/// Why the server was of no use. Messages are one line and hold no password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PostgresError {
    /// No connection.
    #[error(
        "cannot connect to PostgreSQL at {server}: {}: check --metadata",
        words(reason)
    )]
    Connect {
        /// Hosts, ports and database.
        server: String,
        /// The client's or the server's words.
        reason: Arc<tokio_postgres::Error>,
    },
    /// It did not answer in time.
    #[error("PostgreSQL at {server} did not answer within {} s", after.as_secs())]
    Silent {
        /// Hosts, ports and database.
        server: String,
        /// How long we waited.
        after: Duration,
    },
    /// User or password are not right.
    #[error(
        "PostgreSQL at {server} does not let user '{user}' in: {}: check user and password in --metadata",
        words(reason)
    )]
    Credentials {
        /// Hosts, ports and database.
        server: String,
        /// The user in the URL.
        user: String,
        /// The server's words.
        reason: Arc<tokio_postgres::Error>,
    },
    /// There is no such database.
    #[error(
        "PostgreSQL at {server} has no such database: create it (CREATE DATABASE \"{database}\"), \
         or name another in --metadata"
    )]
    NoDatabase {
        /// Hosts, ports and database.
        server: String,
        /// The database in the URL.
        database: String,
    },
    /// The user lacks a right.
    #[error(
        "user '{user}' lacks a right at PostgreSQL {server}: {}: GRANT it, or let the owner of the \
         floe_ tables start the cluster",
        words(reason)
    )]
    NoRight {
        /// Hosts, ports and database.
        server: String,
        /// The user in the URL.
        user: String,
        /// The server's words.
        reason: Arc<tokio_postgres::Error>,
    },
    /// Certificates for `sslmode=verify-…` cannot be had.
    #[error("certificates to check PostgreSQL's with: {0}: check sslrootcert in --metadata")]
    Certificates(String),
    /// A setting under which the server loses what it acknowledged.
    #[error(
        "PostgreSQL at {server} runs with {setting}=off and would lose acknowledged records in a \
         crash: set {setting} = on for it, or for this user and database"
    )]
    NotDurable {
        /// Hosts, ports and database.
        server: String,
        /// `fsync` or `synchronous_commit`.
        setting: &'static str,
    },
    /// The server takes no writes.
    #[error(
        "PostgreSQL at {server} is read-only, as a standby is: name the primary in --metadata, or \
         all servers with commas between"
    )]
    ReadOnly {
        /// Hosts, ports and database.
        server: String,
    },
    /// A newer release made the tables.
    #[error(
        "the metadata tables at {server} are of version {found}, this release understands {}: use a \
         newer one",
        schema::VERSION
    )]
    Newer {
        /// Hosts, ports and database.
        server: String,
        /// Their version.
        found: i64,
    },
    /// The database knows nothing of the cluster in the store.
    #[error(
        "the database at {server} does not hold the metadata of this store's cluster (lineage \
         {lineage}): name the one it was created with in --metadata"
    )]
    OtherCluster {
        /// Hosts, ports and database.
        server: String,
        /// The cluster's.
        lineage: Lineage,
    },
    /// The server does not know of what it acknowledged.
    #[error(
        "PostgreSQL at {server} was set back: it shows {found}, and {known} was acknowledged; as \
         after a failover to a standby that is not synchronous, or a restored copy"
    )]
    SetBack {
        /// Hosts, ports and database.
        server: String,
        /// What it shows.
        found: Progress,
        /// What we know.
        known: Progress,
    },
    /// The server warned while it committed: it may not have reached its standbys.
    #[error("PostgreSQL at {server} did not wait for its synchronous standby")]
    NotReplicated {
        /// Hosts, ports and database.
        server: String,
    },
    /// A newer owner has come.
    #[error("fenced by a newer owner")]
    Fenced,
    /// A statement failed, or its connection did.
    #[error("PostgreSQL at {server}: {}", words(reason))]
    Statement {
        /// Hosts, ports and database.
        server: String,
        /// The client's or the server's words.
        reason: Arc<tokio_postgres::Error>,
    },
}

/// How far an owner has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Progress {
    /// The owner's epoch.
    pub epoch: i64,
    /// Groups of rows written in it.
    pub sequence: i64,
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "batch {} of epoch {}", self.sequence, self.epoch)
    }
}

impl PostgresError {
    /// Whether asking again, perhaps over a new connection, may help.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Silent { .. }
            | Self::Credentials { .. }
            | Self::NoDatabase { .. }
            | Self::Certificates(_)
            | Self::NotDurable { .. }
            | Self::ReadOnly { .. }
            | Self::SetBack { .. }
            | Self::NotReplicated { .. } => true,
            Self::NoRight { .. }
            | Self::Newer { .. }
            | Self::OtherCluster { .. }
            | Self::Fenced => false,
            Self::Statement { reason, .. } => !is_damage(reason),
        }
    }
}

impl From<PostgresError> for EngineError {
    fn from(error: PostgresError) -> Self {
        match error {
            PostgresError::Fenced => Self::Fenced,
            PostgresError::Connect { .. }
            | PostgresError::Silent { .. }
            | PostgresError::NotReplicated { .. } => Self::Unavailable(Some(Arc::new(error))),
            PostgresError::Statement { ref reason, .. } if !is_damage(reason) => {
                Self::Unavailable(Some(Arc::new(error)))
            }
            PostgresError::Statement { .. } | PostgresError::SetBack { .. } => {
                Self::Damaged(Arc::new(error))
            }
            PostgresError::Credentials { .. }
            | PostgresError::NoDatabase { .. }
            | PostgresError::NoRight { .. }
            | PostgresError::Certificates(_)
            | PostgresError::NotDurable { .. }
            | PostgresError::ReadOnly { .. }
            | PostgresError::Newer { .. }
            | PostgresError::OtherCluster { .. } => Self::Refused(Arc::new(error)),
        }
    }
}

/// The server found that what it stores is not what it wrote.
fn is_damage(error: &tokio_postgres::Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED)
    )
}

/// One line: the server's own words where it has said any, else the client's.
fn words(error: &tokio_postgres::Error) -> String {
    let text = match error.as_db_error() {
        Some(said) => said.message().to_owned(),
        None => error.to_string(),
    };
    text.lines().collect::<Vec<_>>().join(" ")
}
