use floe_protocol::types::TopicId;

use super::*;
use crate::testing::{Rig, START_MS};

const NOW: TimestampMs = 1_700_000_000_000;

#[test]
fn what_configs_mean() {
    let topic = TopicId::from_bytes([1; 16]);
    // Name, retention.ms and retention.bytes, what is asked for.
    type Case<'a> = (&'a str, (i64, i64), Option<(Option<i64>, Option<u64>)>);
    let cases: &[Case<'_>] = &[
        ("for ever, all", (-1, -1), None),
        ("any negative is no limit", (i64::MIN, i64::MIN), None),
        (
            "a week",
            (604_800_000, -1),
            Some((Some(NOW - 604_800_000), None)),
        ),
        ("nothing by time", (0, -1), Some((Some(NOW), None))),
        ("nothing by size", (-1, 0), Some((None, Some(0)))),
        ("both", (1, 2), Some((Some(NOW - 1), Some(2)))),
        (
            "longer than time itself",
            (i64::MAX, i64::MAX),
            Some((Some(NOW - i64::MAX), Some(u64::try_from(i64::MAX).unwrap()))),
        ),
    ];
    for (name, (ms, bytes), expected) in cases {
        let found = Keep::of_configs(*ms, *bytes).at(NOW, topic);
        let expected = expected.map(|(min_timestamp_ms, bytes_max)| Retention {
            topic,
            min_timestamp_ms,
            bytes_max,
        });
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_clock_that_is_wrong_wraps_nothing() {
    let topic = TopicId::from_bytes([1; 16]);
    for now in [0, i64::MAX, i64::MIN, -1] {
        for ms in [0, 1, i64::MAX] {
            let kept = Keep::of_configs(ms, -1).at(now, topic).unwrap();
            assert_eq!(
                kept.min_timestamp_ms,
                Some(now.saturating_sub(ms)),
                "{now} {ms}"
            );
        }
    }
}

fn start(rig: &Rig, keep: Option<Keep>) -> Arc<Figures> {
    let figures = Arc::new(Figures::default());
    let parts = RetentionParts {
        client: rig.client.clone(),
        view: View::start(rig.client.clone(), &rig.tasks, CancellationToken::new()),
        rules: Arc::new(move |_| keep),
        clock: rig.clock.clone(),
        every: Duration::from_secs(300),
        figures: Arc::clone(&figures),
    };
    rig.tasks.spawn(run(parts, CancellationToken::new()));
    figures
}

const HOUR_MS: i64 = 3_600_000;

#[tokio::test(start_paused = true)]
async fn records_go_when_their_time_has_passed_and_those_of_the_future_stay() {
    let mut rig = Rig::new(1).await;
    for hours in [0, 1, 5, 2] {
        rig.segment(START_MS + hours * HOUR_MS).await;
    }
    let figures = start(&rig, Some(Keep::of_configs(HOUR_MS, -1)));
    let mut starts = Vec::new();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(1800)).await;
        starts.push(rig.log_start().await);
    }
    // Half past, the hour, …: an extent goes as a whole, after the hour in which its newest record lies.
    assert_eq!(starts, [0, 0, 10, 10, 20, 20, 20, 20]);
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    assert_eq!(rig.log_start().await, 40, "all are older than an hour now");
    assert!(Figures::read(&figures.logs_retained) >= 3);
}

#[tokio::test(start_paused = true)]
async fn records_without_a_time_go_by_that_of_their_commit() {
    let mut rig = Rig::new(1).await;
    rig.segment(-1).await;
    start(&rig, Some(Keep::of_configs(HOUR_MS, -1)));
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert_eq!(rig.log_start().await, 0, "not an hour yet");
    tokio::time::sleep(Duration::from_secs(1200)).await;
    assert_eq!(rig.log_start().await, 10);
}

#[tokio::test(start_paused = true)]
async fn records_go_while_more_than_enough_is_left() {
    let mut rig = Rig::new(1).await;
    for _ in 0..10 {
        rig.segment(START_MS).await;
    }
    start(&rig, Some(Keep::of_configs(-1, 250)));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    // Each is of 100 bytes: what is left of ten is still 250 without seven.
    assert_eq!(rig.log_start().await, 70);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_limit_or_is_only_compacted_stays() {
    for keep in [None, Some(Keep::default())] {
        let mut rig = Rig::new(1).await;
        rig.segment(0).await;
        let figures = start(&rig, keep);
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!(rig.log_start().await, 0, "{keep:?}");
        assert_eq!(Figures::read(&figures.logs_retained), 0);
    }
}
