//! InitProducerId (KIP-98, KIP-360): an id for an idempotent producer, from a block that metadata gave
//! to this process alone.
//!
//! Transactional ids are refused with `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`: this broker serves no
//! transactions, and that is the code on which every client stops at once instead of asking again.

use std::ops::Range;
use std::time::Duration;

use floe_metadata::api::RequestError;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use floe_protocol::types::{NO_PRODUCER_ID, ProducerId};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Context, Handler, Refuse};

/// How long a client waits for a block; then it asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Producer ids that this process may hand out.
#[derive(Debug, Default)]
pub struct ProducerIds(Mutex<Range<ProducerId>>);

impl ProducerIds {
    /// An id that nobody has.
    async fn next(&self, context: &Context) -> Result<ProducerId, RequestError> {
        // Held across the call: one block is fetched for all who wait.
        let mut block = self.0.lock().await;
        loop {
            if let Some(id) = block.next() {
                return Ok(id);
            }
            *block = context.broker.metadata.allocate_producer_ids().await?.0;
            if block.is_empty() {
                return Err(RequestError::Unavailable);
            }
        }
    }
}

impl Handler for InitProducerIdRequest {
    async fn handle(self, context: &Context) -> InitProducerIdResponse {
        match self.transactional_id.as_deref() {
            Some("") => return error(ErrorCode::InvalidRequest),
            Some(_) => return error(ErrorCode::TransactionalIdAuthorizationFailed),
            None => {}
        }
        // Only both or none make sense; without a transactional id what they say does not matter.
        if (self.producer_id == NO_PRODUCER_ID) != (self.producer_epoch == -1) {
            return error(ErrorCode::InvalidRequest);
        }
        match timeout(PATIENCE, context.broker.producer_ids.next(context)).await {
            Ok(Ok(producer_id)) => InitProducerIdResponse {
                producer_id,
                producer_epoch: 0,
                ..InitProducerIdResponse::default()
            },
            Ok(Err(_)) | Err(_) => error(ErrorCode::CoordinatorLoadInProgress),
        }
    }
}

impl Refuse for InitProducerIdRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<InitProducerIdResponse> {
        Some(error(code))
    }
}

fn error(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: NO_PRODUCER_ID,
        producer_epoch: -1,
        ..InitProducerIdResponse::default()
    }
}
