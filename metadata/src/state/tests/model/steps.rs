//! Random steps. A draft says what a command is about in small numbers; the model turns it into a command
//! that fits the moment, such as "this producer's next batch" or "the batch before its last".

use proptest::prelude::*;

use crate::state::tests::fixtures::DAY_MS;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Wait(i64),
    Seal,
    Crash,
    Command(Draft),
}

#[derive(Clone, Debug)]
pub(super) enum Draft {
    /// A process by its nonce, which may have moved or restarted at the address of another.
    Register {
        process: u8,
        attempt: u32,
        address: u8,
        brokers: u8,
    },
    /// Incarnations, counted back from the last.
    Unlist(Vec<u32>),
    Forget(Vec<u32>),
    RaiseWriteEpoch,
    RaiseLowestAccepted,
    AllocateProducerIds,
    CreateTopic {
        topic: u8,
        name: u8,
        partitions: i32,
    },
    DeleteTopic {
        topic: u8,
    },
    CreatePartitions {
        topic: u8,
        count: i32,
    },
    MoveLogStart {
        topic: u8,
        partition: i32,
        by: i64,
    },
    AlterConfigs {
        /// A topic, or from 4 on something else.
        resource: u8,
        value: u8,
        is_outdated: bool,
    },
    Commit(Vec<DraftExtent>),
    /// The commit that many commits ago.
    Repeat(usize),
    BeginMerge {
        from: usize,
        count: usize,
        lease_ms: i64,
    },
    Merge(DraftMerge),
    /// The merge that many merges ago, sent or not.
    RepeatMerge(usize),
    Retain {
        topic: u8,
        time: Option<i64>,
        bytes_max: Option<u64>,
    },
    /// Each so-manieth of the dead ones, and that commit.
    ForgetObjects(usize),
}

#[derive(Clone, Debug)]
pub(super) struct DraftMerge {
    /// Live segments from this one on, and how many; at times one that may not be live.
    pub(super) from: usize,
    pub(super) count: usize,
    pub(super) level: u8,
    /// Each extent for itself.
    pub(super) is_split: bool,
    /// It is sent later, if ever.
    pub(super) is_late: bool,
    /// An extent that is not merged.
    pub(super) left_out: Option<usize>,
    /// Offsets that are wrong.
    pub(super) shift_base: i64,
    pub(super) shift_end: i64,
}

#[derive(Clone, Debug)]
pub(super) struct DraftExtent {
    pub(super) topic: u8,
    pub(super) partition: i32,
    pub(super) batches: Vec<DraftBatch>,
}

#[derive(Clone, Debug)]
pub(super) struct DraftBatch {
    /// 0 for none.
    pub(super) producer: u8,
    pub(super) sequence: DraftSequence,
    pub(super) count: u32,
    pub(super) time: i64,
}

#[derive(Clone, Debug)]
pub(super) enum DraftSequence {
    /// What comes next.
    Next,
    /// A batch sent before, counted back from the last.
    Again(usize),
    /// So much after what comes next.
    Gap(i32),
    /// A new epoch from 0, or not from 0.
    Bump(i32),
    /// The epoch before.
    Stale,
    /// Near the end of the circle.
    End,
}

fn sequence() -> impl Strategy<Value = DraftSequence> {
    prop_oneof![
        20 => Just(DraftSequence::Next),
        8 => (0_usize..8).prop_map(DraftSequence::Again),
        2 => (1..4).prop_map(DraftSequence::Gap),
        2 => prop_oneof![3 => Just(0), 1 => Just(1)].prop_map(DraftSequence::Bump),
        1 => Just(DraftSequence::Stale),
        1 => Just(DraftSequence::End),
    ]
}

fn batch() -> impl Strategy<Value = DraftBatch> {
    let count = prop_oneof![20 => 1_u32..4, 1 => Just(0), 1 => Just(1 << 31)];
    (0_u8..5, sequence(), count, -5_i64..50).prop_map(|(producer, sequence, count, time)| {
        DraftBatch {
            producer,
            sequence,
            count,
            time,
        }
    })
}

fn extent() -> impl Strategy<Value = DraftExtent> {
    (0_u8..4, 0..4, prop::collection::vec(batch(), 0..5)).prop_map(|(topic, partition, batches)| {
        DraftExtent {
            topic,
            partition,
            batches,
        }
    })
}

fn merge() -> impl Strategy<Value = DraftMerge> {
    let shift = || prop_oneof![12 => Just(0), 1 => -2_i64..3];
    let left_out = prop::option::weighted(0.3, 0_usize..4);
    (
        (0_usize..30, 1_usize..8, 1_u8..4),
        (prop::bool::weighted(0.3), prop::bool::weighted(0.2)),
        (left_out, shift(), shift()),
    )
        .prop_map(
            |((from, count, level), (is_split, is_late), (left_out, shift_base, shift_end))| {
                DraftMerge {
                    from,
                    count,
                    level,
                    is_split,
                    is_late,
                    left_out,
                    shift_base,
                    shift_end,
                }
            },
        )
}

fn object() -> impl Strategy<Value = Draft> {
    let retain = (
        0_u8..4,
        prop::option::of(-5_i64..60),
        prop::option::of(0_u64..2000),
    );
    prop_oneof![
        6 => merge().prop_map(Draft::Merge),
        2 => (0_usize..6).prop_map(Draft::RepeatMerge),
        2 => (0_usize..30, 1_usize..5, 0_i64..2000).prop_map(|(from, count, lease_ms)| {
            Draft::BeginMerge { from, count, lease_ms }
        }),
        1 => retain.prop_map(|(topic, time, bytes_max)| Draft::Retain { topic, time, bytes_max }),
        3 => (1_usize..4).prop_map(Draft::ForgetObjects),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let topic = || 0_u8..4;
    prop_oneof![
        40 => prop::collection::vec(extent(), 0..5).prop_map(Draft::Commit),
        8 => (0_usize..30).prop_map(Draft::Repeat),
        8 => (topic(), 0_u8..4, 1..4).prop_map(|(topic, name, partitions)| {
            Draft::CreateTopic { topic, name, partitions }
        }),
        1 => topic().prop_map(|topic| Draft::DeleteTopic { topic }),
        2 => (topic(), 1..5).prop_map(|(topic, count)| Draft::CreatePartitions { topic, count }),
        4 => (topic(), 0..4, -2_i64..20).prop_map(|(topic, partition, by)| {
            Draft::MoveLogStart { topic, partition, by }
        }),
        4 => (0_u8..10, 0_u8..3, prop::bool::weighted(0.2)).prop_map(
            |(resource, value, is_outdated)| Draft::AlterConfigs { resource, value, is_outdated }
        ),
        3 => (0_u8..4, 0_u32..3, 0_u8..4, 0_u8..3).prop_map(
            |(process, attempt, address, brokers)| Draft::Register {
                process,
                attempt,
                address,
                brokers,
            }
        ),
        1 => prop::collection::vec(0_u32..4, 0..3).prop_map(Draft::Unlist),
        1 => prop::collection::vec(0_u32..4, 0..3).prop_map(Draft::Forget),
        2 => Just(Draft::RaiseWriteEpoch),
        2 => Just(Draft::RaiseLowestAccepted),
        20 => object(),
        2 => Just(Draft::AllocateProducerIds),
    ]
}

pub(super) fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![6 => 0_i64..1000, 1 => Just(DAY_MS - 500), 1 => Just(DAY_MS)];
    let step = prop_oneof![
        20 => draft().prop_map(Step::Command),
        6 => Just(Step::Seal),
        1 => Just(Step::Crash),
        3 => wait.prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..max)
}
