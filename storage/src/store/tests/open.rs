//! Opening folders, and buckets that are not there.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::bytes;
use crate::store::{Caller, Created, OpenError, Store, StoreErrorKind, StoreOptions, StoreUrl};

#[tokio::test]
async fn a_missing_folder_is_made_and_keeps_what_is_put() {
    let folder = tempfile::tempdir().unwrap();
    let url = StoreUrl::Folder(folder.path().join("a/b"));
    let path = Path::from("x/y");
    for expected in [Created::New, Created::New] {
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        assert_eq!(
            store
                .put_create(&path, bytes("1"), Caller::Produce)
                .await
                .unwrap(),
            expected
        );
        assert!(store.honours_create(&path, "1".into()).await.unwrap());
    }
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let other = store
        .put_create(&path, bytes("2"), Caller::Produce)
        .await
        .unwrap();
    assert_eq!(other, Created::Existed);
    assert_eq!(store.get_whole(&path, Caller::Fetch).await.unwrap(), "1");
    let end = store.get_suffix(&path, 100, Caller::Fetch).await.unwrap();
    assert_eq!((end.bytes.as_ref(), end.object_bytes), (b"1".as_slice(), 1));
    let past = store
        .get_range(&path, 5..6, Caller::Fetch)
        .await
        .unwrap_err();
    assert_eq!(past.kind(), StoreErrorKind::Invalid, "{past}");
    let names = std::fs::read_dir(folder.path().join("a/b")).unwrap();
    assert_eq!(names.count(), 1, "opening leaves nothing behind");
}

#[tokio::test]
async fn a_path_that_is_a_file_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = StoreUrl::Folder(file.path().to_owned());
    let error = Store::open(&url, StoreOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::NotAFolder(_)), "{error}");
    let below = StoreUrl::Folder(file.path().join("folder"));
    let error = Store::open(&below, StoreOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::Unwritable { .. }), "{error}");
}

#[tokio::test]
async fn memory_is_a_store() {
    let store = Store::open(&StoreUrl::Memory, StoreOptions::default())
        .await
        .unwrap();
    let path = Path::from("x");
    let created = store
        .put_create(&path, bytes("1"), Caller::Produce)
        .await
        .unwrap();
    assert_eq!(created, Created::New);
}

/// A server that answers every request alike.
async fn answering(answer: &'static str) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let connections = Arc::new(tokio::sync::Mutex::new(tokio::task::JoinSet::new()));
        while let Ok((mut socket, _)) = listener.accept().await {
            connections.lock().await.spawn(async move {
                let mut request = vec![0; 16 * 1024];
                while socket.read(&mut request).await.is_ok_and(|read| read > 0) {
                    socket.write_all(answer.as_bytes()).await.ok();
                }
            });
        }
    });
    (endpoint, tasks)
}

fn xml(status: &str, code: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>words</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}")
}

async fn open_bucket(endpoint: &str) -> Result<Store, OpenError> {
    let settings = [
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let url: StoreUrl = "s3://bucket/prefix".parse().unwrap();
    let options = StoreOptions {
        probe_timeout: Duration::from_secs(1),
        ..StoreOptions::default()
    };
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Store::open_with(&url, options, &settings.into()).await
}

#[tokio::test]
async fn what_is_wrong_with_a_bucket_is_said_by_name() {
    for (status, code, expected) in [
        ("404 Not Found", "NoSuchBucket", "there is no such bucket"),
        (
            "403 Forbidden",
            "InvalidAccessKeyId",
            "check AWS_ACCESS_KEY_ID",
        ),
        (
            "403 Forbidden",
            "SignatureDoesNotMatch",
            "SignatureDoesNotMatch words",
        ),
        ("500 Oops", "InternalError", "cannot be used"),
        ("404 Not Found", "", "HTTP 404"),
    ] {
        let (endpoint, _server) = answering(xml(status, code).leak()).await;
        let error = open_bucket(&endpoint).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{code}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
    let (endpoint, _server) = answering(xml("404 Not Found", "NoSuchKey").leak()).await;
    open_bucket(&endpoint).await.unwrap();
}

#[tokio::test]
async fn a_bucket_nobody_answers_for_names_the_endpoint() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    // It accepts, and never answers.
    let silent = open_bucket(&endpoint).await.unwrap_err();
    drop(listener);
    let refused = open_bucket(&endpoint).await.unwrap_err();
    for error in [silent, refused] {
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(&endpoint), "{error}");
    }
}

