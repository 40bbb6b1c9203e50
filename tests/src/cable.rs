//! A cable between a program and a server of any protocol, which can be cut, or carry one way only.
//!
//! Unlike [`crate::proxy`] it knows nothing of what it carries. What a server answers while answers are
//! lost is gone, its effects are not: that is how a reply is lost.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes moved at once.
const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
struct State {
    /// Answers go nowhere.
    loses_answers: bool,
    /// New connections are closed at once.
    is_unplugged: bool,
    is_closed: bool,
    open: BTreeMap<u64, (TcpStream, TcpStream)>,
    next_id: u64,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cable that is plugged in; removed with its value.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Cable {
    /// Listens on an ephemeral local port and relays to `upstream`.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    pub fn start(upstream: SocketAddr) -> io::Result<Cable> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Ok(Cable { address, shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether answers are lost from now on, of open connections and of new ones.
    pub fn lose_answers(&self, lose: bool) {
        self.shared.state().loses_answers = lose;
    }

    /// Closes every open connection. New ones are carried.
    pub fn cut(&self) {
        cut(&mut self.shared.state());
    }

    /// Closes every open connection and all new ones at once, until it is plugged in again.
    pub fn unplug(&self, unplugged: bool) {
        let mut state = self.shared.state();
        state.is_unplugged = unplugged;
        if unplugged {
            cut(&mut state);
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_closed = true;
        cut(&mut state);
        drop(state);
        // Wakes the accepting thread, which then sees that it is over.
        TcpStream::connect(self.address).ok();
    }
}

fn cut(state: &mut State) {
    for (client, server) in std::mem::take(&mut state.open).into_values() {
        // Sockets that the other side closed already are as good as shut down.
        client.shutdown(Shutdown::Both).ok();
        server.shutdown(Shutdown::Both).ok();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let (is_closed, is_unplugged) = {
            let state = shared.state();
            (state.is_closed, state.is_unplugged)
        };
        if is_closed {
            return;
        }
        match client {
            Ok(client) if !is_unplugged => {
                let shared = Arc::clone(shared);
                // A connection ends when either side goes; that is not an error of the cable.
                std::thread::spawn(move || carry(&client, &shared).ok());
            }
            Ok(_) | Err(_) => {}
        }
    }
}

fn carry(client: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect(shared.upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let id = {
        let mut state = shared.state();
        state.next_id += 1;
        let (id, ends) = (state.next_id, (client.try_clone()?, server.try_clone()?));
        state.open.insert(id, ends);
        id
    };
    let (from, to, answers) = (server.try_clone()?, client.try_clone()?, Arc::clone(shared));
    let answering = std::thread::spawn(move || {
        copy(&from, &to, || !answers.state().loses_answers).ok();
        to.shutdown(Shutdown::Both).ok();
    });
    copy(client, &server, || true).ok();
    server.shutdown(Shutdown::Both).ok();
    answering.join().ok();
    shared.state().open.remove(&id);
    Ok(())
}

/// Moves bytes until either side ends; those that are not carried are dropped.
fn copy(mut from: &TcpStream, mut to: &TcpStream, carries: impl Fn() -> bool) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if carries() {
            to.write_all(buffer.get(..count).unwrap_or_default())?;
        }
    }
}
