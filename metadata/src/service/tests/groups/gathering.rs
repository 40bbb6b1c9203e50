//! Commits of offsets share writes under load, and only then.

use futures::future::join_all;

use super::*;

/// A store as fast as a folder.
fn fast() -> World {
    let latency = Duration::from_micros(400)..Duration::from_micros(600);
    World::new(
        1,
        Faults {
            latency,
            ..Faults::none()
        },
    )
}

/// Commits of a group of its own.
fn by(number: i64) -> Identity {
    Identity {
        group: format!("group-{number}"),
        ..identity("", -1)
    }
}

/// A consumer that commits again on each answer; how often it did.
async fn commits_until(client: Client, number: i64, end: Instant) -> u64 {
    let mut count = 0;
    while Instant::now() < end {
        stored_one(&client, by(number), 0, count).await;
        count += 1;
    }
    u64::try_from(count).unwrap()
}

#[tokio::test(start_paused = true)]
async fn many_share_one_write_per_window() {
    let world = fast();
    let (service, _) = with_topic(&world, 1).await;
    let (before, end) = (
        world.engine.settled(),
        Instant::now() + Duration::from_millis(400),
    );
    let consumers = (0..64).map(|number| commits_until(service.client(), number, end));
    let commits: u64 = join_all(consumers).await.iter().sum();
    let writes = world.engine.settled() - before;
    assert!(writes <= 105, "{writes} writes in 100 windows");
    assert!(commits >= 64 * 60, "{commits} commits");
}

#[tokio::test(start_paused = true)]
async fn one_alone_waits_for_nobody() {
    let world = fast();
    let (service, _) = with_topic(&world, 1).await;
    let client = service.client();
    let started = Instant::now();
    for offset in 0..50 {
        stored_one(&client, by(0), 0, offset).await;
    }
    // A timer wakes up to a millisecond late.
    let took = started.elapsed();
    assert!(took <= Duration::from_millis(50 * 2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn segments_do_not_wait_with_them() {
    let world = fast();
    let (service, incarnation) = with_topic(&world, 1).await;
    let end = Instant::now() + Duration::from_millis(400);
    let consumers = (0..64).map(|number| commits_until(service.client(), number, end));
    let produce = async {
        let client = service.client();
        tokio::time::sleep(Duration::from_millis(50)).await;
        for counter in 0..50 {
            let started = Instant::now();
            let segment = commit(incarnation, counter, &[partition(1, 0)], 1);
            client.commit(segment).await.unwrap();
            let took = started.elapsed();
            assert!(took <= Duration::from_millis(2), "{took:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(join_all(consumers), produce);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_stored_when_the_owner_stops() {
    let world = fast();
    let (service, _) = with_topic(&world, 1).await;
    let client = service.client();
    let round = |offset| {
        let client = client.clone();
        async move {
            let commits = (0..64).map(|number| client.group(commit_offset(by(number), 0, offset)));
            join_all(commits).await
        }
    };
    round(1).await;
    let stop = async {
        // All of them are taken, and time stands still.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        service.release().await
    };
    let (replies, _) = tokio::join!(round(2), stop);
    let stored = Ok(GroupReply::Codes(vec![ErrorCode::None]));
    assert!(replies.iter().all(|reply| *reply == stored), "{replies:?}");
}
