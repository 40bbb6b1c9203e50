//! Reads, on connections that do nothing else: a read never waits for a write, nor holds one up.
//!
//! Keys that wait are looked up together, a range page by page. Every answer carries the owner's row
//! of the same snapshot: a server that does not show our epoch and what was durable when we asked has
//! fallen behind or was replaced, and is asked again over a new connection.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::{Notify, oneshot};
use tokio_postgres::types::{ToSql, Type};
use tokio_util::sync::CancellationToken;

use super::Server;
use super::error::{PostgresError, Progress};
use super::link::{Link, Parameter};
use super::patience::Patience;
use super::queue::Queue;
use crate::engine::{EngineError, Row};

/// Connections, each made when there is work the others do not get to.
const READERS: usize = 3;
/// Keys in one look-up.
const KEYS_MAX: usize = 256;
/// What a page is to hold, in bytes; its number of rows is fitted to that.
const PAGE_BYTES: usize = 1 << 20;
pub(super) const PAGE_ROWS_FIRST: usize = 256;
const PAGE_ROWS_MIN: usize = 16;
const PAGE_ROWS_MAX: usize = 4096;

const LOOK_UP: &str = "\
SELECT owner.epoch, owner.sequence, found.key, found.value
FROM floe_owner AS owner LEFT JOIN floe_row AS found
  ON found.lineage = owner.lineage AND found.key = ANY($2)
WHERE owner.lineage = $1";

pub(super) const PAGE: &str = "\
SELECT owner.epoch, owner.sequence, page.key, page.value
FROM floe_owner AS owner LEFT JOIN (
  SELECT lineage, key, value FROM floe_row
  WHERE lineage = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4
) AS page ON page.lineage = owner.lineage
WHERE owner.lineage = $1
ORDER BY page.key";

type Answer<T> = oneshot::Sender<Result<T, EngineError>>;

/// Rows as they are stored, without a value where deleted.
pub(super) type Stored = Vec<(Bytes, Option<Bytes>)>;

#[derive(Debug)]
enum Read {
    Key {
        key: Bytes,
        /// What the server must show at least.
        sequence: i64,
        answer: Answer<Option<Bytes>>,
    },
    Page {
        page: Page,
        answer: Answer<Stored>,
    },
}

#[derive(Debug)]
struct Page {
    range: Range<Bytes>,
    rows: usize,
    sequence: i64,
}

/// A look-up of several keys, or a page.
enum Work {
    Keys(Vec<(Bytes, i64, Answer<Option<Bytes>>)>),
    Page(Page, Answer<Stored>),
}

/// Reads that wait for a connection.
#[derive(Debug)]
pub(super) struct Reads {
    waiting: Mutex<VecDeque<Read>>,
    arrived: Notify,
    queue: Arc<Queue>,
}

