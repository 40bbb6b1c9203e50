//! A look at the rows from outside, whoever owns them: one read-only transaction on one snapshot.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio_postgres::types::Type;

use super::error::PostgresError;
use super::link::{Link, Parameter};
use super::reads::{PAGE, PAGE_ROWS_FIRST, Stored, next_page, stored};
use super::{Server, schema};
use crate::engine::{EngineError, Row};

const BEGIN: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What is left to look at; the connection's end ends the transaction.
struct Look {
    link: Link,
    range: Range<Bytes>,
    rows: usize,
}

/// The rows of a range, of the moment at which they are first asked for.
pub(super) fn rows(
    server: &Arc<Server>,
    range: Range<Bytes>,
) -> BoxStream<'_, Result<Row, EngineError>> {
    if range.start >= range.end {
        return stream::empty().boxed();
    }
    let opened = stream::once(async move {
        let link = Link::connect(&server.url, &server.tasks).await?;
        // A database of another cluster says so, instead of showing nothing.
        schema::epoch(&link, server.lineage).await?;
        link.run(BEGIN).await?;
        Ok(Look {
            link,
            range,
            rows: PAGE_ROWS_FIRST,
        })
    });
    let pages = opened.flat_map(move |opened| match opened {
        Ok(look) => stream::unfold(Some(look), move |look| async move {
            Some(match page(server, look?).await {
                Ok((page, next)) => (Ok(page), next),
                Err(error) => (Err(error), None),
            })
        })
        .boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    });
    pages
        .flat_map(|page: Result<Stored, PostgresError>| {
            stream::iter(match page {
                Ok(page) => page
                    .into_iter()
                    .filter_map(|(key, value)| Some(Ok((key, value?))))
                    .collect(),
                Err(error) => vec![Err(error.into())],
            })
        })
        .boxed()
}

async fn page(server: &Server, mut look: Look) -> Result<(Stored, Option<Look>), PostgresError> {
    let lineage = server.lineage.0.as_slice();
    let (start, end) = (look.range.start.as_ref(), look.range.end.as_ref());
    let limit = i64::try_from(look.rows).unwrap_or(i64::MAX);
    let parameters: [Parameter<'_>; 4] = [
        (&lineage, Type::BYTEA),
        (&start, Type::BYTEA),
        (&end, Type::BYTEA),
        (&limit, Type::INT8),
    ];
    let rows = look.link.query(PAGE, &parameters).await?;
    let page = stored(&look.link, &rows)?;
    let next = next_page(&page, look.range.clone(), look.rows);
    let next = next.map(|(range, rows)| {
        (look.range, look.rows) = (range, rows);
        look
    });
    Ok((page, next))
}
