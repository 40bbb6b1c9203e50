//! A group of the consumer protocol: scripts of heartbeats, and any schedule of them.

use std::cell::RefCell;

use super::*;

mod fencing;
mod migration;
mod property;

const SESSION: Duration = Duration::from_secs(45);

pub(super) fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn topic(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

/// Topics by name; `t1` has the id of 1, and so on.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    topics: RefCell<BTreeMap<Arc<str>, (TopicId, PartitionIndex)>>,
    version: RefCell<u64>,
}

impl Cluster {
    pub(super) fn set(&self, number: u8, count: PartitionIndex) {
        let name = Arc::from(format!("t{number}"));
        self.topics
            .borrow_mut()
            .insert(name, (topic(number), count));
        *self.version.borrow_mut() += 1;
    }

    pub(super) fn delete(&self, number: u8) {
        self.topics.borrow_mut().remove(&*format!("t{number}"));
        *self.version.borrow_mut() += 1;
    }

    pub(super) fn catalog(&self) -> Catalog<'_> {
        Catalog {
            topics: self,
            version: *self.version.borrow(),
        }
    }
}

impl Topics for Cluster {
    fn topic(&self, name: &str) -> Option<(TopicId, PartitionIndex)> {
        self.topics.borrow().get(name).copied()
    }

    fn name_of(&self, id: TopicId) -> Option<Arc<str>> {
        let topics = self.topics.borrow();
        let found = topics.iter().find(|(_, topic)| topic.0 == id);
        found.map(|(name, _)| Arc::clone(name))
    }

    fn for_each(&self, each: &mut dyn FnMut(&Arc<str>, TopicId, PartitionIndex)) {
        for (name, (id, count)) in &*self.topics.borrow() {
            each(name, *id, *count);
        }
    }
}

pub(super) fn join(id: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        member_id: id.to_owned(),
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout: Some(at(60)),
        names: Some(vec!["t1".to_owned()]),
        owned: Some(Partitions::new()),
        ..HeartbeatRequest::default()
    }
}

pub(super) fn beat(id: &str, epoch: i32) -> HeartbeatRequest {
    HeartbeatRequest {
        member_id: id.to_owned(),
        epoch,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        ..HeartbeatRequest::default()
    }
}

pub(super) fn owning(id: &str, epoch: i32, indexes: &[PartitionIndex]) -> HeartbeatRequest {
    HeartbeatRequest {
        owned: Some(of(1, indexes)),
        ..beat(id, epoch)
    }
}

/// Partitions of one topic.
pub(super) fn of(number: u8, indexes: &[PartitionIndex]) -> Partitions {
    let indexes = indexes.iter();
    indexes
        .map(|index| floe_protocol::types::TopicPartition::new(topic(number), *index))
        .collect()
}

pub(super) struct Scene {
    pub(super) cluster: Cluster,
    pub(super) group: Group,
}

impl Scene {
    /// A group without members, and `t1` of so many partitions.
    pub(super) fn new(partitions: PartitionIndex) -> Self {
        let cluster = Cluster::default();
        cluster.set(1, partitions);
        Self {
            cluster,
            group: Group::new(ConsumerConfig::default(), 0),
        }
    }

    pub(super) fn hear(&mut self, now: Duration, request: HeartbeatRequest) -> HeartbeatAnswer {
        if let Err(refusal) = request.check("group", &self.group.config) {
            return HeartbeatAnswer::refused(refusal);
        }
        self.group.heartbeat(now, self.cluster.catalog(), request)
    }

    /// What is told, which has to work: epoch, and the partitions of `t1` where they are told.
    #[track_caller]
    pub(super) fn told(
        &mut self,
        now: Duration,
        request: HeartbeatRequest,
    ) -> (i32, Option<Vec<PartitionIndex>>) {
        let answer = self.hear(now, request);
        assert_eq!(answer.error, ErrorCode::None, "{answer:?}");
        let indexes = |it: Partitions| it.into_iter().map(|it| it.partition).collect();
        (answer.epoch, answer.assignment.map(indexes))
    }

    #[track_caller]
    pub(super) fn refused(&mut self, now: Duration, request: HeartbeatRequest) -> ErrorCode {
        let before = self.group.clone();
        let answer = self.hear(now, request);
        assert_ne!(answer.error, ErrorCode::None);
        assert!(answer.message.is_some_and(|message| !message.is_empty()));
        assert_eq!(
            self.group.saved(),
            before.saved(),
            "a refusal changes nothing"
        );
        answer.error
    }

    pub(super) fn tick(&mut self, now: Duration) {
        self.group.tick(now, self.cluster.catalog());
    }

    /// Another owner goes on with what is saved.
    pub(super) fn take_over(&mut self, now: Duration) {
        let saved = self.group.saved();
        self.group = Group::restored(self.group.config.clone(), now, &saved);
        assert_eq!(self.group.saved(), saved);
        assert_eq!(self.group.take_save(), None);
    }
}

