//! An S3 bucket: settings from the usual `AWS_*` variables, and an HTTP client that keeps what a
//! refusal said.
//!
//! `object_store` folds most statuses into one error with a text. The client here turns every status
//! that is a failure into a [`Fault`] before that: the caller then knows a throttled request from a
//! broken one, "neither of you landed" (409) from "the name is taken" (412), and a missing bucket from
//! a missing object.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, RetryConfig};

use crate::error::{Fault, Outcome, StoreErrorKind};

/// Time to make a connection; an attempt may use several addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer texts of a failed request are cut.
const MESSAGE_BYTES_MAX: usize = 300;

/// A bucket and what a user must know when it cannot be reached.
pub(super) struct Bucket {
    pub(super) store: AmazonS3,
    /// Where requests go, as far as it was set.
    pub(super) endpoint: Option<String>,
    /// Whether keys come from a variable; if not, from the machine's or container's role.
    pub(super) has_keys: bool,
}

/// Builds a client of `bucket`; sends nothing. `settings` are more variables, by name, and go before
/// those of the environment.
pub(super) fn bucket(
    bucket: &str,
    settings: &BTreeMap<String, String>,
) -> object_store::Result<Bucket> {
    // The HTTP client takes the process's TLS provider; whoever installed one first is fine.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut builder = AmazonS3Builder::from_env();
    for (name, value) in settings {
        let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse()?;
        builder = builder.with_config(key, value);
    }
    builder = builder.with_bucket_name(bucket);
    let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
        .iter()
        .find_map(|key| builder.get_config_value(key));
    let is_plain = endpoint
        .as_ref()
        .is_some_and(|endpoint| endpoint.starts_with("http://"));
    let has_keys = builder
        .get_config_value(&AmazonS3ConfigKey::AccessKeyId)
        .is_some();
    // Our own layers bound and repeat requests.
    let no_retries = RetryConfig {
        max_retries: 0,
        retry_timeout: Duration::ZERO,
        ..RetryConfig::default()
    };
    let options = ClientOptions::new()
        .with_allow_http(is_plain)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout_disabled();
    let store = builder
        .with_client_options(options)
        .with_retry(no_retries)
        // Else each body is read once more for a SHA-256; TLS and our own checksums guard it.
        .with_unsigned_payload(true)
        .with_http_connector(Connector)
        .build()?;
    Ok(Bucket {
        store,
        endpoint,
        has_keys,
    })
}

#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Client { client }))
    }
}

#[derive(Debug)]
struct Client {
    client: HttpClient,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_head = request.method().as_str() == "HEAD";
        let response = self.client.execute(request).await?;
        let status = response.status().as_u16();
        if status < 400 {
            return Ok(response);
        }
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let (parts, body) = response.into_parts();
        let body = body.bytes().await?;
        let text = String::from_utf8_lossy(&body);
        let code = element(&text, "Code").unwrap_or_default();
        // Answers to a question, which object_store knows. The code will do as their text.
        let is_missing = status == 404 && (is_head || code.starts_with("NoSuch"));
        if status == 412 || is_missing && code != "NoSuchBucket" {
            return Ok(HttpResponse::from_parts(
                parts,
                HttpResponseBody::from(code.to_owned()),
            ));
        }
        let (kind, outcome) = meaning(status, code);
        let message = describe(status, code, element(&text, "Message").unwrap_or_default());
        let fault = Fault {
            kind,
            outcome,
            retry_after,
            message,
        };
        Err(HttpError::new(HttpErrorKind::Unknown, fault))
    }
}

/// What a failed request means, and whether it may have had an effect. Codes as in the S3 API
/// reference, "Error responses".
fn meaning(status: u16, code: &str) -> (StoreErrorKind, Outcome) {
    let kind = match (status, code) {
        (_, "NoSuchBucket") => StoreErrorKind::NoSuchBucket,
        (_, "SlowDown" | "Throttling" | "TooManyRequests" | "RequestLimitExceeded")
        | (429 | 503, _) => StoreErrorKind::Throttled,
        // The body stalled on the way; S3 gave up and stored nothing.
        (_, "RequestTimeout") | (408, _) => StoreErrorKind::Timeout,
        (401 | 403, _) | (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
            StoreErrorKind::Denied
        }
        (409, _) => StoreErrorKind::Conflict,
        (501, _) => StoreErrorKind::Unsupported,
        // Whoever says that did not look for an object: a proxy, a server that is no store.
        (404, _) => StoreErrorKind::Other,
        (507, _) | (_, "XMinioStorageFull" | "QuotaExceeded") => StoreErrorKind::Full,
        (500.., _) => StoreErrorKind::Internal,
        _ => StoreErrorKind::Invalid,
    };
    // A server that failed inside, or a proxy that lost it, may have stored the object all the same.
    let unknown = matches!(kind, StoreErrorKind::Internal | StoreErrorKind::Full);
    (
        kind,
        if unknown {
            Outcome::Unknown
        } else {
            Outcome::DidNotHappen
        },
    )
}

/// The text of the first element `name` of a small XML document.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text)
}

fn describe(status: u16, code: &str, message: &str) -> String {
    let mut text = format!("HTTP {status}");
    for part in [code, message] {
        if !part.is_empty() {
            text.push(' ');
            text.extend(part.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
    }
    let mut end = text.len().min(MESSAGE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_the_api_reference_says() {
        use Outcome::{DidNotHappen, Unknown};
        use StoreErrorKind as Kind;
        for (status, code, kind, outcome) in [
            (503, "SlowDown", Kind::Throttled, DidNotHappen),
            (503, "", Kind::Throttled, DidNotHappen),
            (429, "", Kind::Throttled, DidNotHappen),
            (500, "InternalError", Kind::Internal, Unknown),
            (502, "", Kind::Internal, Unknown),
            (504, "", Kind::Internal, Unknown),
            (403, "AccessDenied", Kind::Denied, DidNotHappen),
            (403, "InvalidAccessKeyId", Kind::Denied, DidNotHappen),
            (400, "ExpiredToken", Kind::Denied, DidNotHappen),
            (400, "RequestTimeout", Kind::Timeout, DidNotHappen),
            (400, "InvalidArgument", Kind::Invalid, DidNotHappen),
            (404, "NoSuchBucket", Kind::NoSuchBucket, DidNotHappen),
            (
                409,
                "ConditionalRequestConflict",
                Kind::Conflict,
                DidNotHappen,
            ),
            (501, "NotImplemented", Kind::Unsupported, DidNotHappen),
            (404, "", Kind::Other, DidNotHappen),
            (507, "XMinioStorageFull", Kind::Full, Unknown),
        ] {
            assert_eq!(meaning(status, code), (kind, outcome), "{status} {code}");
        }
    }

    #[test]
    fn the_code_is_found_in_the_answer() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>gone</Message>";
        assert_eq!(element(xml, "Code"), Some("NoSuchBucket"));
        assert_eq!(element(xml, "Message"), Some("gone"));
        assert_eq!(element("<Code>", "Code"), None);
        assert_eq!(describe(404, "A", "b\nc"), "HTTP 404 A b c");
        assert!(describe(500, "", &"ä".repeat(1000)).len() <= MESSAGE_BYTES_MAX);
    }
}
