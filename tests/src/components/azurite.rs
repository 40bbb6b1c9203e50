//! Azurite, the emulator of Azure Blob Storage: `azurite-blob` from the search path.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{
    ClientOptions, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector,
};

use super::emulated::{EmulatedBucket, variables};
use super::program_or_skip;
use super::s3::{install_tls, run};
use crate::process::Process;

const ACCOUNT: &str = "floetest";
/// Any text in base64 will do.
const KEY: &str = "ZmxvZS10ZXN0LWtleQ==";
const CONTAINER: &str = "floe-test";
const START_LIMIT: Duration = Duration::from_secs(60);

/// A container of an Azurite of its own, or `None` after saying that the test is skipped.
///
/// # Panics
///
/// If `azurite-blob` is missing although `FLOE_TEST_REQUIRE` names `azurite`, or does not start.
pub fn container_or_skip() -> Option<EmulatedBucket> {
    let path = program_or_skip("azurite", "azurite-blob")?;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut process = Process::spawn(
        "azurite",
        Command::new(path)
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
            .args(["--inMemoryPersistence", "--disableTelemetry", "--silent"])
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"))
            .current_dir(folder.path()),
    )
    .expect("azurite starts");
    let address = process
        .wait_for_line(START_LIMIT, address)
        .unwrap_or_else(|error| panic!("azurite: {error}"));
    run(create_container(address)).unwrap_or_else(|error| panic!("create container: {error}"));
    Some(EmulatedBucket {
        url: format!("az://{CONTAINER}"),
        address,
        environment,
        // The process ends before its folder goes.
        _running: Arc::new((process, folder)),
    })
}

/// The address in `Azurite Blob service successfully listens on http://127.0.0.1:PORT`.
fn address(line: &str) -> Option<SocketAddr> {
    line.rsplit_once("listens on http://")?
        .1
        .trim()
        .parse()
        .ok()
}

fn environment(address: SocketAddr) -> Vec<(String, String)> {
    variables([
        ("AZURE_STORAGE_ENDPOINT", endpoint(address)),
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", KEY.to_owned()),
    ])
}

/// Azurite has the account in the path, Azure in the host's name.
fn endpoint(address: SocketAddr) -> String {
    format!("http://{address}/{ACCOUNT}")
}

async fn create_container(address: SocketAddr) -> Result<(), String> {
    install_tls();
    let options = ClientOptions::new().with_allow_http(true);
    let client = ReqwestConnector::default()
        .connect(&options)
        .map_err(|e| e.to_string())?;
    let key = AzureAccessKey::try_new(KEY).map_err(|e| e.to_string())?;
    let credential = AzureCredential::AccessKey(key);
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = Method::PUT;
    let uri = format!("{}/{CONTAINER}?restype=container", endpoint(address));
    *request.uri_mut() = uri.parse().map_err(|e| format!("{uri}: {e}"))?;
    let nothing = HeaderValue::from_static("0");
    request.headers_mut().insert(CONTENT_LENGTH, nothing);
    AzureAuthorizer::new(&credential, ACCOUNT)
        .try_authorize(&mut request)
        .map_err(|e| e.to_string())?;
    let answer = client.execute(request).await.map_err(|e| e.to_string())?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = answer.into_body().bytes().await;
    let body = body.map_err(|e| e.to_string())?;
    Err(format!("{status}: {}", String::from_utf8_lossy(&body)))
}
