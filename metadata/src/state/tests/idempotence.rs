//! The rules of idempotent produce (protocol reference 6.1), each as a script. Every script runs with
//! everything in memory and again with nothing, so that the same answers come from paged states.

use floe_protocol::types::TimestampMs;
use floe_storage::segment::IndexBatch;

use super::fixtures::{Cluster, DAY_MS, Short, at, idempotent, plain, roomy, tiny, topic_id};
use crate::api::{BatchRejection, BatchResult};
use crate::state::{Command, StateConfig};

use BatchRejection::{InvalidProducerEpoch, InvalidTxnState, OutOfOrderSequence};
use Short::{At, DuplicateOf, No};

const ID: i64 = 7;

/// A step of a script: batches of one segment for partition 0 and what becomes of them.
type Step<'a> = (&'a [IndexBatch], &'a [Short]);

fn cluster(config: StateConfig) -> Cluster {
    let mut cluster = Cluster::registered(config);
    cluster.create(topic_id(1), "orders", 2);
    cluster.run(Command::AllocateProducerIds);
    cluster
}

fn nothing_in_memory() -> StateConfig {
    StateConfig {
        producer_states_bytes_max: 0,
        recent_rows_bytes_max: 0,
        ..tiny()
    }
}

#[track_caller]
fn check(name: &str, steps: &[Step<'_>]) {
    for config in [roomy(), tiny(), nothing_in_memory()] {
        for crashes in [false, true] {
            let mut cluster = cluster(config.clone());
            for (step, (batches, expected)) in steps.iter().enumerate() {
                let got = cluster.produce(at(1, 0), batches);
                assert_eq!(got, *expected, "{name}, step {step}, crashes: {crashes}");
                if crashes {
                    cluster.crash();
                }
            }
        }
    }
}

fn batch(sequence: i32, count: u32) -> IndexBatch {
    idempotent(ID, 0, sequence, count)
}

fn epoch(epoch: i16, sequence: i32) -> IndexBatch {
    idempotent(ID, epoch, sequence, 1)
}

#[test]
fn next_in_line_is_accepted_and_a_gap_is_not() {
    check(
        "line",
        &[
            (&[batch(0, 3)], &[At(0)]),
            (&[batch(3, 2)], &[At(3)]),
            (&[batch(6, 1)], &[No(OutOfOrderSequence)]),
            (&[batch(4, 1)], &[No(OutOfOrderSequence)]),
            (&[batch(5, 1)], &[At(5)]),
        ],
    );
}

#[test]
fn five_batches_are_remembered_not_four_and_not_six() {
    let sent: Vec<_> = (0..6).map(|sequence| batch(sequence, 1)).collect();
    check(
        "five",
        &[
            (&sent, &[At(0), At(1), At(2), At(3), At(4), At(5)]),
            (&[batch(5, 1)], &[DuplicateOf(5)]),
            (&[batch(1, 1)], &[DuplicateOf(1)]),
            (&[batch(0, 1)], &[No(OutOfOrderSequence)]),
            (&[batch(6, 1)], &[At(6)]),
            (&[batch(1, 1)], &[No(OutOfOrderSequence)]),
            (&[batch(2, 1)], &[DuplicateOf(2)]),
        ],
    );
}

#[test]
fn a_duplicate_must_have_the_same_first_and_last_sequence() {
    check(
        "count",
        &[
            (&[batch(0, 3)], &[At(0)]),
            (&[batch(0, 2)], &[No(OutOfOrderSequence)]),
            (&[batch(1, 2)], &[No(OutOfOrderSequence)]),
            (&[batch(0, 4)], &[No(OutOfOrderSequence)]),
            (&[batch(0, 3)], &[DuplicateOf(0)]),
        ],
    );
}

#[test]
fn a_batch_may_depend_on_an_earlier_one_of_its_segment() {
    check(
        "one segment",
        &[
            (
                &[batch(0, 2), batch(2, 1), batch(0, 2)],
                &[At(0), At(2), DuplicateOf(0)],
            ),
            (
                &[batch(9, 1), batch(3, 1), batch(4, 1)],
                &[No(OutOfOrderSequence), At(3), At(4)],
            ),
        ],
    );
}

#[test]
fn a_lower_epoch_is_fenced_even_for_its_duplicates() {
    check(
        "lower epoch",
        &[
            (&[epoch(3, 0)], &[At(0)]),
            (&[epoch(4, 0)], &[At(1)]),
            (&[epoch(3, 0)], &[No(InvalidProducerEpoch)]),
            (&[epoch(3, 1)], &[No(InvalidProducerEpoch)]),
            (&[epoch(4, 1)], &[At(2)]),
        ],
    );
}

#[test]
fn a_higher_epoch_begins_with_sequence_0() {
    check(
        "higher epoch",
        &[
            (&[epoch(0, 0)], &[At(0)]),
            (&[epoch(1, 1)], &[No(OutOfOrderSequence)]),
            (&[epoch(0, 1)], &[At(1)]),
            (&[epoch(1, 0)], &[At(2)]),
            (&[epoch(1, 0)], &[DuplicateOf(2)]),
            (&[epoch(1, 1), epoch(9, 0)], &[At(3), At(4)]),
        ],
    );
}

#[test]
fn sequences_wrap_between_batches_and_inside_one() {
    let max = i32::MAX;
    for config in [roomy(), nothing_in_memory()] {
        let mut cluster = cluster(config);
        // Only a state that may have expired lets a producer begin near the end of the circle.
        cluster.now_ms += 2 * DAY_MS;
        let mut produce = |batches: &[IndexBatch]| cluster.produce(at(1, 0), batches);
        assert_eq!(produce(&[batch(max - 3, 3)]), [At(0)]);
        assert_eq!(produce(&[batch(max, 3)]), [At(3)], "inside a batch");
        assert_eq!(produce(&[batch(max, 3)]), [DuplicateOf(3)]);
        assert_eq!(produce(&[batch(max - 3, 3)]), [DuplicateOf(0)]);
        assert_eq!(produce(&[batch(3, 1)]), [No(OutOfOrderSequence)]);
        assert_eq!(produce(&[batch(2, 1)]), [At(6)]);
    }
    let mut cluster = cluster(roomy());
    cluster.now_ms += 2 * DAY_MS;
    let mut produce = |batches: &[IndexBatch]| cluster.produce(at(1, 0), batches);
    assert_eq!(produce(&[batch(max, 1)]), [At(0)]);
    assert_eq!(produce(&[batch(0, 1)]), [At(1)], "between batches");
}

#[test]
fn without_a_state_sequence_0_begins_and_others_only_where_a_state_may_have_expired() {
    let other = idempotent(ID, 0, 5, 1);
    let foreign = idempotent(1_000_000, 0, 5, 1);
    let check = |age_ms: TimestampMs, batch: IndexBatch, expected: Short| {
        let mut cluster = cluster(roomy());
        cluster.now_ms += age_ms;
        let got = cluster.produce(at(1, 0), &[batch]);
        assert_eq!(got, [expected], "age {age_ms}, {batch:?}");
    };
    check(0, batch(0, 1), At(0));
    check(0, other, No(OutOfOrderSequence));
    check(DAY_MS - 1, other, No(OutOfOrderSequence));
    check(DAY_MS, other, At(0));
    // Ids that were never handed out: only the topic's age counts.
    check(0, foreign, No(OutOfOrderSequence));
    check(DAY_MS, foreign, At(0));
}

#[test]
fn a_young_id_or_a_young_topic_cannot_have_lost_its_state() {
    let mut cluster = cluster(roomy());
    cluster.now_ms += 2 * DAY_MS;
    cluster.run(Command::AllocateProducerIds);
    let young_id = idempotent(1500, 0, 5, 1);
    assert_eq!(
        cluster.produce(at(1, 0), &[young_id]),
        [No(OutOfOrderSequence)]
    );
    assert_eq!(
        cluster.produce(at(1, 0), &[batch(5, 1)]),
        [At(0)],
        "old id, old topic"
    );
    cluster.create(topic_id(2), "young", 1);
    assert_eq!(
        cluster.produce(at(2, 0), &[batch(5, 1)]),
        [No(OutOfOrderSequence)]
    );
    cluster.crash();
    assert_eq!(
        cluster.produce(at(1, 1), &[young_id]),
        [No(OutOfOrderSequence)]
    );
}

#[test]
fn a_state_expires_a_day_after_its_last_batch() {
    for config in [roomy(), nothing_in_memory()] {
        let mut cluster = cluster(config);
        assert_eq!(cluster.produce(at(1, 0), &[batch(0, 1)]), [At(0)]);
        cluster.now_ms += DAY_MS - 1;
        assert_eq!(cluster.produce(at(1, 0), &[batch(0, 1)]), [DuplicateOf(0)]);
        cluster.now_ms += 1;
        assert_eq!(
            cluster.produce(at(1, 0), &[batch(0, 1)]),
            [At(1)],
            "forgotten"
        );
        cluster.now_ms += DAY_MS;
        cluster.crash();
        assert_eq!(cluster.produce(at(1, 0), &[batch(40, 2)]), [At(2)]);
        assert_eq!(cluster.produce(at(1, 0), &[batch(40, 2)]), [DuplicateOf(2)]);
        assert_eq!(
            cluster.produce(at(1, 0), &[batch(0, 1)]),
            [No(OutOfOrderSequence)]
        );
    }
}

#[test]
fn a_duplicate_gets_the_offset_and_time_of_the_first() {
    let mut cluster = cluster(nothing_in_memory());
    let first = IndexBatch {
        max_timestamp_ms: 42,
        ..batch(0, 2)
    };
    cluster.produce(at(1, 0), &[plain(10), first]);
    let again = IndexBatch {
        max_timestamp_ms: 99,
        ..batch(0, 2)
    };
    let reply = cluster.commit(&[(at(1, 0), &[again])]);
    let duplicate = BatchResult::Duplicate {
        base_offset: 10,
        max_timestamp_ms: 42,
        log_start: 0,
    };
    assert_eq!(reply.results, [duplicate]);
}

#[test]
fn states_are_per_partition() {
    let mut cluster = cluster(tiny());
    let reply = cluster.commit(&[(at(1, 0), &[batch(0, 1)]), (at(1, 1), &[batch(1, 1)])]);
    assert_eq!(super::fixtures::short(&reply.results[0]), At(0));
    assert_eq!(
        super::fixtures::short(&reply.results[1]),
        No(OutOfOrderSequence)
    );
}

#[test]
fn transactional_control_empty_and_negative_batches_are_refused_without_a_trace() {
    let transactional = IndexBatch {
        attributes: 0x10,
        ..batch(0, 1)
    };
    let control = IndexBatch {
        attributes: 0x20,
        ..plain(1)
    };
    check(
        "refused",
        &[(
            &[transactional, control, plain(0), batch(-1, 1), batch(0, 1)],
            &[
                No(InvalidTxnState),
                No(InvalidTxnState),
                No(BatchRejection::Empty),
                No(OutOfOrderSequence),
                At(0),
            ],
        )],
    );
}

#[test]
fn a_refused_batch_does_not_stop_the_others() {
    check(
        "others",
        &[(
            &[batch(0, 1), batch(5, 1), plain(2), batch(1, 1)],
            &[At(0), No(OutOfOrderSequence), At(1), At(3)],
        )],
    );
}
