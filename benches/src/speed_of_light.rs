//! The raw store: what Floe could reach at most. Parallel PUTs and GETs of whole objects through
//! `object_store` alone, and the plain cost of making a file durable.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use crate::cpu::CpuSeconds;
use crate::histogram::{Latencies, Percentiles};
use crate::sample::GIB;
use crate::time;

/// What to move.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Plan {
    /// Bytes of an object.
    pub object_bytes: usize,
    /// Objects in all.
    pub objects: usize,
    /// Requests under way at once.
    pub parallel: usize,
}

/// What one direction did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moved {
    /// Throughput.
    pub mib_per_s: f64,
    /// Of each request.
    pub latency: Percentiles,
    /// CPU of this process, the client.
    pub client_cpu_s_per_gib: f64,
    /// CPU of the store's processes.
    pub store_cpu_s_per_gib: f64,
}

/// An error of the measurement.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] object_store::Error),
    /// A local file could not be handled.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// Neither `file:` nor `s3:`.
    #[error("store {0}: not file:PATH or s3://BUCKET")]
    Url(String),
}

/// Opens `file:PATH` with fsync, or `s3://BUCKET` with the `AWS_…` variables and unsigned payloads.
///
/// # Errors
///
/// If the URL or the settings make no sense.
pub fn open(url: &str) -> Result<Arc<dyn ObjectStore>, StoreError> {
    if let Some(path) = url.strip_prefix("file:") {
        fs::create_dir_all(path)?;
        return Ok(Arc::new(
            LocalFileSystem::new_with_prefix(path)?.with_fsync(true),
        ));
    }
    let bucket = url
        .strip_prefix("s3://")
        .ok_or_else(|| StoreError::Url(url.to_owned()))?;
    floe_tests::components::s3::install_tls();
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_allow_http(true)
        .with_unsigned_payload(true)
        .build()?;
    Ok(Arc::new(store))
}

/// Writes the objects, then reads them back, then removes them. `stores` are the processes of the
/// store.
///
/// # Errors
///
/// The first that the store gives.
pub async fn run(
    store: &dyn ObjectStore,
    plan: Plan,
    stores: &[u32],
) -> Result<(Moved, Moved), StoreError> {
    let mut bytes = vec![0_u8; plan.object_bytes];
    SmallRng::seed_from_u64(1).fill(bytes.as_mut_slice());
    let bytes = Bytes::from(bytes);
    let put = phase(plan, stores, |key| {
        let payload = PutPayload::from(bytes.clone());
        async move { store.put(&key, payload).await.map(drop) }
    })
    .await?;
    let get = phase(plan, stores, |key| async move {
        let mut body = store.get(&key).await?.into_stream();
        while body.try_next().await?.is_some() {}
        Ok(())
    })
    .await?;
    for number in 0..plan.objects {
        store.delete(&key(number)).await?;
    }
    Ok((put, get))
}

fn key(number: usize) -> Key {
    Key::from(format!("speed-of-light/{number:06}"))
}

async fn phase<F>(
    plan: Plan,
    stores: &[u32],
    request: impl Fn(Key) -> F,
) -> Result<Moved, object_store::Error>
where
    F: Future<Output = Result<(), object_store::Error>>,
{
    let (client, server) = (CpuSeconds::of_self(), CpuSeconds::of(stores));
    let start = time::now();
    let mut requests = stream::iter((0..plan.objects).map(|number| {
        let request = request(key(number));
        async {
            let start = time::now();
            request.await.map(|()| start.elapsed())
        }
    }))
    .buffer_unordered(plan.parallel);
    let mut latencies = Latencies::new();
    while let Some(took) = requests.next().await {
        latencies.record(took?);
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let gib = (plan.objects * plan.object_bytes) as f64 / GIB;
    Ok(Moved {
        mib_per_s: gib * 1024.0 / start.elapsed().as_secs_f64(),
        latency: latencies.percentiles(),
        client_cpu_s_per_gib: (CpuSeconds::of_self() - client).total() / gib,
        store_cpu_s_per_gib: (CpuSeconds::of(stores) - server).total() / gib,
    })
}

/// The plain cost of a durable file of this size: write, fsync, rename, fsync of the folder.
///
/// # Errors
///
/// If the folder cannot be written.
pub fn durable_write(folder: &Path, size: usize, count: usize) -> Result<Percentiles, StoreError> {
    fs::create_dir_all(folder)?;
    let mut bytes = vec![0_u8; size];
    SmallRng::seed_from_u64(2).fill(bytes.as_mut_slice());
    let (new, named) = (folder.join("new"), folder.join("named"));
    let mut latencies = Latencies::new();
    for _ in 0..count {
        let (written, took) = time::timed(|| -> std::io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &named)?;
            File::open(folder)?.sync_all()
        });
        written?;
        latencies.record(took.max(Duration::from_micros(1)));
    }
    fs::remove_file(&named)?;
    Ok(latencies.percentiles())
}
