//! Deleting many objects, some at once. The only place in Floe that deletes segments.

use floe_storage::store::{Caller, Store, StoreError};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use object_store::path::Path;

/// Deletes under way at once: they compete with the requests of producers for the store's patience.
const AT_ONCE: usize = 16;

/// An object to delete, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Doomed<T> {
    /// Its key.
    pub(crate) path: Path,
    /// What is known.
    pub(crate) what: T,
}

/// What became of many deletes.
#[derive(Debug)]
pub(crate) struct Deleted<T> {
    /// Surely no longer in the store.
    pub(crate) gone: Vec<Doomed<T>>,
    /// Why others may still be there: the first failure.
    pub(crate) failure: Option<StoreError>,
}

/// Deletes all of `doomed`. An object that is not there counts as deleted. After the first failure no more
/// deletes are begun: a store in trouble is left alone until the next round.
pub(crate) async fn delete_all<T>(store: &Store, doomed: Vec<Doomed<T>>) -> Deleted<T> {
    let mut waiting = doomed.into_iter();
    let mut under_way = FuturesUnordered::new();
    let mut deleted = Deleted {
        gone: Vec::new(),
        failure: None,
    };
    let delete = |doomed: Doomed<T>| async move {
        let outcome = store.delete(&doomed.path, Caller::Compaction).await;
        (doomed, outcome)
    };
    under_way.extend(waiting.by_ref().take(AT_ONCE).map(delete));
    while let Some((doomed, outcome)) = under_way.next().await {
        match outcome {
            Ok(()) => deleted.gone.push(doomed),
            Err(error) => {
                tracing::debug!(object = %doomed.path, %error, "a delete failed");
                deleted.failure.get_or_insert(error);
            }
        }
        if deleted.failure.is_none()
            && let Some(next) = waiting.next()
        {
            under_way.push(delete(next));
        }
    }
    deleted
}
