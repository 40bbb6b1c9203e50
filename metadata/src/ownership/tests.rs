use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

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
use crate::testing::{EvenAreAlive, owner, store, store_over};

const LINEAGE: Lineage = Lineage([9; 16]);

fn ask() -> Exclusion {
    Exclusion::Ask(Arc::new(EvenAreAlive))
}

async fn claim(
    store: &Store,
    process: u8,
    engine_epoch: u64,
) -> Result<(Ownership, Predecessor), ClaimError> {
    Ownership::claim(store, LINEAGE, owner(process), &ask(), engine_epoch).await
}

#[tokio::test(start_paused = true)]
async fn epochs_follow_one_another() {
    let store = store();
    let (first, before) = claim(&store, 1, 0).await.unwrap();
    assert_eq!((first.newest().epoch, before), (1, Predecessor::Gone));
    let (second, before) = claim(&store, 3, 1).await.unwrap();
    assert_eq!((second.newest().epoch, before), (2, Predecessor::Silent));
    second.mark_released().await.unwrap();
    let (third, before) = claim(&store, 5, 2).await.unwrap();
    assert_eq!((third.newest().epoch, before), (3, Predecessor::Gone));
    assert_eq!(third.newest().owner, owner(5));
}

#[tokio::test(start_paused = true)]
async fn an_older_mark_of_release_says_nothing() {
    let store = store();
    claim(&store, 1, 0)
        .await
        .unwrap()
        .0
        .mark_released()
        .await
        .unwrap();
    claim(&store, 3, 1).await.unwrap();
    assert_eq!(claim(&store, 5, 2).await.unwrap().1, Predecessor::Silent);
}

#[tokio::test(start_paused = true)]
async fn a_living_owner_is_named() {
    let store = store();
    let (living, _) = claim(&store, 2, 0).await.unwrap();
    let refused = claim(&store, 3, 1).await.unwrap_err();
    assert!(
        matches!(&refused, ClaimError::OwnerAlive(alive) if *alive == owner(2)),
        "{refused}"
    );
    assert!(refused.to_string().contains("10.0.0.2:9080"), "{refused}");
    living.mark_released().await.unwrap();
    claim(&store, 3, 1).await.unwrap();
}

#[derive(Debug)]
struct NeverAnswers;

#[async_trait]
impl AliveCheck for NeverAnswers {
    async fn is_alive(&self, _address: &str, _nonce: [u8; 16]) -> bool {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_answer_is_silent() {
    let store = store();
    claim(&store, 2, 0).await.unwrap();
    let exclusion = Exclusion::Ask(Arc::new(NeverAnswers));
    let (_, before) = Ownership::claim(&store, LINEAGE, owner(3), &exclusion, 1)
        .await
        .unwrap();
    assert_eq!(before, Predecessor::Silent);
}

#[tokio::test(start_paused = true)]
async fn rivals_get_epochs_of_their_own() {
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
    let claims = [1, 3, 5, 7].map(|process| claim(&store, process, 0));
    let claims = futures::future::try_join_all(claims).await.unwrap();
    let epochs: BTreeSet<u64> = claims
        .iter()
        .map(|(claim, _)| claim.newest().epoch)
        .collect();
    assert_eq!(epochs, (1..=4).collect());
    for (ownership, _) in &claims {
        let is_newest = ownership.newest().epoch == 4;
        assert_eq!(ownership.confirm().await.is_ok(), is_newest);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_claim_is_ours_or_we_are_overtaken() {
    let store = store();
    let (mut ours, _) = claim(&store, 1, 0).await.unwrap();
    ours.confirm().await.unwrap();
    ours.claim_next(5).await.unwrap();
    assert_eq!((ours.newest().epoch, ours.newest().engine_epoch), (2, 5));

    // A claim of ours whose reply was lost, made at another epoch of the engine.
    let unseen = Claim {
        epoch: 3,
        engine_epoch: 6,
        ..ours.newest().clone()
    };
    create(&store, LINEAGE, &unseen).await.unwrap();
    ours.claim_next(7).await.unwrap();
    assert_eq!(*ours.newest(), unseen);

    let (theirs, _) = claim(&store, 3, 8).await.unwrap();
    for refused in [ours.confirm().await, ours.claim_next(8).await] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(&refused, ClaimError::Overtaken(by) if by == theirs.newest()),
            "{refused}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_was_set_back_is_refused() {
    let store = store();
    claim(&store, 1, 7).await.unwrap();
    claim(&store, 3, 7).await.unwrap();
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
    let (ownership, _) = claim(&store, 1, 0).await.unwrap();
    ownership.check_store().await.unwrap();

    let store = store_over(Arc::new(Overwriting(InMemory::new())));
    let (ownership, _) = claim(&store, 1, 0).await.unwrap();
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
        (good("").replace("claim 1", "claim 2"), "newer"),
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
    claim(&store, 1, 0).await.unwrap();
}

#[test]
fn one_process_at_a_time_has_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let lock = FolderLock::take(folder.path()).unwrap();
    let refused = FolderLock::take(folder.path()).unwrap_err();
    assert!(matches!(refused, ClaimError::InUse(_)), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("in use by another floe process"),
        "{refused}"
    );
    drop(lock);
    FolderLock::take(folder.path()).unwrap();
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
        "floe claim 1\nepoch 26\naddress 10.0.0.7:9080\n\
         nonce 07070707070707070707070707070707\nengine-epoch 25\ncrc32c 00e4bc46\n",
        "claims of version 1 must stay readable for ever"
    );
}

proptest! {
    #[test]
    fn claims_come_back(epoch: u64, engine_epoch: u64, nonce: [u8; 16], address in "[a-z0-9.:\\[\\]-]{1,40}") {
        let claim = Claim { epoch, engine_epoch, owner: OwnerId { address, nonce } };
        prop_assert_eq!(Claim::parse(epoch, &claim.encode()).unwrap(), claim);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(text: Vec<u8>) {
        drop(Claim::parse(1, &text));
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
