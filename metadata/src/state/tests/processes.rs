//! Registrations of processes, and the leader epoch that follows what clients may be told.

use super::fixtures::{Cluster, tiny};
use crate::api::{NewProcess, Registration, RequestError, WatchEvent};
use crate::state::{Command, Reply, StateConfig};
use crate::testing::new_process;

/// What the watch says, in short.
#[derive(PartialEq, Debug)]
enum Said {
    Epoch(i32),
    /// The incarnations that are there.
    Processes(Vec<u32>),
    Level(u32),
}

fn said(events: &[WatchEvent]) -> Vec<Said> {
    let said = |event: &WatchEvent| match event {
        WatchEvent::LeaderEpochRaised(epoch) => Said::Epoch(*epoch),
        WatchEvent::ProcessesChanged(all) => {
            Said::Processes(all.iter().map(|process| process.incarnation).collect())
        }
        WatchEvent::FeatureLevelRaised(level) => Said::Level(*level),
        other => panic!("{other:?}"),
    };
    events.iter().map(said).collect()
}

/// Registers, expects an incarnation and what the watch says; all of it survives a crash.
#[track_caller]
fn register(cluster: &mut Cluster, new: NewProcess, incarnation: u32, expected: &[Said]) {
    let reply = cluster.run_open(Command::Register(new));
    let registration = Registration {
        incarnation,
        write_epoch: 1,
    };
    assert_eq!(reply, Reply::Registered(Ok(registration)));
    assert_eq!(said(&cluster.seal()), expected);
    let (processes, hash) = (cluster.state.processes(), cluster.state.hash());
    cluster.crash();
    assert_eq!(cluster.state.processes(), processes);
    assert_eq!(cluster.state.hash(), hash);
}

#[test]
fn a_repeated_registration_changes_nothing() {
    let mut cluster = Cluster::new(tiny());
    let first = [Said::Epoch(1), Said::Processes(vec![1])];
    register(&mut cluster, new_process(1), 1, &first);
    register(&mut cluster, new_process(1), 1, &[]);
    let both = [Said::Epoch(2), Said::Processes(vec![1, 2])];
    register(&mut cluster, new_process(2), 2, &both);
    register(&mut cluster, new_process(1), 1, &[]);
}

#[test]
fn a_later_attempt_replaces_the_earlier_and_clients_notice_nothing() {
    let mut cluster = Cluster::new(tiny());
    let first = [Said::Epoch(1), Said::Processes(vec![1])];
    register(&mut cluster, new_process(1), 1, &first);
    let attempt = |attempt| NewProcess {
        attempt,
        ..new_process(1)
    };
    register(&mut cluster, attempt(2), 2, &[Said::Processes(vec![2])]);
    // One that was on its way for long.
    register(&mut cluster, attempt(1), 2, &[]);
}

#[test]
fn who_answers_at_the_address_of_another_replaces_it() {
    let mut cluster = Cluster::new(tiny());
    let first = [Said::Epoch(1), Said::Processes(vec![1])];
    register(&mut cluster, new_process(1), 1, &first);
    let restarted = NewProcess {
        nonce: [9; 16],
        ..new_process(1)
    };
    register(&mut cluster, restarted, 2, &[Said::Processes(vec![2])]);
}

#[test]
fn a_process_that_clients_are_not_told_of_leaves_the_leader_epoch_alone() {
    let mut cluster = Cluster::new(tiny());
    let compactor = NewProcess {
        brokers: Vec::new(),
        ..new_process(1)
    };
    register(&mut cluster, compactor, 1, &[Said::Processes(vec![1])]);
    assert_eq!(cluster.state.leader_epoch(), 0);
}

#[test]
fn forgotten_processes_are_gone_and_may_come_back() {
    let mut cluster = Cluster::new(tiny());
    for byte in 1..=3 {
        cluster.run(Command::Register(new_process(byte)));
    }
    let forget = |cluster: &mut Cluster, gone: &[u32]| {
        let reply = cluster.run_open(Command::ForgetProcesses(gone.to_vec()));
        assert_eq!(reply, Reply::Forgotten);
        said(&cluster.seal())
    };
    let left = [Said::Epoch(4), Said::Processes(vec![2])];
    assert_eq!(forget(&mut cluster, &[1, 3]), left);
    assert_eq!(forget(&mut cluster, &[1, 3, 77]), [], "they were gone");
    cluster.crash();
    let back = [Said::Epoch(5), Said::Processes(vec![2, 4])];
    register(&mut cluster, new_process(1), 4, &back);
}

