//! Buckets of emulators of other object stores than S3: `fake-gcs-server` and Azurite, from the
//! search path.
//!
//! There is no Docker image, no service of the caller's and no stand-in to fall back to: where the
//! program is missing, its tests are skipped aloud.

use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// A new bucket of an emulator that ends with the last clone of this.
#[derive(Clone, Debug)]
pub struct EmulatedBucket {
    pub(super) url: String,
    pub(super) address: SocketAddr,
    /// The variables that lead a program to the emulator at an address.
    pub(super) environment: fn(SocketAddr) -> Vec<(String, String)>,
    pub(super) _running: Arc<dyn Any + Send + Sync>,
}

impl EmulatedBucket {
    /// The store URL, such as `gs://NAME`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the emulator listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The usual variables that lead a program to this bucket.
    pub fn environment(&self) -> Vec<(String, String)> {
        (self.environment)(self.address)
    }

    /// The same through a proxy in front of the emulator.
    pub fn environment_through(&self, proxy: SocketAddr) -> Vec<(String, String)> {
        (self.environment)(proxy)
    }
}

/// A port that was free a moment ago, for a program that cannot say which one it took.
pub(super) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Owned pairs of a table of variables.
pub(super) fn variables<const N: usize>(pairs: [(&str, String); N]) -> Vec<(String, String)> {
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}
