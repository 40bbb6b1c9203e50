use futures::TryStreamExt;

use super::*;
use crate::engine::conformance;

struct Store(MemoryEngine);

impl Store {
    fn handles(&self) -> impl Fn() -> Arc<dyn Engine> {
        let engine = self.0.clone();
        move || Arc::new(engine.clone())
    }
}

mod at_once {
    use super::*;

    conformance::suite!(
        Store(MemoryEngine::new(1, Faults::none())),
        #[tokio::test(start_paused = true)]
    );
}

mod with_latency {
    use super::*;

    conformance::suite!(
        {
            let latency = Duration::from_millis(1)..Duration::from_millis(300);
            Store(MemoryEngine::new(2, Faults { latency, ..Faults::none() }))
        },
        #[tokio::test(start_paused = true)]
    );
}

fn row(key: u64) -> Vec<RowChange> {
    vec![(
        Bytes::from(format!("{key:06}")),
        Some(Bytes::from_static(b"x")),
    )]
}

/// Under all faults: what was answered durable is there, rows are a prefix of what was submitted, and
/// both kinds of loss and both kinds of unknown outcome do occur.
#[tokio::test(start_paused = true)]
async fn faults_keep_the_contract() {
    let (mut lost_with_effect, mut lost_without) = (0, 0);
    for seed in 0..300 {
        let faults = Faults {
            latency: Duration::from_millis(1)..Duration::from_millis(50),
            lost_reply: 0.05,
            lost_batch: 0.05,
            failed_read: 0.05,
            failed_acquisition: 0.2,
        };
        let engine = MemoryEngine::new(seed, faults);
        let mut next = 0;
        for _ in 0..10 {
            let Ok(session) = engine.acquire(engine.epoch().await.unwrap()).await else {
                continue;
            };
            let recovered: Result<Vec<Row>, _> = session
                .scan(Bytes::from_static(b"0")..Bytes::from_static(b"9"))
                .try_collect()
                .await;
            let Ok(recovered) = recovered else {
                continue;
            };
            let first = u64::try_from(recovered.len()).unwrap();
            assert!(first >= next, "seed {seed}: a durable row is gone");
            assert_eq!(
                recovered.last().map(|row| row.0.clone()),
                first
                    .checked_sub(1)
                    .map(|key| { Bytes::from(format!("{key:06}")) })
            );
            let under_way: Vec<_> = (first..first + 8)
                .map(|key| session.submit(row(key)))
                .collect();
            let outcomes = futures::future::join_all(under_way).await;
            let durable = outcomes
                .iter()
                .take_while(|outcome| outcome.is_ok())
                .count();
            assert!(outcomes[durable..].iter().all(Result::is_err));
            next = first + u64::try_from(durable).unwrap();
            if durable < outcomes.len() {
                match u64::try_from(engine.rows().len()).unwrap().cmp(&next) {
                    std::cmp::Ordering::Greater => lost_with_effect += 1,
                    std::cmp::Ordering::Equal => lost_without += 1,
                    std::cmp::Ordering::Less => panic!("seed {seed}: a durable row is missing"),
                }
            }
        }
    }
    assert!(
        lost_with_effect > 20 && lost_without > 20,
        "{lost_with_effect} {lost_without}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_run() {
    let run = |seed| async move {
        let faults = Faults {
            latency: Duration::from_millis(1)..Duration::from_millis(50),
            lost_reply: 0.1,
            ..Faults::none()
        };
        let engine = MemoryEngine::new(seed, faults);
        let session = engine.acquire(0).await.unwrap();
        let under_way: Vec<_> = (0..50).map(|key| session.submit(row(key))).collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(engine.acquire(1).await);
        let outcomes = futures::future::join_all(under_way).await;
        (
            outcomes.iter().filter(|outcome| outcome.is_ok()).count(),
            engine.rows().len(),
        )
    };
    let mut different = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let once = run(seed).await;
        assert_eq!(once, run(seed).await, "seed {seed}");
        different.insert(once);
    }
    assert!(different.len() > 5, "seeds make a difference");
}
