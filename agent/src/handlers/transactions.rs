//! DescribeTransactions and ListTransactions (KIP-664, KIP-994, KIP-1152): there are no transactions.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TransactionState,
};
use floe_protocol::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse,
};

use super::{Context, Handler, Refuse};

/// What a transaction can be in; other names are handed back.
const STATES: &[&str] = &[
    "CompleteAbort",
    "CompleteCommit",
    "Dead",
    "Empty",
    "Ongoing",
    "PrepareAbort",
    "PrepareCommit",
    "PrepareEpochFence",
];

impl Handler for DescribeTransactionsRequest {
    async fn handle(self, _context: &Context) -> DescribeTransactionsResponse {
        described(&self, ErrorCode::TransactionalIdNotFound)
    }
}

impl Refuse for DescribeTransactionsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeTransactionsResponse> {
        Some(described(self, code))
    }
}

fn described(
    request: &DescribeTransactionsRequest,
    code: ErrorCode,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.iter().map(|id| TransactionState {
        error_code: code.code(),
        transactional_id: id.clone(),
        ..TransactionState::default()
    });
    DescribeTransactionsResponse {
        throttle_time_ms: 0,
        transaction_states: states.collect(),
    }
}

impl Handler for ListTransactionsRequest {
    async fn handle(self, context: &Context) -> ListTransactionsResponse {
        if let Some(pattern) = self.transactional_id_pattern.as_ref()
            && regex_syntax::parse(pattern).is_err()
        {
            let code = ErrorCode::InvalidRegularExpression;
            return self.refuse(context.version, code).unwrap_or_default();
        }
        let unknown = self.state_filters.iter();
        let unknown = unknown.filter(|name| !STATES.contains(&name.as_str()));
        ListTransactionsResponse {
            unknown_state_filters: unknown.cloned().collect(),
            ..ListTransactionsResponse::default()
        }
    }
}

impl Refuse for ListTransactionsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ListTransactionsResponse> {
        Some(ListTransactionsResponse {
            error_code: code.code(),
            ..ListTransactionsResponse::default()
        })
    }
}
