//! The engine contract as tests. Every engine runs all of them through [`suite`], each over a store of
//! its own; calling the factory again is another process over the same store.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;

use super::{Engine, EngineError, Row, RowChange, Session};

/// Makes handles to one store.
pub(crate) trait Handles: Fn() -> Arc<dyn Engine> {}

impl<T: Fn() -> Arc<dyn Engine>> Handles for T {}

/// Declares one test per clause of the contract; `$store` makes the handles to a fresh store, and
/// `$runtime` is the attribute of the tests.
macro_rules! suite {
    ($store:expr, #[$runtime:meta]) => {
        $crate::engine::conformance::suite!(@each $store, #[$runtime],
            starts_empty_at_epoch_zero,
            keeps_order_within_and_between_batches,
            a_batch_is_durable_with_all_before_it,
            empty_batches_wait_for_those_before,
            reads_show_what_was_submitted,
            scans_are_ordered_and_half_open,
            a_new_owner_sees_everything_durable,
            rows_survive_a_release,
            an_unexpected_epoch_has_no_effect,
            one_of_several_rivals_acquires,
            a_fenced_owner_can_do_nothing,
            a_fence_meets_batches_under_way,
            a_released_session_is_closed,
            large_batches_arrive_whole,
            a_look_shows_what_is_durable_and_disturbs_nobody,
        );
    };
    (@each $store:expr, #[$runtime:meta], $($name:ident,)*) => {
        $(
            #[$runtime]
            async fn $name() {
                let store = $store;
                $crate::engine::conformance::$name(&store.handles()).await;
            }
        )*
    };
}
pub(crate) use suite;

fn change(key: &str, value: &str) -> RowChange {
    (
        Bytes::copy_from_slice(key.as_bytes()),
        Some(Bytes::copy_from_slice(value.as_bytes())),
    )
}

fn deletion(key: &'static str) -> RowChange {
    (Bytes::from_static(key.as_bytes()), None)
}

