//! A database with one lineage, and engines over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use floe_metadata::engine::postgres::PostgresEngine;
use floe_metadata::engine::{Engine, RowChange, Session};
use floe_storage::key::Lineage;
use floe_storage::tasks::Tasks;
use floe_tests::components::postgres::{Postgres, Schema};
use futures::TryStreamExt;

/// A schema of its own on the shared server, which knows one lineage.
pub(crate) struct Database {
    pub(crate) schema: Schema,
    pub(crate) lineage: Lineage,
}

impl Database {
    /// `None` after saying that the test is skipped.
    pub(crate) async fn create() -> Option<Database> {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let schema = Postgres::shared()?.create_schema();
        let lineage = Lineage([NEXT.fetch_add(1, Ordering::Relaxed); 16]);
        let database = Database { schema, lineage };
        let engine = engine(&database.schema.url(), lineage);
        engine.found().await.unwrap();
        Some(database)
    }

    /// Makes engines, each as another process has it.
    pub(crate) fn handles(&self) -> impl Fn() -> Arc<dyn Engine> + use<> {
        let (url, lineage) = (self.schema.url(), self.lineage);
        move || Arc::new(engine(&url, lineage))
    }

    /// A session of the epoch after the newest, reached by `url`.
    pub(crate) async fn own_by(&self, url: &str) -> Arc<dyn Session> {
        own(url, self.lineage).await
    }

    /// The same, reached directly.
    pub(crate) async fn own(&self) -> Arc<dyn Session> {
        self.own_by(&self.schema.url()).await
    }

    /// How many groups of rows the newest owner has written.
    pub(crate) fn sequence(&self) -> u64 {
        let sequence = self.schema.run("SELECT sequence FROM floe_owner");
        sequence[0].parse().unwrap()
    }
}

pub(crate) fn engine(url: &str, lineage: Lineage) -> PostgresEngine {
    PostgresEngine::new(url.parse().unwrap(), lineage, Tasks::new())
}

pub(crate) async fn own(url: &str, lineage: Lineage) -> Arc<dyn Session> {
    let engine = engine(url, lineage);
    let epoch = engine.epoch().await.unwrap();
    engine.acquire(epoch).await.unwrap()
}

/// The batch number `number`: a row of its own, and the number in a row that all batches share.
pub(crate) fn batch(number: u64) -> Vec<RowChange> {
    let text = Bytes::from(number.to_string());
    vec![
        (
            Bytes::from(format!("batch/{number:06}")),
            Some(text.clone()),
        ),
        (Bytes::from_static(b"newest"), Some(text)),
    ]
}

/// How many batches took effect: checks that they are the first ones, without a hole.
pub(crate) async fn batches(session: &Arc<dyn Session>) -> u64 {
    let range = Bytes::from_static(b"batch/")..Bytes::from_static(b"batch0");
    let rows: Vec<_> = session.scan(range).try_collect().await.unwrap();
    for (number, (key, _)) in rows.iter().enumerate() {
        assert_eq!(*key, Bytes::from(format!("batch/{number:06}")));
    }
    let newest = session.get(&Bytes::from_static(b"newest")).await.unwrap();
    let newest = newest.map(|text| String::from_utf8(text.to_vec()).unwrap());
    let count = u64::try_from(rows.len()).unwrap();
    let last = count.checked_sub(1).map(|last| last.to_string());
    assert_eq!(newest, last, "each batch took effect wholly or not at all");
    count
}
