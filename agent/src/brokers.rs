//! Which brokers a client is told of, and which one of them leads for it (DESIGN, zones and balancers).
//!
//! Every agent serves everything, so "leader" only says where a client shall connect:
//! - one and the same leader for all partitions, so that a client keeps one connection;
//! - steady: whichever agent is asked says the same, and a change of the agents moves only the clients of
//!   those that came or went (rendezvous hashing);
//! - in the client's own zone where there is an agent;
//! - agents that advertise one address, as behind a balancer, are one broker.

use std::net::IpAddr;

use floe_metadata::api::Process;
use floe_protocol::types::NodeId;

use crate::broker::Endpoint;
use crate::rendezvous;

/// A broker as one client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ToldBroker {
    pub(crate) node_id: NodeId,
    pub(crate) endpoint: Endpoint,
    /// Its zone.
    pub(crate) rack: Option<String>,
}

/// What one client is told of the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    /// By node id; at least one.
    pub(crate) brokers: Vec<ToldBroker>,
    /// The one that leads everything for this client; one of `brokers`.
    pub(crate) leader: ToldBroker,
}

/// By what a client is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    /// As it calls itself.
    pub(crate) id: &'a str,
    /// Where it is.
    pub(crate) address: IpAddr,
}

/// What a client that came in on `listener` is told. `own` is this broker as the client reached it;
/// it stands alone while `processes` shows nobody.
pub(crate) fn told(
    processes: &[Process],
    listener: &str,
    own: &ToldBroker,
    is_leaving: bool,
    client: Client<'_>,
) -> Told {
    let mut brokers: Vec<ToldBroker> = processes
        .iter()
        .flat_map(|process| {
            process
                .told
                .brokers
                .iter()
                .map(move |broker| (process, broker))
        })
        .filter(|(_, broker)| broker.listener == listener && broker.node_id != own.node_id)
        .map(|(process, broker)| ToldBroker {
            node_id: broker.node_id,
            endpoint: Endpoint {
                host: broker.host.clone(),
                port: broker.port,
            },
            rack: process.told.zone.clone(),
        })
        .collect();
    let is_listed = |process: &Process| {
        let brokers = &process.told.brokers;
        brokers.iter().any(|broker| broker.node_id == own.node_id)
    };
    // Others may stand behind the same address, so a leaving process goes by the list.
    if !is_leaving || brokers.is_empty() || processes.iter().any(is_listed) {
        brokers.push(own.clone());
    }
    brokers.sort_by_key(|broker| broker.node_id);
    brokers.dedup_by_key(|broker| broker.node_id);
    let zone = zone_of(client.id);
    let is_near = |broker: &&ToldBroker| zone.is_some() && broker.rack.as_deref() == zone;
    let near = brokers.iter().filter(is_near);
    let leader = near
        .max_by_key(|broker| weight(client, broker.node_id))
        .or_else(|| {
            brokers
                .iter()
                .max_by_key(|broker| weight(client, broker.node_id))
        })
        .unwrap_or(own)
        .clone();
    Told { brokers, leader }
}

/// The zone that a client names in its id, as in `billing,zone=eu-1a`.
fn zone_of(client_id: &str) -> Option<&str> {
    const KEYS: [&str; 4] = ["zone", "diskless_az", "ws_az", "warpstream_az"];
    client_id
        .split([',', ';', ' '])
        .filter_map(|part| part.trim().split_once('='))
        .find(|(key, zone)| KEYS.contains(key) && !zone.is_empty())
        .map(|(_, zone)| zone)
}

