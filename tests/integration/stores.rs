//! What Floe relies on of a store, asked of every kind that is to be had: creates that never
//! overwrite, ranges, listings, deletes, and answers that were lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use floe_storage::store::{
    Caller, Created, OpenError, Store, StoreErrorKind, StoreOptions, StoreUrl,
};
use floe_tests::components::emulated::EmulatedBucket;
use floe_tests::components::s3::{S3, run};
use floe_tests::components::{azurite, gcs};
use floe_tests::proxy::{Faults, Proxy};
use floe_tests::wait;
use futures::StreamExt;
use futures::future::join_all;
use object_store::path::Path;

const CALLER: Caller = Caller::Produce;
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn memory() {
    run(open_and_check("memory:", &[]));
}

#[test]
fn folder() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().display());
    run(open_and_check(&url, &[]));
}

#[test]
fn s3() {
    let bucket = S3::shared().create_bucket();
    let through = |proxy| bucket.environment_through(proxy);
    check_bucket(&bucket.url(), bucket.s3().address(), through);
}

#[test]
fn google_cloud_storage() {
    if let Some(bucket) = gcs::bucket_or_skip() {
        check_emulated(&bucket);
    }
}

#[test]
fn azure() {
    if let Some(container) = azurite::container_or_skip() {
        check_emulated(&container);
    }
}

fn check_emulated(bucket: &EmulatedBucket) {
    let through = |proxy| bucket.environment_through(proxy);
    check_bucket(bucket.url(), bucket.address(), through);
}

/// A bucket at `address`, with and without a prefix, and over a bad network.
fn check_bucket(
    url: &str,
    address: SocketAddr,
    environment: impl Fn(SocketAddr) -> Vec<(String, String)>,
) {
    let direct = environment(address);
    run(open_and_check(url, &direct));
    run(open_and_check(&format!("{url}/a/prefix"), &direct));
    let missing = format!("{url}-that-is-not-there");
    let error = run(open(&missing, &direct)).unwrap_err();
    assert!(matches!(error, OpenError::NoSuchBucket { .. }), "{error}");

    let proxy = Proxy::start(address).unwrap();
    lost_answers(url, &environment(proxy.address()), &proxy);
}

async fn open(url: &str, environment: &[(String, String)]) -> Result<Store, OpenError> {
    let url: StoreUrl = url.parse().unwrap();
    let settings: BTreeMap<_, _> = environment.iter().cloned().collect();
    Store::open_with(&url, StoreOptions::default(), &settings).await
}

async fn open_and_check(url: &str, environment: &[(String, String)]) {
    let store = open(url, environment).await;
    contract(&store.unwrap_or_else(|error| panic!("{error}"))).await;
}

async fn contract(store: &Store) {
    creates(store).await;
    one_of_many_creators_wins(store).await;
    ranges(store).await;
    listings_and_deletes(store).await;
}

async fn create(store: &Store, path: &str, bytes: impl Into<Bytes>) -> Created {
    let bytes = vec![bytes.into()];
    let created = store.put_create(&Path::from(path), bytes, CALLER).await;
    created.unwrap_or_else(|error| panic!("{error}"))
}

async fn creates(store: &Store) {
    let large = |last: u8| {
        let mut bytes = vec![7; 3 << 20];
        bytes.push(last);
        bytes
    };
    for (path, bytes, expected) in [
        ("creates/a", b"1".to_vec(), Created::New),
        ("creates/a", b"1".to_vec(), Created::New),
        ("creates/a", b"2".to_vec(), Created::Existed),
        ("creates/a", b"longer".to_vec(), Created::Existed),
        ("creates/empty", Vec::new(), Created::New),
        ("creates/empty", Vec::new(), Created::New),
        ("creates/large", large(1), Created::New),
        ("creates/large", large(1), Created::New),
        ("creates/large", large(2), Created::Existed),
    ] {
        let size = bytes.len();
        let created = create(store, path, bytes).await;
        assert_eq!(created, expected, "{path}, {size} bytes");
    }
    let path = Path::from("creates/a");
    assert!(store.honours_create(&path, "1".into()).await.unwrap());
    assert_eq!(store.get_whole(&path, CALLER).await.unwrap(), "1");
}

