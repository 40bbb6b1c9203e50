//! The server is killed, the cable cut, a reply lost: whatever was answered durable is there, once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_metadata::engine::EngineError;
use floe_storage::key::Lineage;
use floe_tests::cable::Cable;
use floe_tests::components::postgres::{Schema, Server};
use floe_tests::say::say;
use floe_tests::wait;
use tokio::time::Instant;

use super::fixture::{Database, batch, batches, engine, own};

const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_are_settled_and_nothing_is_done_twice() {
    const ROUNDS: u64 = 12;
    let Some(database) = Database::create().await else {
        return;
    };
    let cable = Cable::start(database.schema.postgres().address()).unwrap();
    let session = database
        .own_by(&database.schema.url_through(cable.address()))
        .await;
    let mut next = 0;
    for round in 0..ROUNDS {
        // One batch whose reply is lost, and some that come while it is settled.
        let before = database.sequence();
        cable.lose_answers(true);
        let lost = session.submit(batch(next));
        let late: Vec<_> = (1..=round)
            .map(|later| session.submit(batch(next + later)))
            .collect();
        if round % 3 != 0 {
            wait::until("the batch takes effect", LIMIT, || {
                (database.sequence() > before).then_some(())
            });
        }
        cable.lose_answers(false);
        cable.cut();
        lost.await.unwrap();
        for late in late {
            late.await.unwrap();
        }
        next += round + 1;
        assert_eq!(batches(&session).await, next, "round {round}");
    }
    // A second effect of any group would have counted.
    let groups = database.sequence();
    assert!((ROUNDS..=2 * ROUNDS).contains(&groups), "{groups} groups");
    session.barrier().await.unwrap();
    session.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_are_terminated_lose_nothing() {
    let Some(database) = Database::create().await else {
        return;
    };
    let session = database.own().await;
    let stop = Instant::now() + Duration::from_secs(2);
    let writing = async {
        let mut next = 0;
        while Instant::now() < stop {
            session.submit(batch(next)).await.unwrap();
            next += 1;
        }
        next
    };
    let schema = database.schema.clone();
    let killing = tokio::task::spawn_blocking(move || {
        while Instant::now() < stop {
            terminate(&schema);
            wait::pause(PAUSE);
        }
    });
    let (written, killed) = tokio::join!(writing, killing);
    killed.unwrap();
    assert_eq!(batches(&session).await, written);
    assert_eq!(
        database.sequence(),
        written,
        "each batch was a group of its own"
    );
    say(&format!("{written} batches while backends were terminated"));
}

/// Ends the backends of the engine under test.
fn terminate(schema: &Schema) {
    let name = schema.name();
    schema.postgres().run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_has_what_it_acknowledged() {
    let lineage = Lineage([9; 16]);
    let Some(mut server) = Server::start_or_skip(&[]) else {
        return;
    };
    engine(&server.url(), lineage).found().await.unwrap();
    let mut expected = 0;
    for round in 0..3 {
        let session = own(&server.url(), lineage).await;
        let first = batches(&session).await;
        assert_eq!(first, expected, "round {round}");
        let writing = async {
            let mut next = first;
            loop {
                match session.submit(batch(next)).await {
                    Ok(()) => next += 1,
                    Err(EngineError::Fenced) => return next,
                    Err(error) => panic!("a restart is survived: {error}"),
                }
            }
        };
        let killing = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let restarted = tokio::task::spawn_blocking(move || {
                server.restart(&[]);
                server
            });
            let server = restarted.await.unwrap();
            // A newer owner ends the older one.
            let newer = own(&server.url(), lineage).await;
            (batches(&newer).await, server)
        };
        let (acknowledged, (found, restarted)) = tokio::join!(writing, killing);
        // What was under way when the fence came may have landed before it.
        let landed = acknowledged..=acknowledged + 1;
        assert!(landed.contains(&found), "{found} of {acknowledged}");
        (expected, server) = (found, restarted);
    }
}

/// The settling session and the one that is set back both wait for their patience to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_pass_ends_the_session() {
    let (Some(cut), Some(set_back)) = (Database::create().await, Database::create().await) else {
        return;
    };
    let cable = Cable::start(cut.schema.postgres().address()).unwrap();
    let unplugged = async {
        let session = cut.own_by(&cut.schema.url_through(cable.address())).await;
        session.submit(batch(0)).await.unwrap();
        cable.unplug(true);
        let other = Bytes::from_static(b"other");
        let (write, read) = tokio::join!(session.submit(batch(1)), session.get(&other));
        for outcome in [write, read.map(drop), session.barrier().await] {
            assert!(
                matches!(outcome, Err(EngineError::Unavailable(Some(_)))),
                "{outcome:?}"
            );
        }
        assert_eq!(batches(&cut.own().await).await, 1);
    };
    let set_back = async {
        let session = set_back.own().await;
        for number in 0..3 {
            session.submit(batch(number)).await.unwrap();
        }
        set_back
            .schema
            .run("UPDATE floe_owner SET sequence = sequence - 1");
        let outcome = session.submit(batch(3)).await;
        assert!(
            matches!(outcome, Err(EngineError::Damaged(_))),
            "{outcome:?}"
        );
        let said = outcome.unwrap_err().to_string();
        assert!(
            said.contains("set back") && said.contains("batch 2 of epoch 1"),
            "{said}"
        );
        // Nothing was written to it.
        assert_eq!(batches(&set_back.own().await).await, 3);
    };
    tokio::join!(unplugged, set_back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_did_not_wait_for_its_standby_is_not_believed() {
    let Some(server) = Server::start_or_skip(&[]) else {
        return;
    };
    let lineage = Lineage([8; 16]);
    engine(&server.url(), lineage).found().await.unwrap();
    let session = own(&server.url(), lineage).await;
    session.submit(batch(0)).await.unwrap();
    let admin = |sql: &str| server.run(&format!("SET synchronous_commit = local; {sql}"));
    let standby = |name: &str| {
        // Neither runs inside of a transaction with others.
        server
            .run(&format!(
                "ALTER SYSTEM SET synchronous_standby_names = '{name}'"
            ))
            .unwrap();
        server.run("SELECT pg_reload_conf()").unwrap();
    };
    standby("nobody");
    wait::until("the setting is taken", LIMIT, || {
        let shown = server.run("SHOW synchronous_standby_names").unwrap();
        (shown == ["nobody"]).then_some(())
    });
    let mut waiting = Box::pin(session.submit(batch(1)));
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    for _ in 0..2 {
        wait::until(
            "a commit waits for the standby and is cancelled",
            LIMIT,
            || (!admin(cancel).unwrap().is_empty()).then_some(()),
        );
        let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
        assert!(early.is_err(), "{early:?}");
    }
    standby("");
    waiting.await.unwrap();
    assert_eq!(batches(&session).await, 2);
}

#[tokio::test]
async fn deleted_rows_are_swept() {
    let Some(database) = Database::create().await else {
        return;
    };
    let session = database.own().await;
    let rows = (0..5000).map(|number| Bytes::from(format!("row/{number}")));
    let put = rows.clone().map(|key| (key.clone(), Some(key))).collect();
    session.submit(put).await.unwrap();
    let deleted = rows.clone().map(|key| (key, None)).collect();
    session.submit(deleted).await.unwrap();
    // Put again before it is swept: stays.
    let again = Bytes::from_static(b"row/17");
    let put = vec![(again.clone(), Some(Bytes::from_static(b"again")))];
    session.submit(put).await.unwrap();
    let end = Instant::now() + LIMIT;
    loop {
        tokio::time::sleep(PAUSE).await;
        let left = database.schema.run("SELECT count(*) FROM floe_row");
        if left == ["1"] {
            break;
        }
        assert!(Instant::now() < end, "{left:?} rows are left");
    }
    let value = session.get(&again).await.unwrap();
    assert_eq!(value, Some(Bytes::from_static(b"again")));
}

#[tokio::test]
async fn several_lineages_share_the_tables() {
    let Some(database) = Database::create().await else {
        return;
    };
    let other = Lineage([0xff; 16]);
    engine(&database.schema.url(), other).found().await.unwrap();
    let (one, two) = (
        database.own().await,
        own(&database.schema.url(), other).await,
    );
    one.submit(batch(0)).await.unwrap();
    assert_eq!(batches(&two).await, 0);
    two.submit(batch(0)).await.unwrap();
    two.submit(batch(1)).await.unwrap();
    assert_eq!((batches(&one).await, batches(&two).await), (1, 2));
}

#[tokio::test]
async fn reads_are_answered_together_and_in_pages() {
    let Some(database) = Database::create().await else {
        return;
    };
    let session = database.own().await;
    let key = |number: usize| Bytes::from(format!("k{number:05}"));
    let value = |number: usize| Bytes::from(vec![1; number % 3000]);
    let rows = (0..3000).map(|number| (key(number), Some(value(number))));
    session.submit(rows.collect()).await.unwrap();
    let looked_up = futures::future::join_all((0..3001).map(|number| {
        let (session, key) = (Arc::clone(&session), key(number));
        async move { session.get(&key).await.unwrap() }
    }))
    .await;
    for (number, found) in looked_up.into_iter().enumerate() {
        assert_eq!(found, (number < 3000).then(|| value(number)), "{number}");
    }
    let all = Bytes::from_static(b"k")..Bytes::from_static(b"l");
    let scanned: Vec<_> = futures::TryStreamExt::try_collect(session.scan(all))
        .await
        .unwrap();
    let expected: Vec<_> = (0..3000)
        .map(|number| (key(number), value(number)))
        .collect();
    assert_eq!(scanned, expected);
}

#[tokio::test]
async fn how_long_a_commit_takes() {
    const COMMITS: u64 = 300;
    let Some(database) = Database::create().await else {
        return;
    };
    let session = database.own().await;
    let mut times = Vec::new();
    for number in 0..COMMITS {
        let start = Instant::now();
        session.submit(batch(number)).await.unwrap();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let start = Instant::now();
    let together = (COMMITS..20 * COMMITS).map(|number| session.submit(batch(number)));
    for outcome in futures::future::join_all(together).await {
        outcome.unwrap();
    }
    say(&format!(
        "a commit to PostgreSQL takes {:?} (median), {:?} (worst of {COMMITS}); {} at once {:?}",
        times[times.len() / 2],
        times[times.len() - 1],
        19 * COMMITS,
        start.elapsed(),
    ));
}
