//! The one ordered writer of a session: a group at a time, each by one fenced statement.
//!
//! ```text
//! group ─▶ write ──┬─ one row of the fence ───────────────────────────────▶ durable
//!                  ├─ no row, or no answer ─▶ (new connection) touch ──┬─ sequence reached ─▶ durable
//!                  │                               ▲                   ├─ not reached ─▶ write again
//!                  │                               └── no answer ──────┤
//!                  └─ other failures, after some patience ─▶ end       └─ no row ─▶ fenced, or set back
//! ```
//!
//! A statement that was given up may still arrive: it holds the sequence before its group, so it and
//! its repetition exclude each other for ever. A touch waits for the row's lock, and so for a statement
//! that is being executed; its own commit is replicated, and with it all commits before it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_postgres::Statement;
use tokio_postgres::types::{ToSql, Type};

use super::Server;
use super::error::{PostgresError, Progress};
use super::link::Link;
use super::patience::Patience;
use super::queue::{Group, Queue};
use super::schema;

const WRITE: &str = "\
WITH fence AS (
  UPDATE floe_owner SET sequence = sequence + 1
  WHERE lineage = $1 AND epoch = $2 AND sequence = $3
  RETURNING lineage
), put AS (
  INSERT INTO floe_row (lineage, key, value)
  SELECT fence.lineage, change.key, change.value
  FROM fence CROSS JOIN unnest($4::bytea[], $5::bytea[]) AS change (key, value)
  ON CONFLICT (lineage, key) DO UPDATE SET value = excluded.value
  RETURNING 1
)
SELECT count(*) FROM fence";

const TOUCH: &str = "UPDATE floe_owner SET proofs = proofs + 1 \
     WHERE lineage = $1 AND epoch = $2 RETURNING sequence";

const SWEEP: &str = "DELETE FROM floe_row WHERE lineage = $1 AND key = ANY($2) AND value IS NULL";

/// How long deleted rows stay before they are swept, unless they are many.
const SWEEP_AFTER: Duration = Duration::from_secs(2);
/// Rows swept by one statement; as many waiting ones are swept at once.
const SWEEP_ROWS: usize = 4096;
/// How often a write that the server's row contradicts is tried again.
const ROUNDS: u32 = 3;

/// A connection with the statement it has planned.
#[derive(Debug)]
struct Pen {
    link: Link,
    write: Statement,
}

#[derive(Debug)]
pub(super) struct Writer {
    server: Arc<Server>,
    queue: Arc<Queue>,
    epoch: i64,
    /// Groups of rows that are durable.
    sequence: i64,
    spare: Option<Link>,
    pen: Option<Pen>,
    sweep_at: Option<Instant>,
}

impl Writer {
    /// The writer of an epoch that was just acquired over `link`.
    pub(super) fn new(server: Arc<Server>, queue: Arc<Queue>, epoch: i64, link: Link) -> Self {
        Self {
            server,
            queue,
            epoch,
            sequence: 0,
            spare: Some(link),
            pen: None,
            sweep_at: None,
        }
    }

    /// Writes group after group until the session ends.
    pub(super) async fn run(mut self) {
        loop {
            if self.sweep_at.is_some_and(|at| at <= Instant::now()) {
                self.sweep().await;
            }
            let queue = Arc::clone(&self.queue);
            let group = tokio::select! {
                biased;
                group = queue.next() => group,
                () = wait(self.sweep_at) => continue,
            };
            let Some(group) = group else {
                return;
            };
            match self.land(&group).await {
                Ok(()) => self.queue.written(group, self.sequence),
                Err(error) => {
                    let ended = self.queue.end(&error.into());
                    group.answer(&Err(ended));
                    return;
                }
            }
            self.plan_sweep();
        }
    }

    async fn land(&mut self, group: &Group) -> Result<(), PostgresError> {
        if group.changes.is_empty() && !group.proves {
            return Ok(());
        }
        let mut patience = Patience::new();
        let mut is_in_doubt = false;
        while let Err(error) = self.attempt(group, &mut is_in_doubt).await {
            self.pen = None;
            patience.endure("a write to PostgreSQL", error).await?;
        }
        Ok(())
    }

