//! Servers that must not be used, each with one line that says what to do.

use floe_metadata::engine::{Engine, EngineError};
use floe_storage::key::Lineage;
use floe_tests::components::postgres::Server;

use super::fixture::{Database, engine};

async fn expect_refusal(case: &str, url: &str, lineage: Lineage, words: &[&str]) {
    let outcome = engine(url, lineage).epoch().await;
    let Err(error @ EngineError::Refused(_)) = outcome else {
        panic!("{case}: {outcome:?}");
    };
    let said = error.to_string();
    assert_eq!(said.lines().count(), 1, "{case}: {said}");
    for word in words {
        assert!(said.contains(word), "{case}: {word:?} is not in: {said}");
    }
    assert!(!said.contains("wrong-password"), "{case}: {said}");
}

#[tokio::test]
async fn users_databases_and_clusters_that_are_not_right() {
    let Some(database) = Database::create().await else {
        return;
    };
    let (schema, lineage) = (&database.schema, database.lineage);
    let role = |suffix: &str, settings: &str| {
        let name = format!("{}_{suffix}", schema.name());
        schema.run(&format!("CREATE ROLE {name} LOGIN PASSWORD 'right'"));
        schema.run(&format!(
            "GRANT USAGE ON SCHEMA {} TO {name}",
            schema.name()
        ));
        if !settings.is_empty() {
            schema.run(&format!("ALTER ROLE {name} SET {settings}"));
        }
        (schema.url_as(&name, "right"), name)
    };

    let (url, name) = role("password", "");
    let wrong = schema.url_as(&name, "wrong-password");
    let words = ["password", &name, "--metadata"];
    expect_refusal("password", &wrong, lineage, &words).await;
    expect_refusal("rights", &url, lineage, &["lacks a right", &name, "GRANT"]).await;
    let no_database = url.replace("/postgres?", "/floe_no_such?");
    let words = ["floe_no_such", "CREATE DATABASE"];
    expect_refusal("database", &no_database, lineage, &words).await;

    let (url, _) = role("lossy", "synchronous_commit = off");
    let words = ["synchronous_commit=off", "synchronous_commit = on"];
    expect_refusal("synchronous_commit", &url, lineage, &words).await;
    let (url, _) = role("reader", "default_transaction_read_only = on");
    expect_refusal("read-only", &url, lineage, &["read-only", "primary"]).await;

    let other = Lineage([0xee; 16]);
    let words = ["does not hold", &other.to_string()];
    expect_refusal("another cluster", &schema.url(), other, &words).await;
    schema.run("UPDATE floe_schema SET version = 7");
    let words = ["version 7", "newer"];
    expect_refusal("newer tables", &schema.url(), lineage, &words).await;
    schema.run("DROP TABLE floe_schema");
    expect_refusal("no tables", &schema.url(), lineage, &["does not hold"]).await;
}

/// A user who may not create tables is told so, and nothing is half made.
#[tokio::test]
async fn a_user_who_may_not_create_tables() {
    let Some(database) = Database::create().await else {
        return;
    };
    let schema = database.schema.postgres().create_schema();
    let name = format!("{}_guest", schema.name());
    schema.run(&format!("CREATE ROLE {name} LOGIN PASSWORD 'right'"));
    schema.run(&format!(
        "GRANT USAGE ON SCHEMA {} TO {name}",
        schema.name()
    ));
    let refused = engine(&schema.url_as(&name, "right"), Lineage([1; 16]))
        .found()
        .await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains(&name) && said.contains("GRANT"), "{said}");
}

#[tokio::test]
async fn servers_that_would_lose_records_or_take_none() {
    let Some(mut server) = Server::start_or_skip(&["fsync=off"]) else {
        return;
    };
    let lineage = Lineage([1; 16]);
    let url = server.url();
    expect_refusal("fsync", &url, lineage, &["fsync=off", "fsync = on"]).await;
    server.run("CHECKPOINT").unwrap();
    server.kill();
    server.add_file("standby.signal", b"");
    server.restart(&[]);
    expect_refusal("standby", &url, lineage, &["standby", "primary"]).await;
    server.kill();
    let outcome = engine(&url, lineage).epoch().await;
    let said = outcome.unwrap_err().to_string();
    assert!(
        said.contains("cannot connect") && said.contains("127.0.0.1:"),
        "{said}"
    );
}
