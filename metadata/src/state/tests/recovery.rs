//! Recovery: complete rows give the same state, incomplete or damaged ones a typed error.

use bytes::Bytes;

use super::fixtures::{
    Cluster, DAY_MS, Short, at, idempotent, new_topic, plain, recover, roomy, tiny, topic_id,
};
use crate::state::{Command, DamagedState, RowError, RowKey, State, StateConfig};

/// A cluster in which everything happened once.
fn eventful(config: StateConfig) -> Cluster {
    let mut cluster = Cluster::registered(config);
    cluster.create(topic_id(1), "a", 130);
    cluster.create(topic_id(2), "b", 1);
    cluster.create(topic_id(3), "c", 1);
    cluster.run(Command::AllocateProducerIds);
    for round in 0..9 {
        let batches = [plain(3), idempotent(5, 0, round, 1)];
        cluster.commit(&[
            (at(1, 0), &batches),
            (at(1, 70), &batches),
            (at(2, 0), &batches),
        ]);
        cluster.commit(&[(at(3, 0), &[plain(1)])]);
    }
    cluster.run(Command::MoveLogStart(vec![(at(1, 70), 10)]));
    cluster.run(Command::DeleteTopic(topic_id(3)));
    cluster.merge(&[1, 3, 5], 1);
    cluster.merge(&[7, 9], 1);
    cluster.commit(&[(at(1, 129), &[idempotent(6, 0, 0, 1)])]);
    cluster
}

fn error(cluster: &Cluster) -> DamagedState {
    cluster.recover().expect_err("the damage is noticed")
}

#[test]
fn no_rows_are_a_new_cluster() {
    let state = recover(&roomy(), &std::collections::BTreeMap::new()).unwrap();
    assert_eq!(state.hash(), State::new(roomy()).hash());
}

#[test]
fn a_recovered_state_is_the_same_and_needs_no_rows_of_its_own() {
    for config in [tiny(), roomy()] {
        let mut cluster = eventful(config);
        let (hash, producers) = (cluster.state.hash(), cluster.producers_hash());
        cluster.crash();
        assert_eq!(
            (cluster.state.hash(), cluster.producers_hash()),
            (hash, producers)
        );
        assert!(cluster.seal().is_empty());
        cluster.crash();
        assert_eq!(
            (cluster.state.hash(), cluster.producers_hash()),
            (hash, producers)
        );
    }
}

#[test]
fn each_missing_row_is_noticed() {
    for config in [tiny(), roomy()] {
        let whole = eventful(config);
        let resident = RowKey::resident();
        let keys: Vec<_> = whole
            .rows
            .range(resident.start..resident.end)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            let mut rows = whole.rows.clone();
            rows.remove(&key);
            let result = recover(&whole.config, &rows);
            assert!(result.is_err(), "without {}", RowKey::from(key));
        }
    }
}

#[test]
fn a_row_that_says_something_else_is_noticed() {
    let whole = eventful(tiny());
    let key_of = |found: fn(&str) -> bool| {
        let mut keys = whole.rows.keys().cloned().map(RowKey::from);
        keys.find(|key| found(&key.to_string()))
            .expect("there is such a row")
    };
    let with = |key: &RowKey, value: Option<Vec<u8>>| {
        let mut cluster = eventful(tiny());
        match value {
            Some(value) => cluster
                .rows
                .insert(key.as_bytes().clone(), Bytes::from(value)),
            None => cluster.rows.remove(key.as_bytes()),
        };
        error(&cluster)
    };
    let heads = RowKey::heads(topic_id(1), 0);
    assert_eq!(
        with(&RowKey::segment(11), None),
        DamagedState::Missing(RowKey::segment(11))
    );
    let empty = with(&heads, Some(vec![1, 0]));
    assert!(matches!(empty, DamagedState::Contradiction(_)), "{empty}");
    let newer = with(&heads, Some(vec![2, 0]));
    assert_eq!(
        newer,
        DamagedState::Row {
            key: heads,
            error: RowError::UnknownVersion(2)
        }
    );
    let stranger = RowKey::from(Bytes::from_static(&[0x77, 1]));
    let unknown = with(&stranger, Some(vec![1]));
    assert_eq!(
        unknown,
        DamagedState::Row {
            key: stranger,
            error: RowError::UnknownTag(0x77)
        }
    );
    let long = RowKey::from(Bytes::from_static(&[0x20, 1]));
    let malformed = with(&long, Some(vec![1]));
    assert_eq!(
        malformed,
        DamagedState::Row {
            key: long,
            error: RowError::MalformedKey
        }
    );
    let topic = key_of(|key| key.starts_with("topic"));
    let error = with(&topic, Some(vec![1, 0xff]));
    assert_eq!(
        error,
        DamagedState::Row {
            key: topic,
            error: RowError::Truncated
        }
    );
}