    /// `is_in_doubt` says whether the group was ever sent without an answer, which is never forgotten:
    /// what was sent may arrive after any look at the sequence.
    async fn attempt(
        &mut self,
        group: &Group,
        is_in_doubt: &mut bool,
    ) -> Result<(), PostgresError> {
        let (epoch, sequence) = (self.epoch, self.sequence);
        let lineage = self.server.lineage;
        for _ in 0..ROUNDS {
            let pen = self.pen().await?;
            if *is_in_doubt || group.changes.is_empty() {
                let found = pen.touch(&lineage.0, epoch).await?;
                if found == Some(sequence + 1) && *is_in_doubt {
                    self.sequence = sequence + 1;
                    return Ok(());
                }
                if found != Some(sequence) {
                    return Err(self.overtaken().await);
                }
                if group.changes.is_empty() {
                    return Ok(());
                }
            }
            *is_in_doubt = true;
            if pen.write(&lineage.0, epoch, sequence, group).await? {
                self.sequence = sequence + 1;
                return Ok(());
            }
        }
        Err(self.overtaken().await)
    }

    /// Why the owner's row is not as we left it.
    async fn overtaken(&mut self) -> PostgresError {
        let known = Progress {
            epoch: self.epoch,
            sequence: self.sequence,
        };
        let lineage = self.server.lineage;
        let found = match self.pen().await {
            Ok(pen) => schema::progress(&pen.link, lineage).await,
            Err(error) => Err(error),
        };
        let server = self.server.url.server();
        match found {
            Ok(Some(found)) if found.epoch > known.epoch => PostgresError::Fenced,
            Ok(Some(found)) => PostgresError::SetBack {
                server,
                found,
                known,
            },
            Ok(None) => PostgresError::OtherCluster { server, lineage },
            Err(error) => error,
        }
    }

    async fn pen(&mut self) -> Result<&Pen, PostgresError> {
        const TYPES: [Type; 5] = [
            Type::BYTEA,
            Type::INT8,
            Type::INT8,
            Type::BYTEA_ARRAY,
            Type::BYTEA_ARRAY,
        ];
        let pen = match self.pen.take() {
            Some(pen) if !pen.link.is_closed() => pen,
            _ => {
                let link = match self.spare.take() {
                    Some(link) => link,
                    None => Link::connect(&self.server.url, &self.server.tasks).await?,
                };
                let write = link.prepare(WRITE, &TYPES).await?;
                Pen { link, write }
            }
        };
        Ok(self.pen.insert(pen))
    }

    fn plan_sweep(&mut self) {
        match self.queue.gone_count() {
            0 => {}
            few if few < SWEEP_ROWS => {
                let at = Instant::now() + SWEEP_AFTER;
                self.sweep_at.get_or_insert(at);
            }
            _ => self.sweep_at = Some(Instant::now()),
        }
    }

    /// Removes rows that have no value any more. If that fails they are taken up again later.
    async fn sweep(&mut self) {
        self.sweep_at = None;
        let keys = self.queue.take_gone(SWEEP_ROWS);
        let lineage = self.server.lineage;
        let swept = match self.pen().await {
            Ok(pen) => pen.sweep(&lineage.0, &keys).await,
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            tracing::debug!(%error, "deleted rows could not be swept");
            self.pen = None;
            self.queue.note_gone(keys.into_iter());
        }
        if self.queue.gone_count() > 0 {
            self.sweep_at = Some(Instant::now() + SWEEP_AFTER);
        }
    }
}

impl Pen {
    /// Whether the fence let the group through.
    async fn write(
        &self,
        lineage: &[u8],
        epoch: i64,
        sequence: i64,
        group: &Group,
    ) -> Result<bool, PostgresError> {
        let keys: Vec<&[u8]> = group.changes.keys().map(Bytes::as_ref).collect();
        let values: Vec<Option<&[u8]>> = group.changes.values().map(Option::as_deref).collect();
        let parameters: [&(dyn ToSql + Sync); 5] = [&lineage, &epoch, &sequence, &keys, &values];
        let rows = self.link.query_prepared(&self.write, &parameters).await?;
        self.link.check_replicated()?;
        let fenced: i64 = match rows.first() {
            Some(row) => self.link.column(row, 0)?,
            None => 0,
        };
        Ok(fenced == 1)
    }

    /// Writes to the owner's row without effect; returns the sequence there if the epoch is ours.
    async fn touch(&self, lineage: &[u8], epoch: i64) -> Result<Option<i64>, PostgresError> {
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&lineage, Type::BYTEA), (&epoch, Type::INT8)];
        let rows = self.link.query(TOUCH, &parameters).await?;
        self.link.check_replicated()?;
        rows.first().map(|row| self.link.column(row, 0)).transpose()
    }

    async fn sweep(&self, lineage: &[u8], keys: &[Bytes]) -> Result<(), PostgresError> {
        let keys: Vec<&[u8]> = keys.iter().map(Bytes::as_ref).collect();
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&lineage, Type::BYTEA), (&keys, Type::BYTEA_ARRAY)];
        self.link.query(SWEEP, &parameters).await.map(drop)
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
