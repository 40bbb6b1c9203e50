//! What the modes of `sslmode` take and refuse, over a server with a certificate of a test authority
//! for `localhost` (`tests/data/tls`).

use std::fs;
use std::path::Path;

use floe_metadata::engine::Engine;
use floe_storage::key::Lineage;
use floe_tests::components::postgres::Server;

use super::fixture::engine;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/tls");

#[tokio::test]
async fn certificates_are_checked_as_asked() {
    let Some(mut server) = Server::start_or_skip(&[]) else {
        return;
    };
    server.kill();
    for file in ["server.crt", "server.key"] {
        server.add_file(file, &fs::read(Path::new(FILES).join(file)).unwrap());
    }
    server.add_file(
        "pg_hba.conf",
        b"hostssl all all 127.0.0.1/32 scram-sha-256\n",
    );
    server.restart(&["ssl=on"]);
    let lineage = Lineage([3; 16]);
    engine(&format!("{}?sslmode=require", server.url()), lineage)
        .found()
        .await
        .unwrap();

    let roots = |name: &str| format!("sslrootcert={FILES}/{name}");
    for (host, options, is_let_in) in [
        ("127.0.0.1", String::new(), true),
        ("127.0.0.1", "sslmode=disable".to_owned(), false),
        ("127.0.0.1", "sslmode=require".to_owned(), true),
        (
            "localhost",
            format!("sslmode=verify-full&{}", roots("authority.crt")),
            true,
        ),
        // The certificate is for another name.
        (
            "127.0.0.1",
            format!("sslmode=verify-full&{}", roots("authority.crt")),
            false,
        ),
        (
            "127.0.0.1",
            format!("sslmode=verify-ca&{}", roots("authority.crt")),
            true,
        ),
        (
            "127.0.0.1",
            format!("sslmode=require&{}", roots("authority.crt")),
            true,
        ),
        // The authority is none of ours.
        (
            "localhost",
            format!("sslmode=verify-full&{}", roots("other.crt")),
            false,
        ),
        (
            "localhost",
            format!("sslmode=verify-ca&{}", roots("other.crt")),
            false,
        ),
        (
            "localhost",
            format!("sslmode=verify-full&{}", roots("missing.crt")),
            false,
        ),
    ] {
        let url = server.url().replace("127.0.0.1", host);
        let outcome = engine(&format!("{url}?{options}"), lineage).epoch().await;
        assert_eq!(outcome.is_ok(), is_let_in, "{host} {options}: {outcome:?}");
    }
}