async fn get(session: &Arc<dyn Session>, key: &'static str) -> Option<String> {
    let value = session
        .get(&Bytes::from_static(key.as_bytes()))
        .await
        .unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

async fn scan(session: &Arc<dyn Session>, range: Range<&'static str>) -> Vec<(String, String)> {
    let range =
        Bytes::from_static(range.start.as_bytes())..Bytes::from_static(range.end.as_bytes());
    let rows: Vec<Row> = session.scan(range).try_collect().await.unwrap();
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    rows.iter()
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// A session of the epoch after the newest.
async fn next_owner(handles: &impl Handles) -> Arc<dyn Session> {
    let engine = handles();
    let epoch = engine.epoch().await.unwrap();
    engine.acquire(epoch).await.unwrap()
}

pub(crate) async fn starts_empty_at_epoch_zero(handles: &impl Handles) {
    assert_eq!(handles().epoch().await.unwrap(), 0);
    let session = handles().acquire(0).await.unwrap();
    assert_eq!(session.epoch(), 1);
    assert_eq!(handles().epoch().await.unwrap(), 1);
    assert_eq!(get(&session, "a").await, None);
    assert_eq!(scan(&session, "a".."z").await, pairs(&[]));
    session.barrier().await.unwrap();
}

pub(crate) async fn keeps_order_within_and_between_batches(handles: &impl Handles) {
    let session = next_owner(handles).await;
    let first = session.submit(vec![change("a", "1"), change("b", "1"), change("a", "2")]);
    let second = session.submit(vec![change("b", "3"), deletion("b"), change("c", "3")]);
    let third = session.submit(vec![deletion("c"), change("c", "4"), change("d", "4")]);
    let fourth = session.submit(vec![deletion("d")]);
    for durable in [first, second, third, fourth] {
        durable.await.unwrap();
    }
    assert_eq!(
        scan(&session, "a".."z").await,
        pairs(&[("a", "2"), ("c", "4")])
    );
}

pub(crate) async fn a_batch_is_durable_with_all_before_it(handles: &impl Handles) {
    let session = next_owner(handles).await;
    let numbered = |number: u32| vec![change(&format!("k{number:04}"), &number.to_string())];
    let mut under_way: Vec<_> = (0..200)
        .map(|number| session.submit(numbered(number)))
        .collect();
    // The answers of the others are dropped: batches do not depend on them.
    under_way.swap_remove(149).await.unwrap();
    drop(under_way);
    drop(session);
    let successor = next_owner(handles).await;
    let rows = scan(&successor, "k".."l").await;
    assert!(rows.len() >= 150, "{} rows", rows.len());
    for (number, (key, _)) in rows.iter().enumerate() {
        assert_eq!(
            *key,
            format!("k{number:04}"),
            "the rows there are have no hole"
        );
    }
}

pub(crate) async fn empty_batches_wait_for_those_before(handles: &impl Handles) {
    let session = next_owner(handles).await;
    session.submit(Vec::new()).await.unwrap();
    drop(session.submit(vec![change("a", "1")]));
    session.submit(Vec::new()).await.unwrap();
    drop(session);
    assert_eq!(
        get(&next_owner(handles).await, "a").await.as_deref(),
        Some("1")
    );
}

pub(crate) async fn reads_show_what_was_submitted(handles: &impl Handles) {
    let session = next_owner(handles).await;
    session
        .submit(vec![change("a", "1"), change("b", "1")])
        .await
        .unwrap();
    drop(session.submit(vec![change("a", "2")]));
    let last = session.submit(vec![change("a", "3"), deletion("b")]);
    assert_eq!(get(&session, "a").await.as_deref(), Some("3"));
    assert_eq!(get(&session, "b").await, None);
    assert_eq!(scan(&session, "a".."z").await, pairs(&[("a", "3")]));
    last.await.unwrap();
    assert_eq!(get(&session, "a").await.as_deref(), Some("3"));
}

pub(crate) async fn scans_are_ordered_and_half_open(handles: &impl Handles) {
    let session = next_owner(handles).await;
    let rows = ["b", "a", "aa", "c", "b\u{7f}"].map(|key| change(key, key));
    session.submit(rows.to_vec()).await.unwrap();
    let cases: [(Range<&str>, &[&str]); 5] = [
        ("a".."c", &["a", "aa", "b", "b\u{7f}"]),
        ("aa".."b", &["aa"]),
        ("c".."d", &["c"]),
        ("d".."e", &[]),
        ("c".."a", &[]),
    ];
    for (range, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|key| (*key, *key)).collect();
        assert_eq!(
            scan(&session, range.clone()).await,
            pairs(&expected),
            "{range:?}"
        );
    }
}

pub(crate) async fn a_new_owner_sees_everything_durable(handles: &impl Handles) {
    let mut expected = Vec::new();
    for round in 1..=5_u64 {
        let session = next_owner(handles).await;
        assert_eq!(session.epoch(), round);
        assert_eq!(scan(&session, "a".."z").await, expected);
        for batch in 0..3 {
            let (key, value) = (format!("r{round}b{batch}"), format!("{round}"));
            session.submit(vec![change(&key, &value)]).await.unwrap();
            expected.push((key, value));
        }
    }
}

pub(crate) async fn rows_survive_a_release(handles: &impl Handles) {
    let session = next_owner(handles).await;
    drop(session.submit(vec![change("a", "1")]));
    session.release().await.unwrap();
    let successor = next_owner(handles).await;
    assert_eq!(successor.epoch(), 2);
    assert_eq!(get(&successor, "a").await.as_deref(), Some("1"));
}

pub(crate) async fn an_unexpected_epoch_has_no_effect(handles: &impl Handles) {
    let owner = next_owner(handles).await;
    for expected in [0, 2, 7, u64::MAX - 1] {
        let refused = handles().acquire(expected).await.map(drop);
        assert!(
            matches!(refused, Err(EngineError::UnexpectedEpoch { expected: named }) if named == expected),
            "{expected}: {refused:?}"
        );
    }
    assert_eq!(handles().epoch().await.unwrap(), 1);
    owner.submit(vec![change("a", "1")]).await.unwrap();
    owner.barrier().await.unwrap();
}

pub(crate) async fn one_of_several_rivals_acquires(handles: &impl Handles) {
    for expected in 0..3 {
        let rivals = (0..4).map(|_| handles()).collect::<Vec<_>>();
        let attempts = rivals.iter().map(|rival| rival.acquire(expected));
        let outcomes = futures::future::join_all(attempts).await;
        let owners: Vec<_> = outcomes.into_iter().filter_map(Result::ok).collect();
        assert_eq!(owners.len(), 1, "epoch {expected}");
        owners[0].submit(vec![change("a", "1")]).await.unwrap();
    }
}

pub(crate) async fn a_fenced_owner_can_do_nothing(handles: &impl Handles) {
    let older = next_owner(handles).await;
    older.submit(vec![change("a", "old")]).await.unwrap();
    let newer = next_owner(handles).await;
    newer.submit(vec![change("a", "new")]).await.unwrap();

    let refused = |outcome: Result<(), EngineError>| {
        assert!(matches!(outcome, Err(EngineError::Fenced)), "{outcome:?}");
    };
    refused(older.barrier().await);
    refused(
        older
            .submit(vec![change("a", "late"), change("b", "late")])
            .await,
    );
    refused(older.submit(Vec::new()).await);
    refused(older.barrier().await);
    assert!(older.release().await.is_err());
    drop(older);

    assert_eq!(scan(&newer, "a".."z").await, pairs(&[("a", "new")]));
    newer.barrier().await.unwrap();
    newer.submit(vec![change("b", "new")]).await.unwrap();
    let successor = next_owner(handles).await;
    assert_eq!(
        scan(&successor, "a".."z").await,
        pairs(&[("a", "new"), ("b", "new")])
    );
}

/// The older owner has batches under way when the newer acquires, in all interleavings the engine
/// offers: whatever was answered durable is there, what is there is a prefix, nothing comes later.
pub(crate) async fn a_fence_meets_batches_under_way(handles: &impl Handles) {
    for round in 0..8_usize {
        let older = next_owner(handles).await;
        let key = |batch: usize| format!("r{round}b{batch}");
        let under_way: Vec<_> = (0..round * 3)
            .map(|batch| older.submit(vec![change(&key(batch), "x")]))
            .collect();
        let (newer, outcomes) =
            tokio::join!(next_owner(handles), futures::future::join_all(under_way));
        let durable = outcomes
            .iter()
            .take_while(|outcome| outcome.is_ok())
            .count();
        assert!(
            outcomes[durable..].iter().all(Result::is_err),
            "{outcomes:?}"
        );

        let range = Bytes::from(format!("r{round}b"))..Bytes::from(format!("r{round}c"));
        let seen: Vec<Row> = newer.scan(range.clone()).try_collect().await.unwrap();
        assert!(
            seen.len() >= durable,
            "{} of {durable} durable batches",
            seen.len()
        );
        let expected = |batch: usize| Bytes::from(key(batch));
        assert!((0..seen.len()).all(|batch| seen.iter().any(|row| row.0 == expected(batch))));

        drop(older.submit(vec![change(&key(999), "late")]).await);
        drop(older);
        newer.submit(Vec::new()).await.unwrap();
        let later: Vec<Row> = newer.scan(range).try_collect().await.unwrap();
        assert_eq!(later, seen);
    }
}

pub(crate) async fn a_released_session_is_closed(handles: &impl Handles) {
    let session = next_owner(handles).await;
    session.release().await.unwrap();
    let closed = |outcome: Result<(), EngineError>| {
        assert!(matches!(outcome, Err(EngineError::Closed)), "{outcome:?}");
    };
    closed(session.submit(vec![change("a", "1")]).await);
    closed(session.barrier().await);
    closed(session.get(&Bytes::from_static(b"a")).await.map(drop));
    closed(session.release().await);
    assert_eq!(get(&next_owner(handles).await, "a").await, None);
}

pub(crate) async fn large_batches_arrive_whole(handles: &impl Handles) {
    let session = next_owner(handles).await;
    let value = "v".repeat(1000);
    let batch: Vec<_> = (0..5000)
        .map(|number| change(&format!("k{number:05}"), &value))
        .collect();
    let megabyte = Bytes::from(vec![7_u8; 12 << 20]);
    let large = vec![(Bytes::from_static(b"m"), Some(megabyte.clone()))];
    let (first, second) = (session.submit(batch), session.submit(large));
    second.await.unwrap();
    first.await.unwrap();
    drop(session);
    let successor = next_owner(handles).await;
    assert_eq!(scan(&successor, "k".."l").await.len(), 5000);
    assert_eq!(
        successor.get(&Bytes::from_static(b"m")).await.unwrap(),
        Some(megabyte)
    );
}

pub(crate) async fn a_look_shows_what_is_durable_and_disturbs_nobody(handles: &impl Handles) {
    let onlooker = handles();
    let look = async |range: Range<&'static str>| -> Vec<Row> {
        let range =
            Bytes::from_static(range.start.as_bytes())..Bytes::from_static(range.end.as_bytes());
        onlooker.look(range).try_collect().await.unwrap()
    };
    assert_eq!(look("a".."z").await, []);
    let session = next_owner(handles).await;
    let value = "v".repeat(1000);
    let rows = (0..3000).map(|number| change(&format!("k{number:05}"), &value));
    session.submit(rows.collect()).await.unwrap();
    let last = vec![change("a", "1"), change("b", "2"), deletion("k00001")];
    session.submit(last).await.unwrap();
    assert_eq!(look("k".."l").await.len(), 2999);
    let row = |key: &'static str, value: &'static str| {
        (
            Bytes::from_static(key.as_bytes()),
            Bytes::from_static(value.as_bytes()),
        )
    };
    assert_eq!(look("a".."c").await, [row("a", "1"), row("b", "2")]);
    assert_eq!(look("a".."b").await, [row("a", "1")]);
    assert_eq!(look("b".."b").await, []);
    session.submit(vec![change("a", "3")]).await.unwrap();
    assert_eq!(look("a".."b").await, [row("a", "3")]);
    session.barrier().await.unwrap();
    session.release().await.unwrap();
    assert_eq!(look("a".."b").await, [row("a", "3")]);
    next_owner(handles).await.barrier().await.unwrap();
}
