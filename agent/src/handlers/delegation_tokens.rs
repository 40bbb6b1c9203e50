//! Delegation tokens (KIP-48): nobody has shown who they are, and so nobody may ask for one.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::create_delegation_token::{
    CreateDelegationTokenRequest, CreateDelegationTokenResponse,
};
use floe_protocol::messages::describe_delegation_token::{
    DescribeDelegationTokenRequest, DescribeDelegationTokenResponse,
};
use floe_protocol::messages::expire_delegation_token::{
    ExpireDelegationTokenRequest, ExpireDelegationTokenResponse,
};
use floe_protocol::messages::renew_delegation_token::{
    RenewDelegationTokenRequest, RenewDelegationTokenResponse,
};

use super::{Context, Handler, Refuse};

/// Of a connection without authentication, and there are no others.
const NOT_ALLOWED: ErrorCode = ErrorCode::DelegationTokenRequestNotAllowed;

/// Who asks over such a connection: type and name.
const PRINCIPAL: (&str, &str) = ("User", "ANONYMOUS");

impl Handler for CreateDelegationTokenRequest {
    async fn handle(self, context: &Context) -> CreateDelegationTokenResponse {
        self.refuse(context.version, NOT_ALLOWED)
            .unwrap_or_default()
    }
}

impl Refuse for CreateDelegationTokenRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<CreateDelegationTokenResponse> {
        Some(CreateDelegationTokenResponse {
            error_code: code.code(),
            issue_timestamp_ms: -1,
            expiry_timestamp_ms: -1,
            max_timestamp_ms: -1,
            principal_type: PRINCIPAL.0.into(),
            principal_name: PRINCIPAL.1.into(),
            token_requester_principal_type: PRINCIPAL.0.into(),
            token_requester_principal_name: PRINCIPAL.1.into(),
            ..CreateDelegationTokenResponse::default()
        })
    }
}

impl Handler for RenewDelegationTokenRequest {
    async fn handle(self, context: &Context) -> RenewDelegationTokenResponse {
        self.refuse(context.version, NOT_ALLOWED)
            .unwrap_or_default()
    }
}

impl Refuse for RenewDelegationTokenRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<RenewDelegationTokenResponse> {
        Some(RenewDelegationTokenResponse {
            error_code: code.code(),
            expiry_timestamp_ms: -1,
            throttle_time_ms: 0,
        })
    }
}

impl Handler for ExpireDelegationTokenRequest {
    async fn handle(self, context: &Context) -> ExpireDelegationTokenResponse {
        self.refuse(context.version, NOT_ALLOWED)
            .unwrap_or_default()
    }
}

impl Refuse for ExpireDelegationTokenRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ExpireDelegationTokenResponse> {
        Some(ExpireDelegationTokenResponse {
            error_code: code.code(),
            expiry_timestamp_ms: -1,
            throttle_time_ms: 0,
        })
    }
}

impl Handler for DescribeDelegationTokenRequest {
    async fn handle(self, context: &Context) -> DescribeDelegationTokenResponse {
        self.refuse(context.version, NOT_ALLOWED)
            .unwrap_or_default()
    }
}

impl Refuse for DescribeDelegationTokenRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeDelegationTokenResponse> {
        Some(DescribeDelegationTokenResponse {
            error_code: code.code(),
            ..DescribeDelegationTokenResponse::default()
        })
    }
}