#[test]
fn a_member_gets_everything_and_hears_of_it_once() {
    let mut scene = Scene::new(3);
    assert_eq!(scene.told(at(0), join("a")), (1, Some(vec![0, 1, 2])));
    assert!(scene.group.take_save().is_some());
    assert_eq!(scene.told(at(5), beat("a", 1)), (1, None));
    assert_eq!(scene.told(at(6), owning("a", 1, &[0, 1, 2])), (1, None));
    assert_eq!(scene.group.take_save(), None, "nothing has changed");
    let full = HeartbeatRequest {
        epoch: 1,
        owned: Some(of(1, &[0])),
        ..join("a")
    };
    assert_eq!(scene.told(at(7), full), (1, Some(vec![0, 1, 2])));
    assert_eq!(scene.group.take_save(), None);
    assert_eq!(scene.group.state(), GroupState::Stable);
}

#[test]
fn a_partition_changes_hands_only_when_its_owner_lets_go() {
    let mut scene = Scene::new(4);
    scene.told(at(0), join("a"));
    assert_eq!(scene.told(at(1), join("b")), (2, Some(vec![])));
    assert_eq!(scene.group.state(), GroupState::Reconciling);
    assert_eq!(
        scene.told(at(2), beat("b", 2)),
        (2, None),
        "nothing is free"
    );
    // It is told what to keep, at the epoch it has.
    assert_eq!(scene.told(at(3), beat("a", 1)), (1, Some(vec![0, 1])));
    assert_eq!(scene.told(at(4), owning("a", 1, &[0, 1, 2, 3])), (1, None));
    assert_eq!(scene.told(at(5), owning("a", 1, &[0, 1, 3])), (1, None));
    assert_eq!(scene.told(at(5), beat("b", 2)), (2, None));
    assert_eq!(scene.told(at(6), owning("a", 1, &[0, 1])), (2, None));
    assert_eq!(scene.told(at(7), beat("b", 2)), (2, Some(vec![2, 3])));
    assert_eq!(scene.group.state(), GroupState::Stable);
    let described = scene.group.described(scene.cluster.catalog());
    assert_eq!((described.epoch, &*described.assignor), (2, "uniform"));
    let member = &described.members[1];
    assert_eq!(member.assigned, [(topic(1), Arc::from("t1"), vec![2, 3])]);
    assert_eq!((member.epoch, member.is_classic), (2, false));
}

