//! What each layer promises, seen through the whole stack.

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use tokio::time::Instant;

use super::{bytes, faulty, ms, put};
use crate::store::fault::{Fate, FaultPlan};
use crate::store::{Caller, Created, Operation, Outcome, StoreErrorKind, StoreOptions};

#[tokio::test(start_paused = true)]
async fn retries_end_in_time_and_say_what_may_have_happened() {
    let rates = |throttled_rate, failed_rate, hang_rate| FaultPlan {
        throttled_rate,
        failed_rate,
        hang_rate,
        ..FaultPlan::healthy()
    };
    for (plan, kind, outcome) in [
        (
            rates(1.0, 0.0, 0.0),
            StoreErrorKind::Throttled,
            Outcome::DidNotHappen,
        ),
        (
            rates(0.0, 1.0, 0.0),
            StoreErrorKind::Internal,
            Outcome::Unknown,
        ),
        (
            rates(0.0, 0.0, 1.0),
            StoreErrorKind::Timeout,
            Outcome::Unknown,
        ),
        // One of the first answers leaves it open, whatever the last one says.
        (
            rates(0.9, 0.1, 0.0),
            StoreErrorKind::Throttled,
            Outcome::Unknown,
        ),
    ] {
        let (faults, store) = faulty(plan.clone(), &StoreOptions::default(), 1);
        let started = Instant::now();
        let error = put(&store, "x").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (kind, outcome),
            "{plan:?} {error}"
        );
        assert!(error.is_retriable());
        let took = started.elapsed();
        assert!(took > ms(15_000) && took < ms(31_000), "{took:?}");
        let requests: u64 = faults.fates().values().sum();
        assert!((3..30).contains(&requests), "{requests} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_get_better_is_not_tried_again() {
    let (faults, store) = faulty(FaultPlan::healthy(), &StoreOptions::default(), 1);
    let missing = store
        .get_whole(&Path::from("nothing"), Caller::Fetch)
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::NotFound);
    assert!(!missing.is_retriable());
    assert_eq!(faults.fates().values().sum::<u64>(), 1);
    put(&store, "x").await.unwrap();
    let past_the_end = store
        .get_range(&Path::from("x"), 5..9, Caller::Fetch)
        .await
        .unwrap_err();
    assert_eq!(
        past_the_end.kind(),
        StoreErrorKind::Invalid,
        "{past_the_end}"
    );
    let too_long = store
        .get_range(&Path::from("x"), 0..9, Caller::Fetch)
        .await
        .unwrap_err();
    assert_eq!(too_long.kind(), StoreErrorKind::Invalid, "{too_long}");
    assert_eq!(faults.fates().values().sum::<u64>(), 4);
}

