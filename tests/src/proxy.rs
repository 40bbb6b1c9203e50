//! A proxy between a broker and its S3 store that can make the store slow, absent or forgetful.
//!
//! It relays bytes and reads of HTTP/1.1 only what it must: where a request of a kept-alive
//! connection begins and ends, and its method. Requests are forwarded unchanged, `Host` included,
//! so signatures stay valid. A request with a transfer coding ends the parsing of its connection,
//! which is relayed blindly from there on (S3 clients name a content length).
//!
//! ```text
//! broker ── head ──▶ [count, delay, fail?] ── head, body ──▶ store
//!        ◀────────────────── bytes ──────────────────────────
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wait;

mod head;

use head::Head;

/// Bytes moved at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// What the proxy does to the traffic, changed while it runs.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Wait added to each request of the method, such as `("PUT", 60 ms)`.
    pub delays: BTreeMap<&'static str, Duration>,
    /// Open connections are reset and new ones closed at once.
    pub cut: bool,
    /// Requests of these methods reach the store, but their answers are lost with the connection.
    pub lose_answers: Vec<&'static str>,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    requests: BTreeMap<String, u64>,
    open: BTreeMap<u64, (TcpStream, TcpStream)>,
    next_id: u64,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy; ends with its value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on an ephemeral local port and relays to `upstream`.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    pub fn start(upstream: SocketAddr) -> io::Result<Proxy> {
        Proxy::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), upstream)
    }

    /// Listens on `address` and relays to `upstream`.
    ///
    /// # Errors
    ///
    /// If the port cannot be bound.
    pub fn start_on(address: SocketAddr, upstream: SocketAddr) -> io::Result<Proxy> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Ok(Proxy { address, shared })
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces what is done to the traffic. A cut resets what is open; lifting it, or another
    /// delay, applies to the requests that come next.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.shared.state();
        if faults.cut {
            reset_all(&mut state);
        }
        state.faults = faults;
        self.shared.changed.notify_all();
    }

    /// Delays every PUT.
    pub fn delay_puts(&self, delay: Duration) {
        self.set_faults(Faults {
            delays: BTreeMap::from([("PUT", delay)]),
            ..Faults::default()
        });
    }

    /// Requests seen since the start, by method.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.shared.state().requests.clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        reset_all(&mut state);
        self.shared.changed.notify_all();
        drop(state);
        // Wakes the accepting thread, which then sees that it is over.
        TcpStream::connect(self.address).ok();
    }
}

fn reset_all(state: &mut State) {
    for (client, store) in std::mem::take(&mut state.open).into_values() {
        // Sockets that the other side closed already are as good as shut down.
        client.shutdown(Shutdown::Both).ok();
        store.shutdown(Shutdown::Both).ok();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.state().closed {
            return;
        }
        let Ok(client) = client else { continue };
        if shared.state().faults.cut {
            continue;
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A relay ends when either side goes; that is not an error of the proxy.
            relay(client, &shared).ok();
        });
    }
}

/// Relays one client connection until either side closes it.
fn relay(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let store = TcpStream::connect(shared.upstream)?;
    client.set_nodelay(true)?;
    store.set_nodelay(true)?;
    let id = {
        let mut state = shared.state();
        state.next_id += 1;
        let id = state.next_id;
        state
            .open
            .insert(id, (client.try_clone()?, store.try_clone()?));
        id
    };
    let lost = Arc::new(AtomicBool::new(false));
    let (answers_from, answers_to) = (store.try_clone()?, client.try_clone()?);
    let answers_lost = Arc::clone(&lost);
    let answers = std::thread::spawn(move || answers(answers_from, answers_to, &answers_lost));
    let result = requests(client.try_clone()?, &store, shared, &lost);
    // Half-closed, so that the answer to the last request still gets through.
    store.shutdown(Shutdown::Write).ok();
    answers.join().ok();
    client.shutdown(Shutdown::Both).ok();
    shared.state().open.remove(&id);
    result
}

/// Forwards requests one by one: count, wait, forward head and body.
fn requests(
    mut client: TcpStream,
    store: &TcpStream,
    shared: &Shared,
    lost: &AtomicBool,
) -> io::Result<()> {
    let mut store = store.try_clone()?;
    let mut read = Vec::new();
    loop {
        let Some(head) = Head::read(&mut client, &mut read)? else {
            return Ok(());
        };
        lost.fetch_or(admit(&head.method, shared)?, Ordering::SeqCst);
        let ready = head.bytes + usize::try_from(head.body_bytes).unwrap_or(usize::MAX);
        let now = ready.min(read.len());
        let rest = read.split_off(now);
        store.write_all(&read)?;
        read = rest;
        if head.is_chunked {
            store.write_all(&std::mem::take(&mut read))?;
            return copy(&mut client, &mut store, u64::MAX).map(drop);
        }
        let missing = ready - now;
        copy(
            &mut client,
            &mut store,
            u64::try_from(missing).unwrap_or(u64::MAX),
        )?;
    }
}

/// Passes answers back until the store closes, or until one is to be lost: the store has then
/// done what it was asked, and the client sees its connection end.
fn answers(mut store: TcpStream, mut client: TcpStream, lost: &AtomicBool) {
    let mut buffer = vec![0; BUFFER_BYTES];
    while let Ok(got @ 1..) = store.read(&mut buffer) {
        if lost.load(Ordering::SeqCst) {
            break;
        }
        if client
            .write_all(buffer.get(..got).unwrap_or_default())
            .is_err()
        {
            break;
        }
    }
    client.shutdown(Shutdown::Both).ok();
}

/// Counts a request and waits as long as it is to be delayed. Says whether its answer is lost.
fn admit(method: &str, shared: &Shared) -> io::Result<bool> {
    let mut state = shared.state();
    *state.requests.entry(method.to_owned()).or_default() += 1;
    let start = wait::now();
    loop {
        if state.closed || state.faults.cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let delay = state.faults.delays.get(method).copied().unwrap_or_default();
        match delay.checked_sub(start.elapsed()) {
            Some(rest) if !rest.is_zero() => {
                let (guard, _) = shared
                    .changed
                    .wait_timeout(state, rest)
                    .unwrap_or_else(PoisonError::into_inner);
                state = guard;
            }
            _ => return Ok(state.faults.lose_answers.contains(&method)),
        }
    }
}

/// Moves up to `limit` bytes.
fn copy(from: &mut TcpStream, to: &mut TcpStream, limit: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = limit;
    while left > 0 {
        let want = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(BUFFER_BYTES);
        let Some(room) = buffer.get_mut(..want) else {
            break;
        };
        let got = from.read(room)?;
        if got == 0 {
            return if limit == u64::MAX {
                Ok(())
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        to.write_all(buffer.get(..got).unwrap_or_default())?;
        left -= u64::try_from(got).unwrap_or(left);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
