//! The tables, their version, and the owner's row of each lineage; `docs/formats/postgres.md` has the
//! whole picture.
//!
//! ```text
//! floe_schema  id = 1 | version
//! floe_owner   lineage | epoch, sequence (groups written in this epoch), proofs (writes of no rows)
//! floe_row     lineage, key | value (null: deleted, not yet swept)
//! ```

use floe_storage::key::Lineage;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::error::{PostgresError, Progress};
use super::link::Link;

/// The version of the tables that is made and the newest that is understood.
pub(super) const VERSION: i64 = 1;

/// How often making the tables is tried again while another process makes them too.
const ROUNDS: u32 = 5;

/// Every statement may be repeated; the version comes last, so that tables without it are unfinished.
const TABLES: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS floe_schema (id bigint PRIMARY KEY, version bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS floe_owner (lineage bytea PRIMARY KEY, epoch bigint NOT NULL, \
     sequence bigint NOT NULL, proofs bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS floe_row (lineage bytea NOT NULL, key bytea NOT NULL, value bytea, \
     PRIMARY KEY (lineage, key))",
    "INSERT INTO floe_schema (id, version) VALUES (1, 1) ON CONFLICT (id) DO NOTHING",
];

/// Makes what is missing.
pub(super) async fn ensure(link: &Link) -> Result<(), PostgresError> {
    let mut round = 0;
    while !is_made(link).await? {
        round += 1;
        for table in TABLES {
            match link.run(table).await {
                // Two that create one table at once: one fails, and finds it the next time.
                Err(error) if round < ROUNDS && is_conflict(&error) => break,
                outcome => outcome?,
            }
        }
    }
    Ok(())
}

/// Whether the tables are there; those of a newer release are refused.
async fn is_made(link: &Link) -> Result<bool, PostgresError> {
    let rows = link
        .query("SELECT version FROM floe_schema WHERE id = 1", &[])
        .await;
    let rows = match rows {
        Err(error) if code(&error) == Some(&SqlState::UNDEFINED_TABLE) => return Ok(false),
        rows => rows?,
    };
    let Some(row) = rows.first() else {
        return Ok(false);
    };
    let found: i64 = link.column(row, 0)?;
    if found > VERSION {
        let server = link.url().server();
        return Err(PostgresError::Newer { server, found });
    }
    Ok(true)
}

/// Makes the row of a lineage at epoch 0, unless it is there.
pub(super) async fn found(link: &Link, lineage: Lineage) -> Result<(), PostgresError> {
    const SQL: &str = "INSERT INTO floe_owner (lineage, epoch, sequence, proofs) \
         VALUES ($1, 0, 0, 0) ON CONFLICT (lineage) DO NOTHING";
    link.query(SQL, &[(&lineage.0.as_slice(), Type::BYTEA)])
        .await?;
    link.check_replicated()
}

/// How far the newest owner of a lineage has come; `None` when the database knows no such lineage.
pub(super) async fn progress(
    link: &Link,
    lineage: Lineage,
) -> Result<Option<Progress>, PostgresError> {
    const SQL: &str = "SELECT epoch, sequence FROM floe_owner WHERE lineage = $1";
    let rows = link
        .query(SQL, &[(&lineage.0.as_slice(), Type::BYTEA)])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let (epoch, sequence) = (link.column(row, 0)?, link.column(row, 1)?);
    Ok(Some(Progress { epoch, sequence }))
}

/// The epoch of the newest owner.
pub(super) async fn epoch(link: &Link, lineage: Lineage) -> Result<u64, PostgresError> {
    let other = || PostgresError::OtherCluster {
        server: link.url().server(),
        lineage,
    };
    if !is_made(link).await? {
        return Err(other());
    }
    let progress = progress(link, lineage).await?.ok_or_else(other)?;
    u64::try_from(progress.epoch).map_err(|_| other())
}

/// Takes the epoch after `expected` and returns it; `None` when the newest is another. The row's lock
/// makes this wait for statements of the owner before, and makes those that come later find it moved.
pub(super) async fn acquire(
    link: &Link,
    lineage: Lineage,
    expected: u64,
) -> Result<Option<i64>, PostgresError> {
    const SQL: &str = "UPDATE floe_owner SET epoch = epoch + 1, sequence = 0 \
         WHERE lineage = $1 AND epoch = $2 RETURNING epoch";
    let Ok(expected) = i64::try_from(expected) else {
        return Ok(None);
    };
    let lineage = lineage.0.as_slice();
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&lineage, Type::BYTEA), (&expected, Type::INT8)];
    let rows = link.query(SQL, &parameters).await?;
    link.check_replicated()?;
    rows.first().map(|row| link.column(row, 0)).transpose()
}

fn is_conflict(error: &PostgresError) -> bool {
    matches!(
        code(error),
        Some(
            &SqlState::UNIQUE_VIOLATION | &SqlState::DUPLICATE_TABLE | &SqlState::DUPLICATE_OBJECT
        )
    )
}

fn code(error: &PostgresError) -> Option<&SqlState> {
    match error {
        PostgresError::Statement { reason, .. } => reason.code(),
        _ => None,
    }
}
