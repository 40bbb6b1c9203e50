//! Every request and reply comes out as it went in, and what nobody sends is refused.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::testing::{partition, topic_id as id};

fn segment() -> impl Strategy<Value = SegmentId> {
    any::<(u32, u32, u64)>().prop_map(|(write_epoch, incarnation, counter)| SegmentId {
        write_epoch,
        incarnation,
        counter,
    })
}

fn summary() -> impl Strategy<Value = SegmentSummary> {
    (segment(), any::<(u64, u8, u64, u64, i64, bool)>()).prop_map(|(segment, rest)| {
        let (commit, level, size_bytes, live_extents, committed_ms, is_leased) = rest;
        SegmentSummary {
            commit,
            segment,
            level,
            size_bytes,
            live_extents,
            committed_ms,
            is_leased,
        }
    })
}

fn merged_extents() -> impl Strategy<Value = Vec<MergedExtent>> {
    let offset = 0..=i64::MAX;
    let one = (
        (0..4_u8, -1..3_i32),
        any::<(u64, u32, i64)>(),
        offset.clone(),
        offset,
    );
    let one = one.prop_map(|((topic, index), place, base_offset, end_offset)| {
        let (position_bytes, length_bytes, max_timestamp_ms) = place;
        MergedExtent {
            partition: partition(topic, index),
            position_bytes,
            length_bytes,
            base_offset,
            end_offset,
            max_timestamp_ms,
        }
    });
    prop::collection::vec(one, 0..12)
}

fn source() -> impl Strategy<Value = MergeSource> {
    (summary(), merged_extents()).prop_map(|(summary, runs)| {
        let extents = runs.into_iter().map(|run| {
            let extent = Extent {
                segment: summary.segment,
                level: summary.level,
                position_bytes: run.position_bytes,
                length_bytes: run.length_bytes,
                base_offset: run.base_offset,
                end_offset: run.end_offset,
                max_timestamp_ms: run.max_timestamp_ms,
            };
            (run.partition, extent)
        });
        let extents = extents.collect();
        MergeSource { summary, extents }
    })
}

fn merge() -> impl Strategy<Value = MergeRequest> {
    let sources = prop::collection::vec(any::<u64>(), 0..5);
    (segment(), any::<(u8, u64)>(), sources, merged_extents()).prop_map(
        |(segment, (level, size_bytes), sources, extents)| MergeRequest {
            segment,
            level,
            size_bytes,
            sources,
            extents,
        },
    )
}

fn retention() -> impl Strategy<Value = Retention> {
    any::<(u8, Option<i64>, Option<u64>)>().prop_map(|(topic, min_timestamp_ms, bytes_max)| {
        Retention {
            topic: id(topic),
            min_timestamp_ms,
            bytes_max,
        }
    })
}

fn dead() -> impl Strategy<Value = DeadObject> {
    (segment(), any::<(u64, u8, u64, i64)>()).prop_map(|(segment, rest)| {
        let (commit, level, size_bytes, dead_ms) = rest;
        DeadObject {
            commit,
            segment,
            level,
            size_bytes,
            dead_ms,
        }
    })
}

fn request() -> impl Strategy<Value = ObjectRequest> {
    let commits = || prop::collection::vec(any::<u64>(), 0..5);
    prop_oneof![
        any::<u8>().prop_map(|below_level| ObjectRequest::Segments { below_level }),
        (commits(), any::<i64>())
            .prop_map(|(sources, lease_ms)| ObjectRequest::BeginMerge { sources, lease_ms }),
        merge().prop_map(ObjectRequest::CompleteMerge),
        prop::collection::vec(retention(), 0..4).prop_map(ObjectRequest::Retain),
        any::<(i64, u32)>().prop_map(|(min_age_ms, objects_max)| ObjectRequest::Dead {
            min_age_ms,
            objects_max: usize::try_from(objects_max).unwrap(),
        }),
        commits().prop_map(ObjectRequest::Forget),
        prop::collection::vec(segment(), 0..4).prop_map(ObjectRequest::AreKnown),
        Just(ObjectRequest::WriteEpochs),
        any::<u32>().prop_map(|above| ObjectRequest::RaiseWriteEpoch { above }),
        any::<u32>().prop_map(|to| ObjectRequest::RaiseLowestAccepted { to }),
    ]
}

fn outcome() -> impl Strategy<Value = Result<Revision, MergeError>> {
    prop_oneof![
        any::<u64>().prop_map(Ok),
        Just(Err(MergeError::Stale)),
        Just(Err(MergeError::Malformed)),
        any::<u32>().prop_map(|incarnation| Err(MergeError::NotRegistered(incarnation))),
        any::<(u32, u32)>().prop_map(|(write_epoch, lowest)| Err(MergeError::TooOld {
            write_epoch,
            lowest,
        })),
    ]
}