#[test]
fn who_is_off_the_list_is_remembered_until_it_is_forgotten() {
    let mut cluster = Cluster::new(tiny());
    let unlisted = |cluster: &Cluster| -> Vec<u32> {
        let unlisted = cluster.state.unlisted_processes();
        unlisted.map(|process| process.incarnation).collect()
    };
    for byte in 1..=3 {
        cluster.run(Command::Register(new_process(byte)));
    }
    assert_eq!(
        cluster.run_open(Command::UnlistProcesses(vec![1, 3])),
        Reply::Forgotten
    );
    assert_eq!(
        said(&cluster.seal()),
        [Said::Epoch(4), Said::Processes(vec![2])]
    );
    cluster.crash();
    assert_eq!(unlisted(&cluster), [1, 3]);
    // Nothing of this is news to anyone.
    cluster.run_open(Command::UnlistProcesses(vec![1, 77]));
    cluster.run_open(Command::ForgetProcesses(vec![3]));
    assert_eq!(cluster.seal(), []);
    cluster.crash();
    assert_eq!(unlisted(&cluster), [1]);
    let back = [Said::Epoch(5), Said::Processes(vec![2, 4])];
    register(&mut cluster, new_process(1), 4, &back);
    assert_eq!(
        unlisted(&cluster),
        Vec::<u32>::new(),
        "its address is another's"
    );
}

#[test]
fn the_level_rises_when_every_process_knows_it_and_never_falls() {
    let mut cluster = Cluster::new(StateConfig {
        feature_level: 1,
        ..tiny()
    });
    let knows = |seed, feature_level| NewProcess {
        feature_level,
        ..new_process(seed)
    };
    register(
        &mut cluster,
        knows(1, 2),
        1,
        &[Said::Epoch(1), Said::Processes(vec![1])],
    );
    // The new release has taken over; a process of the old one is still there.
    cluster.config.feature_level = 2;
    cluster.crash();
    let two = vec![Said::Epoch(2), Said::Processes(vec![1, 2])];
    register(&mut cluster, knows(2, 1), 2, &two);
    let refused = Err(RequestError::NotUnderstood {
        process: knows(2, 1).internal,
        known: 1,
        asked: 2,
    });
    for command in [Command::CheckFeatureLevel(2), Command::RaiseFeatureLevel(2)] {
        assert_eq!(
            cluster.run_open(command),
            Reply::FeatureLevel(refused.clone())
        );
        assert_eq!(cluster.seal(), []);
    }
    assert_eq!(cluster.state.feature_level(), 1);
    cluster.run(Command::ForgetProcesses(vec![2]));

    cluster.run(Command::CheckFeatureLevel(2));
    assert_eq!(cluster.state.feature_level(), 1, "a check changes nothing");
    assert!(matches!(
        cluster.run_open(Command::RaiseFeatureLevel(2)),
        Reply::FeatureLevel(Ok(_))
    ));
    assert_eq!(said(&cluster.seal()), [Said::Level(2)]);
    for repeated in [2, 1] {
        let reply = cluster.run_open(Command::RaiseFeatureLevel(repeated));
        assert!(matches!(reply, Reply::FeatureLevel(Ok(_))));
        assert_eq!(cluster.seal(), [], "it never falls");
    }
    let too_old = Err(RequestError::TooOld { level: 2, known: 1 });
    let reply = cluster.run(Command::Register(knows(3, 1)));
    assert_eq!(reply, Reply::Registered(too_old));
    cluster.crash();
    assert_eq!(cluster.state.feature_level(), 2);
}

#[test]
fn an_owner_does_not_raise_what_it_does_not_know() {
    let mut cluster = Cluster::new(tiny());
    let reply = cluster.run(Command::RaiseFeatureLevel(2));
    let Reply::FeatureLevel(Err(RequestError::NotUnderstood { known, asked, .. })) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!((known, asked), (1, 2));
}
