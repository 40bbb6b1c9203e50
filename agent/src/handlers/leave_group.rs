//! LeaveGroup (KIP-345): one member, or several that a tool removes.

use floe_metadata::api::groups::GroupRequest;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};

use super::groups::{owned, remove};
use super::{Context, Handler, Refuse};

/// The first version with several members.
const BATCHED: i16 = 3;

impl Handler for LeaveGroupRequest {
    async fn handle(self, context: &Context) -> LeaveGroupResponse {
        if self.group_id.is_empty() {
            return failed(ErrorCode::InvalidGroupId);
        }
        let is_batched = context.version >= BATCHED;
        let members = if is_batched {
            let member = |member: &MemberIdentity| {
                let instance = owned(member.group_instance_id.as_ref());
                (member.member_id.as_str().to_owned(), instance)
            };
            self.members.iter().map(member).collect()
        } else {
            vec![(self.member_id.as_str().to_owned(), None)]
        };
        let count = members.len();
        let group = self.group_id.as_str().to_owned();
        let request = GroupRequest::Leave { group, members };
        let codes = match remove(context, request, count, ErrorCode::UnknownMemberId).await {
            Ok(codes) => codes,
            Err(code) => return failed(code),
        };
        if is_batched {
            response(&self, &codes)
        } else {
            failed(codes.first().copied().unwrap_or(ErrorCode::None))
        }
    }
}

impl Refuse for LeaveGroupRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<LeaveGroupResponse> {
        Some(failed(code))
    }
}

fn response(request: &LeaveGroupRequest, codes: &[ErrorCode]) -> LeaveGroupResponse {
    let members = request.members.iter().zip(codes);
    let members = members.map(|(member, code)| MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error_code: code.code(),
    });
    LeaveGroupResponse {
        members: members.collect(),
        ..LeaveGroupResponse::default()
    }
}

fn failed(code: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse {
        error_code: code.code(),
        ..LeaveGroupResponse::default()
    }
}
