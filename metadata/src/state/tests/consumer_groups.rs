//! Groups of the consumer protocol as they are kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fixtures::{Cluster, START_MS, at, roomy};
use crate::groups::Saved as Kept;
use crate::groups::consumer::{Assignor, ClassicMember, Saved, SavedMember};
use crate::state::rows::group::GroupRow;
use crate::state::{Command, Reply, RowError};

fn saved() -> Saved {
    let consumer = SavedMember {
        id: "m".to_owned(),
        instance: Some("fixed".to_owned()),
        rack: Some("r".to_owned()),
        client_id: "client".to_owned(),
        client_host: "/10.0.0.1".to_owned(),
        rebalance_timeout: Duration::from_secs(300),
        names: ["a".to_owned()].into(),
        regex: Some("b.*".to_owned()),
        assignor: Some(Assignor::Range),
        epoch: 6,
        previous_epoch: 5,
        assigned: [at(1, 0), at(1, 1)].into(),
        revoking: [at(2, 300)].into(),
        target: [at(1, 1)].into(),
        classic: None,
    };
    let classic = SavedMember {
        id: "n".to_owned(),
        epoch: -2,
        previous_epoch: -2,
        assigned: [at(2, 7)].into(),
        target: [at(2, 7)].into(),
        classic: Some(ClassicMember {
            session_timeout: Duration::from_secs(45),
            protocols: vec![("range".to_owned(), Bytes::from_static(b"own"))],
        }),
        ..SavedMember::default()
    };
    Saved {
        epoch: 7,
        members: vec![consumer, classic],
    }
}

fn row() -> GroupRow {
    GroupRow {
        name: Arc::from("g"),
        emptied_ms: Some(START_MS),
        saved: Arc::new(Kept::Consumer(saved())),
    }
}

#[test]
fn rows_of_consumer_groups_are_these_bytes() {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let expected = concat!(
        "0201670180c0e285e3680e02016d0105666978656401017206636c69656e74092f31302e302e302e31e0a7120101610103622e2a",
        "020c0a0101010101010101010101010101010101020002010202020202020202020202020202020201d804010101010101010101",
        "010101010101010101010200016e000000000000000003030102020202020202020202020202020202010e000001c8df02010572616e6765036f776e"
    );
    assert_eq!(hex(&row().encode()), expected);
    assert_eq!(GroupRow::decode(&row().encode()), Ok(row()));
}

#[test]
fn a_row_that_is_cut_or_longer_is_refused() {
    let bytes = row().encode();
    for length in 0..bytes.len() {
        assert!(GroupRow::decode(&bytes[..length]).is_err(), "{length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(GroupRow::decode(&longer), Err(RowError::Trailing(1)));
    let mut newer = bytes;
    newer[0] = 3;
    assert_eq!(GroupRow::decode(&newer), Err(RowError::UnknownVersion(3)));
}

#[test]
fn a_group_of_the_consumer_protocol_is_recovered() {
    let mut cluster = Cluster::registered(roomy());
    let (group, kept) = (Arc::from("g"), Arc::new(Kept::Consumer(saved())));
    let reply = cluster.run(Command::SaveGroup { group, saved: kept });
    assert_eq!(reply, Reply::GroupSaved);
    cluster.crash();
    let (name, kept) = cluster.state.groups().next().unwrap();
    assert_eq!((&**name, kept), ("g", &Kept::Consumer(saved())));
}
