//! Marks of how far the metadata has come, for engines that lie outside of the store: by them a database that
//! was set back to an older copy is told from the right one, although its epoch is the newest.
//!
//! ```text
//! epochs/<lineage>/durable-000000000000a410    written first, then the one before is deleted
//! epochs/<lineage>/durable-0000000000009c02    left behind by an owner that died
//! ```
//!
//! Only what is durable is marked. So the rows of a right engine are never older than any mark that was seen
//! before they are read.

use std::time::Duration;

use bytes::Bytes;
use floe_storage::key::{self, Lineage};
use floe_storage::latest;
use floe_storage::store::{Caller, Store, StoreError};

use crate::api::Revision;
use crate::cluster::seal;

/// How long the engine may be set back without notice, while there are changes.
pub(crate) const MARK_EVERY: Duration = Duration::from_secs(10);

/// The marks of one owner.
#[derive(Debug)]
pub(crate) struct DurableMarks {
    store: Store,
    lineage: Lineage,
    /// What is durable now.
    durable: latest::Reader<Revision>,
    /// What was marked last; 0 for nothing that is known.
    marked: Revision,
}

impl DurableMarks {
    /// Marks of what `durable` says; `marked` is the highest one there is, 0 for none.
    pub(crate) fn new(
        store: Store,
        lineage: Lineage,
        durable: latest::Reader<Revision>,
        marked: Revision,
    ) -> Self {
        Self {
            store,
            lineage,
            durable,
            marked,
        }
    }

    /// Marks now and then what has become durable; until it is dropped.
    pub(crate) async fn keep(&mut self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(MARK_EVERY).await;
            let marked = self.marked;
            if self.durable.wait_for(|now| *now > marked).await.is_none() {
                // The series has ended, and so does the owner.
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.mark().await {
                tracing::warn!(%error, "how far the metadata has come is not marked yet");
            }
        }
    }

    /// Marks what is durable, unless it is marked already. Repeating it is safe.
    ///
    /// # Errors
    /// The store failed; the mark may have been made.
    pub(crate) async fn mark(&mut self) -> Result<(), StoreError> {
        let revision = self.durable.get();
        if revision <= self.marked {
            return Ok(());
        }
        let path = key::durable(self.lineage, revision);
        let text = Bytes::from(seal(format!("floe durable 1\nrevision {revision}\n")));
        self.store
            .put_create(&path, vec![text], Caller::Metadata)
            .await?;
        let before = std::mem::replace(&mut self.marked, revision);
        if before > 0 {
            let path = key::durable(self.lineage, before);
            self.store.delete(&path, Caller::Metadata).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use floe_storage::store::fault::{FaultPlan, FaultStore};
    use futures::TryStreamExt;
    use object_store::memory::InMemory;

    use super::*;
    use crate::testing::store_over;

    const LINEAGE: Lineage = Lineage([7; 16]);

    async fn marked(store: &Store) -> Vec<u64> {
        let names = store.list(&key::epochs(LINEAGE), Caller::Metadata);
        let names: Vec<_> = names.try_collect().await.unwrap();
        let marks = names.iter();
        let marks = marks.filter_map(|it| key::parse_durable(LINEAGE, &it.location));
        marks.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_that_could_not_be_made_is_made_later() {
        let faults = FaultStore::new(Arc::new(InMemory::new()), FaultPlan::none(), 1);
        let store = store_over(Arc::new(faults.clone()));
        let (durable, reader) = latest::channel(5);
        let mut marks = DurableMarks::new(store.clone(), LINEAGE, reader, 0);
        let before = faults.set_plan(FaultPlan {
            failed_rate: 1.0,
            ..FaultPlan::none()
        });
        marks.mark().await.unwrap_err();
        faults.set_plan(before);
        assert!(marked(&store).await.is_empty());
        marks.mark().await.unwrap();
        assert_eq!(marked(&store).await, [5]);
        durable.set(9);
        marks.mark().await.unwrap();
        assert_eq!(marked(&store).await, [9]);
    }
}
