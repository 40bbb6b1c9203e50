//! Which processes are there: who beats is, who is silent is forgotten, and what is told waits for them.

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::client::view::View;
use crate::client::{BEAT, LEASE, Owner};
use crate::sequencer::proof::BEAT_WINDOW;
use crate::testing::{calm, owner};

/// Beats as an agent does until it is told to stop, registering again when it was forgotten; the
/// incarnations it had.
async fn beat(client: Client, process: u8, view: Arc<View>, stop: CancellationToken) -> Vec<u32> {
    let mut incarnations = Vec::new();
    let beating = async {
        for attempt in 0.. {
            let told = crate::api::NewProcess {
                attempt,
                ..new_process(process)
            };
            let registration = until_answered(&client, |client| {
                let told = told.clone();
                async move { client.register(told).await }
            });
            let incarnation = registration.await.incarnation;
            incarnations.push(incarnation);
            while client.beat(incarnation, view.revision()).await != Ok(false) {
                tokio::time::sleep(BEAT).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = beating => {}
    }
    incarnations
}

/// Two processes that beat; the first owns the sequencer.
struct Scene {
    world: World,
    services: [Service; 2],
    views: [Arc<View>; 2],
    stops: [CancellationToken; 2],
    beating: JoinSet<Vec<u32>>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(false).await
    }

    async fn with(may_both_own: bool) -> Self {
        let world = World::calm();
        let second = ServiceConfig {
            may_own: may_both_own,
            ..world.config(2)
        };
        let services = [
            world.start(1).await.unwrap(),
            world.start_with(second).await.unwrap(),
        ];
        let views = [0, 1].map(|index| {
            let client = services[index].client();
            View::start(client, &world.tasks, CancellationToken::new())
        });
        let stops = [(); 2].map(|()| CancellationToken::new());
        let mut beating = JoinSet::new();
        for (index, process) in [(0, 1), (1, 2)] {
            let client = services[index].client();
            let view = Arc::clone(&views[index]);
            beating.spawn(beat(client, process, view, stops[index].clone()));
        }
        let scene = Self {
            world,
            services,
            views,
            stops,
            beating,
        };
        scene.until_shown(0, &[1, 2]).await;
        // The registrations are answered as well.
        tokio::time::sleep(BEAT).await;
        scene
    }

    /// Waits until a view shows these processes, by their number; how long that took.
    async fn until_shown(&self, view: usize, processes: &[u8]) -> Duration {
        let started = Instant::now();
        let is_shown = || {
            let shown = self.views[view].processes();
            let shown: Vec<_> = shown.iter().map(|process| process.told.nonce[0]).collect();
            shown == processes
        };
        let shown = async {
            while !is_shown() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), shown).await.unwrap();
        started.elapsed()
    }

    /// Ends the beats of a process; the incarnations it had.
    async fn stop(&mut self, index: usize) -> Vec<u32> {
        self.stops[index].cancel();
        self.beating.join_next().await.unwrap().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn who_beats_stays_registered() {
    let mut scene = Scene::new().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.stop(0).await.len(), 1);
    assert_eq!(scene.stop(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_process_is_forgotten_and_comes_back() {
    let mut scene = Scene::new().await;
    let epoch = scene.views[0].leader_epoch();
    scene.world.silence(2, true);
    let took = scene.until_shown(0, &[1]).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(scene.views[0].leader_epoch(), epoch + 1);
    scene.world.silence(2, false);
    scene.until_shown(0, &[1, 2]).await;
    scene.until_shown(1, &[1, 2]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.views[1].leader_epoch(), epoch + 2);
    assert_eq!(scene.stop(1).await.len(), 2, "registered twice");
    assert_eq!(scene.stop(0).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ended_is_forgotten_at_once() {
    let mut scene = Scene::new().await;
    let incarnations = scene.stop(1).await;
    let newest = *incarnations.last().unwrap();
    scene.services[1].client().ended(newest).await.unwrap();
    let took = scene.until_shown(0, &[1]).await;
    assert!(took < Duration::from_millis(200), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_connects_again_in_time_stays_registered() {
    let mut scene = Scene::new().await;
    for _ in 0..20 {
        scene.world.network.disconnect(&owner(2).address);
        tokio::time::sleep(Duration::from_millis(730)).await;
    }
    let incarnations = scene.stop(1).await;
    assert_eq!(incarnations.len(), 1, "{incarnations:?}");
    assert_eq!(scene.stop(0).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stands_still_makes_nobody_silent() {
    let mut scene = Scene::new().await;
    let client = scene.services[1].client();
    client.create_topic(new_topic(1, 1)).await.unwrap();
    scene.world.engine.set_faults(Faults {
        latency: Duration::from_secs(20)..Duration::from_secs(21),
        ..Faults::none()
    });
    // More than may be under way, one by one, so that no calls are taken.
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let client = scene.services[0].client();
        asking.spawn(async move { client.allocate_producer_ids().await });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(19)).await;
    scene.world.engine.set_faults(calm());
    while let Some(answered) = asking.join_next().await {
        answered.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(scene.stop(0).await.len(), 1);
    assert_eq!(scene.stop(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_waits_for_all_views_and_no_longer_than_a_lease() {
    let mut scene = Scene::new().await;
    let client = scene.services[1].client();
    let (_, revision) = client.create_topic(new_topic(1, 1)).await.unwrap();
    client.passed(revision).await.unwrap();
    for view in &scene.views {
        assert!(view.revision() >= revision);
    }
    // A process that shows nothing more, yet may serve clients for as long as its lease lasts.
    scene.world.silence(2, true);
    let client = scene.services[0].client();
    let (_, revision) = client.create_topic(new_topic(2, 1)).await.unwrap();
    let started = Instant::now();
    client.passed(revision).await.unwrap();
    let took = started.elapsed();
    assert!(scene.views[1].revision() < revision);
    assert!(took > LEASE - BEAT - BEAT && took <= LEASE, "{took:?}");
    assert_eq!(scene.stop(0).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_gives_all_time_to_find_it_but_the_dead_one() {
    let mut scene = Scene::with(true).await;
    scene.stop(0).await;
    let first = &scene.services[0];
    scene.world.kill(1, first);
    let took = scene.until_shown(1, &[2]).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(scene.stop(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_without_knowing_lets_nobody_serve() {
    let scene = Scene::with(true).await;
    scene.world.silence(1, true);
    let successor = scene.services[1].client();
    let is_owner = async {
        while !matches!(successor.owner(), Owner::Ready { is_here: true, .. }) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), is_owner).await.unwrap();
    // It has nothing to write that would show it; the beats of its own process are all it hears.
    tokio::time::sleep(BEAT_WINDOW).await;
    let incarnation = scene.views[0].processes()[0].incarnation;
    let client = scene.services[0].client();
    let beat = client.beat(incarnation, 0);
    let answer = timeout(LEASE, beat).await;
    assert!(!matches!(answer, Ok(Ok(true))), "{answer:?}");
}
