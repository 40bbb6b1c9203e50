//! Where a database is, as a user writes it: `postgres://USER:PASSWORD@HOST[:PORT]/DATABASE[?OPTIONS]`.
//!
//! Options are those of libpq. `sslmode` and `sslrootcert` are read here, since they say which server
//! we trust; everything else is left to the client library. Nothing printed shows a password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long one attempt to reach one host may take, unless the URL has a `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection is asked for a sign of life after this, and then as often as below.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_RETRIES: u32 = 3;
/// What was sent and not acknowledged for this long is lost with its connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);

const PORT: u16 = 5432;

/// A database on a server, or on one of several of which one takes writes.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    config: Box<Config>,
    trust: Trust,
}

/// What makes the server at the other end the right one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// Nothing: whoever answers (`disable`, `prefer`, and `require` without a root certificate).
    Anyone,
    /// A certificate of a trusted authority (`verify-ca`).
    Authority(Roots),
    /// That, for the name of the host (`verify-full`).
    Name(Roots),
}

/// Whom certificates are trusted from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Roots {
    /// The authorities this machine trusts.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

/// Why a text names no database. Nothing of the text is repeated that may hold a password.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PostgresUrlError {
    /// Another kind of engine.
    #[error("is no engine: use store: or postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Unsupported,
    /// The host is missing.
    #[error("the PostgreSQL URL names no host: write postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    NoHost,
    /// The database is missing.
    #[error(
        "the PostgreSQL URL names no database: write postgres://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    NoDatabase,
    /// A mode that libpq does not have, or `allow`.
    #[error("sslmode '{0}' is not one of disable, prefer, require, verify-ca, verify-full")]
    SslMode(String),
    /// Something else is not as it must be.
    #[error("the PostgreSQL URL is not right: {0}")]
    Malformed(String),
}

impl PostgresUrl {
    /// What to hand to the client library.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The user who connects.
    #[must_use]
    pub fn user(&self) -> &str {
        self.config.get_user().unwrap_or("(of this process)")
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_default()
    }

    /// Hosts, ports and database, as people know the server.
    #[must_use]
    pub fn server(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(at, host)| {
                let port = ports.get(at).or(ports.first()).copied().unwrap_or(PORT);
                match host {
                    Host::Tcp(name) if name.contains(':') => format!("[{name}]:{port}"),
                    Host::Tcp(name) => format!("{name}:{port}"),
                    Host::Unix(path) => path.display().to_string(),
                }
            });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        format!("{hosts}/{}", self.database())
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@{}", self.user(), self.server())
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(PostgresUrlError::Unsupported);
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("sslmode", value)) => mode = Some(decode(value)?),
                Some(("sslrootcert", value)) => roots = Some(decode(value)?),
                _ => rest.push(option),
            }
        }
        let rest = format!("{base}?{}", rest.join("&"));
        let mut config: Config = rest.parse().map_err(malformed)?;
        let (mode, trust) = ssl(mode.as_deref(), roots.as_deref())?;
        config.ssl_mode(mode);
        if config.get_hosts().is_empty() {
            return Err(PostgresUrlError::NoHost);
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(PostgresUrlError::NoDatabase);
        }
        add_defaults(&mut config);
        Ok(Self {
            config: Box::new(config),
            trust,
        })
    }
}

/// What libpq's `sslmode` and `sslrootcert` mean; a root certificate makes `require` a `verify-ca`.
fn ssl(mode: Option<&str>, roots: Option<&str>) -> Result<(SslMode, Trust), PostgresUrlError> {
    let trusted = match roots {
        None | Some("system") => Roots::System,
        Some(path) => Roots::File(PathBuf::from(path)),
    };
    Ok(match mode {
        Some("disable") => (SslMode::Disable, Trust::Anyone),
        None | Some("prefer") => (SslMode::Prefer, Trust::Anyone),
        Some("require") if roots.is_none() => (SslMode::Require, Trust::Anyone),
        Some("require" | "verify-ca") => (SslMode::Require, Trust::Authority(trusted)),
        Some("verify-full") => (SslMode::Require, Trust::Name(trusted)),
        Some(other) => return Err(PostgresUrlError::SslMode(other.to_owned())),
    })
}

fn add_defaults(config: &mut Config) {
    if config.get_application_name().is_none() {
        config.application_name("floe");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_keepalives_interval().is_none() {
        config
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    // Of several servers the one that takes writes; a single one is asked, so that it can be named.
    if config.get_hosts().len() > 1 {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

fn malformed(error: tokio_postgres::Error) -> PostgresUrlError {
    // The cause names an option or a part of the URL, never a value.
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    PostgresUrlError::Malformed(cause.unwrap_or_else(|| error.to_string()))
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, PostgresUrlError> {
    let bad = || PostgresUrlError::Malformed("bad percent-encoding in its options".to_owned());
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or_else(bad)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests;
