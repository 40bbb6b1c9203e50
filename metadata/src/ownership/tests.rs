use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use floe_storage::store::StoreErrorKind;
use floe_storage::store::fault::{FaultPlan, FaultStore};
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use proptest::prelude::*;

use super::*;
use crate::testing::{owner, store, store_over};

const LINEAGE: Lineage = Lineage([9; 16]);

/// Claims the epoch after the newest one; `None` when somebody else was faster.
async fn claim(
    store: &Store,
    process: u8,
    engine_epoch: u64,
) -> Result<Option<Ownership>, ClaimError> {
    let newest = newest(store, LINEAGE).await?.map(|(claim, _)| claim);
    Ownership::claim(
        store,
        LINEAGE,
        owner(process),
        newest.as_ref(),
        engine_epoch,
    )
    .await
}

/// A claim that nobody disputes.
async fn claimed(store: &Store, process: u8, engine_epoch: u64) -> Ownership {
    claim(store, process, engine_epoch).await.unwrap().unwrap()
}

/// The newest claim in short: its epoch, whose it is, and whether it was let go.
async fn newest_in_short(store: &Store) -> Option<(u64, OwnerId, bool)> {
    let newest = newest(store, LINEAGE).await.unwrap();
    newest.map(|(claim, is_released)| (claim.epoch, claim.owner, is_released))
}

