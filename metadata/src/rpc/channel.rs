//! The calling side of a connection between processes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use super::network::{Dial, Link};
use super::secret::Signing;
use super::{PING_AFTER, PING_PATIENCE, STREAM_WINDOW_BYTES, Secret, WINDOW_BYTES};

/// How long it may take to connect.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// Where calls go that carry the cluster's secret. Cheap to clone; calls of all clones share one connection.
pub type Calls = InterceptedService<Channel, Signing>;

/// Calls to the process at `address`, over one connection that is made when it is first needed and made
/// again when it was lost. It ends with the last clone.
#[must_use]
pub fn calls(dial: &Arc<dyn Dial>, address: &str, secret: Secret) -> Calls {
    let (dial, address) = (Arc::clone(dial), address.to_owned());
    let connector = tower::service_fn(move |_: http::Uri| {
        let (dial, address) = (Arc::clone(&dial), address.clone());
        async move {
            let link = timeout(CONNECT_PATIENCE, dial.dial(&address)).await;
            let link = link.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            link.map(TokioIo::new)
        }
    });
    // Many processes know each other: those that have nothing to say are left in peace.
    let endpoint = endpoint().keep_alive_while_idle(false);
    secret.signing(endpoint.connect_with_connector_lazy(connector))
}

/// A channel over one connection, which is never made again: its end is the end of a term.
pub(super) async fn channel(link: Link) -> Result<Channel, tonic::transport::Error> {
    let link = Arc::new(Mutex::new(Some(link)));
    let connector = tower::service_fn(move |_: http::Uri| {
        let link = link.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            link.map(TokioIo::new)
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
        }
    });
    let endpoint = endpoint().keep_alive_while_idle(true);
    endpoint.connect_with_connector(connector).await
}

fn endpoint() -> Endpoint {
    Endpoint::from_static("http://floe.internal")
        .http2_keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_PATIENCE)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
}
