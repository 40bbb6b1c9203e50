//! ListConfigResources (KIP-1000, KIP-1142): what has configs, or may have some.

use floe_metadata::api::admin::ConfigKind;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use floe_protocol::str::Str;

use super::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use super::{Context, Handler, Refuse};

/// What is listed when no type is named.
const ALL: &[i8] = &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

impl Handler for ListConfigResourcesRequest {
    async fn handle(self, context: &Context) -> ListConfigResourcesResponse {
        let asked: &[i8] = match (context.version, self.resource_types.as_slice()) {
            (0, _) => &[CLIENT_METRICS],
            (_, []) => ALL,
            (_, asked) => asked,
        };
        if asked.iter().any(|kind| !ALL.contains(kind)) {
            return failed(ErrorCode::UnsupportedVersion);
        }
        let listed = ALL.iter().filter(|kind| asked.contains(kind));
        let resources = listed.flat_map(|kind| {
            names(*kind, context)
                .into_iter()
                .map(|name| ConfigResource {
                    resource_name: Str::from(name),
                    resource_type: *kind,
                })
        });
        ListConfigResourcesResponse {
            config_resources: resources.collect(),
            ..ListConfigResourcesResponse::default()
        }
    }
}

impl Refuse for ListConfigResourcesRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ListConfigResourcesResponse> {
        Some(failed(code))
    }
}

fn failed(code: ErrorCode) -> ListConfigResourcesResponse {
    ListConfigResourcesResponse {
        error_code: code.code(),
        ..ListConfigResourcesResponse::default()
    }
}

fn names(kind: i8, context: &Context) -> Vec<String> {
    let view = &context.broker.view;
    let with_configs = |kind| {
        let all = view.all_configs(kind).into_iter();
        all.map(|(name, _)| name.to_string()).collect()
    };
    match kind {
        TOPIC => {
            let topics = view.topics().into_iter();
            topics.map(|topic| topic.name.to_string()).collect()
        }
        BROKER | BROKER_LOGGER => {
            let brokers = context.brokers().brokers.into_iter();
            brokers.map(|broker| broker.node_id.to_string()).collect()
        }
        CLIENT_METRICS => with_configs(ConfigKind::ClientMetrics),
        _ => with_configs(ConfigKind::Group),
    }
}
