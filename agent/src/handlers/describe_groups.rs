//! DescribeGroups (KIP-1043): the state and the members of groups.

use floe_metadata::api::groups::{Described, GroupReply, GroupRequest, Phase};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use floe_protocol::str::Str;
use futures::{StreamExt as _, stream};

use super::groups::{PATIENCE, ask};
use super::{Context, Handler, Refuse};

/// The first version in which a group that does not exist is an error.
const WITH_NOT_FOUND: i16 = 6;
/// Groups that are asked for at once.
pub(super) const GROUPS_AT_ONCE_MAX: usize = 16;
/// All that may be done with a group: read, describe, delete and the configs' (protocol guide; 4.1).
pub(super) const OPERATIONS: i32 = 3400;
/// Not asked for.
const NO_OPERATIONS: i32 = i32::MIN;

impl Handler for DescribeGroupsRequest {
    async fn handle(self, context: &Context) -> DescribeGroupsResponse {
        let operations = if self.include_authorized_operations {
            OPERATIONS
        } else {
            NO_OPERATIONS
        };
        let groups = self.groups.into_iter().map(|name| async move {
            let mut group = describe(context, &name).await;
            if group.error_code == ErrorCode::None.code() {
                group.authorized_operations = operations;
            }
            group
        });
        DescribeGroupsResponse {
            groups: stream::iter(groups)
                .buffered(GROUPS_AT_ONCE_MAX)
                .collect()
                .await,
            ..DescribeGroupsResponse::default()
        }
    }
}

impl Refuse for DescribeGroupsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeGroupsResponse> {
        let groups = self.groups.iter().map(|name| failed(name, code));
        Some(DescribeGroupsResponse {
            groups: groups.collect(),
            ..DescribeGroupsResponse::default()
        })
    }
}

async fn describe(context: &Context, name: &Str) -> DescribedGroup {
    let request = GroupRequest::Describe(name.as_str().to_owned());
    match ask(context, request, PATIENCE).await {
        Ok(GroupReply::Described(Some(group))) => described(name, group),
        Ok(GroupReply::Described(None)) => missing(name, context.version),
        Ok(_) => failed(name, ErrorCode::UnknownServerError),
        Err(code) => failed(name, code),
    }
}

/// Kafka's name of a state.
pub(super) const fn state_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Empty => "Empty",
        Phase::PreparingRebalance => "PreparingRebalance",
        Phase::CompletingRebalance => "CompletingRebalance",
        Phase::Stable => "Stable",
    }
}

fn described(name: &Str, group: Described) -> DescribedGroup {
    let members = group.members.into_iter();
    let members = members.map(|member| DescribedGroupMember {
        member_id: Str::from(member.id),
        group_instance_id: member.instance.map(Str::from),
        client_id: Str::from(member.client_id),
        client_host: Str::from(member.client_host),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    });
    DescribedGroup {
        group_id: name.clone(),
        group_state: Str::from_static(state_name(group.phase)),
        protocol_type: Str::from(group.protocol_type),
        protocol_data: Str::from(group.protocol),
        members: members.collect(),
        ..DescribedGroup::default()
    }
}

fn missing(name: &Str, version: i16) -> DescribedGroup {
    let dead = DescribedGroup {
        group_id: name.clone(),
        group_state: Str::from_static("Dead"),
        ..DescribedGroup::default()
    };
    if version < WITH_NOT_FOUND {
        return dead;
    }
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(Str::from(format!("Group {} not found.", name.as_str()))),
        ..dead
    }
}

fn failed(name: &Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        error_code: code.code(),
        group_id: name.clone(),
        ..DescribedGroup::default()
    }
}
