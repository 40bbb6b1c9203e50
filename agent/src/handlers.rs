//! What each Kafka API does, one file per API. Generated request and response types stop here.

mod acls;
mod alter_configs;
pub(crate) mod api_versions;
mod change;
mod client_quotas;
mod configs;
mod consumer_group_describe;
mod consumer_group_heartbeat;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
mod delegation_tokens;
mod delete_groups;
mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
mod describe_groups;
mod describe_producers;
mod describe_quorum;
pub(crate) mod describe_topic_partitions;
mod elect_leaders;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
mod groups;
mod heartbeat;
mod incremental_alter_configs;
pub(crate) mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
pub(crate) mod list_offsets;
mod log_dirs;
pub(crate) mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod partition_reassignments;
pub(crate) mod produce;
mod refuse;
mod scram_credentials;
mod sync_group;
mod transactions;
mod unregister_broker;

#[cfg(test)]
mod tests;
pub(crate) mod update_features;

use std::future::Future;
use std::sync::Arc;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::Request;

use crate::broker::Broker;
use crate::brokers::{Client, Told, ToldBroker, told};
use crate::connection::Connection;

/// What a handler works with.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The process.
    pub(crate) broker: Arc<Broker>,
    /// The client's connection.
    pub(crate) connection: Arc<Connection>,
    /// Version of the request, and of its answer.
    pub(crate) version: i16,
}

impl Context {
    /// The brokers this client is told of, and the one that leads for it.
    pub(crate) fn brokers(&self) -> Told {
        let (broker, connection) = (&self.broker, &self.connection);
        let own = ToldBroker {
            node_id: broker.node_id,
            endpoint: (*connection.endpoint).clone(),
            rack: broker.zone.clone(),
        };
        let client_id = connection.client().client_id;
        let client = Client {
            id: client_id.as_deref().unwrap_or_default(),
            address: connection.peer.ip(),
        };
        let is_leaving = broker.presence.is_leaving();
        let processes = broker.view.processes();
        told(&processes, &connection.listener, &own, is_leaving, client)
    }
}

/// A request that can be answered with one error for all it asks.
pub(crate) trait Refuse: Request {
    /// The response that says `code` of everything asked; `None` if it has no room for that.
    fn refuse(&self, version: i16, code: ErrorCode) -> Option<Self::Response>;
}

/// A request that is finished before the next one of its connection is read, or, as Join and Sync of a group,
/// when others have spoken. Produce and Fetch are not: see `handlers::produce::handle` and
/// `handlers::fetch::handle`.
pub(crate) trait Handler: Refuse {
    /// Does what is asked.
    fn handle(self, context: &Context) -> impl Future<Output = Self::Response> + Send;
}
