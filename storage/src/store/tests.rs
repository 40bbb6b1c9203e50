//! The whole stack over a store that goes wrong, in paused time.

mod careless;
mod create;
mod history;
mod layers;
mod open;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::fault::{FaultPlan, FaultStore};
use super::{Caller, Created, Store, StoreError, StoreOptions};

/// A memory store that goes wrong as `plan` says, and the polite stack over it.
fn faulty(plan: FaultPlan, options: &StoreOptions, seed: u64) -> (FaultStore, Store) {
    let faults = FaultStore::new(Arc::new(InMemory::new()), plan, seed);
    let store = Store::new(
        Arc::new(faults.clone()),
        &Path::from("prefix"),
        options,
        seed,
    );
    (faults, store)
}

fn bytes(text: &str) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(text.as_bytes())]
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Creates an object that holds its own name.
async fn put(store: &Store, name: &str) -> Result<Created, StoreError> {
    store
        .put_create(&Path::from(name), bytes(name), Caller::Produce)
        .await
}
