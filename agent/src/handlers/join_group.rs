//! JoinGroup (KIP-62, KIP-345, KIP-394, KIP-800, KIP-814): answered when the generation is complete, which may
//! take minutes; the request is in metadata meanwhile, and nothing here polls.

use std::time::Duration;

use bytes::Bytes;
use floe_metadata::api::groups::{GroupReply, GroupRequest, JoinAnswer, JoinRequest, Joined};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};
use floe_protocol::str::Str;

use super::groups::{ask_and_wait, owned};
use super::{Context, Handler, Refuse};

/// The first version with a rebalance timeout of its own.
const WITH_REBALANCE_TIMEOUT: i16 = 1;
/// The first version in which a member without an id is given one and comes back with it.
const COMES_BACK_WITH_ID: i16 = 4;
/// The first version in which the name of the protocol may be null.
const WITH_PROTOCOL_TYPE: i16 = 7;
/// The first version in which a leader can be told not to assign.
const WITH_SKIP_ASSIGNMENT: i16 = 9;

impl Handler for JoinGroupRequest {
    async fn handle(self, context: &Context) -> JoinGroupResponse {
        let version = context.version;
        let group = self.group_id.as_str().to_owned();
        let request = request(&self, context);
        // The frame is not held while the answer waits.
        drop(self);
        let member_id = request.member_id.clone();
        match ask_and_wait(context, GroupRequest::Join { group, request }).await {
            Ok(GroupReply::Joined(answer)) => response(answer, version),
            Ok(_) => refused(ErrorCode::UnknownServerError, &member_id, version),
            Err(code) => refused(code, &member_id, version),
        }
    }
}

impl Refuse for JoinGroupRequest {
    fn refuse(&self, version: i16, code: ErrorCode) -> Option<JoinGroupResponse> {
        Some(refused(code, &self.member_id, version))
    }
}

fn request(join: &JoinGroupRequest, context: &Context) -> JoinRequest {
    let client_id = context.connection.client().client_id;
    let client_id = client_id.as_deref().unwrap_or_default().to_owned();
    let instance = owned(join.group_instance_id.as_ref());
    // Kafka's form: tools show whose member it is.
    let prefix = instance.as_deref().unwrap_or(&client_id);
    let new_member_id = format!("{prefix}-{}", context.broker.random.uuid());
    let rebalance_timeout_ms = if context.version >= WITH_REBALANCE_TIMEOUT {
        join.rebalance_timeout_ms
    } else {
        join.session_timeout_ms
    };
    let protocols = join.protocols.iter().map(|protocol| {
        let metadata = Bytes::copy_from_slice(&protocol.metadata);
        (protocol.name.as_str().to_owned(), metadata)
    });
    JoinRequest {
        member_id: join.member_id.as_str().to_owned(),
        instance,
        new_member_id,
        client_id,
        client_host: format!("/{}", context.connection.peer.ip()),
        session_timeout: milliseconds(join.session_timeout_ms),
        rebalance_timeout: milliseconds(rebalance_timeout_ms),
        protocol_type: join.protocol_type.as_str().to_owned(),
        protocols: protocols.collect(),
        comes_back_with_id: context.version >= COMES_BACK_WITH_ID,
        can_skip_assignment: context.version >= WITH_SKIP_ASSIGNMENT,
    }
}

/// A timeout as it was given; a negative one is none.
fn milliseconds(value: i32) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or_default())
}

fn response(answer: JoinAnswer, version: i16) -> JoinGroupResponse {
    let member = |member: Joined| JoinGroupResponseMember {
        member_id: Str::from(member.member_id),
        group_instance_id: member.instance.map(Str::from),
        metadata: member.metadata,
    };
    JoinGroupResponse {
        error_code: answer.error.code(),
        generation_id: answer.generation,
        protocol_type: answer.protocol_type.map(Str::from),
        protocol_name: protocol_name(answer.protocol, version),
        leader: Str::from(answer.leader),
        skip_assignment: answer.skip_assignment,
        member_id: Str::from(answer.member_id),
        members: answer.members.into_iter().map(member).collect(),
        ..JoinGroupResponse::default()
    }
}

fn refused(code: ErrorCode, member_id: &str, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.code(),
        generation_id: -1,
        protocol_name: protocol_name(None, version),
        member_id: Str::from(member_id.to_owned()),
        ..JoinGroupResponse::default()
    }
}

/// Older versions have no null for it.
fn protocol_name(name: Option<String>, version: i16) -> Option<Str> {
    match name {
        None if version >= WITH_PROTOCOL_TYPE => None,
        name => Some(Str::from(name.unwrap_or_default())),
    }
}
