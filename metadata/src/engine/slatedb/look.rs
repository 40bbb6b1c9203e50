//! A look at the rows from outside, whoever owns them. Writes nothing to the store.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use slatedb::config::DbReaderOptions;
use slatedb::{DbReader, DbReaderMode};

use super::{MANIFEST_POLL, SlateEngine, each, engine_error, scan_options};
use crate::engine::{Engine, EngineError, Row};

/// The rows of a range, of the moment at which they are first asked for.
pub(super) fn rows(
    engine: &SlateEngine,
    range: Range<Bytes>,
) -> BoxStream<'_, Result<Row, EngineError>> {
    let opened = async move {
        if range.start >= range.end || engine.epoch().await? == 0 {
            return Ok(stream::empty().boxed());
        }
        let reader = open(engine).await?;
        let rows = reader.scan_with_options(range, &scan_options()).await;
        let rows = each(rows.map_err(engine_error)?);
        let closed = stream::once(async move { reader.close().await.map_err(engine_error) });
        let closed = closed.filter_map(|closed| async { closed.err().map(Err) });
        Ok(rows.chain(closed).boxed())
    };
    stream::once(opened)
        .flat_map(|opened: Result<_, EngineError>| match opened {
            Ok(rows) => rows,
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

async fn open(engine: &SlateEngine) -> Result<DbReader, EngineError> {
    // Nothing newer is looked for: the reader does not live that long.
    let options = DbReaderOptions {
        manifest_poll_interval: MANIFEST_POLL,
        checkpoint_lifetime: MANIFEST_POLL * 3,
        ..DbReaderOptions::default()
    };
    DbReader::open(
        engine.root.clone(),
        Arc::clone(&engine.store),
        DbReaderMode::FollowLatest,
        options,
    )
    .await
    .map_err(engine_error)
}
