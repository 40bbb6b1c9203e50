//! An S3 server inside the test process: s3s on a temporary folder, the last resort.
//!
//! s3s-fs checks `If-None-Match` and writes in two steps. Conditional requests therefore pass one at
//! a time, so that of two creators of one object only one can win.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::keeper::{Keeper, Started, Stopped};
use super::s3::S3;

const KEY: &str = "floe-test-key";
const SECRET: &str = "floe-test-secret";
const START_LIMIT: Duration = Duration::from_secs(10);

/// Starts the server on an ephemeral port.
pub(super) fn start() -> S3 {
    let (keeper, port) = Keeper::start(START_LIMIT, serve).expect("the own server starts");
    S3::local(port, KEY, SECRET, keeper)
}

async fn serve(started: Started, mut stopped: Stopped) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let files = s3s_fs::FileSystem::new(folder.path()).expect("the folder can be opened");
    let mut builder = S3ServiceBuilder::new(files);
    builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("an ephemeral port is free");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    started.send(Ok(address.port())).ok();
    let turn = Arc::new(Mutex::new(()));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = &mut stopped => return,
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                connections.spawn(connection(socket, service.clone(), Arc::clone(&turn)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(socket: tokio::net::TcpStream, service: S3Service, turn: Arc<Mutex<()>>) {
    let one_request = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (service, turn) = (service.clone(), Arc::clone(&turn));
        async move {
            let is_conditional = request.headers().contains_key("if-none-match");
            let _turn = if is_conditional {
                Some(turn.lock().await)
            } else {
                None
            };
            let answer = service.call(request.map(s3s::Body::from)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|error| {
                let text = format!("{error:?}");
                let mut answer = hyper::Response::new(s3s::Body::from(text));
                *answer.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
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