/// How much a client is drawn to a broker: spread evenly, and the same in every process and release.
fn weight(client: Client<'_>, node_id: NodeId) -> (u64, NodeId) {
    let address = client.address.to_canonical().to_string();
    let bytes = client.id.bytes().chain([0]).chain(address.bytes());
    let weight = rendezvous::weight(bytes.chain(node_id.to_be_bytes()));
    (weight, node_id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use floe_metadata::api::{BrokerAddress, NewProcess};

    use super::*;

    const MAIN: &str = "default";

    fn process(number: u8, zone: Option<&str>, addresses: &[(&str, NodeId)]) -> Process {
        let broker = |(listener, node_id): &(&str, NodeId)| BrokerAddress {
            listener: (*listener).to_owned(),
            node_id: *node_id,
            host: format!("host-{node_id}"),
            port: 9092,
        };
        Process {
            incarnation: u32::from(number),
            told: NewProcess {
                nonce: [number; 16],
                attempt: 0,
                internal: format!("10.0.0.{number}:9090"),
                zone: zone.map(str::to_owned),
                brokers: addresses.iter().map(broker).collect(),
                feature_level: 1,
            },
        }
    }

    fn own(node_id: NodeId) -> ToldBroker {
        ToldBroker {
            node_id,
            endpoint: Endpoint {
                host: "as-it-came".to_owned(),
                port: 1,
            },
            rack: None,
        }
    }

    fn client(id: &str) -> Client<'_> {
        Client {
            id,
            address: IpAddr::from([10, 1, 2, 3]),
        }
    }

    fn ids(told: &Told) -> Vec<NodeId> {
        told.brokers.iter().map(|broker| broker.node_id).collect()
    }

    fn three() -> Vec<Process> {
        vec![
            process(1, Some("a"), &[(MAIN, 11), ("outside", 91)]),
            process(2, Some("b"), &[(MAIN, 12)]),
            process(3, Some("b"), &[(MAIN, 13)]),
        ]
    }

    #[test]
    fn the_leader_is_the_same_whoever_is_asked() {
        for name in ["a", "b", "rdkafka", "producer-1", ""] {
            let leaders = [11, 12, 13].map(|asked| {
                let told = told(&three(), MAIN, &own(asked), false, client(name));
                assert_eq!(ids(&told), [11, 12, 13]);
                told.leader.node_id
            });
            assert!(leaders.iter().all(|leader| *leader == leaders[0]), "{name}");
        }
    }

    #[test]
    fn clients_spread_and_only_those_of_a_lost_agent_move() {
        let mut counts = BTreeMap::new();
        for number in 0..3000 {
            let name = format!("client-{number}");
            let before = told(&three(), MAIN, &own(11), false, client(&name))
                .leader
                .node_id;
            let left = told(&three()[..2], MAIN, &own(11), false, client(&name))
                .leader
                .node_id;
            *counts.entry(before).or_insert(0) += 1;
            assert!(
                before == 13 || before == left,
                "{name} moved from {before} to {left}"
            );
        }
        assert!(
            counts.values().all(|count| (900..1100).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_client_is_led_in_its_own_zone() {
        for number in 0..50 {
            let near = format!("orders-{number},zone=a");
            let told_near = told(&three(), MAIN, &own(12), false, client(&near));
            assert_eq!((told_near.leader.node_id, ids(&told_near).len()), (11, 3));
        }
        for id in [
            "ws_az=a",
            "warpstream_az=a",
            "diskless_az=a",
            "x zone=a;y=z",
        ] {
            assert_eq!(
                told(&three(), MAIN, &own(12), false, client(id))
                    .leader
                    .node_id,
                11
            );
        }
        let nowhere = told(&three(), MAIN, &own(12), false, client("zone=c"));
        assert!([11, 12, 13].contains(&nowhere.leader.node_id));
    }

    #[test]
    fn each_listener_has_its_own_brokers() {
        let told = told(&three(), "outside", &own(91), false, client("c"));
        assert_eq!(ids(&told), [91]);
        assert_eq!(told.leader, own(91), "as the client reached it");
    }

    #[test]
    fn one_address_is_one_broker() {
        let behind = [1, 2, 3].map(|number| process(number, None, &[(MAIN, 7)]));
        for is_leaving in [false, true] {
            let told = told(&behind, MAIN, &own(7), is_leaving, client("c"));
            assert_eq!(ids(&told), [7]);
        }
    }

    #[test]
    fn a_leaving_agent_is_told_by_nobody_unless_it_is_alone() {
        let others = &three()[..2];
        assert_eq!(
            ids(&told(others, MAIN, &own(13), true, client("c"))),
            [11, 12]
        );
        assert_eq!(ids(&told(&[], MAIN, &own(13), true, client("c"))), [13]);
        let listed = told(&three(), MAIN, &own(13), true, client("c"));
        assert_eq!(ids(&listed), [11, 12, 13], "until the list says so");
    }
}
