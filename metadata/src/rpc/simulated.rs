//! A network in memory, for tests and simulations: addresses, delays, and what goes wrong between them.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use floe_storage::tasks::Tasks;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::network::{Dial, Incoming, Link};

/// Bytes under way in one direction of a connection.
const PIPE_BYTES: usize = 256 << 10;
/// Connections that wait to be accepted.
const BACKLOG: usize = 128;
/// How often a connection looks whether it may go on.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The network; clones are the same one.
#[derive(Clone, Debug)]
pub struct Network(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: SmallRng,
    delay: Range<Duration>,
    hosts: BTreeMap<String, Host>,
}

#[derive(Debug)]
struct Host {
    door: mpsc::Sender<io::Result<Link>>,
    /// Carries bytes; ends with the host.
    carriers: Tasks,
    /// Ends its connections, in both directions.
    dead: CancellationToken,
    /// What it sends and what is sent to it arrives later.
    is_silent: bool,
}

impl Network {
    /// A network without hosts; each message takes a time out of `delay`.
    #[must_use]
    pub fn new(seed: u64, delay: Range<Duration>) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: SmallRng::seed_from_u64(seed),
            delay,
            hosts: BTreeMap::new(),
        })))
    }

    /// Begins to listen at `address`; whoever did before is gone.
    #[must_use]
    pub fn listen(&self, address: &str) -> Incoming {
        let (door, incoming) = mpsc::channel(BACKLOG);
        let host = Host {
            door,
            carriers: Tasks::new(),
            dead: CancellationToken::new(),
            is_silent: false,
        };
        let before = self.lock().hosts.insert(address.to_owned(), host);
        if let Some(before) = before {
            before.dead.cancel();
        }
        Box::pin(futures::stream::unfold(
            incoming,
            |mut incoming| async move { Some((incoming.recv().await?, incoming)) },
        ))
    }

    /// The process at `address` reaches others over this network.
    #[must_use]
    pub fn dialer(&self, address: &str) -> Arc<dyn Dial> {
        Arc::new(Dialer {
            network: self.clone(),
            from: address.to_owned(),
        })
    }

    /// The process at `address` is gone: its connections break, and nobody reaches it.
    pub fn kill(&self, address: &str) {
        let gone = self.lock().hosts.remove(address);
        if let Some(gone) = gone {
            gone.dead.cancel();
        }
    }

    /// Whether what comes from and goes to `address` is held up; nothing of it is lost.
    pub fn silence(&self, address: &str, is_silent: bool) {
        if let Some(host) = self.lock().hosts.get_mut(address) {
            host.is_silent = is_silent;
        }
    }

    /// Breaks all connections of `address`; new ones can be made at once.
    pub fn disconnect(&self, address: &str) {
        if let Some(host) = self.lock().hosts.get_mut(address) {
            std::mem::take(&mut host.dead).cancel();
        }
    }

    fn is_silent(&self, address: &str) -> bool {
        self.lock()
            .hosts
            .get(address)
            .is_some_and(|host| host.is_silent)
    }

    fn delay(&self) -> Duration {
        let mut state = self.lock();
        let delay = state.delay.clone();
        if delay.is_empty() {
            return delay.start;
        }
        state.random.random_range(delay)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries bytes one way until either end is gone.
    async fn carry(
        self,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
        ends: [String; 2],
    ) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else {
                return;
            };
            tokio::time::sleep(self.delay()).await;
            while ends.iter().any(|end| self.is_silent(end)) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            let bytes = buffer.get(..count).unwrap_or_default();
            if to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }
}

#[derive(Debug)]
struct Dialer {
    network: Network,
    from: String,
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self, address: &str) -> io::Result<Link> {
        tokio::time::sleep(self.network.delay()).await;
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let (dead, door, carriers) = {
            let state = self.network.lock();
            let host = state.hosts.get(address).ok_or_else(refused)?;
            let own = state.hosts.get(&self.from);
            let own = own.map_or_else(CancellationToken::new, |own| own.dead.clone());
            let dead = [own, host.dead.clone()];
            (dead, host.door.clone(), host.carriers.clone())
        };
        let (near, near_end) = duplex(PIPE_BYTES);
        let (far, far_end) = duplex(PIPE_BYTES);
        let (near_read, near_write) = split(near_end);
        let (far_read, far_write) = split(far_end);
        let ends = [self.from.clone(), address.to_owned()];
        let there = self
            .network
            .clone()
            .carry(near_read, far_write, ends.clone());
        let back = self.network.clone().carry(far_read, near_write, ends);
        let [own, their] = dead;
        carriers.spawn(async move {
            tokio::select! {
                biased;
                () = own.cancelled() => {}
                () = their.cancelled() => {}
                () = there => {}
                () = back => {}
            }
        });
        door.try_send(Ok(Link::new(far))).map_err(|_| refused())?;
        Ok(Link::new(near))
    }
}