fn reply() -> impl Strategy<Value = ObjectReply> {
    let sources = prop::collection::vec(source(), 0..4);
    prop_oneof![
        prop::collection::vec(summary(), 0..5).prop_map(ObjectReply::Segments),
        prop::option::of(sources).prop_map(ObjectReply::MergeSources),
        outcome().prop_map(ObjectReply::Merged),
        any::<u64>().prop_map(ObjectReply::Retained),
        prop::collection::vec(dead(), 0..5).prop_map(ObjectReply::Dead),
        Just(ObjectReply::Forgotten),
        prop::collection::vec(any::<bool>(), 0..9).prop_map(ObjectReply::Known),
        any::<(u32, u32)>().prop_map(|(present, lowest_accepted)| {
            ObjectReply::WriteEpochs(WriteEpochs {
                present,
                lowest_accepted,
            })
        }),
    ]
}

proptest! {
    #[test]
    fn requests_survive_the_journey(request in request()) {
        let sent = proto::ObjectCall::from(request.clone()).encode_to_vec();
        let call = proto::ObjectCall::decode(sent.as_slice()).unwrap();
        prop_assert_eq!(ObjectRequest::try_from(call), Ok(request));
    }

    #[test]
    fn replies_survive_the_journey(reply in reply()) {
        let sent = proto::ObjectAnswer::from(reply.clone()).encode_to_vec();
        let answer = proto::ObjectAnswer::decode(sent.as_slice()).unwrap();
        prop_assert_eq!(ObjectReply::try_from(answer), Ok(reply));
    }

    #[test]
    fn garbage_is_refused_or_understood(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(call) = proto::ObjectCall::decode(bytes.as_slice()) {
            drop(ObjectRequest::try_from(call));
        }
        if let Ok(answer) = proto::ObjectAnswer::decode(bytes.as_slice()) {
            drop(ObjectReply::try_from(answer));
        }
    }
}

fn topic() -> proto::CommittedTopic {
    proto::CommittedTopic {
        topic: id_bytes(id(1)),
        partitions: vec![0, 1],
        positions_bytes: vec![0, 10],
        lengths_bytes: vec![10, 10],
        base_offsets: vec![0, 0],
        end_offsets: vec![5, 5],
        max_timestamps_ms: vec![1, 1],
    }
}

#[test]
fn what_nobody_sends_is_refused() {
    let merge = |topic, level, segment| {
        ObjectRequest::try_from(proto::ObjectCall {
            what: Some(object_call::What::CompleteMerge(proto::Merge {
                segment,
                level,
                topics: vec![topic],
                ..proto::Merge::default()
            })),
        })
    };
    let segment = || Some(proto::SegmentId::default());
    assert!(merge(topic(), 1, segment()).is_ok());
    assert_eq!(merge(topic(), 1, None), Err(Malformed), "no segment");
    assert_eq!(merge(topic(), 256, segment()), Err(Malformed), "level");
    let columns: [fn(&mut proto::CommittedTopic); 9] = [
        |it| it.topic = bytes::Bytes::from_static(b"short"),
        |it| it.partitions.truncate(1),
        |it| it.positions_bytes.push(0),
        |it| it.lengths_bytes.truncate(1),
        |it| it.base_offsets.truncate(0),
        |it| it.end_offsets.push(0),
        |it| it.max_timestamps_ms.truncate(1),
        |it| it.base_offsets = vec![0, u64::MAX],
        |it| it.end_offsets = vec![0, 1 << 63],
    ];
    for (number, spoil) in columns.into_iter().enumerate() {
        let mut spoilt = topic();
        spoil(&mut spoilt);
        assert_eq!(merge(spoilt, 1, segment()), Err(Malformed), "{number}");
    }
    let call = |what| ObjectRequest::try_from(proto::ObjectCall { what });
    assert_eq!(call(None), Err(Malformed));
    let level = object_call::What::Segments(256);
    assert_eq!(call(Some(level)), Err(Malformed));
    let topic = proto::Retention::default();
    let retain = object_call::What::Retain(proto::Retentions {
        topics: vec![topic],
    });
    assert_eq!(call(Some(retain)), Err(Malformed));

    let answer = |what| ObjectReply::try_from(proto::ObjectAnswer { what: Some(what) });
    let nothing = proto::ObjectAnswer { what: None };
    assert_eq!(ObjectReply::try_from(nothing), Err(Malformed));
    let merged = |what| answer(object_answer::What::Merged(proto::MergeOutcome { what }));
    assert_eq!(merged(None), Err(Malformed));
    let failure = merge_outcome::What::Failure(proto::MergeFailure::default());
    assert_eq!(merged(Some(failure)), Err(Malformed));
    let dead = object_answer::What::Dead(proto::DeadObjects {
        objects: vec![proto::DeadObject::default()],
    });
    assert_eq!(answer(dead), Err(Malformed), "an object without a name");
    let source = object_answer::What::MergeSources(proto::MaybeMergeSources {
        sources: Some(proto::MergeSources {
            sources: vec![proto::MergeSource::default()],
        }),
    });
    assert_eq!(answer(source), Err(Malformed), "a source without a summary");
}
