//! FindCoordinator (KIP-699, KIP-932): which broker serves a group or a transactional id. Every broker
//! can, so it is the one that leads everything for the client.

use floe_metadata::client::Owner;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use floe_protocol::str::Str;

use super::{Context, Handler, Refuse};
use crate::brokers::ToldBroker;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// The first version with several keys in a request.
const BATCHED: i16 = 4;
/// The first version with share groups.
const WITH_SHARE: i16 = 6;

impl Handler for FindCoordinatorRequest {
    async fn handle(self, context: &Context) -> FindCoordinatorResponse {
        let ToldBroker {
            node_id, endpoint, ..
        } = context.brokers().leader;
        let (host, port) = (Str::from(endpoint.host), i32::from(endpoint.port));
        let owner = context.broker.metadata.owner();
        let find = |key: &Str| match check(self.key_type, key, context.version) {
            Ok(()) if !is_there(owner) => {
                let code = ErrorCode::CoordinatorNotAvailable;
                missing(key, code, code.message().to_owned())
            }
            Ok(()) => {
                let key = key.clone();
                Coordinator {
                    key,
                    node_id,
                    host: host.clone(),
                    port,
                    ..Coordinator::default()
                }
            }
            Err(message) => missing(key, ErrorCode::InvalidRequest, message),
        };
        if context.version >= BATCHED {
            let coordinators = self.coordinator_keys.iter().map(find).collect();
            return FindCoordinatorResponse {
                coordinators,
                ..FindCoordinatorResponse::default()
            };
        }
        single(find(&self.key))
    }
}

impl Refuse for FindCoordinatorRequest {
    fn refuse(&self, version: i16, code: ErrorCode) -> Option<FindCoordinatorResponse> {
        let failed = |key: &Str| missing(key, code, code.message().to_owned());
        if version < BATCHED {
            return Some(single(failed(&self.key)));
        }
        let coordinators: Vec<_> = self.coordinator_keys.iter().map(failed).collect();
        let has_room = !coordinators.is_empty();
        has_room.then(|| FindCoordinatorResponse {
            coordinators,
            ..FindCoordinatorResponse::default()
        })
    }
}

/// Groups are coordinated where metadata has its owner: without one, clients are to ask again.
const fn is_there(owner: Owner) -> bool {
    matches!(owner, Owner::Ready { .. })
}

fn check(key_type: i8, key: &str, version: i16) -> Result<(), String> {
    match key_type {
        GROUP | TRANSACTION => Ok(()),
        SHARE if version >= WITH_SHARE => check_share_key(key),
        SHARE => Err(format!(
            "The share coordinator needs version {WITH_SHARE} or later."
        )),
        other => Err(format!("Unknown coordinator key type {other}.")),
    }
}

/// `group:topicId:partition`.
fn check_share_key(key: &str) -> Result<(), String> {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().and_then(|part| part.parse::<u32>().ok());
    let topic = parts.next().filter(|part| !part.is_empty());
    let group = parts.next().filter(|part| !part.is_empty());
    match (group, topic, partition) {
        (Some(_), Some(_), Some(_)) => Ok(()),
        _ => Err(format!(
            "Share coordinator key '{key}' is not of the form group:topicId:partition."
        )),
    }
}

fn missing(key: &Str, code: ErrorCode, message: String) -> Coordinator {
    Coordinator {
        key: key.clone(),
        node_id: -1,
        port: -1,
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..Coordinator::default()
    }
}

/// An answer of the versions that have room for one.
fn single(found: Coordinator) -> FindCoordinatorResponse {
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..FindCoordinatorResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_owner_there_is_no_coordinator() {
        assert!(!is_there(Owner::Absent));
        assert!(!is_there(Owner::Stopped));
        assert!(is_there(Owner::Ready {
            term: 1,
            is_here: false
        }));
    }
}