async fn one_of_many_creators_wins(store: &Store) {
    let creators = (0..8_u8).map(|number| create(store, "claimed", vec![number]));
    let created = join_all(creators).await;
    let winners: Vec<u8> = (0..8)
        .filter(|number| created[usize::from(*number)] == Created::New)
        .collect();
    assert_eq!(winners.len(), 1, "{created:?}");
    let held = store.get_whole(&Path::from("claimed"), CALLER).await;
    assert_eq!(held.unwrap(), winners);
}

async fn ranges(store: &Store) {
    create(store, "ranges/ten", "0123456789").await;
    let path = Path::from("ranges/ten");
    let range = |range| store.get_range(&path, range, CALLER);
    assert_eq!(range(2..5).await.unwrap(), "234");
    assert_eq!(range(9..10).await.unwrap(), "9");
    assert_eq!(range(4..4).await.unwrap(), "");
    // Not 10..12: Azurite answers it like a whole object, Azure itself refuses it.
    for past in [8..12, 20..22] {
        let error = range(past.clone()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{past:?}: {error}");
    }
    let part = store.get_up_to(&path, 6..100, CALLER).await.unwrap();
    assert_eq!((part.bytes.as_ref(), part.object_bytes), (&b"6789"[..], 10));
    for (length, expected) in [(3, "789"), (10, "0123456789"), (100, "0123456789")] {
        let end = store.get_suffix(&path, length, CALLER).await.unwrap();
        assert_eq!(end.bytes, expected, "the last {length}");
        assert_eq!(end.object_bytes, 10);
    }
    let head = store.head(&path, CALLER).await.unwrap().unwrap();
    assert_eq!(head.size, 10);

    let missing = Path::from("ranges/missing");
    assert!(store.head(&missing, CALLER).await.unwrap().is_none());
    for error in [
        store.get_whole(&missing, CALLER).await.unwrap_err(),
        store.get_range(&missing, 0..1, CALLER).await.unwrap_err(),
        store.get_suffix(&missing, 1, CALLER).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), StoreErrorKind::NotFound, "{error}");
    }
}

async fn names(store: &Store, folder: &str) -> Vec<(String, u64)> {
    let listing = store.list(&Path::from(folder), CALLER);
    let found = listing.map(|item| item.unwrap_or_else(|error| panic!("{error}")));
    let found = found.map(|meta| (meta.location.to_string(), meta.size));
    let mut names: Vec<_> = found.collect().await;
    names.sort_unstable();
    names
}

async fn listings_and_deletes(store: &Store) {
    let name = |number: u8| format!("lists/{number:02}/object");
    let all: Vec<_> = (0..20).map(|n| (name(n), u64::from(n))).collect();
    join_all(
        (0..20).map(|n| async move { create(store, &name(n), vec![0; usize::from(n)]).await }),
    )
    .await;
    assert_eq!(names(store, "lists").await, all);
    assert_eq!(names(store, "lists/07").await, all[7..8]);
    assert_eq!(names(store, "lists/0").await, [], "a folder, not a prefix");
    assert_eq!(names(store, "nothing").await, []);

    let path = Path::from(name(7));
    for round in ["there", "gone"] {
        let deleted = store.delete(&path, CALLER).await;
        deleted.unwrap_or_else(|error| panic!("{round}: {error}"));
    }
    assert!(store.head(&path, CALLER).await.unwrap().is_none());
    assert_eq!(names(store, "lists").await.len(), 19);
    assert_eq!(create(store, &name(7), "again").await, Created::New);
}

/// Objects land, and nobody is told: the next attempt finds out whose they are.
fn lost_answers(url: &str, environment: &[(String, String)], proxy: &Proxy) {
    proxy.set_faults(Faults {
        lose_answers: vec!["PUT"],
        ..Faults::default()
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait::until("lost answers", LIMIT, || {
                (proxy.requests().get("PUT")? >= &4).then_some(())
            });
            proxy.set_faults(Faults::default());
        });
        run(async {
            let store = open(url, environment).await.unwrap();
            let path = |number| format!("lost/{number}");
            let lost = (0..3_u8).map(|number| (path(number), vec![number]));
            let store = &store;
            let lost = lost.map(|(path, bytes)| async move { create(store, &path, bytes).await });
            assert_eq!(join_all(lost).await, [Created::New; 3]);
            let other = create(store, &path(0), "other").await;
            assert_eq!(other, Created::Existed);
        });
    });
}
