//! What tells processes of one cluster from strangers.

use std::fmt;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

/// The header that carries it, in hex.
const HEADER: &str = "floe-secret";

/// The cluster's secret: drawn when the cluster is created, kept in the store, so that whoever may read
/// the store may call. It travels as it is: the network between processes is trusted not to listen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    fn header(&self) -> MetadataValue<Ascii> {
        let text = format!("{:032x}", u128::from_be_bytes(self.0));
        // Hex digits are what a header may hold.
        MetadataValue::try_from(text).unwrap_or_else(|_| MetadataValue::from_static(""))
    }

    /// `service` for those who know the secret: all others are refused with `UNAUTHENTICATED`.
    #[must_use]
    pub fn checking<S>(self, service: S) -> InterceptedService<S, Checking> {
        InterceptedService::new(service, Checking(self))
    }

    /// `service` with the secret added to each call.
    #[must_use]
    pub fn signing<S>(self, service: S) -> InterceptedService<S, Signing> {
        InterceptedService::new(service, Signing(self))
    }

    fn sign(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(HEADER, self.header());
        Ok(request)
    }

    fn check(&self, request: Request<()>) -> Result<Request<()>, Status> {
        let sent = request.metadata().get(HEADER);
        if sent.is_some_and(|sent| is_same(sent.as_bytes(), self.header().as_bytes())) {
            return Ok(request);
        }
        tracing::warn!(
            "an internal call without the cluster's secret was refused: is --internal reachable from \
             outside, or does a process of another cluster call here?"
        );
        Err(Status::unauthenticated("not a process of this cluster"))
    }
}

/// Adds the secret to each call.
#[derive(Clone, Debug)]
pub struct Signing(Secret);

impl Interceptor for Signing {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.0.sign(request)
    }
}

/// Lets calls pass that carry the secret.
#[derive(Clone, Debug)]
pub struct Checking(Secret);

impl Interceptor for Checking {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.0.check(request)
    }
}

/// Compares without telling by its duration how much is right.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_opens() {
        let secret = Secret([7; 16]);
        let signed = secret.sign(Request::new(())).unwrap();
        assert!(secret.check(signed).is_ok());
        let signed = secret.sign(Request::new(())).unwrap();
        assert!(Secret([8; 16]).check(signed).is_err());
        assert!(secret.check(Request::new(())).is_err());
        assert!(!format!("{secret:?}").contains('7'));
    }
}
