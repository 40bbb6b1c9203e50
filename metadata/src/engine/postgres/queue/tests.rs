use super::*;

fn change(key: &'static str, value: &'static str) -> RowChange {
    (
        Bytes::from_static(key.as_bytes()),
        Some(Bytes::from_static(value.as_bytes())),
    )
}

fn deletion(key: &'static str) -> RowChange {
    (Bytes::from_static(key.as_bytes()), None)
}

fn key(key: &'static str) -> Bytes {
    Bytes::from_static(key.as_bytes())
}

#[tokio::test]
async fn a_group_is_all_that_waits_folded_to_the_newest_change_of_each_key() {
    let queue = Queue::default();
    drop(queue.submit(vec![change("a", "1"), change("b", "1"), change("a", "2")]));
    drop(queue.submit(vec![deletion("b"), change("c", "3")]));
    let group = queue.next().await.unwrap();
    let changes: Vec<_> = group.changes.iter().collect();
    assert_eq!(
        changes,
        [
            (&key("a"), &Some(key("2"))),
            (&key("b"), &None),
            (&key("c"), &Some(key("3"))),
        ]
    );
    assert!(!group.proves);
}

#[tokio::test]
async fn rows_are_found_here_until_they_are_durable() {
    let queue = Queue::default();
    let found = |name| queue.find(&key(name)).unwrap();
    assert_eq!(found("a"), Found::Durable { sequence: 0 });
    let durable = queue.submit(vec![change("a", "1"), change("a", "2")]);
    assert_eq!(found("a"), Found::UnderWay(Some(key("2"))));
    let group = queue.next().await.unwrap();
    assert_eq!(found("a"), Found::UnderWay(Some(key("2"))));
    drop(queue.submit(vec![deletion("a")]));
    assert_eq!(found("a"), Found::UnderWay(None));
    queue.written(group, 7);
    durable.await.unwrap();
    assert_eq!(found("a"), Found::UnderWay(None));
    let group = queue.next().await.unwrap();
    queue.written(group, 8);
    assert_eq!(found("a"), Found::Durable { sequence: 8 });
    assert_eq!(queue.take_gone(10), [key("a")], "to be swept");
    assert_eq!(queue.gone_count(), 0);
}

#[tokio::test]
async fn the_first_reason_to_end_stays() {
    let queue = Queue::default();
    let waiting = queue.submit(vec![change("a", "1")]);
    queue.end(&EngineError::Fenced);
    assert!(matches!(
        queue.end(&EngineError::Closed),
        EngineError::Fenced
    ));
    assert!(matches!(waiting.await, Err(EngineError::Fenced)));
    assert!(matches!(
        queue.submit(Vec::new()).await,
        Err(EngineError::Fenced)
    ));
    assert!(matches!(queue.prove().await, Err(EngineError::Fenced)));
    assert!(queue.next().await.is_none());
}
