//! Who this broker is to its clients: one node id, and per listener one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use floe_metadata::api::BrokerAddress;
use floe_protocol::types::NodeId;
use floe_storage::store::StoreUrl;

use crate::broker::Endpoint;
use crate::server::Listener;

/// The Kafka release whose APIs this broker speaks, as tools expect to read it.
const KAFKA_RELEASE: &str = "4.2-IV1";

/// The node id of a broker at `endpoint`: derived, so that agents that advertise one address are one
/// broker, and a restart changes nothing. 1 to 2^31 - 1; FNV-1a spreads it.
pub(crate) fn node_id(endpoint: &Endpoint) -> NodeId {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = endpoint.to_string().bytes().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    let folded = (hash >> 32) ^ hash;
    NodeId::try_from(folded & 0x7fff_ffff).map_or(1, |id| id.max(1))
}

/// The address that stands for this process among others: what the first listener advertises, or where
/// it is reached if it is on all interfaces.
pub(crate) fn identity(listener: &Listener) -> Endpoint {
    listener
        .advertised()
        .unwrap_or_else(|| outward(listener.local))
}

/// What clients of `listener` are told of this broker by other processes.
pub(crate) fn broker_address(node_id: NodeId, listener: &Listener) -> BrokerAddress {
    let Endpoint { host, port } = identity(listener);
    BrokerAddress {
        listener: listener.name.to_string(),
        node_id,
        host,
        port,
    }
}

/// `local`, with the address of the interface to the outside in place of "all interfaces".
pub(crate) fn outward(local: SocketAddr) -> Endpoint {
    let host = if local.ip().is_unspecified() {
        primary_address()
    } else {
        local.ip()
    };
    Endpoint {
        host: host.to_string(),
        port: local.port(),
    }
}

/// The address other machines most likely reach this one under. Sends nothing: connecting a UDP socket
/// only asks the routing table.
fn primary_address() -> IpAddr {
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // TEST-NET-1 (RFC 5737): never a neighbour, so the default route answers.
    let routed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    routed.map_or(LOOPBACK, |address| address.ip())
}

/// What DescribeConfigs tells of how this broker was started, under Kafka's names.
pub(crate) fn derived_settings(
    node_id: NodeId,
    zone: Option<&String>,
    store: &StoreUrl,
    listeners: &[Listener],
) -> BTreeMap<&'static str, String> {
    let list = |address: fn(&Listener) -> Endpoint| {
        let named = listeners.iter().map(|listener| {
            format!(
                "{}://{}",
                listener.name.to_ascii_uppercase(),
                address(listener)
            )
        });
        named.collect::<Vec<_>>().join(",")
    };
    let bound = |listener: &Listener| Endpoint {
        host: listener.local.ip().to_string(),
        port: listener.local.port(),
    };
    let mut derived = BTreeMap::from([
        ("node.id", node_id.to_string()),
        ("broker.id", node_id.to_string()),
        ("listeners", list(bound)),
        ("advertised.listeners", list(identity)),
        ("log.dir", store.to_string()),
        ("log.dirs", store.to_string()),
        ("process.roles", "broker,controller".to_owned()),
        ("inter.broker.protocol.version", KAFKA_RELEASE.to_owned()),
    ]);
    if let Some(zone) = zone {
        derived.insert("broker.rack", zone.clone());
    }
    derived
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_positive_steady_and_apart() {
        let at = |port| {
            node_id(&Endpoint {
                host: "127.0.0.1".to_owned(),
                port,
            })
        };
        assert_eq!(at(9092), at(9092));
        let ids: std::collections::BTreeSet<_> = (1..2000).map(at).collect();
        assert_eq!(ids.len(), 1999);
        assert!(ids.iter().all(|id| *id > 0));
    }
}
