//! AlterClientQuotas and DescribeClientQuotas.

use floe_protocol::messages::alter_client_quotas as alter;
use floe_protocol::messages::alter_client_quotas::AlterClientQuotasRequest;
use floe_protocol::messages::describe_client_quotas::{ComponentData, DescribeClientQuotasRequest};

use super::text;
use crate::testing::{Client, agent};

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

/// Of entities, the ops: key, value, and whether it goes.
fn entry(entity: Entity<'_>, ops: &[(&str, f64, bool)]) -> alter::EntryData {
    alter::EntryData {
        entity: entity
            .iter()
            .map(|(kind, name)| alter::EntityData {
                entity_type: text(kind),
                entity_name: name.map(text),
            })
            .collect(),
        ops: ops
            .iter()
            .map(|(key, value, remove)| alter::OpData {
                key: text(key),
                value: *value,
                remove: *remove,
            })
            .collect(),
    }
}

async fn alter(client: &mut Client, entries: Vec<alter::EntryData>, only: bool) -> Vec<i16> {
    let request = AlterClientQuotasRequest {
        entries,
        validate_only: only,
    };
    let answer = client.call(1, &request).await;
    let entries = answer.entries.iter();
    entries.map(|entry| entry.error_code).collect()
}

/// Each entity that was found with its quotas, as text.
async fn describe(
    client: &mut Client,
    components: &[(&str, i8, Option<&str>)],
    strict: bool,
) -> Result<Vec<String>, i16> {
    let components = components
        .iter()
        .map(|(kind, match_type, name)| ComponentData {
            entity_type: text(kind),
            match_type: *match_type,
            match_: name.map(text),
        });
    let request = DescribeClientQuotasRequest {
        components: components.collect(),
        strict,
    };
    let answer = client.call(0, &request).await;
    if answer.error_code != 0 {
        assert!(answer.entries.is_none() && answer.error_message.is_some());
        return Err(answer.error_code);
    }
    let entries = answer.entries.unwrap().into_iter().map(|entry| {
        let entity = entry.entity.iter().map(|it| {
            let name = it.entity_name.as_deref().unwrap_or("*");
            format!("{}={name}", it.entity_type.as_str())
        });
        let values = entry.values.iter();
        let values = values.map(|it| format!("{}={}", it.key.as_str(), it.value));
        let words: Vec<_> = entity.chain(values).collect();
        words.join(" ")
    });
    Ok(entries.collect())
}

#[tokio::test]
async fn quotas_are_kept_and_found_by_whom_they_are_for() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    assert_eq!(describe(&mut client, &[], false).await, Ok(vec![]));
    let alice = ("user", Some("alice"));
    let entries = vec![
        entry(&[alice], &[("producer_byte_rate", 1024.0, false)]),
        entry(&[("user", None)], &[("request_percentage", 12.5, false)]),
        entry(
            &[("client-id", Some("a,b")), alice],
            &[("consumer_byte_rate", 7.0, false)],
        ),
        entry(
            &[("ip", Some("10.0.0.1"))],
            &[("connection_creation_rate", 3.0, false)],
        ),
    ];
    assert_eq!(alter(&mut client, entries.clone(), true).await, [0; 4]);
    assert_eq!(
        describe(&mut client, &[], false).await,
        Ok(vec![]),
        "only validated"
    );
    assert_eq!(alter(&mut client, entries, false).await, [0; 4]);
    let both = "client-id=a,b user=alice consumer_byte_rate=7".to_owned();
    let one = "user=alice producer_byte_rate=1024".to_owned();
    let default = "user=* request_percentage=12.5".to_owned();
    let ip = "ip=10.0.0.1 connection_creation_rate=3".to_owned();
    let mut all = describe(&mut client, &[], false).await.unwrap();
    all.sort();
    assert_eq!(
        all,
        [both.clone(), ip.clone(), default.clone(), one.clone()]
    );
    let exact = [("user", 0, Some("alice"))];
    assert_eq!(
        describe(&mut client, &exact, true).await,
        Ok(vec![one.clone()])
    );
    assert_eq!(
        describe(&mut client, &exact, false).await,
        Ok(vec![both, one.clone()])
    );
    assert_eq!(
        describe(&mut client, &[("user", 1, None)], true).await,
        Ok(vec![default.clone()])
    );
    let any = describe(&mut client, &[("user", 2, None)], true)
        .await
        .unwrap();
    assert_eq!(any.len(), 2);
    assert_eq!(
        describe(&mut client, &[("ip", 2, None)], true).await,
        Ok(vec![ip])
    );
    let remove = entry(&[alice], &[("producer_byte_rate", 0.0, true)]);
    assert_eq!(alter(&mut client, vec![remove], false).await, [0]);
    assert_eq!(describe(&mut client, &exact, true).await, Ok(vec![]));
}

#[tokio::test]
async fn what_two_clients_set_for_one_user_at_once_is_all_kept() {
    let agent = agent(&[]).await;
    let alice = ("user", Some("alice"));
    let keys = [
        "consumer_byte_rate",
        "producer_byte_rate",
        "request_percentage",
    ];
    let setting = keys.map(|key| {
        let agent = &agent;
        async move {
            let mut client = Client::connect(agent).await;
            for value in 1..=20 {
                let quota = entry(&[alice], &[(key, f64::from(value), false)]);
                assert_eq!(alter(&mut client, vec![quota], false).await, [0]);
            }
        }
    });
    futures::future::join_all(setting).await;
    let mut client = Client::connect(&agent).await;
    let all = keys.map(|key| format!("{key}=20")).join(" ");
    assert_eq!(
        describe(&mut client, &[], false).await,
        Ok(vec![format!("user=alice {all}")])
    );
}

#[tokio::test]
async fn what_is_no_quota_is_refused() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let rate = [("producer_byte_rate", 1.0, false)];
    let user: Entity<'_> = &[("user", Some("u"))];
    let refused = [
        entry(&[], &rate),
        entry(&[("group", Some("g"))], &rate),
        entry(&[("user", Some(""))], &rate),
        entry(&[("user", None), ("user", Some("u"))], &rate),
        entry(&[("ip", None), ("user", None)], &[]),
        entry(&[("ip", Some("nowhere"))], &[]),
        entry(&[("ip", None)], &rate),
        entry(user, &[("no_such_rate", 1.0, false)]),
        entry(user, &[("producer_byte_rate", 0.0, false)]),
        entry(user, &[("producer_byte_rate", 1.5, false)]),
        entry(user, &[rate[0], rate[0]]),
    ];
    for entry in refused {
        assert_eq!(
            alter(&mut client, vec![entry.clone()], false).await,
            [42],
            "{entry:?}"
        );
    }
    let twice = vec![entry(user, &rate), entry(user, &rate)];
    assert_eq!(alter(&mut client, twice, false).await, [42, 42]);
    assert_eq!(
        describe(&mut client, &[], false).await,
        Ok(vec![]),
        "nothing was kept"
    );
    for (components, code) in [
        (&[("", 2, None)][..], 42),
        (&[("group", 2, None)], 35),
        (&[("user", 2, None), ("user", 1, None)], 42),
        (&[("user", 0, None)], 42),
        (&[("user", 1, Some("u"))], 42),
        (&[("user", 3, None)], 42),
        (&[("user", 2, None), ("ip", 2, None)], 42),
    ] {
        assert_eq!(
            describe(&mut client, components, false).await,
            Err(code),
            "{components:?}"
        );
    }
}
