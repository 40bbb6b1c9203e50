//! Synthetic histories: a clean one, and each anomaly planted by itself.

use super::*;
use crate::history::Seen;

fn id(producer: u32, number: u64) -> Id {
    Id { producer, number }
}

fn seen(offset: i64, producer: u32, number: u64) -> Seen {
    Seen {
        offset,
        id: Some(id(producer, number)),
    }
}

/// Two producers interleaved, all acknowledged, read once in full.
fn clean() -> PartitionHistory {
    let mut history = PartitionHistory::default();
    let log = [(0, 0), (0, 1), (1, 0), (0, 2), (1, 1)];
    let mut read = Read {
        from: 0,
        to: Some(5),
        records: Vec::new(),
    };
    for (offset, (producer, number)) in (0..).zip(log) {
        history.send(id(producer, number));
        history.settle(id(producer, number), Outcome::Acked(Some(offset)));
        read.records.push(seen(offset, producer, number));
    }
    history.reads.push(read);
    history
}

fn anomalies(change: impl FnOnce(&mut PartitionHistory)) -> Vec<Anomaly> {
    let mut history = clean();
    change(&mut history);
    check(&history).anomalies
}

#[test]
fn a_clean_history_is_clean() {
    let verdict = check(&clean());
    let expected = Verdict {
        acked: 5,
        delivered: 5,
        ..Verdict::default()
    };
    assert_eq!(verdict, expected);
}

#[test]
fn unknown_outcomes_may_appear_or_not() {
    let mut history = clean();
    history.send(id(0, 3));
    history.send(id(1, 2));
    history.reads[0].records.push(seen(5, 0, 3));
    history.reads[0].to = Some(6);
    let verdict = check(&history).expect_clean("unknown");
    assert_eq!(verdict.unknown_kept, 1);
}

#[test]
fn lost() {
    // A whole log whose tail is gone: nothing to skip but the promised end.
    let found = anomalies(|history| history.reads[0].records.truncate(4));
    let lost = Anomaly::Lost {
        id: id(1, 1),
        offset: Some(4),
    };
    assert_eq!(found, [lost, Anomaly::Skipped { from: 4, to: 5 }]);
}

#[test]
fn lost_and_replaced() {
    // Another record took the place: the log looks dense and still lost one.
    let found = anomalies(|history| {
        history.send(id(0, 3));
        history.reads[0].records[4] = seen(4, 0, 3);
    });
    let lost = Anomaly::Lost {
        id: id(1, 1),
        offset: Some(4),
    };
    let inconsistent = Anomaly::InconsistentOffset {
        offset: 4,
        ids: (id(0, 3), id(1, 1)),
    };
    assert_eq!(found, [lost, inconsistent]);
}

#[test]
fn lost_after_a_first_good_read() {
    let found = anomalies(|history| {
        let mut second = history.reads[0].clone();
        second.records.truncate(4);
        history.reads.push(second);
    });
    assert!(
        found.contains(&Anomaly::Lost {
            id: id(1, 1),
            offset: Some(4)
        }),
        "{found:?}"
    );
}

#[test]
fn duplicate() {
    let found = anomalies(|history| {
        history.reads[0].records.push(seen(5, 0, 2));
        history.reads[0].to = Some(6);
    });
    assert_eq!(
        found,
        [Anomaly::Duplicate {
            id: id(0, 2),
            offsets: (3, 5)
        }]
    );
}

#[test]
fn duplicate_against_its_acknowledgement() {
    // Read once, but elsewhere than acknowledged.
    let found = anomalies(|history| {
        history.settle(id(1, 1), Outcome::Acked(Some(7)));
    });
    assert_eq!(
        found,
        [Anomaly::Duplicate {
            id: id(1, 1),
            offsets: (4, 7)
        }]
    );
}

#[test]
fn reordered() {
    let found = anomalies(|history| {
        history.settle(id(0, 1), Outcome::Acked(Some(3)));
        history.settle(id(0, 2), Outcome::Acked(Some(1)));
        history.reads[0].records[1] = seen(1, 0, 2);
        history.reads[0].records[3] = seen(3, 0, 1);
    });
    let (earlier, later) = (id(0, 1), id(0, 2));
    assert_eq!(
        found,
        [Anomaly::Reordered {
            earlier,
            later,
            offsets: (3, 1)
        }]
    );
}

#[test]
fn phantom() {
    let foreign = Seen {
        offset: 5,
        id: None,
    };
    for (case, stranger, expected) in [
        ("changed bytes", foreign, None),
        ("never sent", seen(5, 9, 9), Some(id(9, 9))),
    ] {
        let found = anomalies(|history| {
            history.reads[0].records.push(stranger);
            history.reads[0].to = Some(6);
        });
        assert_eq!(
            found,
            [Anomaly::Phantom {
                id: expected,
                offset: 5
            }],
            "{case}"
        );
    }
}

#[test]
fn failed_yet_read() {
    let found = anomalies(|history| history.settle(id(1, 0), Outcome::Failed));
    assert_eq!(
        found,
        [Anomaly::FailedYetRead {
            id: id(1, 0),
            offset: 2
        }]
    );
}

#[test]
fn inconsistent_offset_between_two_readers() {
    let found = anomalies(|history| {
        for number in [3, 4] {
            history.send(id(0, number));
            history.reads.push(Read {
                from: 5,
                to: None,
                records: vec![seen(5, 0, number)],
            });
        }
    });
    assert_eq!(
        found,
        [Anomaly::InconsistentOffset {
            offset: 5,
            ids: (id(0, 3), id(0, 4))
        }]
    );
}

#[test]
fn backward_and_skipped() {
    let found = anomalies(|history| {
        history.reads.push(Read {
            from: 0,
            to: None,
            records: vec![seen(0, 0, 0), seen(2, 1, 0), seen(1, 0, 1)],
        });
    });
    let backward = Anomaly::Backward {
        offset: 1,
        after: 2,
    };
    assert_eq!(found, [backward, Anomaly::Skipped { from: 1, to: 2 }]);
}

#[test]
fn a_record_must_not_be_acknowledged_without_its_offset() {
    for offset in [None, Some(-1)] {
        let found = anomalies(|history| history.settle(id(1, 1), Outcome::Acked(offset)));
        assert!(
            found.contains(&Anomaly::AckWithoutOffset { id: id(1, 1) }),
            "{found:?}"
        );
    }
}

#[test]
fn a_pass_promises_only_its_range() {
    let verdict = anomalies(|history| {
        // Acknowledged after the pass began, and a pass over the middle alone.
        history.settle(id(0, 3), Outcome::Acked(Some(5)));
        let records = vec![seen(2, 1, 0), seen(3, 0, 2)];
        history.reads.push(Read {
            from: 2,
            to: Some(4),
            records,
        });
    });
    assert_eq!(verdict, []);
}