#[test]
fn a_producer_row_that_the_replay_needs_must_be_there_and_fit() {
    let mut cluster = Cluster::registered(roomy());
    cluster.config.replay_commits_max = 4;
    cluster.crash();
    cluster.create(topic_id(1), "a", 1);
    for sequence in 0..7 {
        cluster.produce(at(1, 0), &[idempotent(5, 0, sequence, 1)]);
    }
    let key = RowKey::producer(5, at(1, 0));
    let recovery = || {
        let mut recovery = State::recover(cluster.config.clone());
        let resident = RowKey::resident();
        for (key, value) in cluster.rows.range(resident.start..resident.end) {
            recovery.row(key.clone(), value).unwrap();
        }
        recovery
    };
    assert_eq!(recovery().missing(), vec![key.clone()]);
    assert_eq!(
        recovery().finish().unwrap_err(),
        DamagedState::Missing(key.clone())
    );
    let absent = recovery().admit([(key.clone(), None)]).unwrap_err();
    assert_eq!(absent, DamagedState::Missing(key.clone()));
    let other = crate::state::producer::ProducerState::restore(
        1,
        3,
        0,
        [crate::state::producer::PastBatch {
            count: 1,
            ..Default::default()
        }],
    );
    let other = Bytes::from(super::rows::encoded(&other));
    let contradiction = recovery().admit([(key.clone(), Some(other))]).unwrap_err();
    assert_eq!(contradiction, DamagedState::Contradiction(key));
    let mut cluster = cluster;
    cluster.crash();
    assert_eq!(
        cluster.produce(at(1, 0), &[idempotent(5, 0, 2, 1)]),
        [Short::DuplicateOf(2)]
    );
}

#[test]
fn rows_must_come_once_in_key_order() {
    let cluster = eventful(tiny());
    let mut recovery = State::recover(cluster.config.clone());
    let (key, value) = cluster.rows.first_key_value().unwrap();
    recovery.row(key.clone(), value).unwrap();
    let again = recovery.row(key.clone(), value).unwrap_err();
    assert_eq!(again, DamagedState::Unasked(RowKey::counters()));
    let producer = RowKey::producer(1, at(1, 0));
    let paged = recovery.row(producer.clone(), value).unwrap_err();
    assert_eq!(paged, DamagedState::Unasked(producer));
}

#[test]
fn flipped_bits_never_panic() {
    let whole = eventful(tiny());
    for (key, value) in &whole.rows {
        for bit in 0..value.len() * 8 {
            let mut value = value.to_vec();
            value[bit / 8] ^= 1 << (bit % 8);
            let mut rows = whole.rows.clone();
            rows.insert(key.clone(), Bytes::from(value));
            drop(recover(&whole.config, &rows));
        }
    }
}

#[test]
fn a_replay_is_bounded_and_rows_are_not_written_over_and_over() {
    let config = StateConfig {
        replay_commits_max: 40,
        ..roomy()
    };
    let mut cluster = Cluster::registered(config);
    cluster.create(topic_id(1), "a", 640);
    cluster.run(Command::AllocateProducerIds);
    let mut written = 0;
    for round in 0..400 {
        let batches = [idempotent(5, 0, round, 1)];
        let extents: Vec<_> = (0..10)
            .map(|chunk| (at(1, chunk * 64), &batches[..]))
            .collect();
        let before = cluster.rows.clone();
        cluster.commit(&extents);
        let changed = |key: &&Bytes| before.get(*key) != cluster.rows.get(*key);
        written += cluster.rows.keys().filter(changed).count() - 2;
        assert!(cluster.state.counts().replay_commits < 40);
    }
    // 10 heads and 10 producer states; each is written once per 20 commits at most, at least once per 40.
    assert!(
        (20 * 400 / 40..=20 * 400 / 20).contains(&written),
        "{written} rows"
    );
}

#[test]
fn memory_for_producers_is_bounded() {
    let config = StateConfig {
        producer_states_bytes_max: 4096,
        ..roomy()
    };
    let mut cluster = Cluster::registered(config);
    cluster.create(topic_id(1), "a", 1);
    for id in 0..500 {
        cluster.produce(at(1, 0), &[idempotent(id, 0, 0, 1)]);
        assert!(cluster.state.counts().producer_states_bytes <= 4096);
    }
    assert!(
        cluster.state.counts().producer_states > 10,
        "the room is used"
    );
    cluster.crash();
    for id in 0..500 {
        let got = cluster.produce(
            at(1, 0),
            &[idempotent(id, 0, 0, 1), idempotent(id, 0, 1, 1)],
        );
        assert_eq!(got, [Short::DuplicateOf(id), Short::At(500 + id)]);
    }
}