impl Reads {
    /// Starts the readers of a session; they end with `ended`.
    pub(super) fn start(
        server: &Arc<Server>,
        queue: &Arc<Queue>,
        epoch: i64,
        ended: &CancellationToken,
    ) -> Arc<Self> {
        let reads = Arc::new(Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            queue: Arc::clone(queue),
        });
        for _ in 0..READERS {
            let reader = Reader {
                server: Arc::clone(server),
                reads: Arc::clone(&reads),
                epoch,
                link: None,
            };
            let ended = ended.clone();
            server.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = ended.cancelled() => {}
                    () = reader.run() => {}
                }
            });
        }
        reads
    }

    /// The value of a row as of `sequence` or later.
    pub(super) async fn row(
        &self,
        key: Bytes,
        sequence: i64,
    ) -> Result<Option<Bytes>, EngineError> {
        let (answer, answered) = oneshot::channel();
        self.push(Read::Key {
            key,
            sequence,
            answer,
        });
        answered.await.unwrap_or(Err(EngineError::Closed))
    }

    /// The rows of a range as of `sequence` or later, in order.
    pub(super) fn rows(
        &self,
        range: Range<Bytes>,
        sequence: i64,
    ) -> impl Stream<Item = Result<Row, EngineError>> + Send + '_ {
        let first = Some((range, PAGE_ROWS_FIRST));
        let pages = stream::unfold(first, move |next| async move {
            let (range, rows) = next?;
            Some(match self.page(range.clone(), rows, sequence).await {
                Ok(page) => {
                    let next = next_page(&page, range, rows);
                    (Ok(self.present(page)), next)
                }
                Err(error) => (Err(error), None),
            })
        });
        pages.flat_map(|page| match page {
            Ok(rows) => stream::iter(rows.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
    }

    async fn page(
        &self,
        range: Range<Bytes>,
        rows: usize,
        sequence: i64,
    ) -> Result<Stored, EngineError> {
        // Also between pages: a session that has ended reads nothing.
        self.queue.durable()?;
        let (answer, answered) = oneshot::channel();
        let page = Page {
            range,
            rows,
            sequence,
        };
        self.push(Read::Page { page, answer });
        answered.await.unwrap_or(Err(EngineError::Closed))
    }

    /// The rows that have a value; the others are left to be swept.
    fn present(&self, page: Stored) -> Vec<Row> {
        let mut gone = Vec::new();
        let mut rows = Vec::with_capacity(page.len());
        for (key, value) in page {
            match value {
                Some(value) => rows.push((key, value)),
                None => gone.push(key),
            }
        }
        self.queue.note_gone(gone.into_iter());
        rows
    }

    fn push(&self, read: Read) {
        self.lock().push_back(read);
        self.arrived.notify_one();
    }

    /// Everything that one statement can answer. Cancel-safe.
    async fn next(&self) -> Work {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(work) = take(&mut waiting) {
                    if !waiting.is_empty() {
                        self.arrived.notify_one();
                    }
                    return work;
                }
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Read>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(waiting: &mut VecDeque<Read>) -> Option<Work> {
    let mut keys = Vec::new();
    while keys.len() < KEYS_MAX {
        match waiting.pop_front() {
            Some(Read::Key {
                key,
                sequence,
                answer,
            }) => keys.push((key, sequence, answer)),
            Some(Read::Page { page, answer }) if keys.is_empty() => {
                return Some(Work::Page(page, answer));
            }
            Some(page @ Read::Page { .. }) => {
                waiting.push_front(page);
                break;
            }
            None => break,
        }
    }
    (!keys.is_empty()).then_some(Work::Keys(keys))
}

/// What is left of the range after a page, and with how many rows to go on.
pub(super) fn next_page(
    page: &Stored,
    range: Range<Bytes>,
    rows: usize,
) -> Option<(Range<Bytes>, usize)> {
    let (last, _) = page.last()?;
    if page.len() < rows {
        return None;
    }
    // The smallest key after it.
    let start: Bytes = [last.as_ref(), &[0]].concat().into();
    let sizes = page
        .iter()
        .map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len));
    let bytes_per_row = sizes.sum::<usize>() / page.len() + 1;
    let rows = (PAGE_BYTES / bytes_per_row).clamp(PAGE_ROWS_MIN, PAGE_ROWS_MAX);
    (start < range.end).then_some((start..range.end, rows))
}

struct Reader {
    server: Arc<Server>,
    reads: Arc<Reads>,
    epoch: i64,
    link: Option<Link>,
}

impl Reader {
    async fn run(mut self) {
        loop {
            match self.reads.next().await {
                Work::Keys(keys) => self.look_up(keys).await,
                Work::Page(page, answer) => {
                    let outcome = self.page(&page).await;
                    drop(answer.send(self.conclude(outcome)));
                }
            }
        }
    }

    async fn look_up(&mut self, wanted: Vec<(Bytes, i64, Answer<Option<Bytes>>)>) {
        let keys: Vec<&[u8]> = wanted.iter().map(|(key, ..)| key.as_ref()).collect();
        let sequence = wanted.iter().map(|(_, sequence, _)| *sequence).max();
        let lineage = self.server.lineage;
        let lineage = lineage.0.as_slice();
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&lineage, Type::BYTEA), (&keys, Type::BYTEA_ARRAY)];
        let outcome = self
            .read(LOOK_UP, &parameters, sequence.unwrap_or_default())
            .await;
        match self.conclude(outcome) {
            Ok(rows) => {
                let rows: HashMap<Bytes, Option<Bytes>> = rows.into_iter().collect();
                for (key, _, answer) in wanted {
                    let value = rows.get(&key).cloned().flatten();
                    drop(answer.send(Ok(value)));
                }
            }
            Err(error) => {
                for (_, _, answer) in wanted {
                    drop(answer.send(Err(error.clone())));
                }
            }
        }
    }

    async fn page(&mut self, page: &Page) -> Result<Stored, PostgresError> {
        let lineage = self.server.lineage;
        let lineage = lineage.0.as_slice();
        let (start, end) = (page.range.start.as_ref(), page.range.end.as_ref());
        let limit = i64::try_from(page.rows).unwrap_or(i64::MAX);
        let parameters: [Parameter<'_>; 4] = [
            (&lineage, Type::BYTEA),
            (&start, Type::BYTEA),
            (&end, Type::BYTEA),
            (&limit, Type::INT8),
        ];
        self.read(PAGE, &parameters, page.sequence).await
    }

    /// A failed read ends the session, as any error does.
    fn conclude<T>(&self, outcome: Result<T, PostgresError>) -> Result<T, EngineError> {
        outcome.map_err(|error| self.reads.queue.end(&error.into()))
    }

    async fn read(
        &mut self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        sequence: i64,
    ) -> Result<Stored, PostgresError> {
        let mut patience = Patience::new();
        loop {
            match self.attempt(sql, parameters, sequence).await {
                Ok(rows) => return Ok(rows),
                Err(error) => {
                    self.link = None;
                    patience.endure("a read from PostgreSQL", error).await?;
                }
            }
        }
    }

    async fn attempt(
        &mut self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
        sequence: i64,
    ) -> Result<Stored, PostgresError> {
        let link = match self.link.take() {
            Some(link) if !link.is_closed() => link,
            _ => Link::connect(&self.server.url, &self.server.tasks).await?,
        };
        let link = self.link.insert(link);
        let rows = link.query(sql, parameters).await?;
        let (server, lineage) = (|| link.url().server(), self.server.lineage);
        let Some(first) = rows.first() else {
            let server = server();
            return Err(PostgresError::OtherCluster { server, lineage });
        };
        let known = Progress {
            epoch: self.epoch,
            sequence,
        };
        let found = Progress {
            epoch: link.column(first, 0)?,
            sequence: link.column(first, 1)?,
        };
        if found.epoch > known.epoch {
            return Err(PostgresError::Fenced);
        }
        if found < known {
            let server = server();
            return Err(PostgresError::SetBack {
                server,
                found,
                known,
            });
        }
        stored(link, &rows)
    }
}

pub(super) fn stored(link: &Link, rows: &[tokio_postgres::Row]) -> Result<Stored, PostgresError> {
    let mut stored = Vec::with_capacity(rows.len());
    for row in rows {
        // No key: the owner's row alone, joined with nothing.
        if let Some(key) = link.column::<Option<&[u8]>>(row, 2)? {
            let value = link.column::<Option<&[u8]>>(row, 3)?;
            stored.push((
                Bytes::copy_from_slice(key),
                value.map(Bytes::copy_from_slice),
            ));
        }
    }
    Ok(stored)
}
