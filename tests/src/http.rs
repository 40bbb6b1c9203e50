//! Just enough of an HTTP client for `/livez`, `/readyz` and `/metrics`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// Status and body of `GET path`.
///
/// # Errors
///
/// If the connection fails, or the answer is not HTTP/1.
pub fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut connection = TcpStream::connect_timeout(&address, LIMIT)?;
    connection.set_read_timeout(Some(LIMIT))?;
    // 1.0: no chunks in the answer, and its end is the end of the connection.
    write!(
        connection,
        "GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, answer))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some((status, body.to_owned()))
}

/// Sum over all label sets of a metric in Prometheus' text whose labels hold all of `labels`, each
/// such as `operation="put"`. `None` if there is no such line.
pub fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let values: Vec<f64> = text
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (set, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once('}')?,
                None => ("", rest.strip_prefix(' ').map(|_| rest)?),
            };
            let wanted = labels.iter().all(|label| set.contains(label));
            value
                .split_whitespace()
                .next()
                .filter(|_| wanted)?
                .parse()
                .ok()
        })
        .collect();
    if values.is_empty() {
        None
    } else {
        Some(values.iter().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_by_name_and_labels() {
        let text = "# HELP a_total x\na_total{op=\"put\",by=\"x\"} 3\na_total{op=\"get\",by=\"x\"} 4\n\
                    a_total_more 9\nb 1.5\n";
        assert_eq!(metric(text, "a_total", &[]), Some(7.0));
        assert_eq!(metric(text, "a_total", &["op=\"put\""]), Some(3.0));
        assert_eq!(metric(text, "b", &[]), Some(1.5));
        assert_eq!(metric(text, "c", &[]), None);
    }

    #[test]
    fn answers() {
        assert_eq!(
            parse("HTTP/1.0 200 OK\r\nA: b\r\n\r\nok\n"),
            Some((200, "ok\n".into()))
        );
        assert_eq!(parse("HTTP/1.1 503 No\r\n\r\n"), Some((503, String::new())));
        assert_eq!(parse("nonsense"), None);
    }
}
