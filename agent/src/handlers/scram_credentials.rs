//! DescribeUserScramCredentials (KIP-554): none are stored.

use std::collections::BTreeSet;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
};
use floe_protocol::str::Str;

use super::{Context, Handler, Refuse};

impl Handler for DescribeUserScramCredentialsRequest {
    async fn handle(self, _context: &Context) -> DescribeUserScramCredentialsResponse {
        let users = self.users.iter().flatten();
        let users: Vec<_> = users.map(|user| user.name.as_str()).collect();
        let distinct: BTreeSet<_> = users.iter().copied().collect();
        let results = distinct.into_iter().map(|user| {
            let is_twice = users.iter().filter(|it| **it == user).count() > 1;
            let (code, message) = if is_twice {
                let words =
                    "Cannot describe SCRAM credentials for the same user twice in a single request";
                (ErrorCode::DuplicateResource, words)
            } else {
                let words = "Attempt to describe a user credential that does not exist";
                (ErrorCode::ResourceNotFound, words)
            };
            DescribeUserScramCredentialsResult {
                user: Str::from(user.to_owned()),
                error_code: code.code(),
                error_message: Some(Str::from(format!("{message}: {user}"))),
                credential_infos: Vec::new(),
            }
        });
        DescribeUserScramCredentialsResponse {
            results: results.collect(),
            ..DescribeUserScramCredentialsResponse::default()
        }
    }
}

impl Refuse for DescribeUserScramCredentialsRequest {
    fn refuse(
        &self,
        _version: i16,
        code: ErrorCode,
    ) -> Option<DescribeUserScramCredentialsResponse> {
        Some(DescribeUserScramCredentialsResponse {
            error_code: code.code(),
            error_message: Some(Str::from(code.message())),
            ..DescribeUserScramCredentialsResponse::default()
        })
    }
}
