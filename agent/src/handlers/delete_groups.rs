//! DeleteGroups (KIP-229): forgets groups without members, and their offsets.

use floe_metadata::api::groups::GroupRequest;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use super::groups::remove;
use super::{Context, Handler, Refuse};

impl Handler for DeleteGroupsRequest {
    async fn handle(self, context: &Context) -> DeleteGroupsResponse {
        let names = self.groups_names.iter();
        let names: Vec<_> = names.map(|name| name.as_str().to_owned()).collect();
        let count = names.len();
        let request = GroupRequest::DeleteGroups(names);
        let removed = remove(context, request, count, ErrorCode::GroupIdNotFound).await;
        response(&self, removed.unwrap_or_else(|code| vec![code; count]))
    }
}

impl Refuse for DeleteGroupsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DeleteGroupsResponse> {
        Some(response(self, vec![code; self.groups_names.len()]))
    }
}

fn response(request: &DeleteGroupsRequest, codes: Vec<ErrorCode>) -> DeleteGroupsResponse {
    let results = request.groups_names.iter().zip(codes);
    DeleteGroupsResponse {
        results: results
            .map(|(name, code)| DeletableGroupResult {
                group_id: name.clone(),
                error_code: code.code(),
            })
            .collect(),
        ..DeleteGroupsResponse::default()
    }
}