#[test]
fn new_producers_and_new_topics_need_no_reads() {
    let mut cluster = Cluster::registered(tiny());
    cluster.create(topic_id(1), "a", 1);
    cluster.run(Command::AllocateProducerIds);
    let missing = |cluster: &mut Cluster, topic, id| {
        let segment = cluster.next_segment();
        let batches = [idempotent(id, 0, 0, 1)];
        let request = super::fixtures::request(segment, &[(at(topic, 0), &batches)]);
        cluster.state.missing(&Command::Commit(request)).len()
    };
    for id in 0..20 {
        assert_eq!(missing(&mut cluster, 1, id), 0, "id {id} was never used");
        cluster.produce(at(1, 0), &[idempotent(id, 0, 0, 1)]);
    }
    assert_eq!(missing(&mut cluster, 1, 0), 1, "evicted");
    cluster.now_ms += DAY_MS;
    cluster.crash();
    assert_eq!(missing(&mut cluster, 1, 21), 0, "still");
    cluster.run_open(Command::CreateTopic(new_topic(topic_id(2), "b", 1)));
    assert_eq!(missing(&mut cluster, 2, 0), 0, "a new topic has no rows");
    cluster.seal();
    // An id from elsewhere has a row: from then on ids above it are looked for.
    cluster.produce(at(1, 0), &[idempotent(100_000, 0, 0, 1)]);
    for id in 21..30 {
        cluster.produce(at(1, 0), &[idempotent(id, 0, 0, 1)]);
    }
    assert_eq!(missing(&mut cluster, 1, 100_000), 1);
    assert_eq!(missing(&mut cluster, 1, 500), 0);
}

#[test]
fn what_is_used_stays_in_memory() {
    let config = StateConfig {
        producer_states_bytes_max: 2000,
        replay_commits_max: 2,
        ..roomy()
    };
    let mut cluster = Cluster::registered(config);
    cluster.create(topic_id(1), "a", 1);
    cluster.produce(at(1, 0), &[idempotent(1_000, 0, 0, 1)]);
    let mut reads = 0;
    for round in 0..200 {
        let segment = cluster.next_segment();
        let batches = [
            idempotent(round.into(), 0, 0, 1),
            idempotent(1_000, 0, round + 1, 1),
        ];
        let command = Command::Commit(super::fixtures::request(segment, &[(at(1, 0), &batches)]));
        let key = RowKey::producer(1_000, at(1, 0));
        reads += usize::from(cluster.state.missing(&command).contains(&key));
        cluster.run(command);
    }
    assert_eq!(
        reads, 0,
        "the producer that is always there is never read back"
    );
}

#[test]
fn expired_states_leave_memory_and_rows_once_no_replay_can_meet_them() {
    let config = StateConfig {
        replay_commits_max: 8,
        ..roomy()
    };
    let mut cluster = Cluster::registered(config);
    cluster.create(topic_id(1), "a", 1);
    for id in 0..40 {
        cluster.produce(at(1, 0), &[idempotent(id, 0, 0, 1)]);
    }
    let rows = |cluster: &Cluster| cluster.rows.range(RowKey::producers().start..).count();
    assert!(rows(&cluster) > 30);
    cluster.now_ms += 2 * DAY_MS;
    for _ in 0..10 {
        cluster.produce(at(1, 0), &[plain(1)]);
        let hashes = (cluster.state.hash(), cluster.producers_hash());
        cluster.state = cluster.recover().unwrap();
        assert_eq!((cluster.state.hash(), cluster.producers_hash()), hashes);
    }
    cluster.crash();
    for id in 0..40 {
        assert_eq!(
            cluster.produce(at(1, 0), &[idempotent(id, 0, 0, 1)]),
            [Short::At(50 + id)]
        );
    }
    cluster.now_ms += 2 * DAY_MS;
    for _ in 0..20 {
        cluster.produce(at(1, 0), &[plain(1)]);
    }
    assert_eq!(
        (rows(&cluster), cluster.state.counts().producer_states),
        (0, 0)
    );
}

#[test]
fn the_row_of_an_expired_state_stays_while_a_replay_needs_it() {
    let config = StateConfig {
        replay_commits_max: 40,
        producer_states_bytes_max: 400,
        ..roomy()
    };
    let mut cluster = Cluster::registered(config);
    cluster.create(topic_id(1), "a", 100);
    let used = |sequence| [idempotent(0, 0, sequence, 1)];
    cluster.produce(at(1, 0), &used(0));
    for id in 1..60 {
        cluster.produce(at(1, 0), &[idempotent(id, 0, 0, 1)]);
    }
    // A head that stays unsaved for a while holds the checkpoint back.
    cluster.produce(at(1, 99), &[plain(1)]);
    cluster.produce(at(1, 0), &used(1));
    let is_away = |cluster: &mut Cluster| {
        let segment = cluster.next_segment();
        let request = super::fixtures::request(segment, &[(at(1, 0), &used(1))]);
        !cluster.state.missing(&Command::Commit(request)).is_empty()
    };
    // Others push it out to its row; a duplicate brings it back as it was saved.
    let mut others = 1..20;
    while !is_away(&mut cluster) {
        let id = others.next().expect("it is pushed out at last");
        cluster.produce(at(1, 0), &[idempotent(id, 0, 1, 1)]);
    }
    while is_away(&mut cluster) {
        assert_eq!(
            cluster.produce(at(1, 0), &used(1)),
            [Short::DuplicateOf(60)]
        );
    }
    let counts = cluster.state.counts();
    assert!(
        counts.segments - counts.replay_commits < 61,
        "its last batch would be replayed"
    );
    cluster.now_ms += 2 * DAY_MS;
    for _ in 0..60 {
        cluster.produce(at(1, 0), &[plain(1)]);
        assert_eq!(cluster.recover().unwrap().hash(), cluster.state.hash());
    }
}