#[tokio::test(start_paused = true)]
async fn half_of_all_refused_still_gets_nearly_everything_through_for_few_calls() {
    let plan = FaultPlan {
        throttled_rate: 0.5,
        ..FaultPlan::healthy()
    };
    let (faults, store) = faulty(plan, &StoreOptions::default(), 2);
    let mut done = 0_u64;
    for round in 0..100 {
        let names: Vec<_> = (0..20).map(|number| format!("{round}/{number}")).collect();
        let puts = join_all(names.iter().map(|name| put(&store, name))).await;
        done += puts.iter().filter(|put| put.is_ok()).count() as u64;
    }
    let calls: u64 = faults.fates().values().sum();
    assert!(done >= 1_980, "{done} of 2000");
    assert!(calls <= 3 * done, "{calls} calls for {done}");
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_calls_die_down_and_then_everything_goes_on() {
    let outage = ms(0)..ms(36_000_000);
    let plan = FaultPlan {
        outages: vec![outage.clone()],
        ..FaultPlan::healthy()
    };
    let (faults, store) = faulty(plan, &StoreOptions::default(), 3);
    for number in 0..200 {
        let error = put(&store, &format!("during/{number}")).await.unwrap_err();
        assert_eq!(
            error.kind(),
            StoreErrorKind::Unreachable,
            "{number} {error}"
        );
    }
    let calls: u64 = faults.fates().values().sum();
    assert!(
        calls <= 200 + 512,
        "one call each once the budget is gone: {calls}"
    );
    tokio::time::sleep(outage.end).await;
    put(&store, "after").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_short_body_is_fetched_again_and_never_served() {
    let plan = FaultPlan {
        short_get_rate: 0.5,
        ..FaultPlan::healthy()
    };
    let (faults, store) = faulty(plan, &StoreOptions::default(), 4);
    put(&store, "twenty bytes of text").await.unwrap();
    let path = Path::from("twenty bytes of text");
    for _ in 0..40 {
        let whole = store.get_whole(&path, Caller::Fetch).await.unwrap();
        assert_eq!(whole, "twenty bytes of text");
        let part = store.get_range(&path, 7..12, Caller::Fetch).await.unwrap();
        assert_eq!(part, "bytes");
        let end = store.get_suffix(&path, 4, Caller::Fetch).await.unwrap();
        assert_eq!(
            (end.bytes.as_ref(), end.object_bytes),
            (b"text".as_slice(), 20)
        );
    }
    let engine = store.object_store();
    let ranges = engine.get_ranges(&path, &[0..6, 16..20]).await.unwrap();
    assert_eq!(ranges, ["twenty", "text"]);
    assert!(faults.fates()[&Fate::ShortGet] > 20);
}

#[tokio::test(start_paused = true)]
async fn a_slow_put_gets_a_second_one_and_few_do() {
    // Two in a hundred PUTs stall for up to three seconds.
    let plan = FaultPlan {
        latency_sigma: 0.1,
        slow_rate: 0.02,
        ..FaultPlan::healthy()
    };
    let slowest = |hedge| {
        let options = StoreOptions {
            hedge,
            ..StoreOptions::default()
        };
        let (_, store) = faulty(plan.clone(), &options, 7);
        async move {
            let mut times = Vec::new();
            for number in 0..2_000 {
                let started = Instant::now();
                assert_eq!(
                    put(&store, &format!("{number}")).await.unwrap(),
                    Created::New
                );
                times.push(started.elapsed());
            }
            times.sort_unstable();
            (times[1_989], store.request_counts().total(Operation::Put))
        }
    };
    let (plain, plain_puts) = slowest(false).await;
    let (hedged, hedged_puts) = slowest(true).await;
    assert_eq!(plain_puts, 2_000);
    assert!((2_010..=2_100).contains(&hedged_puts), "{hedged_puts} PUTs");
    assert!(
        hedged * 4 < plain,
        "99.5 % took up to {hedged:?}, without hedges {plain:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn refusals_halve_the_limit_and_successes_raise_it_again() {
    let options = StoreOptions {
        concurrency_max: 64,
        ..StoreOptions::default()
    };
    let plan = FaultPlan {
        throttled_rate: 1.0,
        ..FaultPlan::healthy()
    };
    let (faults, store) = faulty(plan, &options, 8);
    assert_eq!(store.concurrency_limit(), 64);
    let storm = join_all((0..40).map(|number| {
        let store = store.clone();
        async move { put(&store, &format!("storm/{number}")).await }
    }));
    let heal = async {
        tokio::time::sleep(ms(5_500)).await;
        let limit = store.concurrency_limit();
        faults.set_plan(FaultPlan::healthy());
        limit
    };
    let (puts, lowest) = tokio::join!(storm, heal);
    assert_eq!(lowest, 4, "halved once a second");
    assert!(
        puts.iter().all(Result::is_ok),
        "the storm passed within the time of a request"
    );
    for round in 0..50 {
        let names: Vec<_> = (0..64)
            .map(|number| format!("after/{round}/{number}"))
            .collect();
        join_all(names.iter().map(|name| put(&store, name))).await;
    }
    assert_eq!(store.concurrency_limit(), 64);
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_under_way_than_allowed_but_metadata_passes() {
    let options = StoreOptions {
        concurrency_max: 4,
        ..StoreOptions::default()
    };
    let plan = FaultPlan {
        latency_median: ms(100),
        ..FaultPlan::none()
    };
    let (_, store) = faulty(plan, &options, 9);
    let started = Instant::now();
    let names: Vec<_> = (0..40).map(|number| format!("{number}")).collect();
    let produced = join_all(names.iter().map(|name| put(&store, name)));
    let path = Path::from("claim");
    let claimed = async {
        store
            .put_create(&path, bytes("a"), Caller::Metadata)
            .await
            .unwrap();
        started.elapsed()
    };
    let (_, claimed) = tokio::join!(produced, claimed);
    let ten_rounds = ms(1_000);
    assert!(started.elapsed() >= ten_rounds && started.elapsed() < ten_rounds + ms(50));
    assert!(claimed < ms(110), "{claimed:?}");
}

#[tokio::test(start_paused = true)]
async fn everything_is_counted_once_per_request() {
    let (_, store) = faulty(FaultPlan::none(), &StoreOptions::default(), 10);
    let path = Path::from("a/1");
    store
        .put_create(&path, bytes("12345"), Caller::Produce)
        .await
        .unwrap();
    store.get_range(&path, 1..3, Caller::Fetch).await.unwrap();
    store.get_suffix(&path, 2, Caller::Fetch).await.unwrap();
    assert!(
        store
            .head(&path, Caller::Compaction)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        store
            .head(&Path::from("a/2"), Caller::Compaction)
            .await
            .unwrap()
            .is_none()
    );
    let listed: Vec<_> = store
        .list(&Path::from("a"), Caller::Compaction)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].location, path, "without the prefix");
    store.delete(&path, Caller::Compaction).await.unwrap();
    store.delete(&path, Caller::Compaction).await.unwrap();
    assert_eq!(
        store.get_range(&path, 3..3, Caller::Fetch).await.unwrap(),
        ""
    );

    let counts: Vec<_> = store
        .request_counts()
        .snapshot()
        .into_iter()
        .filter(|count| count.requests > 0)
        .map(|count| {
            (
                count.caller,
                count.operation,
                count.requests,
                count.failures,
                count.bytes,
            )
        })
        .collect();
    let expected = [
        (Caller::Produce, Operation::Put, 1, 0, 5),
        (Caller::Fetch, Operation::Get, 2, 0, 4),
        (Caller::Compaction, Operation::Head, 2, 0, 0),
        (Caller::Compaction, Operation::List, 1, 0, 0),
        (Caller::Compaction, Operation::Delete, 2, 0, 0),
    ];
    assert_eq!(counts, expected);
}

#[tokio::test(start_paused = true)]
async fn deletes_and_listings_are_tried_again() {
    let (faults, store) = faulty(FaultPlan::none(), &StoreOptions::default(), 11);
    let names: Vec<_> = (0..50)
        .map(|number| Path::from(format!("a/{number:02}")))
        .collect();
    for name in &names {
        store
            .put_create(name, bytes("x"), Caller::Compaction)
            .await
            .unwrap();
    }
    faults.set_plan(FaultPlan {
        throttled_rate: 0.3,
        lost_reply_rate: 0.2,
        ..FaultPlan::healthy()
    });
    for _ in 0..10 {
        let listed: Vec<_> = store
            .list(&Path::from("a"), Caller::Compaction)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(listed.len(), 50);
    }
    let engine = store.object_store();
    let doomed = futures::stream::iter(names.clone()).map(Ok).boxed();
    let mut gone: Vec<_> = engine.delete_stream(doomed).try_collect().await.unwrap();
    gone.sort();
    assert_eq!(gone, names);
    let left: Vec<_> = store
        .list(&Path::from("a"), Caller::Fetch)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(left, []);
}
