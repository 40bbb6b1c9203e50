use std::sync::Arc;

use floe_storage::store::StoreOptions;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;

use super::*;

fn store() -> Store {
    Store::new(
        Arc::new(InMemory::new()),
        &Path::default(),
        &StoreOptions::default(),
        1,
    )
}

fn new(byte: u8) -> NewCluster {
    NewCluster {
        lineage: [byte; 16],
        id: [byte; 16],
        secret: [byte + 0x10; 16],
    }
}

async fn write(store: &Store, text: String) {
    let text = Bytes::from(text);
    store
        .put_create(&key::cluster(), vec![text], Caller::Metadata)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_creates_and_all_agree() {
    let store = store();
    let first = Cluster::open(&store, "slatedb", new(1)).await.unwrap();
    assert_eq!(first.lineage, Lineage([1; 16]));
    assert_eq!(first.id, "AQEBAQEBAQEBAQEBAQEBAQ");
    assert_eq!(first.secret, Secret([0x11; 16]));
    let second = Cluster::open(&store, "slatedb", new(2)).await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test(start_paused = true)]
async fn version_1_is_these_bytes() {
    let store = store();
    Cluster::open(&store, "slatedb", new(1)).await.unwrap();
    let text = store
        .get_whole(&key::cluster(), Caller::Metadata)
        .await
        .unwrap();
    assert_eq!(
        text,
        "floe cluster 1\nengine slatedb\nlineage 01010101010101010101010101010101\n\
         id AQEBAQEBAQEBAQEBAQEBAQ\nsecret 11111111111111111111111111111111\n\
         crc32c 83a87e4d\n",
        "clusters of version 1 must stay readable for ever"
    );
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_secret_the_lineage_stands_in() {
    let store = store();
    let older = "floe cluster 1\nengine slatedb\nlineage 01010101010101010101010101010101\n\
                 id AQEBAQEBAQEBAQEBAQEBAQ\ncrc32c 71d7b6b0\n";
    write(&store, older.to_owned()).await;
    let cluster = Cluster::open(&store, "slatedb", new(2)).await.unwrap();
    assert_eq!(cluster.lineage, Lineage([1; 16]));
    assert_eq!(cluster.secret, Secret([1; 16]));
}

#[tokio::test(start_paused = true)]
async fn rivals_agree_on_one() {
    let store = store();
    let opened = (1..=8).map(|byte| Cluster::open(&store, "slatedb", new(byte)));
    let opened = futures::future::try_join_all(opened).await.unwrap();
    assert!(
        opened.iter().all(|cluster| *cluster == opened[0]),
        "{opened:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn strangers_stay_out() {
    let lineage = Lineage([7; 16]);
    let good = format!("floe cluster 1\nengine slatedb\nlineage {lineage}\nid x\n");
    let cases = [
        (good.replace("cluster 1", "cluster 2"), "newer"),
        (
            good.replace("slatedb", "postgres"),
            "engine 'postgres', not by 'slatedb'",
        ),
        (good.replace("lineage", "linage"), "damaged"),
        (good.replace("0707", "07"), "damaged"),
        (good.replace("id x\n", ""), "damaged"),
        (format!("{good}secret 07\n"), "damaged"),
        (good.replace("floe cluster", "other"), "damaged"),
        (String::new(), "damaged"),
    ];
    let sealed = cases.map(|(text, expected)| (seal(text), expected));
    let unsealed = [good.clone(), seal(good.clone()).trim_end().to_owned()];
    for (text, expected) in sealed
        .into_iter()
        .chain(unsealed.map(|text| (text, "damaged")))
    {
        let store = store();
        write(&store, text.clone()).await;
        let error = Cluster::open(&store, "slatedb", new(1))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    let store = store();
    write(&store, seal(format!("{good}feature of a later release\n"))).await;
    Cluster::open(&store, "slatedb", new(1)).await.unwrap();
}

#[test]
fn no_flipped_bit_makes_another_cluster() {
    let good = Cluster::new("slatedb", new(7)).encode().into_bytes();
    Cluster::parse(&good).unwrap();
    for bit in 0..good.len() * 8 {
        let mut damaged = good.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        Cluster::parse(&damaged).expect_err("damaged");
    }
}

#[test]
fn ids_never_begin_with_a_dash() {
    assert_eq!(encode_id([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
    assert_eq!(encode_id([0xff; 16]), "_____________________w");
    assert_eq!(encode_id([0xf8; 16]).as_bytes()[0], b'e');
}

proptest! {
    #[test]
    fn ids_are_22_characters_of_their_own(a: [u8; 16], b: [u8; 16]) {
        let (first, second) = (encode_id(a), encode_id(b));
        prop_assert_eq!(first.len(), 22);
        prop_assert!(!first.starts_with('-'));
        prop_assert!((a == b) == (first == second) || a[0] >> 2 == 62 || b[0] >> 2 == 62);
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(text: Vec<u8>) {
        drop(Cluster::parse(&text));
    }
}
