//! Listeners: bound before the store is opened, so that a port in use is found at once and clients that
//! come early wait in the backlog; served once the broker is ready.
//!
//! Connections are bounded by the process's descriptors, of which some are kept for the store.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, Endpoint};
use crate::config::{ListenerConfig, is_wildcard};
use crate::connection::Connection;
use crate::connection::serve::serve;

/// Descriptors kept for the store, the engine, health checks and whatever is being refused.
const DESCRIPTORS_RESERVED_MIN: u64 = 64;
/// Pause after the system refused to accept: out of descriptors or memory, and hot loops help nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address nobody can listen on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process has the port.
    #[error("port {} of {} is in use by another process; {flag} chooses another", .address.port, .address.host)]
    InUse {
        /// What was to be listened on.
        address: Endpoint,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// Anything else, as an address this machine does not have.
    #[error("cannot listen on {address} ({flag}): {source}")]
    Failed {
        /// What was to be listened on.
        address: Endpoint,
        /// The flag that sets it.
        flag: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Listens on `address`, without accepting yet.
///
/// # Errors
/// The port is in use, or the address is not this machine's.
pub(crate) async fn bind(
    address: &Endpoint,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse {
            address: address.clone(),
            flag,
        },
        _ => ListenError::Failed {
            address: address.clone(),
            flag,
            source,
        },
    };
    let listener = TcpListener::bind((address.host.as_str(), address.port))
        .await
        .map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// A bound Kafka listener.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Where it listens, the port decided.
    pub(crate) local: SocketAddr,
    socket: TcpListener,
    told: Told,
}

/// What clients of a listener are told to connect to.
#[derive(Clone, Debug)]
enum Told {
    /// Always the same.
    Fixed(Arc<Endpoint>),
    /// The address they came in on: the listener is on all interfaces and nobody said which one
    /// clients can reach, but this one they just did.
    WhereTheyCame,
}

impl Listener {
    /// Binds one listener.
    pub(crate) async fn bind(config: &ListenerConfig) -> Result<Self, ListenError> {
        let (socket, local) = bind(&config.listen, "--listen").await?;
        let host = &config.listen.host;
        let told = match &config.advertise {
            Some(endpoint) => Told::Fixed(Arc::new(endpoint.clone())),
            None if is_wildcard(host) => Told::WhereTheyCame,
            None => Told::Fixed(Arc::new(Endpoint {
                host: host.clone(),
                port: local.port(),
            })),
        };
        Ok(Self {
            name: Arc::from(config.name.as_str()),
            local,
            socket,
            told,
        })
    }

    /// One address at which a client on this machine reaches the listener.
    pub(crate) fn reachable(&self) -> Endpoint {
        match &self.told {
            Told::Fixed(endpoint) => (**endpoint).clone(),
            Told::WhereTheyCame => {
                let host = if self.local.is_ipv6() {
                    "::1"
                } else {
                    "127.0.0.1"
                };
                Endpoint {
                    host: host.to_owned(),
                    port: self.local.port(),
                }
            }
        }
    }

    /// What all clients are told, if it is the same for all.
    pub(crate) fn advertised(&self) -> Option<Endpoint> {
        match &self.told {
            Told::Fixed(endpoint) => Some((**endpoint).clone()),
            Told::WhereTheyCame => None,
        }
    }
}

impl Told {
    fn to(&self, stream: &TcpStream) -> io::Result<Arc<Endpoint>> {
        match self {
            Self::Fixed(endpoint) => Ok(Arc::clone(endpoint)),
            Self::WhereTheyCame => {
                let local = stream.local_addr()?;
                let host = plain(local.ip()).to_string();
                Ok(Arc::new(Endpoint {
                    host,
                    port: local.port(),
                }))
            }
        }
    }
}

/// An IPv4 address as such, also where the socket speaks IPv6.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4),
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

/// What all listeners share.
#[derive(Debug)]
pub(crate) struct Acceptor {
    broker: Arc<Broker>,
    connections: TaskTracker,
    places: Arc<Semaphore>,
    last_id: AtomicU64,
    /// Ends accepting, and reading on every connection.
    stopping: CancellationToken,
    /// Ends connections that do not end by themselves.
    cut: CancellationToken,
}

impl Acceptor {
    /// Serves up to `connections_max` connections at once, as tasks of `connections`.
    pub(crate) fn new(
        broker: Arc<Broker>,
        connections: TaskTracker,
        connections_max: usize,
        stopping: CancellationToken,
        cut: CancellationToken,
    ) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        let last_id = AtomicU64::new(0);
        Arc::new(Self {
            broker,
            connections,
            places,
            last_id,
            stopping,
            cut,
        })
    }

    /// Accepts connections of one listener until told to stop; then the port is free.
    pub(crate) async fn run(self: Arc<Self>, listener: Listener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                accepted = listener.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer, &listener),
                // The client was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(listener = %listener.name, %error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, listener: &Listener) {
        let metrics = &self.broker.metrics;
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            metrics.connections_refused.inc();
            tracing::debug!(%peer, "connection refused: as many as allowed are open");
            return;
        };
        let (Ok(endpoint), Ok(())) = (listener.told.to(&stream), stream.set_nodelay(true)) else {
            return;
        };
        metrics.connections_accepted.inc();
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let peer = SocketAddr::new(plain(peer.ip()), peer.port());
        let connection = Arc::new(Connection::new(
            id,
            peer,
            endpoint,
            Arc::clone(&listener.name),
        ));
        let acceptor = Arc::clone(self);
        self.connections
            .spawn(async move { acceptor.serve(connection, stream, place).await });
    }

    async fn serve(
        &self,
        connection: Arc<Connection>,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
    ) {
        let metrics = &self.broker.metrics;
        metrics.connections_open.inc();
        let broker = Arc::clone(&self.broker);
        let served = serve(broker, connection, stream, self.stopping.clone());
        tokio::select! {
            biased;
            () = self.cut.cancelled() => {}
            () = served => {}
        }
        metrics.connections_open.dec();
        drop(place);
    }
}

/// How many connections the process has descriptors for; raises the soft limit to the hard one first.
pub(crate) fn connections_max(setting: i64) -> usize {
    let descriptors = raise_descriptor_limit();
    let reserved = DESCRIPTORS_RESERVED_MIN.max(descriptors / 8);
    let affordable = descriptors.saturating_sub(reserved).max(1);
    let asked = u64::try_from(setting).unwrap_or(0);
    usize::try_from(affordable.min(asked)).unwrap_or(usize::MAX)
}

fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        // No maximum: far more than any process is given.
        Ok(()) => limit.maximum.unwrap_or(1 << 20),
        Err(_) => limit.current.unwrap_or(1024),
    }
}
