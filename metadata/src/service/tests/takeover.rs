//! Who owns the sequencer when owners die, let go, fall silent or race.

use tokio::time::timeout;

use super::*;
use crate::ownership;
use crate::testing::owner;

/// Longer than any look for an owner lasts while nothing else goes wrong.
const SOON: Duration = Duration::from_secs(5);

fn is_owner(service: &Service) -> bool {
    matches!(
        service.client().owner(),
        client::Owner::Ready { is_here: true, .. }
    )
}

/// Waits until a process owns the sequencer; how long that took.
async fn until_owner(service: &Service) -> Duration {
    let started = Instant::now();
    let owned = async {
        while !is_owner(service) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), owned).await.unwrap();
    started.elapsed()
}

/// The end of a partition, asked until it is answered.
async fn end_of(service: &Service, index: i32) -> i64 {
    let bounds = until_answered(&service.client(), |client| async move {
        client.bounds(vec![partition(1, index)]).await
    })
    .await;
    bounds[0].unwrap().high_watermark
}

async fn commit_until_answered(client: &Client, incarnation: u32, counter: u64) -> Vec<i64> {
    let request = commit(incarnation, counter, &[partition(1, 0)], 1);
    loop {
        match client.commit(request.clone()).await {
            Ok(reply) => return offsets(&reply),
            Err(_) => client.wait_for_owner().await.unwrap(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_process_follows_the_first() {
    let world = World::calm();
    let (first, incarnation) = with_topic(&world, 1).await;
    let started = Instant::now();
    let second = world.start(2).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(200));
    assert!(is_owner(&first) && !is_owner(&second));
    let client = second.client();
    assert_eq!(commit_until_answered(&client, incarnation, 0).await, [0]);
    assert_eq!(end_of(&first, 0).await, 1);
    assert!(matches!(second.release().await, StopReason::Released));
    assert!(is_owner(&first));
}

#[tokio::test(start_paused = true)]
async fn a_killed_owner_is_followed_within_bounded_time() {
    for seed in 0..10 {
        let world = World::new(seed, crate::testing::calm());
        let (first, incarnation) = with_topic(&world, 1).await;
        let second = world.start(2).await.unwrap();
        let committed = commit_until_answered(&second.client(), incarnation, 0).await;
        assert_eq!(committed, [0]);
        world.kill(1, &first);
        let took = until_owner(&second).await;
        assert!(took < Duration::from_secs(1), "seed {seed}: {took:?}");
        assert!(
            took >= proof::SUCCESSOR_WAITS,
            "seed {seed}: the first may answer reads until its proof is too old, {took:?}"
        );
        assert_eq!(end_of(&second, 0).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_owner_is_followed_at_once() {
    for seed in 0..10 {
        let world = World::new(seed, crate::testing::calm());
        let (first, incarnation) = with_topic(&world, 1).await;
        let second = world.start(2).await.unwrap();
        let third = world.start(3).await.unwrap();
        let started = Instant::now();
        let reason = first.release().await;
        assert!(
            matches!(reason, StopReason::Released),
            "seed {seed}: {reason:?}"
        );
        second.client().wait_for_owner().await.unwrap();
        third.client().wait_for_owner().await.unwrap();
        let took = started.elapsed();
        assert!(took < Duration::from_millis(450), "seed {seed}: {took:?}");
        let committed = commit_until_answered(&third.client(), incarnation, 0).await;
        assert_eq!(committed, [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silenced_owner_is_overtaken_and_acknowledges_nothing() {
    for seed in 0..10 {
        let world = World::new(seed, crate::testing::calm());
        let (first, incarnation) = with_topic(&world, 1).await;
        let second = world.start(2).await.unwrap();
        world.silence(1, true);
        let took = until_owner(&second).await;
        assert!(took < SOON, "seed {seed}: {took:?}");
        let committed = commit_until_answered(&second.client(), incarnation, 0).await;
        assert_eq!(committed, [0]);

        // The first reaches the engine, has not noticed, and can do nothing.
        let stale = first.client();
        assert!(is_owner(&first));
        let read = stale.bounds(vec![partition(1, 0)]).await;
        assert_eq!(read, Err(RequestError::Unavailable));
        let lost = stale
            .commit(commit(incarnation, 1, &[partition(1, 0)], 1))
            .await;
        assert_eq!(lost, Err(CommitError::Unavailable));

        world.silence(1, false);
        let committed = commit_until_answered(&stale, incarnation, 1).await;
        assert_eq!(committed, [1], "seed {seed}");
        assert!(!is_owner(&first) && is_owner(&second));
        assert_eq!(end_of(&second, 0).await, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn of_three_that_race_one_owns_and_two_follow() {
    for seed in 0..20 {
        let world = World::new(seed, crate::testing::calm());
        let all = [1, 2, 3].map(|process| world.start(process));
        let all = futures::future::try_join_all(all).await.unwrap();
        let owners = all.iter().filter(|service| is_owner(service)).count();
        assert_eq!(owners, 1, "seed {seed}");
        for service in &all {
            let (topic, _) = until_answered(&service.client(), |client| async move {
                client.create_topic(new_topic(1, 1)).await
            })
            .await;
            assert_eq!(topic.id, topic_id(1));
        }
        // And again, when the owner is killed.
        let dead = all.iter().position(is_owner).unwrap();
        world.kill(u8::try_from(dead + 1).unwrap(), &all[dead]);
        tokio::time::sleep(SOON).await;
        let left = all.iter().enumerate().filter(|(index, _)| *index != dead);
        let owners = left.filter(|(_, service)| is_owner(service)).count();
        assert_eq!(owners, 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_without_the_role_never_claims() {
    let world = World::calm();
    let follower = ServiceConfig {
        may_own: false,
        ..world.config(9)
    };
    let started = world.start_with(follower.clone());
    assert!(timeout(Duration::from_secs(30), started).await.is_err());
    let (first, incarnation) = with_topic(&world, 1).await;
    let service = world.start_with(follower).await.unwrap();
    world.kill(1, &first);
    let waited = timeout(Duration::from_secs(30), service.client().term_over(1)).await;
    waited.unwrap();
    assert!(
        timeout(Duration::from_secs(30), service.client().wait_for_owner())
            .await
            .is_err()
    );
    let second = world.start(2).await.unwrap();
    assert!(is_owner(&second));
    let client = service.client();
    assert_eq!(commit_until_answered(&client, incarnation, 0).await, [0]);
    assert!(!is_owner(&service));
}

#[tokio::test(start_paused = true)]
async fn in_a_folder_who_holds_the_lock_owns() {
    let world = World::calm();
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |process| ServiceConfig {
        exclusion: Exclusion::Folder(folder.path().to_owned()),
        ..world.config(process)
    };
    let first = world.start_with(in_folder(1)).await.unwrap();
    let second = world.start_with(in_folder(2)).await.unwrap();
    assert!(is_owner(&first) && !is_owner(&second));
    // Silence is no reason: the lock says that its owner lives.
    world.silence(1, true);
    let looked = timeout(Duration::from_secs(20), second.client().term_over(1)).await;
    looked.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(is_owner(&first) && !is_owner(&second));
    world.silence(1, false);
    timeout(SOON, second.client().wait_for_owner())
        .await
        .unwrap()
        .unwrap();
    // The lock goes with its process, which then is surely gone and not waited for.
    world.kill(1, &first);
    first.stopped().await;
    let started = Instant::now();
    let took = until_owner(&second).await;
    assert!(took < proof::SUCCESSOR_WAITS, "{took:?}");
    assert!(started.elapsed() < proof::SUCCESSOR_WAITS);
    let third = world.start_with(in_folder(3)).await.unwrap();
    assert!(!is_owner(&third));
}

#[tokio::test(start_paused = true)]
async fn a_claimant_that_never_gets_ready_is_not_waited_for_for_ever() {
    let world = World::calm();
    // A process that answers, and has claimed, but never acquires the engine.
    let network = world.network.clone();
    let stuck = world.config(1);
    let prepared = Prepared::new(stuck.clone(), &world.tasks).await.unwrap();
    let lineage = prepared.cluster().lineage;
    let incoming = network.listen(&owner(1).address);
    let routes = crate::rpc::Routes::new(prepared.grpc());
    world
        .tasks
        .spawn(crate::rpc::serve(incoming, routes, world.served.clone()));
    let second = world.start(2);
    tokio::pin!(second);
    let claims = async {
        // It claims epoch after epoch, as one does that cannot reach the engine.
        let mut newest = None;
        for _ in 0..10 {
            let claim =
                ownership::Ownership::claim(&world.store, lineage, owner(1), newest.as_ref(), 0);
            if claim.await.unwrap().is_none() {
                break;
            }
            newest = ownership::newest(&world.store, lineage)
                .await
                .unwrap()
                .map(|(claim, _)| claim);
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        std::future::pending::<()>().await;
    };
    let started = tokio::select! {
        started = timeout(Duration::from_secs(25), &mut second) => started,
        () = claims => unreachable!("never ends"),
    };
    assert!(is_owner(&started.unwrap().unwrap()));
}
