//! One seed is one history.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use futures::future::join_all;
use object_store::path::Path;
use tokio::time::Instant;

use super::{faulty, put};
use crate::store::fault::{Fate, FaultPlan};
use crate::store::{Caller, StoreOptions};

/// Everything a store can be asked, in a fixed order, under a plan in which everything goes wrong.
async fn workload(seed: u64) -> (u32, BTreeMap<Fate, u64>, String) {
    let (faults, store) = faulty(FaultPlan::harsh(), &StoreOptions::default(), seed);
    let mut answers = String::new();
    for round in 0..15 {
        let names: Vec<_> = (0..8).map(|number| format!("{round}/{number}")).collect();
        let puts = join_all(names.iter().map(|name| put(&store, name))).await;
        let path = Path::from(names[0].as_str());
        let get = store.get_whole(&path, Caller::Fetch).await;
        let list: Result<Vec<_>, _> = store
            .list(&Path::from("0"), Caller::Compaction)
            .try_collect()
            .await;
        let names = list.map(|list| {
            list.into_iter()
                .map(|meta| meta.location)
                .collect::<Vec<_>>()
        });
        store.delete(&path, Caller::Compaction).await.ok();
        let puts: Vec<_> = puts
            .into_iter()
            .map(|put| put.map_err(|e| e.to_string()))
            .collect();
        let get = get.map_err(|error| error.to_string());
        answers += &format!(
            "{puts:?} {get:?} {names:?} {:?}\n",
            Instant::now().elapsed()
        );
    }
    faults.settled().await;
    (faults.trace(), faults.fates(), answers)
}

#[tokio::test(start_paused = true)]
async fn one_seed_is_one_history() {
    let mut traces = BTreeSet::new();
    let mut met = BTreeSet::new();
    for seed in 0..10 {
        let first = workload(seed).await;
        let second = workload(seed).await;
        assert_eq!(first, second, "seed {seed}");
        traces.insert(first.0);
        met.extend(first.1.into_keys());
    }
    assert_eq!(traces.len(), 10, "seeds differ");
    assert!(met.len() >= 11, "{met:?}");
}
