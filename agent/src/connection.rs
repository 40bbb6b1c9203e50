//! One client's connection: who it is, and what other parts of the agent keep about it.
//!
//! ```text
//! socket ─▶ reader ─▶ dispatch ─▶ answer futures, in order of arrival ─▶ writer ─▶ socket
//! ```
//!
//! Reading and writing are two halves of one task ([`serve`](serve::serve)): requests take effect in the
//! order of arrival, only the waiting of Produce and Fetch overlaps, and answers leave in the order of
//! requests (protocol guide, "Network"). Nothing here knows what a request means.

pub(crate) mod close;
pub(crate) mod reader;
pub(crate) mod serve;
pub(crate) mod writer;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use floe_protocol::str::Str;

use crate::broker::Endpoint;

/// What the agent knows of one client's connection. Shared by its requests.
#[derive(Debug)]
pub struct Connection {
    /// Counts the connections of this process from 1; never used twice.
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// What this client is told to connect to: the advertised address of the listener it came in on.
    pub endpoint: Arc<Endpoint>,
    /// Name of that listener.
    pub listener: Arc<str>,
    client: Mutex<ClientSoftware>,
    slots: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
}

/// How a client calls itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientSoftware {
    /// The client id of its latest request; lossy where it was not UTF-8.
    pub client_id: Option<Str>,
    /// Name of its library (KIP-511).
    pub name: Option<Str>,
    /// Version of its library.
    pub version: Option<Str>,
}

impl Connection {
    /// A connection that just came in.
    #[must_use]
    pub fn new(id: u64, peer: SocketAddr, endpoint: Arc<Endpoint>, listener: Arc<str>) -> Self {
        Self {
            id,
            peer,
            endpoint,
            listener,
            client: Mutex::default(),
            slots: Mutex::default(),
        }
    }

    /// How the client called itself last.
    #[must_use]
    pub fn client(&self) -> ClientSoftware {
        self.client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Notes the client id of a request.
    pub(crate) fn note_client_id(&self, client_id: Option<&Str>) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.client_id.as_ref() != client_id {
            // A copy of its own: the string would pin the frame it came in.
            client.client_id = client_id.map(|id| Str::from(id.to_string()));
        }
    }

    /// Notes the name and version of the client's library.
    pub(crate) fn note_software(&self, name: &str, version: &str) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        client.name = Some(Str::from(name.to_owned()));
        client.version = Some(Str::from(version.to_owned()));
    }

    /// What a part of the agent keeps about this connection, one value per type, made on first use and
    /// dropped with the connection.
    #[must_use]
    pub fn slot<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in slots.iter() {
            if let Ok(found) = Arc::clone(slot).downcast::<T>() {
                return found;
            }
        }
        let made = Arc::new(T::default());
        slots.push(Arc::clone(&made) as Arc<dyn Any + Send + Sync>);
        made
    }
}