#[test]
fn who_leaves_frees_at_once_what_it_had() {
    let mut scene = Scene::new(2);
    scene.told(at(0), join("a"));
    scene.told(at(0), join("b"));
    scene.told(at(1), beat("a", 1));
    scene.told(at(1), owning("a", 1, &[0]));
    assert_eq!(scene.told(at(2), beat("b", 2)), (2, Some(vec![1])));
    assert_eq!(scene.told(at(3), beat("b", LEAVING)), (LEAVING, None));
    assert_eq!(scene.told(at(4), beat("a", 2)), (3, Some(vec![0, 1])));
    assert_eq!(scene.told(at(5), beat("a", LEAVING)), (LEAVING, None));
    assert_eq!(scene.group.state(), GroupState::Empty);
    assert_eq!(scene.group.next_tick(), None);
    assert_eq!(
        scene.refused(at(6), beat("a", 3)),
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn who_is_silent_or_does_not_let_go_in_time_is_out() {
    let mut scene = Scene::new(2);
    scene.told(at(0), join("a"));
    scene.told(at(1), join("b"));
    scene.told(at(20), beat("a", 1));
    assert_eq!(scene.group.next_tick(), Some(at(1) + SESSION));
    scene.tick(at(46));
    assert_eq!(scene.group.members.len(), 1);
    scene.told(at(50), join("b"));
    // It lives, but keeps what it was told to give away at 20.
    for second in (50..80).step_by(5) {
        scene.told(at(second), owning("a", 1, &[0, 1]));
        scene.told(at(second), beat("b", 4));
        scene.tick(at(second));
    }
    scene.tick(at(80));
    assert_eq!(
        scene.refused(at(80), owning("a", 1, &[0, 1])),
        ErrorCode::UnknownMemberId
    );
    assert_eq!(scene.told(at(81), beat("b", 4)), (5, Some(vec![0, 1])));
}

#[test]
fn topics_that_come_grow_and_go_are_noticed() {
    let mut scene = Scene::new(1);
    let both = HeartbeatRequest {
        names: Some(vec!["t1".to_owned(), "t2".to_owned()]),
        ..join("a")
    };
    assert_eq!(scene.told(at(0), both), (1, Some(vec![0])));
    scene.cluster.set(2, 2);
    assert_eq!(scene.told(at(5), beat("a", 1)), (2, Some(vec![0, 0, 1])));
    scene.cluster.set(3, 1);
    assert_eq!(
        scene.told(at(6), beat("a", 2)),
        (2, None),
        "it is not concerned"
    );
    scene.cluster.set(1, 3);
    assert_eq!(
        scene.told(at(7), beat("a", 2)),
        (3, Some(vec![0, 1, 2, 0, 1]))
    );
    scene.cluster.delete(2);
    assert_eq!(scene.told(at(8), beat("a", 3)), (3, Some(vec![0, 1, 2])));
    assert_eq!(scene.told(at(9), owning("a", 3, &[0, 1, 2])), (4, None));
    // Another owner has to look, and finds nothing new.
    scene.take_over(at(10));
    assert_eq!(scene.told(at(11), beat("a", 4)), (4, None));
    scene.take_over(at(12));
    scene.cluster.set(1, 4);
    assert_eq!(
        scene.told(at(13), beat("a", 4)),
        (5, Some(vec![0, 1, 2, 3]))
    );
}

#[test]
fn expressions_find_topics_that_come_later() {
    let mut scene = Scene::new(1);
    let by_regex = |pattern: &str| HeartbeatRequest {
        names: None,
        regex: Some(pattern.to_owned()),
        ..join("a")
    };
    assert_eq!(scene.told(at(0), by_regex("t[2-4]")), (1, Some(vec![])));
    scene.cluster.set(3, 2);
    assert_eq!(scene.told(at(5), beat("a", 1)), (2, Some(vec![0, 1])));
    assert!(scene.group.topics_read().contains("t3"));
    let other = HeartbeatRequest {
        regex: Some("t1".to_owned()),
        ..beat("a", 2)
    };
    assert_eq!(scene.told(at(6), other), (2, Some(vec![])));
    assert_eq!(scene.told(at(7), owning("a", 2, &[])), (3, Some(vec![0])));
    let nothing = HeartbeatRequest {
        names: Some(vec!["t3".to_owned()]),
        regex: Some(String::new()),
        ..beat("a", 3)
    };
    assert_eq!(scene.told(at(8), nothing), (3, Some(vec![])));
    let wrong = HeartbeatRequest {
        regex: Some("t(".to_owned()),
        ..beat("a", 3)
    };
    assert_eq!(
        scene.refused(at(9), wrong),
        ErrorCode::InvalidRegularExpression
    );
}

#[test]
fn a_static_member_that_comes_back_gets_what_it_had() {
    let mut scene = Scene::new(4);
    let fixed = |request: HeartbeatRequest| HeartbeatRequest {
        instance: Some("one".to_owned()),
        ..request
    };
    scene.told(at(0), fixed(join("a")));
    scene.told(at(0), join("b"));
    scene.told(at(1), beat("a", 1));
    scene.told(at(1), owning("a", 1, &[0, 1]));
    assert_eq!(scene.told(at(2), beat("b", 2)), (2, Some(vec![2, 3])));
    assert_eq!(
        scene.refused(at(2), fixed(join("c"))),
        ErrorCode::UnreleasedInstanceId
    );
    assert_eq!(
        scene.told(at(3), fixed(beat("a", PAUSING))),
        (PAUSING, None)
    );
    assert_eq!(
        scene.refused(at(4), fixed(beat("a", 2))),
        ErrorCode::FencedMemberEpoch
    );
    scene.take_over(at(4));
    assert_eq!(
        scene.told(at(5), beat("b", 2)),
        (2, None),
        "nobody takes its share"
    );
    assert_eq!(scene.told(at(20), fixed(join("c"))), (2, Some(vec![0, 1])));
    assert_eq!(scene.group.epoch(), 2, "no rebalance");
    assert_eq!(
        scene.refused(at(21), fixed(beat("a", 2))),
        ErrorCode::FencedInstanceId
    );
    scene.told(at(30), fixed(beat("c", PAUSING)));
    scene.tick(at(74));
    assert_eq!(scene.group.members.len(), 1, "the other one is silent");
    scene.tick(at(75));
    assert!(scene.group.is_empty(), "it stayed away for too long");
}

#[test]
fn the_assignor_that_most_ask_for_is_used() {
    let mut scene = Scene::new(6);
    let with = |id: &str, assignor: &str| HeartbeatRequest {
        assignor: Some(assignor.to_owned()),
        ..join(id)
    };
    scene.told(at(0), with("a", "range"));
    assert_eq!(scene.group.assignor(), Assignor::Range);
    scene.told(at(0), with("b", "uniform"));
    assert_eq!(
        scene.group.assignor(),
        Assignor::Uniform,
        "of as many the default"
    );
    scene.told(at(0), with("c", "range"));
    assert_eq!(scene.group.assignor(), Assignor::Range);
    let target = |id: &str| scene.group.members[id].kept.target.clone();
    assert_eq!(
        [target("a"), target("b"), target("c")],
        [of(1, &[0, 1]), of(1, &[2, 3]), of(1, &[4, 5])]
    );
}

#[test]
fn a_new_owner_starts_all_timers_in_full() {
    let mut scene = Scene::new(2);
    scene.told(at(0), join("a"));
    scene.told(at(1), join("b"));
    scene.told(at(2), beat("a", 1));
    scene.take_over(at(500));
    assert_eq!(scene.group.next_tick(), Some(at(545)));
    assert_eq!(scene.told(at(501), beat("a", 1)), (1, None));
    assert_eq!(scene.told(at(502), owning("a", 1, &[0])), (2, None));
    assert_eq!(scene.told(at(503), beat("b", 2)), (2, Some(vec![1])));
}
