//! SyncGroup: the leader's assignment in, each member's own out; answered when the leader has spoken.

use bytes::Bytes;
use floe_metadata::api::groups::{GroupReply, GroupRequest, SyncAnswer, SyncRequest};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use floe_protocol::str::Str;

use super::groups::{ask_and_wait, owned};
use super::{Context, Handler, Refuse};

/// The first version in which a member says what it takes the group for (KIP-559).
const WITH_PROTOCOL: i16 = 5;

impl Handler for SyncGroupRequest {
    async fn handle(self, context: &Context) -> SyncGroupResponse {
        let says_protocol = self.protocol_type.is_some() && self.protocol_name.is_some();
        if context.version >= WITH_PROTOCOL && !says_protocol {
            return refused(ErrorCode::InconsistentGroupProtocol);
        }
        let assignments = self.assignments.iter().map(|assignment| {
            let bytes = Bytes::copy_from_slice(&assignment.assignment);
            (assignment.member_id.as_str().to_owned(), bytes)
        });
        let group = self.group_id.as_str().to_owned();
        let request = SyncRequest {
            member_id: self.member_id.as_str().to_owned(),
            instance: owned(self.group_instance_id.as_ref()),
            generation: self.generation_id,
            protocol_type: owned(self.protocol_type.as_ref()),
            protocol: owned(self.protocol_name.as_ref()),
            assignments: assignments.collect(),
        };
        // The frame is not held while the answer waits.
        drop(self);
        match ask_and_wait(context, GroupRequest::Sync { group, request }).await {
            Ok(GroupReply::Synced(answer)) => response(answer),
            Ok(_) => refused(ErrorCode::UnknownServerError),
            Err(code) => refused(code),
        }
    }
}

impl Refuse for SyncGroupRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<SyncGroupResponse> {
        Some(refused(code))
    }
}

fn response(answer: SyncAnswer) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: answer.error.code(),
        protocol_type: answer.protocol_type.map(Str::from),
        protocol_name: answer.protocol.map(Str::from),
        assignment: answer.assignment,
        ..SyncGroupResponse::default()
    }
}

fn refused(code: ErrorCode) -> SyncGroupResponse {
    response(SyncAnswer::refused(code))
}
