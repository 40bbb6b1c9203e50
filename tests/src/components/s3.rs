//! An S3 service for tests, found in this order: `FLOE_TEST_S3`, MinIO in Docker, a `minio` program,
//! a server inside the test process.
//!
//! One service is shared by the tests of a process and stopped with the last of them; each test
//! gets a bucket of its own.

use std::any::Any;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::client::{ClientOptions, HttpConnector, HttpRequestBody, ReqwestConnector};

use super::{s3_docker, s3_in_process, s3_minio};
use crate::config;
use crate::say::say;

/// Region of every signature; MinIO's default.
pub(super) const REGION: &str = "us-east-1";

/// A reachable S3 service and its keys.
#[derive(Debug)]
pub struct S3 {
    /// Such as `http://127.0.0.1:9000`, no slash at the end.
    pub endpoint: String,
    /// Access key id.
    pub key: String,
    /// Secret access key.
    pub secret: String,
    #[expect(dead_code, reason = "held for its drop, which ends the service")]
    running: Option<Box<dyn Any + Send + Sync>>,
}

impl S3 {
    pub(super) fn local(port: u16, key: &str, secret: &str, running: impl Any + Send + Sync) -> S3 {
        S3 {
            endpoint: format!("http://127.0.0.1:{port}"),
            key: key.to_owned(),
            secret: secret.to_owned(),
            running: Some(Box::new(running)),
        }
    }

    /// A service that the caller keeps running.
    pub fn running(endpoint: &str, key: &str, secret: &str) -> Arc<S3> {
        Arc::new(S3 {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            key: key.to_owned(),
            secret: secret.to_owned(),
            running: None,
        })
    }

    /// The service of this test process, started on first use.
    ///
    /// # Panics
    ///
    /// If `FLOE_TEST_REQUIRE` names `docker` or `minio` and that one is not to be had, or no
    /// service at all can be started.
    pub fn shared() -> Arc<S3> {
        static SHARED: Mutex<Weak<S3>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(s3) = shared.upgrade() {
            return s3;
        }
        let s3 = Arc::new(find());
        *shared = Arc::downgrade(&s3);
        s3
    }

    /// Host and port of the endpoint.
    ///
    /// # Panics
    ///
    /// If the endpoint is not `http://HOST:PORT` of a known host.
    pub fn address(&self) -> SocketAddr {
        let host = self
            .endpoint
            .strip_prefix("http://")
            .expect("the endpoint is plain http");
        let mut found = host
            .to_socket_addrs()
            .expect("the endpoint has a known host and a port");
        found.next().expect("a known host has an address")
    }

    /// A new bucket with a name that no other test has.
    ///
    /// # Panics
    ///
    /// If the service refuses.
    pub fn create_bucket(self: &Arc<S3>) -> Bucket {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // The wall clock keeps buckets of earlier runs apart on a service that outlives them.
        let now = crate::wait::wall_ms();
        let name = format!("floe-test-{now}-{}-{number}", std::process::id());
        run(self.put_bucket(&name)).unwrap_or_else(|error| panic!("create bucket {name}: {error}"));
        Bucket {
            s3: Arc::clone(self),
            name,
        }
    }

    async fn put_bucket(&self, name: &str) -> Result<(), String> {
        install_tls();
        let options = ClientOptions::new().with_allow_http(true);
        let client = ReqwestConnector::default()
            .connect(&options)
            .map_err(|e| e.to_string())?;
        let credential = AwsCredential {
            key_id: self.key.clone(),
            secret_key: self.secret.clone(),
            token: None,
        };
        let mut request = object_store::client::HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = hyper::Method::PUT;
        let uri = format!("{}/{name}", self.endpoint);
        *request.uri_mut() = uri.parse().map_err(|e| format!("{uri}: {e}"))?;
        AwsAuthorizer::new(&credential, "s3", REGION)
            .try_authorize(&mut request, None)
            .map_err(|e| e.to_string())?;
        let answer = client.execute(request).await.map_err(|e| e.to_string())?;
        if answer.status().is_success() {
            return Ok(());
        }
        let status = answer.status();
        let body = answer
            .into_body()
            .bytes()
            .await
            .map_err(|e| e.to_string())?;
        Err(format!("{status}: {}", String::from_utf8_lossy(&body)))
    }
}

/// A bucket of a test. Not removed: the service is, or its keeper decides.
#[derive(Clone, Debug)]
pub struct Bucket {
    s3: Arc<S3>,
    name: String,
}

impl Bucket {
    /// The store URL, `s3://NAME`.
    pub fn url(&self) -> String {
        format!("s3://{}", self.name)
    }

    /// The service that holds the bucket.
    pub fn s3(&self) -> &Arc<S3> {
        &self.s3
    }

    /// The usual variables that lead a program to this bucket.
    pub fn environment(&self) -> Vec<(String, String)> {
        environment(&self.s3.endpoint, &self.s3.key, &self.s3.secret)
    }

    /// The same through a proxy in front of the service.
    pub fn environment_through(&self, proxy: SocketAddr) -> Vec<(String, String)> {
        environment(&format!("http://{proxy}"), &self.s3.key, &self.s3.secret)
    }

    /// The bucket as the test sees it, past any proxy.
    ///
    /// # Panics
    ///
    /// If the client cannot be built.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        install_tls();
        let store = AmazonS3Builder::new()
            .with_endpoint(&self.s3.endpoint)
            .with_allow_http(true)
            .with_region(REGION)
            .with_access_key_id(&self.s3.key)
            .with_secret_access_key(&self.s3.secret)
            .with_bucket_name(&self.name)
            .build();
        Arc::new(store.expect("every setting is given"))
    }
}

fn environment(endpoint: &str, key: &str, secret: &str) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT", endpoint),
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", key),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Installs the TLS provider that the HTTP client wants even for plain connections.
pub fn install_tls() {
    // The error says that one is installed already.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}

/// Runs a future of the test's own S3 client to its end.
///
/// # Panics
///
/// If it takes longer than a minute.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let bounded = async { tokio::time::timeout(Duration::from_secs(60), future).await };
    runtime
        .block_on(bounded)
        .expect("the store answers within a minute")
}

fn find() -> S3 {
    if let Some(endpoint) = config::s3_endpoint() {
        say(&format!("s3: FLOE_TEST_S3, {endpoint}"));
        let (key, secret) = config::s3_keys();
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        return S3 {
            endpoint,
            key,
            secret,
            running: None,
        };
    }
    match s3_docker::start() {
        Ok((s3, image)) => {
            say(&format!(
                "s3: MinIO in Docker through testcontainers, image {image}"
            ));
            return s3;
        }
        Err(why) => {
            assert!(
                !config::is_required("docker"),
                "FLOE_TEST_REQUIRE names docker, but {why}"
            );
            say(&format!(
                "s3: no Docker: {}",
                why.lines().next().unwrap_or_default()
            ));
        }
    }
    match s3_minio::start() {
        Ok((s3, path)) => {
            say(&format!("s3: {}", path.display()));
            return s3;
        }
        Err(why) => {
            assert!(
                !config::is_required("minio"),
                "FLOE_TEST_REQUIRE names minio, but {why}"
            );
            say(&format!("s3: {why}"));
        }
    }
    say("s3: a server inside the test process (s3s)");
    s3_in_process::start()
}

#[cfg(test)]
mod tests;
