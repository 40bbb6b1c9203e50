//! DescribeCluster (KIP-700, KIP-919): the brokers as Metadata shows them.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use floe_protocol::str::Str;

use super::metadata::{CLUSTER_OPERATIONS, NO_OPERATIONS};
use super::{Context, Handler, Refuse};
use crate::brokers::{Told, ToldBroker};

/// Endpoint types of KIP-919.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

impl Handler for DescribeClusterRequest {
    async fn handle(self, context: &Context) -> DescribeClusterResponse {
        match self.endpoint_type {
            BROKERS => {}
            CONTROLLERS => {
                let message = "The request was sent to an endpoint of type BROKER, but we wanted an \
                               endpoint of type CONTROLLER";
                return error(ErrorCode::MismatchedEndpointType, message);
            }
            other => {
                let message = format!("Unsupported endpoint type {other}");
                return error(ErrorCode::UnsupportedEndpointType, message);
            }
        }
        let broker = &context.broker;
        let Told { brokers, leader } = context.brokers();
        let told = |broker: ToldBroker| DescribeClusterBroker {
            broker_id: broker.node_id,
            host: Str::from(broker.endpoint.host),
            port: i32::from(broker.endpoint.port),
            rack: broker.rack.map(Str::from),
            is_fenced: false,
        };
        DescribeClusterResponse {
            cluster_id: Str::from(broker.cluster_id.clone()),
            controller_id: leader.node_id,
            brokers: brokers.into_iter().map(told).collect(),
            cluster_authorized_operations: if self.include_cluster_authorized_operations {
                CLUSTER_OPERATIONS
            } else {
                NO_OPERATIONS
            },
            ..DescribeClusterResponse::default()
        }
    }
}

impl Refuse for DescribeClusterRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeClusterResponse> {
        Some(error(code, code.message()))
    }
}

fn error(code: ErrorCode, message: impl Into<String>) -> DescribeClusterResponse {
    DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(Str::from(message.into())),
        ..DescribeClusterResponse::default()
    }
}
