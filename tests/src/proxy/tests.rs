use super::*;

/// A store that answers every request with its method and body length.
fn echo_store() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            std::thread::spawn(move || {
                let mut read = Vec::new();
                while let Ok(Some(head)) = Head::read(&mut client, &mut read) {
                    let mut rest = read.split_off(head.bytes);
                    let mut body = vec![0; usize::try_from(head.body_bytes).unwrap() - rest.len()];
                    client.read_exact(&mut body).unwrap();
                    rest.clear();
                    read = rest;
                    let text = format!("{} {}", head.method, head.body_bytes);
                    let length = text.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}");
                    client.write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    address
}

fn ask(connection: &mut TcpStream, method: &str, body: &[u8]) -> io::Result<String> {
    let head = format!(
        "{method} /x HTTP/1.1\r\nHost: h\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body)?;
    let mut answer = Vec::new();
    let mut byte = [0; 1];
    while !answer.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte)?;
        answer.push(byte[0]);
    }
    let text = String::from_utf8(answer).unwrap();
    let length: usize = text
        .split("Content-Length: ")
        .nth(1)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok(String::from_utf8(body).unwrap())
}

#[test]
fn relays_many_requests_on_one_connection_and_counts_them() {
    let proxy = Proxy::start(echo_store()).unwrap();
    let mut connection = TcpStream::connect(proxy.address()).unwrap();
    let big = vec![7; 3 * BUFFER_BYTES + 5];
    assert_eq!(
        ask(&mut connection, "PUT", &big).unwrap(),
        format!("PUT {}", big.len())
    );
    assert_eq!(ask(&mut connection, "GET", b"").unwrap(), "GET 0");
    assert_eq!(ask(&mut connection, "PUT", b"abc").unwrap(), "PUT 3");
    let expected = BTreeMap::from([("GET".to_owned(), 1), ("PUT".to_owned(), 2)]);
    assert_eq!(proxy.requests(), expected);
}

#[test]
fn delays_only_the_named_method() {
    let proxy = Proxy::start(echo_store()).unwrap();
    let delay = Duration::from_millis(80);
    proxy.delay_puts(delay);
    let mut connection = TcpStream::connect(proxy.address()).unwrap();
    let start = wait::now();
    ask(&mut connection, "PUT", b"abc").unwrap();
    assert!(start.elapsed() >= delay);
    let start = wait::now();
    ask(&mut connection, "GET", b"").unwrap();
    assert!(start.elapsed() < delay);
}

#[test]
fn a_cut_ends_connections_and_is_lifted() {
    let proxy = Proxy::start(echo_store()).unwrap();
    let mut before = TcpStream::connect(proxy.address()).unwrap();
    ask(&mut before, "GET", b"").unwrap();
    proxy.set_faults(Faults {
        cut: true,
        ..Faults::default()
    });
    ask(&mut before, "GET", b"").unwrap_err();
    let mut during = TcpStream::connect(proxy.address()).unwrap();
    ask(&mut during, "GET", b"").unwrap_err();
    proxy.set_faults(Faults::default());
    let mut after = TcpStream::connect(proxy.address()).unwrap();
    assert_eq!(ask(&mut after, "GET", b"").unwrap(), "GET 0");
}

#[test]
fn a_lost_answer_reached_the_store() {
    let proxy = Proxy::start(echo_store()).unwrap();
    proxy.set_faults(Faults {
        lose_answers: vec!["PUT"],
        ..Faults::default()
    });
    let mut connection = TcpStream::connect(proxy.address()).unwrap();
    ask(&mut connection, "PUT", b"abc").unwrap_err();
    assert_eq!(proxy.requests(), BTreeMap::from([("PUT".to_owned(), 1)]));
}

#[test]
fn heads() {
    let parse = |text: &str| Head::parse(text.as_bytes());
    assert_eq!(parse("PUT /a HTTP/1.1\r\nHost: x\r\n").unwrap(), None);
    let head = parse("PUT /a HTTP/1.1\r\nContent-Length: 12\r\n\r\nabc")
        .unwrap()
        .unwrap();
    assert_eq!(
        (head.bytes, head.body_bytes, head.is_chunked),
        (39, 12, false)
    );
    let head = parse("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap()
        .unwrap();
    assert!(head.is_chunked);
    for (case, text) in [
        ("length", "PUT /a HTTP/1.1\r\nContent-Length: x\r\n\r\n"),
        ("protocol", "PRI * SMTP\r\n\r\n"),
        ("header", "GET / HTTP/1.1\r\nnonsense\r\n\r\n"),
    ] {
        assert!(parse(text).is_err(), "{case}");
    }
}
