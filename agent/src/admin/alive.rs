//! Asks another process over HTTP whether it is the one that owns the cluster's metadata.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use floe_metadata::ownership::AliveCheck;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A process that lives answers within this; metadata has a limit of its own around the whole question.
const PATIENCE: Duration = Duration::from_secs(1);
/// Far more than the answer has: the other side may be anything.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Asks `/owner`.
#[derive(Debug)]
pub(crate) struct AskOverHttp;

#[async_trait]
impl AliveCheck for AskOverHttp {
    async fn is_alive(&self, address: &str, nonce: [u8; 16]) -> bool {
        match timeout(PATIENCE, ask(address)).await {
            Ok(Ok(answer)) => is_nonce(&answer, nonce),
            Ok(Err(_)) | Err(_) => false,
        }
    }
}

async fn ask(address: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /owner HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(answer)
}

/// Whether the body of an HTTP answer is this nonce.
fn is_nonce(answer: &[u8], nonce: [u8; 16]) -> bool {
    let text = String::from_utf8_lossy(answer);
    text.split_once("\r\n\r\n")
        .is_some_and(|(_, body)| body.trim() == nonce_text(nonce))
}

/// A nonce as `/owner` shows it: 32 hex digits.
pub(crate) fn nonce_text(nonce: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(nonce))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use floe_metadata::ownership::AliveCheck as _;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::{Health, run};
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn only_the_process_with_the_nonce_is_alive() {
        let nonce = [7; 16];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stopped = CancellationToken::new();
        let health = Health::new(nonce_text(nonce), Metrics::default());
        let server = run(listener, Arc::clone(&health), stopped.clone());
        let questions = async {
            let right = AskOverHttp.is_alive(&address, nonce).await;
            let wrong = AskOverHttp.is_alive(&address, [8; 16]).await;
            stopped.cancel();
            (right, wrong)
        };
        let ((), (right, wrong)) = tokio::join!(server, questions);
        assert!(right);
        assert!(!wrong);
        assert!(
            !AskOverHttp.is_alive(&address, nonce).await,
            "nobody listens any more"
        );
    }
}
