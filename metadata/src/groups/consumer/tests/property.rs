//! Any schedule of heartbeats, with answers that are lost, agents that ask again and owners that come and go.

use std::collections::BTreeSet;

use floe_protocol::types::TopicPartition;
use proptest::prelude::*;

use super::*;

/// What happens next.
#[derive(Clone, Debug)]
enum Move {
    /// A client sends what it has to say. Its answer may be lost, and its agent may ask again.
    Beat {
        client: usize,
        is_lost: bool,
        is_asked_again: bool,
    },
    /// A client does what it was told: lets go of what it must, takes what it was given.
    Act {
        client: usize,
    },
    Leave {
        client: usize,
    },
    Resize {
        topic: u8,
        count: u8,
    },
    Pass {
        seconds: u8,
    },
    TakeOver,
}

const CLIENTS: usize = 4;

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let client = 0..CLIENTS;
    let one = prop_oneof![
        8 => (client.clone(), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
            .prop_map(|(client, is_lost, is_asked_again)| Move::Beat { client, is_lost, is_asked_again }),
        6 => client.clone().prop_map(|client| Move::Act { client }),
        1 => client.prop_map(|client| Move::Leave { client }),
        1 => (1..4_u8, 0..7_u8).prop_map(|(topic, count)| Move::Resize { topic, count }),
        1 => (0..30_u8).prop_map(|seconds| Move::Pass { seconds }),
        1 => Just(Move::TakeOver),
    ];
    prop::collection::vec(one, 0..150)
}

/// A client as Kafka's behaves.
#[derive(Clone, Debug, Default)]
struct Client {
    epoch: i32,
    /// What it reads.
    owned: Partitions,
    /// What it was told to read.
    told: Partitions,
    /// What it said last that it reads.
    said: Option<Partitions>,
    /// It does not know what was heard of it.
    says_all: bool,
    /// Since when nobody heard it, as far as it knows; it gives up by itself after its session.
    heard: Duration,
}

struct World {
    scene: Scene,
    clients: Vec<Client>,
    now: Duration,
}

impl World {
    fn request(&self, number: usize) -> HeartbeatRequest {
        let (client, id) = (&self.clients[number], format!("m{number}"));
        let subscription = |request| HeartbeatRequest {
            // One finds its topics by an expression.
            names: (number != 3).then(|| vec!["t1".to_owned(), format!("t{}", 1 + number)]),
            regex: (number == 3).then(|| "t[13]".to_owned()),
            // Long: a client that is put out for that hears of it too late for this check.
            rebalance_timeout: Some(at(36_000)),
            ..request
        };
        if client.epoch == 0 {
            let joining = join(&id);
            return subscription(joining);
        }
        let owned = (client.says_all || client.said.as_ref() != Some(&client.owned))
            .then(|| client.owned.clone());
        let request = HeartbeatRequest {
            owned,
            ..beat(&id, client.epoch)
        };
        if client.says_all {
            subscription(request)
        } else {
            request
        }
    }

    fn beat(&mut self, number: usize, is_lost: bool, is_asked_again: bool) {
        let request = self.request(number);
        let answer = self.scene.hear(self.now, request.clone());
        let answer = if is_asked_again {
            let again = HeartbeatRequest {
                is_repeat: true,
                ..request.clone()
            };
            let second = self.scene.hear(self.now, again);
            if answer.error == ErrorCode::None {
                assert_eq!(second.error, ErrorCode::None, "{second:?} the second time");
            }
            second
        } else {
            answer
        };
        let client = &mut self.clients[number];
        if is_lost {
            client.says_all = true;
            return;
        }
        client.heard = self.now;
        match answer.error {
            ErrorCode::None => {
                client.epoch = answer.epoch;
                client.says_all = false;
                client.said = request.owned.or(client.said.take());
                if let Some(told) = answer.assignment {
                    // What it makes of that is said in any case.
                    client.said = None;
                    client.told = told;
                }
            }
            ErrorCode::FencedMemberEpoch
            | ErrorCode::UnknownMemberId
            | ErrorCode::GroupIdNotFound => {
                *client = Client::default();
            }
            other => panic!("{other:?} to {request:?}"),
        }
    }

    /// A client lets go first, and takes what is new when that was heard.
    fn act(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.owned.is_subset(&client.told) {
            client.owned = client.told.clone();
        } else {
            client.owned.retain(|it| client.told.contains(it));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        while self
            .scene
            .group
            .next_tick()
            .is_some_and(|next| next <= self.now)
        {
            self.scene.tick(self.now);
        }
        // Who was not heard for a session knows that its share is given to others.
        for client in &mut self.clients {
            if client.epoch != 0 && client.heard + SESSION <= self.now {
                *client = Client::default();
            }
        }
    }

    fn check(&self) {
        let mut owned = Partitions::new();
        for (number, client) in self.clients.iter().enumerate() {
            for partition in &client.owned {
                assert!(
                    owned.insert(*partition),
                    "{partition} has two owners, one is {number}"
                );
            }
        }
        let group = &self.scene.group;
        let mut taken = Partitions::new();
        for member in group.members.values() {
            for partition in member.kept.assigned.iter().chain(&member.kept.revoking) {
                assert!(taken.insert(*partition), "{partition} is given twice");
            }
        }
        assert_eq!(taken, group.taken);
    }

    /// Everything that is subscribed to is read, and everybody is where it is to be.
    fn settles(&mut self) {
        for _ in 0..20 {
            for number in 0..CLIENTS {
                self.beat(number, false, false);
                self.act(number);
                self.check();
            }
            self.pass(at(1));
        }
        assert_eq!(self.scene.group.state(), GroupState::Stable);
        let owned: BTreeSet<TopicPartition> = self
            .clients
            .iter()
            .flat_map(|it| it.owned.clone())
            .collect();
        let mut expected = Partitions::new();
        self.scene.cluster.for_each(&mut |name, topic, count| {
            if ["t1", "t2", "t3"].contains(&&**name) {
                expected.extend((0..count).map(|index| TopicPartition::new(topic, index)));
            }
        });
        assert_eq!(owned, expected);
        let saved = self.scene.group.saved();
        self.beat(0, false, false);
        assert_eq!(
            self.scene.group.saved(),
            saved,
            "a group that is settled stays as it is"
        );
    }
}

proptest! {
    /// A partition has one owner at any moment, whatever is lost or said twice, and in the end all is read.
    #[test]
    fn a_partition_has_one_owner(moves in moves()) {
        let mut world = World {
            scene: Scene::new(4),
            clients: vec![Client::default(); CLIENTS],
            now: at(0),
        };
        for next in moves {
            match next {
                Move::Beat { client, is_lost, is_asked_again } => world.beat(client, is_lost, is_asked_again),
                Move::Act { client } => world.act(client),
                Move::Leave { client } => {
                    // A client lets go of all before it says that it leaves.
                    world.clients[client] = Client::default();
                    let leaving = beat(&format!("m{client}"), LEAVING);
                    world.scene.hear(world.now, leaving);
                }
                Move::Resize { topic, count } => {
                    let known = world.scene.cluster.topic(&format!("t{topic}"));
                    let count = PartitionIndex::from(count);
                    match known {
                        _ if count == 0 && topic != 1 => world.scene.cluster.delete(topic),
                        Some((_, present)) if count <= present => {}
                        _ => world.scene.cluster.set(topic, count.max(1)),
                    }
                }
                Move::Pass { seconds } => world.pass(at(seconds.into())),
                Move::TakeOver => {
                    let now = world.now;
                    world.scene.take_over(now);
                }
            }
            world.check();
        }
        world.settles();
    }
}
