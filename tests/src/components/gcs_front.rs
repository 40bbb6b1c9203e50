//! Gives `fake-gcs-server` what it lacks of Cloud Storage's XML API (reference: "PUT Object",
//! "Conditional requests", "Error responses"):
//!
//! ```text
//! PUT /BUCKET/NAME                        ─▶ POST /upload/storage/v1/b/BUCKET/o?uploadType=media
//!     x-goog-if-generation-match: G             &name=NAME&ifGenerationMatch=G
//! 404 of any kind                         ◀─ told apart: NoSuchKey or NoSuchBucket
//! ```
//!
//! Everything else passes unchanged. Whether a generation matches is up to `fake-gcs-server`.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, ETAG, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::keeper::{Started, Stopped};
use super::s3::install_tls;

static GENERATION_MATCH: HeaderName = HeaderName::from_static("x-goog-if-generation-match");
static GENERATION: HeaderName = HeaderName::from_static("x-goog-generation");

type Body = s3s::Body;
type Answer = hyper::Response<Body>;

/// Where requests go.
#[derive(Debug)]
struct Front {
    client: HttpClient,
    upstream: SocketAddr,
}

/// Makes `bucket` at `upstream`, then serves until told to stop.
pub(super) async fn serve(
    upstream: SocketAddr,
    bucket: &'static str,
    started: Started,
    mut stopped: Stopped,
) {
    let (front, listener) = match start(upstream, bucket).await {
        Ok(ready) => ready,
        Err(error) => return started.send(Err(error)).unwrap_or_default(),
    };
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    started.send(Ok(address.port())).ok();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                connections.spawn(connection(socket, Arc::clone(&front)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn start(upstream: SocketAddr, bucket: &str) -> Result<(Arc<Front>, TcpListener), String> {
    install_tls();
    let options = ClientOptions::new().with_allow_http(true);
    let client = ReqwestConnector::default()
        .connect(&options)
        .map_err(|e| e.to_string())?;
    let front = Arc::new(Front { client, upstream });
    let body = format!("{{\"name\":\"{bucket}\"}}");
    let (status, _, text) = front
        .send(Method::POST, "/storage/v1/b?project=test", body.into(), &[])
        .await?;
    if !status.is_success() {
        let text = String::from_utf8_lossy(&text).into_owned();
        return Err(format!("create bucket {bucket}: {status}: {text}"));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await;
    Ok((front, listener.map_err(|e| e.to_string())?))
}

async fn connection(socket: TcpStream, front: Arc<Front>) {
    let one_request = service_fn(|request: hyper::Request<Incoming>| {
        let front = Arc::clone(&front);
        async move {
            let answer = front.answer(request).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|error| {
                let mut answer = Answer::new(Body::from(error));
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                answer
            }))
        }
    });
    // A client that goes away in the middle is its own affair.
    http1::Builder::new()
        .serve_connection(TokioIo::new(socket), one_request)
        .await
        .ok();
}

impl Front {
    async fn answer(&self, request: hyper::Request<Incoming>) -> Result<Answer, String> {
        let (head, body) = request.into_parts();
        let mut body = Body::from(body);
        let body = body
            .store_all_limited(usize::MAX)
            .await
            .map_err(|e| e.to_string())?;
        let path = head.uri.path();
        let (bucket, name) = path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((path.trim_matches('/'), ""));
        if head.method == Method::PUT {
            let generation = head
                .headers
                .get(&GENERATION_MATCH)
                .and_then(|value| value.to_str().ok());
            return self.upload(bucket, name, generation, body).await;
        }
        let target = head.uri.path_and_query().map_or(path, |all| all.as_str());
        let headers: Vec<_> = head.headers.iter().collect();
        let is_head = head.method == Method::HEAD;
        let (status, mut headers, body) = self.send(head.method, target, body, &headers).await?;
        if status == StatusCode::NOT_FOUND && !is_head {
            return self.missing(bucket).await;
        }
        if !is_head {
            headers.remove(CONTENT_LENGTH);
        }
        headers.remove(TRANSFER_ENCODING);
        let mut answer = Answer::new(if is_head { Body::empty() } else { body.into() });
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }

    /// An upload of the JSON API. Its answer has in the body what the XML API has in the head.
    async fn upload(
        &self,
        bucket: &str,
        name: &str,
        generation: Option<&str>,
        body: Bytes,
    ) -> Result<Answer, String> {
        // The name stays encoded as it came, but for the slashes.
        let name = name.replace('/', "%2F");
        let mut target = format!("/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}");
        if let Some(generation) = generation {
            target.push_str(&format!("&ifGenerationMatch={generation}"));
        }
        let (status, _, text) = self.send(Method::POST, &target, body, &[]).await?;
        match status {
            StatusCode::NOT_FOUND => self.missing(bucket).await,
            StatusCode::PRECONDITION_FAILED => Ok(refusal(status, "PreconditionFailed")),
            status if !status.is_success() => {
                let mut answer = Answer::new(text.into());
                *answer.status_mut() = status;
                Ok(answer)
            }
            _ => {
                let object: serde_json::Value =
                    serde_json::from_slice(&text).map_err(|e| e.to_string())?;
                let mut answer = Answer::new(Body::empty());
                for (name, field) in [(&ETAG, "etag"), (&GENERATION, "generation")] {
                    let text = object.get(field).and_then(|value| value.as_str());
                    let value = HeaderValue::from_str(text.unwrap_or_default());
                    let value = value.map_err(|e| e.to_string())?;
                    answer.headers_mut().insert(name, value);
                }
                Ok(answer)
            }
        }
    }

    /// The answer for what is not there, told from a bucket that is not there.
    async fn missing(&self, bucket: &str) -> Result<Answer, String> {
        let target = format!("/storage/v1/b/{bucket}");
        let (status, ..) = self.send(Method::GET, &target, Bytes::new(), &[]).await?;
        let code = if status.is_success() {
            "NoSuchKey"
        } else {
            "NoSuchBucket"
        };
        Ok(refusal(StatusCode::NOT_FOUND, code))
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
        headers: &[(&HeaderName, &HeaderValue)],
    ) -> Result<(StatusCode, hyper::HeaderMap, Bytes), String> {
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = method;
        let uri = format!("http://{}{target}", self.upstream);
        *request.uri_mut() = uri.parse().map_err(|e| format!("{uri}: {e}"))?;
        for (name, value) in headers {
            if ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                request.headers_mut().insert(*name, (*value).clone());
            }
        }
        let answer = self.client.execute(request).await;
        let (head, body) = answer.map_err(|e| e.to_string())?.into_parts();
        let body = body.bytes().await.map_err(|e| e.to_string())?;
        Ok((head.status, head.headers, body))
    }
}

fn refusal(status: StatusCode, code: &str) -> Answer {
    let text = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
    let mut answer = Answer::new(Body::from(text));
    *answer.status_mut() = status;
    answer
}
