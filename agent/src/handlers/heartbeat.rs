//! Heartbeat: a member of a classic group is alive.

use std::time::Duration;

use floe_metadata::api::groups::{GroupReply, GroupRequest, Identity};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::groups::{ask, owned};
use super::{Context, Handler, Refuse};

/// How long a heartbeat waits for an owner of the metadata. Then it is well: whoever comes next starts all
/// sessions in full, and Kafka says the same while it loads a group.
const PATIENCE: Duration = Duration::from_secs(2);

impl Handler for HeartbeatRequest {
    async fn handle(self, context: &Context) -> HeartbeatResponse {
        let from = Identity {
            group: self.group_id.as_str().to_owned(),
            member_id: self.member_id.as_str().to_owned(),
            instance: owned(self.group_instance_id.as_ref()),
            generation: self.generation_id,
        };
        let code = match ask(context, GroupRequest::Heartbeat(from), PATIENCE).await {
            Ok(GroupReply::Code(code)) => code,
            Ok(_) => ErrorCode::UnknownServerError,
            Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
            Err(code) => code,
        };
        response(code)
    }
}

impl Refuse for HeartbeatRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<HeartbeatResponse> {
        Some(response(code))
    }
}

fn response(code: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse {
        error_code: code.code(),
        ..HeartbeatResponse::default()
    }
}
