//! One connection: made, checked, driven by a task, and closed with its value.
//!
//! Every connection is asked for the settings that decide whether what it commits is durable before it
//! is used for anything: after a failover the server may be another one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use floe_storage::tasks::Tasks;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Connection, Row, Statement};

use super::error::PostgresError;
use super::url::PostgresUrl;
use super::{STATEMENT_TIMEOUT, tls};

/// Beyond the server's own limit for a statement, after which it would have said so.
const ANSWER_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(2));
/// For a connection over all hosts of the URL, and its settings.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that may be used.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    url: PostgresUrl,
    /// The server has warned since this was last taken.
    warned: Arc<AtomicBool>,
    driver: AbortHandle,
}

impl Drop for Link {
    /// Closes the socket, also of a server that hangs.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A parameter of a statement and its type: statements are not prepared by asking the server.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Link {
    /// Connects and sees to it that commits are durable. Cancel-safe.
    pub(super) async fn connect(url: &PostgresUrl, tasks: &Tasks) -> Result<Self, PostgresError> {
        let made = tokio::time::timeout(CONNECT_TIMEOUT, async {
            let link = Self::open(url, tasks).await?;
            link.settle_settings().await?;
            Ok(link)
        });
        made.await.unwrap_or_else(|_| {
            Err(PostgresError::Silent {
                server: url.server(),
                after: CONNECT_TIMEOUT,
            })
        })
    }

    async fn open(url: &PostgresUrl, tasks: &Tasks) -> Result<Self, PostgresError> {
        let trust = url.trust().clone();
        let connector = tokio::task::spawn_blocking(move || tls::connector(&trust));
        let connector = connector
            .await
            .map_err(|error| PostgresError::Certificates(error.to_string()))??;
        let connected = url.config().connect(connector).await;
        let (client, connection) = connected.map_err(|error| refused(url, error))?;
        let warned = Arc::new(AtomicBool::new(false));
        let driver = tasks.spawn(drive(connection, Arc::clone(&warned)));
        Ok(Self {
            client,
            url: url.clone(),
            warned,
            driver,
        })
    }

    /// Refuses a server that would lose what it acknowledges; asks it to wait for its synchronous
    /// standbys, and to give up on statements that hang. A server that does not know a setting has no
    /// row for it.
    async fn settle_settings(&self) -> Result<(), PostgresError> {
        const NAMES: &str = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN \
             ('fsync', 'synchronous_commit', 'transaction_read_only', 'in_hot_standby')";
        let mut raises = "";
        for row in self.query(NAMES, &[]).await? {
            let (name, value) = (self.text(&row, 0)?, self.text(&row, 1)?);
            match (name, value) {
                ("fsync", "off") => return Err(self.not_durable("fsync")),
                ("synchronous_commit", "off") => {
                    return Err(self.not_durable("synchronous_commit"));
                }
                ("transaction_read_only" | "in_hot_standby", "on") => {
                    let server = self.url.server();
                    return Err(PostgresError::ReadOnly { server });
                }
                // Durable here, but lost with this machine although it may have a standby.
                ("synchronous_commit", "local" | "remote_write") => {
                    raises = "SET synchronous_commit = 'on';";
                }
                _ => {}
            }
        }
        let timeout_ms = STATEMENT_TIMEOUT.as_millis();
        let settings = format!(
            "{raises} SET statement_timeout = {timeout_ms}; \
             SET default_transaction_isolation = 'read committed'"
        );
        self.bounded(self.client.batch_execute(&settings)).await
    }

    fn not_durable(&self, setting: &'static str) -> PostgresError {
        let server = self.url.server();
        PostgresError::NotDurable { server, setting }
    }

    fn text<'a>(&self, row: &'a Row, column: usize) -> Result<&'a str, PostgresError> {
        let value: Option<&str> = row.try_get(column).map_err(|error| self.failed(error))?;
        Ok(value.unwrap_or_default())
    }

    /// The rows a statement gives, in one round trip.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, PostgresError> {
        self.bounded(self.client.query_typed(sql, parameters)).await
    }

    /// Runs statements that give nothing.
    pub(super) async fn run(&self, sql: &str) -> Result<(), PostgresError> {
        self.bounded(self.client.batch_execute(sql)).await
    }

    /// Lets the server plan a statement once.
    pub(super) async fn prepare(
        &self,
        sql: &str,
        types: &[Type],
    ) -> Result<Statement, PostgresError> {
        self.bounded(self.client.prepare_typed(sql, types)).await
    }

    /// The rows a prepared statement gives.
    pub(super) async fn query_prepared(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, PostgresError> {
        self.bounded(self.client.query(statement, parameters)).await
    }

    /// A column of a row.
    pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
        &self,
        row: &'a Row,
        column: usize,
    ) -> Result<T, PostgresError> {
        row.try_get(column).map_err(|error| self.failed(error))
    }

    /// Fails if the server has warned since the last call. It warns, and yet says that it committed,
    /// when somebody ends its waiting for a synchronous standby.
    pub(super) fn check_replicated(&self) -> Result<(), PostgresError> {
        if self.warned.swap(false, Ordering::AcqRel) {
            let server = self.url.server();
            return Err(PostgresError::NotReplicated { server });
        }
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Where it leads.
    pub(super) const fn url(&self) -> &PostgresUrl {
        &self.url
    }

    async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, PostgresError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(|error| self.failed(error)),
            Err(_) => Err(PostgresError::Silent {
                server: self.url.server(),
                after: ANSWER_TIMEOUT,
            }),
        }
    }

    fn failed(&self, error: tokio_postgres::Error) -> PostgresError {
        let server = self.url.server();
        let code = error.code().cloned();
        let reason = Arc::new(error);
        match code {
            Some(SqlState::INSUFFICIENT_PRIVILEGE) => PostgresError::NoRight {
                server,
                user: self.url.user().to_owned(),
                reason,
            },
            Some(SqlState::READ_ONLY_SQL_TRANSACTION) => PostgresError::ReadOnly { server },
            _ => PostgresError::Statement { server, reason },
        }
    }
}

/// Moves bytes until the connection ends, and notes warnings.
async fn drive<S, T>(mut connection: Connection<S, T>, warned: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let message = |context: &mut std::task::Context<'_>| connection.poll_message(context);
    let mut messages = futures::stream::poll_fn(message);
    while let Some(message) = futures::StreamExt::next(&mut messages).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) => {
                if notice.parsed_severity() == Some(Severity::Warning) {
                    tracing::warn!(message = notice.message(), "PostgreSQL warns");
                    warned.store(true, Ordering::Release);
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "connection to PostgreSQL ended");
                return;
            }
        }
    }
}

fn refused(url: &PostgresUrl, error: tokio_postgres::Error) -> PostgresError {
    let server = url.server();
    let code = error.code().cloned();
    let reason = Arc::new(error);
    match code {
        Some(SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            PostgresError::Credentials {
                server,
                user: url.user().to_owned(),
                reason,
            }
        }
        Some(SqlState::INVALID_CATALOG_NAME) => PostgresError::NoDatabase {
            server,
            database: url.database().to_owned(),
        },
        Some(SqlState::INSUFFICIENT_PRIVILEGE) => PostgresError::NoRight {
            server,
            user: url.user().to_owned(),
            reason,
        },
        _ => PostgresError::Connect { server, reason },
    }
}
