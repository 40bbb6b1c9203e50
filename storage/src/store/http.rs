//! The HTTP client of every bucket. It keeps what a refusal said.
//!
//! `object_store` folds most statuses into one error with a text. The client here turns every status
//! that is a failure into a [`Fault`] before that: the caller then knows a throttled request from a
//! broken one, "neither of you landed" from "the name is taken", and a missing bucket from a missing
//! object. The three services use the same statuses and differ in their codes and in a few meanings.

use std::time::Duration;

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, RetryConfig};

use super::BucketService;
use crate::error::{Fault, Outcome, StoreErrorKind};

/// Time to make a connection; an attempt may use several addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer texts of a failed request are cut.
const MESSAGE_BYTES_MAX: usize = 300;

/// How a client treats its connections. Plain HTTP is for an `endpoint` that asks for it.
pub(super) fn client_options(endpoint: Option<&str>) -> ClientOptions {
    // The HTTP client takes the process's TLS provider; whoever installed one first is fine.
    drop(rustls::crypto::ring::default_provider().install_default());
    ClientOptions::new()
        .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout_disabled()
}

/// No retries below our own layers, which bound and repeat requests.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        retry_timeout: Duration::ZERO,
        ..RetryConfig::default()
    }
}

/// Makes clients that understand the refusals of a service.
#[derive(Debug)]
pub(super) struct Connector(pub(super) BucketService);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Client {
            client,
            service: self.0,
        }))
    }
}

#[derive(Debug)]
struct Client {
    client: HttpClient,
    service: BucketService,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_head = request.method().as_str() == "HEAD";
        // None of our objects is called that; it is where credentials come from.
        let is_token = request.uri().path().ends_with("/token");
        let response = self.client.execute(request).await?;
        let status = response.status().as_u16();
        if status < 400 {
            return Ok(response);
        }
        let header = |name| response.headers().get(name)?.to_str().ok();
        let retry_after = header("retry-after")
            .and_then(|value| value.parse().ok())
            .map(Duration::from_secs);
        // Azure names the code here too, which is all that an answer to HEAD has.
        let named = header("x-ms-error-code").map(str::to_owned);
        let (parts, body) = response.into_parts();
        let body = body.bytes().await?;
        let text = String::from_utf8_lossy(&body);
        let code = named
            .as_deref()
            .or_else(|| element(&text, "Code"))
            .unwrap_or_default();
        if !is_token && is_answer(status, code, is_head) {
            // The code will do as the text.
            return Ok(HttpResponse::from_parts(
                parts,
                HttpResponseBody::from(code.to_owned()),
            ));
        }
        let (kind, outcome) = match meaning(self.service, status, code) {
            (StoreErrorKind::Invalid | StoreErrorKind::Other, outcome) if is_token => {
                (StoreErrorKind::Denied, outcome)
            }
            meaning => meaning,
        };
        let fallback = if is_token { text.trim() } else { "" };
        let fault = Fault {
            kind,
            outcome,
            retry_after,
            message: describe(status, code, element(&text, "Message").unwrap_or(fallback)),
        };
        Err(HttpError::new(HttpErrorKind::Unknown, fault))
    }
}

/// Whether a failure answers the question that was asked, which object_store knows how to tell.
fn is_answer(status: u16, code: &str, is_head: bool) -> bool {
    match status {
        412 => true,
        // Azure's word for a name that is taken.
        409 => code == "BlobAlreadyExists",
        404 => match code {
            "NoSuchBucket" | "ContainerNotFound" => false,
            "BlobNotFound" => true,
            _ => is_head || code.starts_with("NoSuch"),
        },
        _ => false,
    }
}

/// What a failed request means, and whether it may have had an effect. Codes as in each service's
/// reference: S3 "Error responses", Cloud Storage "HTTP status and error codes for XML", Azure "Common
/// REST API error codes" and "Blob Storage error codes".
fn meaning(service: BucketService, status: u16, code: &str) -> (StoreErrorKind, Outcome) {
    let kind = match (status, code) {
        (_, "NoSuchBucket" | "ContainerNotFound") => StoreErrorKind::NoSuchBucket,
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
    // A server that failed inside, or a proxy that lost it, may have stored the object all the same. Only
    // S3 says that a request it turned away as busy was not begun.
    let is_unknown = matches!(kind, StoreErrorKind::Internal | StoreErrorKind::Full)
        || (status == 503 && service != BucketService::S3);
    let outcome = if is_unknown {
        Outcome::Unknown
    } else {
        Outcome::DidNotHappen
    };
    (kind, outcome)
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
            let meaning = meaning(BucketService::S3, status, code);
            assert_eq!(meaning, (kind, outcome), "{status} {code}");
        }
    }

    #[test]
    fn other_services_differ_in_codes_and_in_what_busy_means() {
        use Outcome::{DidNotHappen, Unknown};
        use StoreErrorKind as Kind;
        for (service, status, code, kind, outcome) in [
            (BucketService::Gcs, 503, "", Kind::Throttled, Unknown),
            (
                BucketService::Gcs,
                429,
                "SlowDown",
                Kind::Throttled,
                DidNotHappen,
            ),
            (
                BucketService::Gcs,
                404,
                "NoSuchBucket",
                Kind::NoSuchBucket,
                DidNotHappen,
            ),
            (
                BucketService::Gcs,
                401,
                "AuthenticationRequired",
                Kind::Denied,
                DidNotHappen,
            ),
            (
                BucketService::Azure,
                503,
                "ServerBusy",
                Kind::Throttled,
                Unknown,
            ),
            (
                BucketService::Azure,
                500,
                "OperationTimedOut",
                Kind::Internal,
                Unknown,
            ),
            (
                BucketService::Azure,
                404,
                "ContainerNotFound",
                Kind::NoSuchBucket,
                DidNotHappen,
            ),
            (
                BucketService::Azure,
                403,
                "AuthenticationFailed",
                Kind::Denied,
                DidNotHappen,
            ),
            (
                BucketService::Azure,
                409,
                "ContainerBeingDeleted",
                Kind::Conflict,
                DidNotHappen,
            ),
        ] {
            let meaning = meaning(service, status, code);
            assert_eq!(meaning, (kind, outcome), "{service:?} {status} {code}");
        }
    }

    #[test]
    fn an_answer_is_told_from_a_failure() {
        for (status, code, is_head, expected) in [
            (412, "PreconditionFailed", false, true),
            (412, "ConditionNotMet", false, true),
            (409, "BlobAlreadyExists", false, true),
            (409, "ConditionalRequestConflict", false, false),
            (409, "ContainerBeingDeleted", false, false),
            (404, "NoSuchKey", false, true),
            (404, "NoSuchBucket", false, false),
            (404, "", true, true),
            (404, "", false, false),
            (404, "BlobNotFound", false, true),
            (404, "ContainerNotFound", true, false),
            (403, "AccessDenied", false, false),
        ] {
            assert_eq!(
                is_answer(status, code, is_head),
                expected,
                "{status} {code}"
            );
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
