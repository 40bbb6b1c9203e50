//! Asks a broker on this machine whether it is ready, for health checks of containers that hold nothing
//! but `floe`.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::broker::Endpoint;

/// For the connection and for each step of the answer.
const LIMIT: Duration = Duration::from_secs(3);
/// An answer of ours is shorter.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Why a broker is not ready, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// Nobody answers where its HTTP should be.
    #[error("no answer from http://{address}/readyz: {source}")]
    NoAnswer {
        /// Where it was asked.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// It says so itself.
    #[error("http://{address}/readyz: {answer}")]
    Answer {
        /// Where it was asked.
        address: String,
        /// The first line of its answer.
        answer: String,
    },
}

/// Asks the broker whose `--http` is `http`. Blocks for a few seconds at most.
///
/// # Errors
/// It is not ready, or nobody answers.
pub fn readiness(http: &Endpoint) -> Result<(), NotReady> {
    let address = http.to_string();
    match status_line(http) {
        Ok(line) if line.split(' ').nth(1) == Some("200") => Ok(()),
        Ok(answer) => Err(NotReady::Answer { address, answer }),
        Err(source) => Err(NotReady::NoAnswer { address, source }),
    }
}

fn status_line(http: &Endpoint) -> io::Result<String> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (http.host.as_str(), http.port).to_socket_addrs()? {
        match ask(reachable(address)) {
            Ok(line) => return Ok(line),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A server on all interfaces is asked over the one of this machine to itself.
const fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: floe\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answering(answer: &'static str) -> Result<(), NotReady> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let http = Endpoint {
            host: "0.0.0.0".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).unwrap() > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            });
            readiness(&http)
        })
    }

    #[test]
    fn the_answer_decides() {
        answering("HTTP/1.1 200 OK\r\n\r\nready\n").unwrap();
        let error = answering("HTTP/1.1 503 Service Unavailable\r\n\r\nstarting\n").unwrap_err();
        assert!(
            error.to_string().ends_with("503 Service Unavailable"),
            "{error}"
        );
        assert!(answering("").is_err());
    }

    #[test]
    fn nobody_there_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let host = "127.0.0.1".to_owned();
        let error = readiness(&Endpoint { host, port }).unwrap_err();
        assert!(matches!(error, NotReady::NoAnswer { .. }), "{error}");
    }
}
