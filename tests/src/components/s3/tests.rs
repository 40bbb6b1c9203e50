//! The service that was found keeps what the broker relies on, directly and through the proxy.

use futures::future::join_all;
use object_store::{ObjectStoreExt, PutMode, PutOptions, path::Path};

use super::*;
use crate::proxy::Proxy;

fn through(bucket: &Bucket, endpoint: &str) -> impl ObjectStore + use<> {
    install_tls();
    AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region(REGION)
        .with_access_key_id(&bucket.s3.key)
        .with_secret_access_key(&bucket.s3.secret)
        .with_bucket_name(&bucket.name)
        .build()
        .unwrap()
}

#[test]
fn of_many_creators_of_one_object_one_wins() {
    let bucket = S3::shared().create_bucket();
    let store = bucket.object_store();
    let key = Path::from("claimed");
    let created = run(join_all((0..8_u8).map(|number| {
        let (store, key) = (Arc::clone(&store), key.clone());
        async move {
            let options = PutOptions::from(PutMode::Create);
            store
                .put_opts(&key, vec![number].into(), options)
                .await
                .map(|_| number)
        }
    })));
    let winners: Vec<u8> = created.iter().flatten().copied().collect();
    assert_eq!(winners.len(), 1, "{created:?}");
    let read = run(async { store.get(&key).await.unwrap().bytes().await.unwrap() });
    assert_eq!(read.as_ref(), winners);
}

#[test]
fn objects_of_all_sizes_pass_the_proxy() {
    let bucket = S3::shared().create_bucket();
    let proxy = Proxy::start(bucket.s3.address()).unwrap();
    let store = through(&bucket, &format!("http://{}", proxy.address()));
    run(async {
        for round in 0..5_usize {
            let sizes = [0, 1, 100, 5_000, 300_000, 3_000_000];
            join_all(sizes.map(|size| {
                let key = Path::from(format!("{round}/{size}"));
                let store = &store;
                async move {
                    let bytes: Vec<u8> = (0..size).map(|n: usize| n.to_le_bytes()[0]).collect();
                    let mut payload = object_store::PutPayloadMut::new();
                    bytes
                        .chunks(70_000)
                        .for_each(|chunk| payload.extend_from_slice(chunk));
                    store.put(&key, payload.freeze()).await.unwrap();
                    let read = store.get(&key).await.unwrap().bytes().await.unwrap();
                    assert!(read.as_ref() == bytes, "{key}");
                }
            }))
            .await;
        }
    });
    let requests = proxy.requests();
    assert_eq!((requests["PUT"], requests["GET"]), (30, 30));
}
