//! UnregisterBroker: a broker leaves by itself when it stops or falls silent, so there is nothing to do by hand.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::unregister_broker::{
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use floe_protocol::str::Str;

use super::{Context, Handler, Refuse};

impl Handler for UnregisterBrokerRequest {
    async fn handle(self, context: &Context) -> UnregisterBrokerResponse {
        let id = self.broker_id;
        let told = context.brokers();
        if told.brokers.iter().any(|broker| broker.node_id == id) {
            let message = format!("Broker {id} is alive: it leaves by itself when it stops.");
            return failed(ErrorCode::InvalidRequest, message);
        }
        let message = format!("Broker ID {id} is not currently registered");
        failed(ErrorCode::BrokerIdNotRegistered, message)
    }
}

impl Refuse for UnregisterBrokerRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<UnregisterBrokerResponse> {
        Some(failed(code, code.message().to_owned()))
    }
}

fn failed(code: ErrorCode, message: String) -> UnregisterBrokerResponse {
    UnregisterBrokerResponse {
        throttle_time_ms: 0,
        error_code: code.code(),
        error_message: Some(Str::from(message)),
    }
}
