//! DescribeAcls, CreateAcls and DeleteAcls (KIP-140): there is no authorizer, and that is what they say. Tools take
//! that for an answer, where a closed connection would keep them trying.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::create_acls::{
    AclCreationResult, CreateAclsRequest, CreateAclsResponse,
};
use floe_protocol::messages::delete_acls::{
    DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse,
};
use floe_protocol::messages::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
use floe_protocol::str::Str;

use super::{Context, Handler, Refuse};

const DISABLED: (ErrorCode, &str) = (ErrorCode::SecurityDisabled, "No Authorizer is configured.");

impl Handler for DescribeAclsRequest {
    async fn handle(self, _context: &Context) -> DescribeAclsResponse {
        described((DISABLED.0, "No Authorizer is configured on the broker"))
    }
}

impl Refuse for DescribeAclsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeAclsResponse> {
        Some(described((code, code.message())))
    }
}

fn described((code, message): (ErrorCode, &'static str)) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        ..DescribeAclsResponse::default()
    }
}

impl Handler for CreateAclsRequest {
    async fn handle(self, _context: &Context) -> CreateAclsResponse {
        created(&self, DISABLED)
    }
}

impl Refuse for CreateAclsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<CreateAclsResponse> {
        Some(created(self, (code, code.message())))
    }
}

fn created(
    request: &CreateAclsRequest,
    (code, message): (ErrorCode, &'static str),
) -> CreateAclsResponse {
    let results = request.creations.iter().map(|_| AclCreationResult {
        error_code: code.code(),
        error_message: Some(Str::from(message)),
    });
    CreateAclsResponse {
        throttle_time_ms: 0,
        results: results.collect(),
    }
}

impl Handler for DeleteAclsRequest {
    async fn handle(self, _context: &Context) -> DeleteAclsResponse {
        deleted(&self, DISABLED)
    }
}

impl Refuse for DeleteAclsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DeleteAclsResponse> {
        Some(deleted(self, (code, code.message())))
    }
}

fn deleted(
    request: &DeleteAclsRequest,
    (code, message): (ErrorCode, &'static str),
) -> DeleteAclsResponse {
    let results = request.filters.iter().map(|_| DeleteAclsFilterResult {
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        matching_acls: Vec::new(),
    });
    DeleteAclsResponse {
        throttle_time_ms: 0,
        filter_results: results.collect(),
    }
}
