//! A PostgreSQL server for tests, found in this order: `FLOE_TEST_POSTGRES`, Docker, `initdb` and
//! `postgres` on the PATH or in the distribution's folders.
//!
//! One server is shared by the tests of a process and stopped with the last of them; each test gets a
//! schema of its own.

use std::any::Any;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::{missing, postgres_docker};
use crate::config;
use crate::say::say;
use crate::wait;

pub use super::postgres_program::Server;

/// What [`config::is_required`] knows it by.
pub(super) const COMPONENT: &str = "postgres";

/// How long a statement of a test's own may take.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);

/// A reachable server and a user who may create schemas and roles.
#[derive(Debug)]
pub struct Postgres {
    user: String,
    password: String,
    host: String,
    database: String,
    #[expect(dead_code, reason = "held for its drop, which ends the server")]
    running: Option<Box<dyn Any + Send + Sync>>,
}

impl Postgres {
    pub(super) fn local(
        port: u16,
        user: &str,
        password: &str,
        running: impl Any + Send + Sync,
    ) -> Postgres {
        Postgres {
            user: user.to_owned(),
            password: password.to_owned(),
            host: format!("127.0.0.1:{port}"),
            database: "postgres".to_owned(),
            running: Some(Box::new(running)),
        }
    }

    /// A server that the caller keeps running: `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    fn given(url: &str) -> Option<Postgres> {
        let rest = url.split_once("://")?.1;
        let (credentials, rest) = rest.rsplit_once('@')?;
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        let (host, database) = rest.split_once('/')?;
        let database = database.split('?').next().unwrap_or_default();
        let port = if host.contains(':') { "" } else { ":5432" };
        Some(Postgres {
            user: user.to_owned(),
            password: password.to_owned(),
            host: format!("{host}{port}"),
            database: database.to_owned(),
            running: None,
        })
    }

    /// The server of this test process, started on first use, or `None` after saying that the test
    /// is skipped.
    ///
    /// # Panics
    ///
    /// If `FLOE_TEST_REQUIRE` names `postgres` and there is none.
    pub fn shared() -> Option<Arc<Postgres>> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(postgres) = shared.upgrade() {
            return Some(postgres);
        }
        let postgres = Arc::new(find()?);
        *shared = Arc::downgrade(&postgres);
        Some(postgres)
    }

    /// Where it listens.
    ///
    /// # Panics
    ///
    /// If its host is not known.
    pub fn address(&self) -> SocketAddr {
        let mut found = self.host.to_socket_addrs().expect("a known host");
        found.next().expect("a known host has an address")
    }

    /// The URL of the database.
    pub fn url(&self) -> String {
        self.url_of(&self.user, &self.password, &self.host, &self.database)
    }

    fn url_of(&self, user: &str, password: &str, host: &str, database: &str) -> String {
        format!("postgres://{user}:{password}@{host}/{database}")
    }

    /// Runs statements and returns the first column of the rows they give.
    ///
    /// # Panics
    ///
    /// If the server refuses one.
    pub fn run(&self, sql: &str) -> Vec<String> {
        let url = self.url();
        query(&url, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// A new schema with a name that no other test has.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub fn create_schema(self: &Arc<Postgres>) -> Schema {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // The wall clock keeps schemas of earlier runs apart on a server that outlives them.
        let now = crate::wait::wall_ms();
        let name = format!("floe_test_{now}_{}_{number}", std::process::id());
        self.run(&format!("CREATE SCHEMA {name}"));
        Schema {
            postgres: Arc::clone(self),
            name,
        }
    }
}

/// A schema of a test. Not removed: the server is, or its keeper decides.
#[derive(Clone, Debug)]
pub struct Schema {
    postgres: Arc<Postgres>,
    name: String,
}

impl Schema {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server that holds it.
    pub fn postgres(&self) -> &Arc<Postgres> {
        &self.postgres
    }

    /// The URL of an engine in it.
    pub fn url(&self) -> String {
        self.url_at(&self.postgres.host)
    }

    /// The same over a cable or proxy.
    pub fn url_through(&self, address: SocketAddr) -> String {
        self.url_at(&address.to_string())
    }

    /// The same for another user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        let Postgres { host, database, .. } = &*self.postgres;
        self.with_options(&self.postgres.url_of(user, password, host, database))
    }

    fn url_at(&self, host: &str) -> String {
        let Postgres {
            user,
            password,
            database,
            ..
        } = &*self.postgres;
        self.with_options(&self.postgres.url_of(user, password, host, database))
    }

    fn with_options(&self, url: &str) -> String {
        let name = &self.name;
        format!("{url}?options=-c%20search_path%3D{name}&application_name={name}")
    }

    /// Runs statements in the schema and returns the first column of the rows they give.
    ///
    /// # Panics
    ///
    /// If the server refuses one.
    pub fn run(&self, sql: &str) -> Vec<String> {
        query(&self.url(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// How long a server that listens may take to answer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Runs statements on a connection of their own, on a thread of its own: tests have runtimes.
pub(super) fn query(url: &str, sql: &str) -> Result<Vec<String>, String> {
    let asked = async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let driven = async {
            // Its end is that of the client, or shows as an error there.
            connection.await.ok();
            std::future::pending().await
        };
        tokio::select! {
            answer = client.simple_query(sql) => answer,
            never = driven => never,
        }
    };
    let answer = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            let answer = runtime.block_on(async {
                tokio::time::timeout(STATEMENT_LIMIT, asked)
                    .await
                    .map_err(|_| format!("no answer within {STATEMENT_LIMIT:?}"))
            })?;
            answer.map_err(|error| match error.as_db_error() {
                Some(said) => said.message().to_owned(),
                None => error.to_string(),
            })
        });
        asking.join().expect("a query does not panic")
    })?;
    let rows = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    Ok(rows.collect())
}

fn find() -> Option<Postgres> {
    if let Some(url) = config::postgres_url() {
        let postgres = Postgres::given(&url);
        let postgres =
            postgres.expect("FLOE_TEST_POSTGRES is postgres://USER:PASSWORD@HOST:PORT/DATABASE");
        say(&format!("postgres: FLOE_TEST_POSTGRES, {}", postgres.host));
        return Some(postgres);
    }
    match postgres_docker::start() {
        Ok((postgres, image)) => {
            // It listens before it takes connections.
            wait::until("PostgreSQL that answers", START_LIMIT, || {
                query(&postgres.url(), "SELECT 1").ok()
            });
            say(&format!(
                "postgres: in Docker through testcontainers, image {image}"
            ));
            return Some(postgres);
        }
        Err(why) => say(&format!(
            "postgres: no Docker: {}",
            why.lines().next().unwrap_or_default()
        )),
    }
    match Server::start(&[]) {
        Ok(server) => {
            say(&format!("postgres: {}", server.program().display()));
            Some(server.into_component())
        }
        Err(why) => {
            missing(COMPONENT, &why);
            None
        }
    }
}
