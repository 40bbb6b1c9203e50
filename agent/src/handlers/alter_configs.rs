//! AlterConfigs (KIP-133): replaces all configs of a resource. Superseded by IncrementalAlterConfigs, and still what
//! older tools send.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use floe_protocol::str::Str;

use super::configs::{Edit, Wanted, alter_all, check_edits};
use super::{Context, Handler, Refuse};
use crate::error::Failure;

impl Handler for AlterConfigsRequest {
    async fn handle(self, context: &Context) -> AlterConfigsResponse {
        let resources = &self.resources;
        let outcomes = alter_all(resources, key, wanted, self.validate_only, context).await;
        let responses = resources.iter().zip(outcomes);
        let responses = responses.map(|(resource, outcome)| response(resource, outcome));
        AlterConfigsResponse {
            throttle_time_ms: 0,
            responses: responses.collect(),
        }
    }
}

impl Refuse for AlterConfigsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<AlterConfigsResponse> {
        let failure = Failure::new(code, code.message());
        let responses = self.resources.iter();
        let responses = responses.map(|resource| response(resource, Err(failure.clone())));
        Some(AlterConfigsResponse {
            throttle_time_ms: 0,
            responses: responses.collect(),
        })
    }
}

fn key(resource: &AlterConfigsResource) -> (i8, &str) {
    (resource.resource_type, resource.resource_name.as_str())
}

fn wanted(resource: &AlterConfigsResource) -> Result<Wanted, Failure> {
    let configs = resource.configs.iter();
    check_edits(configs.map(|config| (config.name.as_str(), config.value.is_none())))?;
    let set = resource.configs.iter().filter_map(|config| {
        let value = config.value.as_ref()?.to_string();
        Some(Edit::Set(config.name.to_string(), value))
    });
    Ok(Wanted {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        is_whole: true,
        edits: set.collect(),
    })
}

fn response(
    resource: &AlterConfigsResource,
    outcome: Result<(), Failure>,
) -> AlterConfigsResourceResponse {
    let failure = outcome.err();
    let code = failure.as_ref().map_or(ErrorCode::None, |it| it.code);
    AlterConfigsResourceResponse {
        error_code: code.code(),
        error_message: failure.map(|failure| Str::from(failure.message)),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
    }
}
