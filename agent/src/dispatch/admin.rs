//! The APIs of administrators: all of them are answered before the next request of their connection is read.

use floe_protocol::api::ApiKey;
use floe_protocol::messages as m;

use super::{AnswerFuture, Frame, Opened, serve};
use crate::handlers::Context;

/// The handler of a request; `None` if its API is none of administrators.
pub(super) fn handler(api: ApiKey) -> Option<fn(Context, Opened, Frame) -> AnswerFuture> {
    macro_rules! handled {
        ($($key:ident: $request:ty,)*) => {
            match api {
                $(ApiKey::$key => |context, opened, frame| {
                    Box::pin(serve::<$request>(context, opened, frame))
                },)*
                _ => return None,
            }
        };
    }
    Some(handled! {
        DeleteRecords: m::delete_records::DeleteRecordsRequest,
        OffsetForLeaderEpoch: m::offset_for_leader_epoch::OffsetForLeaderEpochRequest,
        DescribeAcls: m::describe_acls::DescribeAclsRequest,
        CreateAcls: m::create_acls::CreateAclsRequest,
        DeleteAcls: m::delete_acls::DeleteAclsRequest,
        AlterConfigs: m::alter_configs::AlterConfigsRequest,
        AlterReplicaLogDirs: m::alter_replica_log_dirs::AlterReplicaLogDirsRequest,
        DescribeLogDirs: m::describe_log_dirs::DescribeLogDirsRequest,
        CreateDelegationToken: m::create_delegation_token::CreateDelegationTokenRequest,
        RenewDelegationToken: m::renew_delegation_token::RenewDelegationTokenRequest,
        ExpireDelegationToken: m::expire_delegation_token::ExpireDelegationTokenRequest,
        DescribeDelegationToken: m::describe_delegation_token::DescribeDelegationTokenRequest,
        ElectLeaders: m::elect_leaders::ElectLeadersRequest,
        IncrementalAlterConfigs: m::incremental_alter_configs::IncrementalAlterConfigsRequest,
        AlterPartitionReassignments:
            m::alter_partition_reassignments::AlterPartitionReassignmentsRequest,
        ListPartitionReassignments:
            m::list_partition_reassignments::ListPartitionReassignmentsRequest,
        DescribeClientQuotas: m::describe_client_quotas::DescribeClientQuotasRequest,
        AlterClientQuotas: m::alter_client_quotas::AlterClientQuotasRequest,
        DescribeUserScramCredentials:
            m::describe_user_scram_credentials::DescribeUserScramCredentialsRequest,
        DescribeQuorum: m::describe_quorum::DescribeQuorumRequest,
        DescribeProducers: m::describe_producers::DescribeProducersRequest,
        UnregisterBroker: m::unregister_broker::UnregisterBrokerRequest,
        DescribeTransactions: m::describe_transactions::DescribeTransactionsRequest,
        ListTransactions: m::list_transactions::ListTransactionsRequest,
        ListConfigResources: m::list_config_resources::ListConfigResourcesRequest,
    })
}
