use futures::FutureExt;
use tokio::time::timeout;

use super::*;
use crate::engine::memory::Faults;
use crate::service::Service;
use crate::testing::{World, calm, commit, new_process, new_topic, partition, topic_id};

/// A service with one topic of four partitions, a registered process, and a view of it.
struct Scene {
    world: World,
    service: Service,
    incarnation: u32,
    counter: u64,
    view: Arc<View>,
    token: CancellationToken,
}

impl Scene {
    async fn new() -> Self {
        let world = World::calm();
        let service = world.start(1).await.unwrap();
        let client = service.client();
        let token = CancellationToken::new();
        let view = View::start(client.clone(), &world.tasks, token.clone());
        client.create_topic(new_topic(1, 4)).await.unwrap();
        let incarnation = client.register(new_process(1)).await.unwrap().incarnation;
        // It sends no beats, and shall not be forgotten in the middle of a test.
        client.leave(incarnation).await.unwrap();
        Self {
            world,
            service,
            incarnation,
            counter: 0,
            view,
            token,
        }
    }

    /// Commits `record_count` records to each of `partitions`, as often as it takes.
    async fn commit(&mut self, partitions: &[TopicPartition], record_count: u32) -> Revision {
        let request = commit(self.incarnation, self.counter, partitions, record_count);
        self.counter += 1;
        loop {
            match self.service.client().commit(request.clone()).await {
                Ok(reply) => return reply.revision,
                Err(_) => self.service.client().wait_for_owner().await.unwrap(),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shows_what_is_committed() {
    let mut scene = Scene::new().await;
    let one = partition(1, 2);
    let revision = scene.commit(&[one], 10).await;
    scene.view.wait_revision(revision).await;
    assert!(scene.view.is_ready());
    assert!(scene.view.revision() >= revision);
    assert_eq!(scene.view.bounds(one).unwrap().high_watermark, 10);
    let Tail::Extents(extents, bounds) = scene.view.tail(one, 3, 1000) else {
        panic!("not resident");
    };
    assert_eq!((extents.len(), bounds.high_watermark), (1, 10));
    let by_name = scene.view.topic_by_name("topic-1").unwrap();
    assert_eq!(scene.view.topics(), std::slice::from_ref(&by_name));
    assert_eq!(scene.view.topic(topic_id(1)), Some(by_name));
    let revision = scene
        .service
        .client()
        .delete_topic(topic_id(1))
        .await
        .unwrap();
    scene.view.wait_revision(revision).await;
    assert_eq!(scene.view.topic_by_name("topic-1"), None);
    assert_eq!(scene.view.tail(one, 3, 1000), Tail::UnknownPartition);
}

#[tokio::test(start_paused = true)]
async fn wakes_those_who_wait_for_the_partition_only() {
    let mut scene = Scene::new().await;
    let mut idle: Vec<_> = (0..2000)
        .map(|_| scene.view.waiter(&[partition(1, 0)]))
        .collect();
    let mut waiting = scene.view.waiter(&[partition(1, 1), partition(1, 3)]);
    let revision = scene.commit(&[partition(1, 3)], 1).await;
    scene.view.wait_revision(revision).await;
    timeout(Duration::from_secs(1), waiting.changed())
        .await
        .unwrap();
    assert!(
        idle.iter_mut()
            .all(|waiter| waiter.changed().now_or_never().is_none())
    );
    assert!(
        waiting.changed().now_or_never().is_none(),
        "one change, one wake-up"
    );

    drop(idle);
    drop(waiting);
    assert_eq!(
        scene.view.interests.partition_count(),
        0,
        "interest ends with the waiter"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_before_the_wait_is_not_lost() {
    let mut scene = Scene::new().await;
    let mut waiter = scene.view.waiter(&[partition(1, 0)]);
    for _ in 0..3 {
        let revision = scene.commit(&[partition(1, 0)], 1).await;
        scene.view.wait_revision(revision).await;
    }
    // A wait that is given up has not taken the wake-up.
    drop(Box::pin(waiter.changed()));
    timeout(Duration::from_secs(1), waiter.changed())
        .await
        .unwrap();
    assert!(waiter.changed().now_or_never().is_none());

    let revision = scene
        .service
        .client()
        .delete_topic(topic_id(1))
        .await
        .unwrap();
    scene.view.wait_revision(revision).await;
    timeout(Duration::from_secs(1), waiter.changed())
        .await
        .unwrap();
}

/// Consumers that only wait when they have seen everything reach the end, whatever the interleaving.
#[tokio::test(start_paused = true)]
async fn waiting_consumers_reach_the_end() {
    let mut scene = Scene::new().await;
    scene.world.engine.set_faults(Faults {
        lost_reply: 0.03,
        lost_batch: 0.03,
        ..calm()
    });
    let mut consumers = tokio::task::JoinSet::new();
    for number in 0..40 {
        let view = Arc::clone(&scene.view);
        consumers.spawn(async move {
            let one = partition(1, number % 4);
            let (mut position, mut watermark) = (0, 0);
            while position < 100 {
                let mut waiter = view.waiter(&[one]);
                let (end, bounds) = match view.tail(one, position, 250) {
                    Tail::Extents(extents, bounds) => (
                        extents.last().map_or(position, |last| last.end_offset),
                        bounds,
                    ),
                    Tail::Older(bounds) => (bounds.high_watermark, bounds),
                    Tail::UnknownPartition => (position, PartitionBounds::default()),
                };
                assert!(
                    bounds.high_watermark >= watermark,
                    "a high watermark went back"
                );
                watermark = bounds.high_watermark;
                if end == position {
                    timeout(Duration::from_secs(600), waiter.changed())
                        .await
                        .unwrap();
                }
                position = end;
                tokio::time::sleep(Duration::from_millis(u64::try_from(number).unwrap())).await;
            }
        });
    }
    let all = [
        partition(1, 0),
        partition(1, 1),
        partition(1, 2),
        partition(1, 3),
    ];
    for _ in 0..100 {
        scene.commit(&all, 1).await;
    }
    while let Some(ended) = consumers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_owner_costs_nothing_when_nothing_was_missed() {
    let mut scene = Scene::new().await;
    let one = partition(1, 0);
    let revision = scene.commit(&[one], 10).await;
    scene.view.wait_revision(revision).await;
    let mut waiter = scene.view.waiter(&[one]);
    scene.world.engine.set_faults(Faults {
        lost_batch: 1.0,
        ..calm()
    });
    let lost = commit(scene.incarnation, 77, &[one], 1);
    assert!(scene.service.client().commit(lost).await.is_err());
    assert_eq!(scene.view.bounds(one).unwrap().high_watermark, 10);
    scene.world.engine.set_faults(calm());
    let revision = scene.commit(&[one], 5).await;
    scene.view.wait_revision(revision).await;
    timeout(Duration::from_secs(1), waiter.changed())
        .await
        .unwrap();
    assert_eq!(scene.view.bounds(one).unwrap().high_watermark, 15);
    assert!(matches!(scene.view.tail(one, 9, 1000), Tail::Extents(it, _) if it.len() == 2));
}

#[tokio::test(start_paused = true)]
async fn a_lost_owner_costs_the_tail_when_something_was_missed() {
    let mut scene = Scene::new().await;
    let one = partition(1, 0);
    let revision = scene.commit(&[one], 10).await;
    scene.view.wait_revision(revision).await;
    let mut waiter = scene.view.waiter(&[one]);
    scene.world.engine.set_faults(Faults {
        lost_reply: 1.0,
        ..calm()
    });
    let unanswered = commit(scene.incarnation, 77, &[one], 1);
    assert!(scene.service.client().commit(unanswered).await.is_err());
    scene.world.engine.set_faults(calm());
    timeout(Duration::from_secs(60), waiter.changed())
        .await
        .unwrap();
    assert_eq!(scene.view.bounds(one).unwrap().high_watermark, 11);
    let revision = scene.commit(&[one], 5).await;
    scene.view.wait_revision(revision).await;
    assert_eq!(scene.view.bounds(one).unwrap().high_watermark, 16);
    assert!(matches!(scene.view.tail(one, 9, 1000), Tail::Older(_)));
    assert!(matches!(scene.view.tail(one, 11, 1000), Tail::Extents(it, _) if it.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_falls_behind_starts_anew() {
    let mut scene = Scene::new().await;
    let client = scene.service.client();
    let Subscription {
        snapshot: before,
        stream: mut slow,
    } = client.subscribe(None).await.unwrap();
    let mut quick = client.subscribe(None).await.unwrap().stream;
    let mut last = 0;
    for _ in 0..1100 {
        last = scene.commit(&[partition(1, 0)], 1).await;
        // Meanwhile the process that commits is forgotten, since it does not beat.
        while quick.next().await.unwrap().revision < last {}
    }
    assert!(slow.next().await.is_err());
    let after = client.subscribe(None).await.unwrap().snapshot.unwrap();
    let before = before.unwrap();
    assert!(before.revision < last && after.revision >= last);
    assert_eq!(after.bounds[0][0].high_watermark, 1100);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_resident_for_ever_whether_or_not_there_is_an_owner() {
    for loses_owner in [false, true] {
        let mut scene = Scene::new().await;
        let one = partition(1, 0);
        let revision = scene.commit(&[one], 10).await;
        scene.view.wait_revision(revision).await;
        if loses_owner {
            scene.service.kill();
        }
        let resident_for = Duration::from_secs(u64::from(picture::RESIDENT_SECONDS));
        tokio::time::sleep(resident_for - SWEEP_EVERY).await;
        let tail = || scene.view.tail(one, 0, 1000);
        assert!(matches!(tail(), Tail::Extents(..)), "{loses_owner}");
        tokio::time::sleep(2 * SWEEP_EVERY).await;
        assert!(matches!(tail(), Tail::Older(_)), "{loses_owner}");
        assert!(
            matches!(scene.view.tail(one, 10, 1000), Tail::Extents(it, _) if it.is_empty()),
            "the end is known all the same"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_history_is_not_shown() {
    let view = Arc::new(View::empty(10));
    let snapshot = |revision| Snapshot {
        revision,
        ..Snapshot::default()
    };
    assert!(view.replace(&snapshot(5)));
    assert!(!view.replace(&snapshot(4)));
    assert!(view.replace(&snapshot(5)));
    assert_eq!(view.revision(), 5);
}

#[tokio::test(start_paused = true)]
async fn ends_when_told() {
    let scene = Scene::new().await;
    assert!(matches!(
        scene.service.release().await,
        crate::service::StopReason::Released
    ));
    let ended = timeout(Duration::from_secs(1), scene.world.tasks.ended()).await;
    assert!(ended.is_err(), "the view stays, and waits to be told");
    scene.world.served.cancel();
    scene.token.cancel();
    timeout(Duration::from_secs(1), scene.world.tasks.ended())
        .await
        .unwrap();
}