async fn open_with(url: &str, settings: &[(&str, &str)]) -> Result<Store, OpenError> {
    let options = StoreOptions {
        probe_timeout: Duration::from_secs(1),
        ..StoreOptions::default()
    };
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Store::open_with(&url.parse().unwrap(), options, &settings).await
}

async fn open_gcs(endpoint: &str) -> Result<Store, OpenError> {
    open_with("gs://bucket", &[("STORAGE_EMULATOR_HOST", endpoint)]).await
}

async fn open_azure(endpoint: &str) -> Result<Store, OpenError> {
    let settings = [
        ("AZURE_STORAGE_ENDPOINT", endpoint),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0"),
    ];
    open_with("az://container", &settings).await
}

#[tokio::test]
async fn what_is_wrong_with_other_services_is_said_by_name() {
    for (status, code, expected) in [
        ("404 Not Found", "NoSuchBucket", "there is no such bucket"),
        (
            "403 Forbidden",
            "AccessDenied",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ),
        ("500 Oops", "InternalError", "cannot be used"),
    ] {
        let (endpoint, _server) = answering(xml(status, code).leak()).await;
        let error = open_gcs(&endpoint).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{code}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
    for (status, code, expected) in [
        (
            "404 Not Found",
            "ContainerNotFound",
            "there is no such bucket",
        ),
        (
            "403 Forbidden",
            "AuthenticationFailed",
            "AZURE_STORAGE_ACCOUNT_KEY",
        ),
        ("500 Oops", "InternalError", "cannot be used"),
    ] {
        let (endpoint, _server) = answering(xml(status, code).leak()).await;
        let error = open_azure(&endpoint).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{code}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
    let (endpoint, _server) = answering(xml("404 Not Found", "NoSuchKey").leak()).await;
    open_gcs(&endpoint).await.unwrap();
    let (endpoint, _server) = answering(xml("404 Not Found", "BlobNotFound").leak()).await;
    open_azure(&endpoint).await.unwrap();
}

#[tokio::test]
async fn settings_that_make_no_sense_are_named() {
    for (url, settings, words) in [
        (
            "gs://bucket",
            vec![("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file.json")],
            ["/no/such/file.json", "GOOGLE_APPLICATION_CREDENTIALS"],
        ),
        (
            "gs://bucket",
            vec![("GOOGLE_SERVICE_ACCOUNT_KEY", "nonsense")],
            ["service account", "GOOGLE_"],
        ),
        (
            "az://container",
            vec![],
            ["no storage account", "AZURE_STORAGE_ACCOUNT_NAME"],
        ),
        (
            "az://container",
            vec![
                ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
                ("AZURE_STORAGE_ACCOUNT_KEY", "?"),
            ],
            ["az://container", "AZURE_"],
        ),
    ] {
        let error = open_with(url, &settings).await.unwrap_err();
        assert!(matches!(error, OpenError::Settings { .. }), "{error}");
        let error = error.to_string();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[tokio::test]
async fn refused_credentials_of_a_token_service_are_a_matter_of_keys() {
    let body = "{\"error\":\"invalid_client\"}";
    let length = body.len();
    let answer = format!("HTTP/1.1 400 Bad\r\ncontent-length: {length}\r\n\r\n{body}");
    let (endpoint, _server) = answering(answer.leak()).await;
    let settings = [
        ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_MSI_ENDPOINT", &format!("{endpoint}/oauth2/token")),
    ];
    let error = open_with("az://container", &settings).await.unwrap_err();
    assert!(matches!(error, OpenError::Denied { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("invalid_client"), "{error}");
    assert!(
        error.contains("AZURE_STORAGE_ACCOUNT_KEY, which is not set"),
        "{error}"
    );
}

#[tokio::test]
async fn the_end_of_an_object_is_read_without_ranges_from_the_end() {
    let options = StoreOptions {
        suffix_ranges: false,
        ..StoreOptions::default()
    };
    let store = Store::open(&StoreUrl::Memory, options).await.unwrap();
    for (name, text) in [("empty", ""), ("short", "abc"), ("long", "abcdefgh")] {
        let path = Path::from(name);
        store
            .put_create(&path, bytes(text), Caller::Produce)
            .await
            .unwrap();
        let end = store.get_suffix(&path, 4, Caller::Fetch).await.unwrap();
        let expected = &text[text.len().saturating_sub(4)..];
        assert_eq!(end.bytes, expected, "{name}");
        assert_eq!(end.object_bytes, text.len() as u64, "{name}");
    }
    let missing = Path::from("missing");
    let error = store.get_suffix(&missing, 4, Caller::Fetch).await;
    assert_eq!(error.unwrap_err().kind(), StoreErrorKind::NotFound);
}
