//! Scripts of requests and what sessions make of them.

use super::*;

const SEED: u64 = 7;

fn key(partition: i32) -> PartitionKey {
    (TopicKey::Name(Arc::from("t")), partition)
}

fn asked(partition: i32, fetch_offset: i64) -> Asked {
    Asked {
        key: key(partition),
        named_id: None,
        fetch_offset,
        max_bytes: 1,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

fn ask(id: i32, epoch: i32, partitions: &[i32]) -> Ask {
    let asked = partitions
        .iter()
        .map(|partition| asked(*partition, 0))
        .collect();
    Ask {
        id,
        epoch,
        uses_ids: false,
        asked,
        forgotten: Vec::new(),
    }
}

fn told(high_watermark: i64, has_records: bool) -> Told {
    let bounds = PartitionBounds {
        log_start: 0,
        high_watermark,
        last_stable: high_watermark,
    };
    Told {
        bounds: Some(bounds),
        has_records,
    }
}

const ERROR: Told = Told {
    bounds: None,
    has_records: false,
};

fn partitions(placed: &Placed) -> Vec<i32> {
    placed.asked.iter().map(|asked| asked.key.1).collect()
}

/// Opens a session of `partitions` that were told a high watermark of 5.
fn open(sessions: &Sessions, now: Instant, partitions: &[i32]) -> i32 {
    let placed = sessions.place(now, ask(0, 0, partitions)).unwrap();
    let (id, named) = sessions.answer(now, placed, &vec![told(5, false); partitions.len()]);
    assert!(named.iter().all(|named| *named), "a full answer names all");
    id
}

#[tokio::test(start_paused = true)]
async fn without_a_session_all_is_answered() {
    let (sessions, now) = (Sessions::new(SEED), Instant::now());
    let placed = sessions.place(now, ask(0, -1, &[2, 1])).unwrap();
    assert_eq!(partitions(&placed), [2, 1], "in the order of the request");
    let (id, named) = sessions.answer(now, placed, &[told(5, false), ERROR]);
    assert_eq!((id, named), (NO_SESSION, vec![true, true]));
}

#[tokio::test(start_paused = true)]
async fn only_news_is_answered() {
    let (sessions, now) = (Sessions::new(SEED), Instant::now());
    let id = open(&sessions, now, &[0, 1, 2, 3, 4]);
    assert!(id > 0);
    let placed = sessions.place(now, ask(id, 1, &[])).unwrap();
    assert_eq!(partitions(&placed), [0, 1, 2, 3, 4]);
    let answers = [
        told(5, false),
        told(6, false),
        told(5, true),
        ERROR,
        told(5, false),
    ];
    let (answered_id, named) = sessions.answer(now, placed, &answers);
    assert_eq!(answered_id, id);
    assert_eq!(named, [false, true, true, true, false]);

    let placed = sessions.place(now, ask(id, 2, &[])).unwrap();
    assert_eq!(
        partitions(&placed),
        [0, 1, 3, 4, 2],
        "who got records goes to the end"
    );
    let (_, named) = sessions.answer(
        now,
        placed,
        &[
            told(5, false),
            told(6, false),
            ERROR,
            told(5, false),
            told(5, false),
        ],
    );
    assert_eq!(
        named,
        [false, false, true, false, false],
        "an error is told each time"
    );

    let placed = sessions.place(now, ask(id, 3, &[])).unwrap();
    let (_, named) = sessions.answer(
        now,
        placed,
        &[
            told(5, false),
            told(6, false),
            told(5, false),
            told(5, false),
            told(5, false),
        ],
    );
    assert_eq!(
        named,
        [false, false, true, false, false],
        "and so is its end"
    );
}

#[tokio::test(start_paused = true)]
async fn requests_change_and_forget_partitions() {
    let (sessions, now) = (Sessions::new(SEED), Instant::now());
    let id = open(&sessions, now, &[0, 1]);
    let mut next = ask(id, 1, &[]);
    next.asked = vec![asked(1, 77), asked(2, 5)];
    next.forgotten = vec![key(0), key(9)];
    let placed = sessions.place(now, next).unwrap();
    assert_eq!(partitions(&placed), [1, 2]);
    assert_eq!(placed.asked[0].fetch_offset, 77);
    let (_, named) = sessions.answer(now, placed, &[told(5, false), told(5, false)]);
    assert_eq!(named, [false, true], "a new partition is news");

    let mut last = ask(id, 2, &[]);
    last.forgotten = vec![key(1), key(2)];
    let placed = sessions.place(now, last).unwrap();
    assert!(placed.asked.is_empty());
    assert_eq!(
        sessions.answer(now, placed, &[]),
        (NO_SESSION, vec![]),
        "an empty session ends"
    );
    assert_eq!(sessions.lock().partitions, 0);
}

#[tokio::test(start_paused = true)]
async fn requests_that_do_not_fit_are_refused() {
    let (sessions, now) = (Sessions::new(SEED), Instant::now());
    let id = open(&sessions, now, &[0]);
    let refused = |ask: Ask| sessions.place(now, ask).unwrap_err();
    assert_eq!(refused(ask(0, 1, &[])), SessionError::NotFound(0));
    assert_eq!(refused(ask(id ^ 1, 1, &[])), SessionError::NotFound(id ^ 1));
    assert_eq!(
        refused(ask(id, 2, &[])),
        SessionError::Epoch {
            id,
            expected: 1,
            found: 2
        }
    );
    let by_id = Ask {
        uses_ids: true,
        ..ask(id, 1, &[])
    };
    assert_eq!(refused(by_id), SessionError::TopicId(id));
    assert!(
        sessions.place(now, ask(id, 1, &[])).is_ok(),
        "a refusal does not move the session"
    );
}

#[tokio::test(start_paused = true)]
async fn closing_and_reopening() {
    let (sessions, now) = (Sessions::new(SEED), Instant::now());
    let first = open(&sessions, now, &[0]);
    let placed = sessions.place(now, ask(first, 0, &[0, 1])).unwrap();
    let (second, _) = sessions.answer(now, placed, &[told(5, false), told(5, false)]);
    assert_ne!(first, second);
    assert_eq!(
        sessions.place(now, ask(first, 1, &[])).unwrap_err(),
        SessionError::NotFound(first)
    );
    let placed = sessions.place(now, ask(second, -1, &[0])).unwrap();
    assert_eq!(
        sessions.answer(now, placed, &[told(5, false)]).0,
        NO_SESSION
    );
    assert_eq!(
        sessions.place(now, ask(second, 1, &[])).unwrap_err(),
        SessionError::NotFound(second)
    );
}

#[tokio::test(start_paused = true)]
async fn room_is_bounded_and_only_idle_sessions_give_way() {
    let sessions = Sessions::with_limits(SEED, 2, 5);
    let start = Instant::now();
    let later = |secs| start + Duration::from_secs(secs);
    let first = open(&sessions, start, &[0, 1]);
    let second = open(&sessions, later(60), &[0, 1]);
    assert!(first > 0 && second > 0);
    assert_eq!(
        open(&sessions, later(61), &[0]),
        NO_SESSION,
        "no slot, nobody idle"
    );
    let third = open(&sessions, later(121), &[0, 1, 2]);
    assert!(third > 0, "the first has been idle for two minutes");
    assert!(sessions.place(later(121), ask(first, 1, &[])).is_err());
    assert!(sessions.place(later(121), ask(second, 1, &[])).is_ok());
    let placed = sessions.place(later(121), ask(third, -1, &[])).unwrap();
    sessions.answer(later(121), placed, &[]);
    assert_eq!(
        open(&sessions, later(122), &[0, 1, 2, 3]),
        NO_SESSION,
        "too many partitions"
    );
    assert!(open(&sessions, later(122), &[0, 1, 2]) > 0);
}
