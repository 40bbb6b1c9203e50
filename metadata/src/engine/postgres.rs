//! The scaled engine: any server that speaks PostgreSQL's protocol.
//!
//! ```text
//! submit ─▶ queue ─▶ writer: one statement per group ─▶ durable     what waits meanwhile is the next group
//!             │        fence: epoch and sequence as expected, sequence + 1
//!             │        rows:  folded to the newest change of each key, put by the same statement
//! get ────────┴─▶ reads: waiting keys in one look-up, ranges in pages; each answer shows
//! scan                   the epoch and sequence it was taken at, so a stale server is noticed
//! ```
//!
//! - **The fence is in the statement.** A batch takes effect if and only if the owner's row still has
//!   our epoch and the sequence before this group. So at most one of several copies of a group ever does.
//! - **A lost reply is settled, never guessed.** On a new connection a fenced write of no rows (a
//!   *touch*) waits for whatever still holds the owner's row, is replicated as every write is, and says
//!   whether the group's sequence was reached; if not, the same group is sent again.
//! - **A deleted row is put with no value** and swept later. One statement may change a row once only,
//!   and CockroachDB lets it change a table once only; removing a row without value changes nothing that
//!   anyone sees, so sweeping needs no fence.
//! - **Several clusters share the tables**: every key begins with the lineage. The row of a lineage is
//!   made before the cluster's object, so a database without it is another one than the cluster's.
//!
//! The SQL keeps to what PostgreSQL, CockroachDB and YugabyteDB share: no procedures, no advisory
//! locks, no notifications.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use floe_storage::key::Lineage;
use floe_storage::tasks::Tasks;
use futures::stream::{self, BoxStream, StreamExt};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::error::PostgresError;
use self::link::Link;
use self::queue::{Found, Queue};
use self::reads::Reads;
pub use self::url::{PostgresUrl, PostgresUrlError};
use self::writer::Writer;
use super::{Durable, Engine, EngineError, Row, RowChange, Session};

mod error;
mod link;
mod look;
mod patience;
mod queue;
mod reads;
mod schema;
mod tls;
mod url;
mod writer;

/// What one statement may take, on the server and for us; a server that hangs is given up after it.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The engine that keeps one lineage's rows in one database.
#[derive(Clone)]
pub struct PostgresEngine {
    server: Arc<Server>,
    /// A connection left from the last call.
    spare: Arc<Mutex<Option<Link>>>,
}

/// Where the rows are and how to get there.
#[derive(Debug)]
struct Server {
    url: PostgresUrl,
    lineage: Lineage,
    tasks: Tasks,
}

impl fmt::Debug for PostgresEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresEngine")
            .field("url", &self.server.url)
            .field("lineage", &self.server.lineage)
            .finish_non_exhaustive()
    }
}

impl PostgresEngine {
    /// The engine of `lineage` in the database at `url`. Its connections are driven on `tasks`.
    #[must_use]
    pub fn new(url: PostgresUrl, lineage: Lineage, tasks: Tasks) -> Self {
        let server = Server {
            url,
            lineage,
            tasks,
        };
        Self {
            server: Arc::new(server),
            spare: Arc::default(),
        }
    }

    /// Makes the tables, if need be, and the row of the lineage, which is then at epoch 0. To be
    /// called before the cluster's object is created; does nothing when the row is there.
    ///
    /// # Errors
    /// `Refused` when the server must not be used as it is set up, `Unavailable` when it does not
    /// answer; tables may have been made.
    pub async fn found(&self) -> Result<(), EngineError> {
        let link = self.link().await?;
        schema::ensure(&link).await?;
        schema::found(&link, self.server.lineage).await?;
        self.keep(link);
        Ok(())
    }

    async fn link(&self) -> Result<Link, PostgresError> {
        let spare = self.spare().take();
        match spare {
            Some(link) if !link.is_closed() => Ok(link),
            _ => Link::connect(&self.server.url, &self.server.tasks).await,
        }
    }

    fn keep(&self, link: Link) {
        *self.spare() = Some(link);
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Option<Link>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Engine for PostgresEngine {
    async fn epoch(&self) -> Result<u64, EngineError> {
        let link = self.link().await?;
        let epoch = schema::epoch(&link, self.server.lineage).await?;
        self.keep(link);
        Ok(epoch)
    }

    fn is_apart(&self) -> bool {
        true
    }

    async fn acquire(&self, expected_epoch: u64) -> Result<Arc<dyn Session>, EngineError> {
        let link = self.link().await?;
        let Some(epoch) = schema::acquire(&link, self.server.lineage, expected_epoch).await? else {
            self.keep(link);
            return Err(EngineError::UnexpectedEpoch {
                expected: expected_epoch,
            });
        };
        tracing::info!(
            epoch,
            server = self.server.url.server(),
            "owner of the rows in PostgreSQL"
        );
        let ended = CancellationToken::new();
        let queue = Arc::new(Queue::default());
        let reads = Reads::start(&self.server, &queue, epoch, &ended);
        let writer = Writer::new(Arc::clone(&self.server), Arc::clone(&queue), epoch, link);
        self.server.tasks.spawn(writer.run());
        Ok(Arc::new(PostgresSession {
            epoch: expected_epoch + 1,
            queue,
            reads,
            _ended: ended.drop_guard(),
        }))
    }

    fn look(&self, range: Range<Bytes>) -> BoxStream<'_, Result<Row, EngineError>> {
        look::rows(&self.server, range)
    }
}

struct PostgresSession {
    epoch: u64,
    queue: Arc<Queue>,
    reads: Arc<Reads>,
    /// Dropped with the session: ends its readers.
    _ended: DropGuard,
}

impl fmt::Debug for PostgresSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSession")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        self.queue.end(&EngineError::Closed);
    }
}

#[async_trait]
impl Session for PostgresSession {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn submit(&self, batch: Vec<RowChange>) -> Durable {
        self.queue.submit(batch)
    }

    async fn get(&self, key: &Bytes) -> Result<Option<Bytes>, EngineError> {
        match self.queue.find(key)? {
            Found::UnderWay(change) => Ok(change),
            Found::Durable { sequence } => self.reads.row(key.clone(), sequence).await,
        }
    }

    fn scan(&self, range: Range<Bytes>) -> BoxStream<'_, Result<Row, EngineError>> {
        if range.start >= range.end {
            return stream::empty().boxed();
        }
        let all_before = self.submit(Vec::new());
        let first = async move {
            all_before.await?;
            self.queue.durable()
        };
        stream::once(first)
            .flat_map(move |sequence| match sequence {
                Ok(sequence) => self.reads.rows(range.clone(), sequence).boxed(),
                Err(error) => stream::iter([Err(error)]).boxed(),
            })
            .boxed()
    }

    /// A fenced write of its own when no batch waits: only a write that was replicated as all others
    /// proves that no standby has become the server meanwhile.
    async fn barrier(&self) -> Result<(), EngineError> {
        self.queue.prove().await
    }

    async fn release(&self) -> Result<(), EngineError> {
        self.submit(Vec::new()).await?;
        self.queue.end(&EngineError::Closed);
        Ok(())
    }
}