#[tokio::test(start_paused = true)]
async fn epochs_follow_one_another() {
    let store = store();
    assert_eq!(newest_in_short(&store).await, None);
    for (epoch, process) in [(1, 1), (2, 3), (3, 5)] {
        assert_eq!(claimed(&store, process, epoch).await.epoch(), epoch);
        let newest = newest_in_short(&store).await;
        assert_eq!(newest, Some((epoch, owner(process), false)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_of_release_speaks_of_its_own_epoch() {
    let store = store();
    claimed(&store, 1, 0).await.mark_released().await.unwrap();
    assert_eq!(newest_in_short(&store).await, Some((1, owner(1), true)));
    let second = claimed(&store, 3, 1).await;
    assert_eq!(newest_in_short(&store).await, Some((2, owner(3), false)));
    second.mark_released().await.unwrap();
    assert_eq!(newest_in_short(&store).await, Some((2, owner(3), true)));
}

#[tokio::test(start_paused = true)]
async fn of_rivals_one_claims_and_the_others_are_told() {
    let plan = FaultPlan {
        latency_median: Duration::from_millis(10),
        latency_sigma: 0.5,
        ..FaultPlan::none()
    };
    let store = store_over(Arc::new(FaultStore::new(
        Arc::new(InMemory::new()),
        plan,
        1,
    )));
    for round in 1..=3 {
        let before = newest(&store, LINEAGE)
            .await
            .unwrap()
            .map(|(claim, _)| claim);
        let claims = [1, 3, 5, 7]
            .map(|process| Ownership::claim(&store, LINEAGE, owner(process), before.as_ref(), 0));
        let claims = futures::future::try_join_all(claims).await.unwrap();
        let winners: Vec<_> = claims.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(winners[0].epoch(), round);
        winners[0].confirm().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_overtaken_claim_says_by_whom() {
    let store = store();
    let ours = claimed(&store, 1, 0).await;
    ours.confirm().await.unwrap();
    claimed(&store, 3, 0).await;
    claimed(&store, 5, 0).await;
    let refused = ours.confirm().await.unwrap_err();
    assert!(
        matches!(&refused, ClaimError::Overtaken(by) if by.epoch == 2 && by.owner == owner(3)),
        "{refused}"
    );
    assert!(refused.to_string().contains("10.0.0.3:9090"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_was_set_back_is_refused() {
    let store = store();
    claimed(&store, 1, 7).await;
    claimed(&store, 3, 7).await;
    let refused = claim(&store, 5, 6).await.unwrap_err();
    assert!(
        matches!(
            refused,
            ClaimError::EngineBehind {
                found: 6,
                claimed: 7
            }
        ),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_that_overwrites_is_refused() {
    let store = store();
    let ownership = claimed(&store, 1, 0).await;
    ownership.check_store().await.unwrap();

    let store = store_over(Arc::new(Overwriting(InMemory::new())));
    let ownership = claimed(&store, 1, 0).await;
    let refused = ownership.check_store().await.unwrap_err();
    assert!(
        matches!(refused, ClaimError::CreateNotHonoured),
        "{refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn claims_that_cannot_be_read_stop_everyone() {
    let good = |text: &str| {
        format!("floe claim 1\nepoch 1\naddress a\nnonce {LINEAGE}\nengine-epoch 0\n{text}")
    };
    let cases = [
        (good("").replace("claim 1", "claim 3"), "newer"),
        (good("").replace("epoch 1", "epoch 2"), "damaged"),
        (good("").replace("nonce", "once"), "damaged"),
        (
            good("").replace("engine-epoch 0", "engine-epoch -1"),
            "damaged",
        ),
        ("x".to_owned(), "damaged"),
    ];
    for (text, expected) in cases {
        let store = store();
        let path = key::epoch(LINEAGE, 1);
        store
            .put_create(
                &path,
                vec![Bytes::from(seal(text.clone()))],
                Caller::Metadata,
            )
            .await
            .unwrap();
        let refused = claim(&store, 1, 0).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{text:?}: {refused}");
    }
    let store = store();
    let text = good("field of a later release\n");
    let path = key::epoch(LINEAGE, 1);
    store
        .put_create(&path, vec![Bytes::from(seal(text))], Caller::Metadata)
        .await
        .unwrap();
    claimed(&store, 1, 0).await;
}

#[test]
fn one_process_at_a_time_has_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let lock = FolderLock::take(folder.path()).unwrap();
    assert!(lock.is_some());
    assert!(FolderLock::take(folder.path()).unwrap().is_none());
    drop(lock);
    assert!(FolderLock::take(folder.path()).unwrap().is_some());
    let missing = folder.path().join("missing");
    assert!(matches!(
        FolderLock::take(&missing),
        Err(ClaimError::NoLock { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_as_one() {
    let plan = FaultPlan {
        outages: vec![Duration::ZERO..Duration::from_secs(600)],
        ..FaultPlan::none()
    };
    let store = store_over(Arc::new(FaultStore::new(
        Arc::new(InMemory::new()),
        plan,
        1,
    )));
    let failed = claim(&store, 1, 0).await.unwrap_err();
    assert!(
        matches!(&failed, ClaimError::Store(error) if error.kind() == StoreErrorKind::Unreachable),
        "{failed}"
    );
}

#[test]
fn version_1_is_these_bytes() {
    let claim = Claim {
        epoch: 26,
        owner: owner(7),
        engine_epoch: 25,
    };
    assert_eq!(
        claim.encode(),
        "floe claim 1\nepoch 26\naddress 10.0.0.7:9090\n\
         nonce 07070707070707070707070707070707\nengine-epoch 25\ncrc32c b59162b2\n",
        "claims of version 1 must stay readable for ever"
    );
}

proptest! {
    #[test]
    fn claims_come_back(epoch: u64, engine_epoch: u64, nonce: [u8; 16], address in "[a-z0-9.:\\[\\]-]{1,40}") {
        let claim = Claim { epoch, engine_epoch, owner: OwnerId { address, nonce } };
        prop_assert_eq!(Record::parse(epoch, &claim.encode()).unwrap(), Record::Claim(claim));
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(text: Vec<u8>) {
        drop(Record::parse(1, &text));
    }
}

/// A store that overwrites when it is told to create.
#[derive(Debug)]
struct Overwriting(InMemory);

impl fmt::Display for Overwriting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overwriting")
    }
}

#[async_trait]
impl ObjectStore for Overwriting {
    async fn put_opts(
        &self,
        location: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        let options = PutOptions {
            mode: PutMode::Overwrite,
            ..options
        };
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> StoreResult<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(
        &self,
        location: &ObjectPath,
        ranges: &[Range<u64>],
    ) -> StoreResult<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<ObjectPath>>,
    ) -> BoxStream<'static, StoreResult<ObjectPath>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> StoreResult<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        options: CopyOptions,
    ) -> StoreResult<()> {
        self.0.copy_opts(from, to, options).await
    }
}
