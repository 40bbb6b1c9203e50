//! IncrementalAlterConfigs (KIP-339): sets, deletes, and adds to or takes from lists, config by config.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use floe_protocol::str::Str;

use super::configs::{Edit, Wanted, alter_all, check_edits};
use super::{Context, Handler, Refuse};
use crate::error::Failure;

const DELETE: i8 = 1;

impl Handler for IncrementalAlterConfigsRequest {
    async fn handle(self, context: &Context) -> IncrementalAlterConfigsResponse {
        let resources = &self.resources;
        let outcomes = alter_all(resources, key, wanted, self.validate_only, context).await;
        let responses = resources.iter().zip(outcomes);
        let responses = responses.map(|(resource, outcome)| response(resource, outcome));
        IncrementalAlterConfigsResponse {
            throttle_time_ms: 0,
            responses: responses.collect(),
        }
    }
}

impl Refuse for IncrementalAlterConfigsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<IncrementalAlterConfigsResponse> {
        let failure = Failure::new(code, code.message());
        let responses = self.resources.iter();
        let responses = responses.map(|resource| response(resource, Err(failure.clone())));
        Some(IncrementalAlterConfigsResponse {
            throttle_time_ms: 0,
            responses: responses.collect(),
        })
    }
}

fn key(resource: &AlterConfigsResource) -> (i8, &str) {
    (resource.resource_type, resource.resource_name.as_str())
}

fn wanted(resource: &AlterConfigsResource) -> Result<Wanted, Failure> {
    let edits = resource.configs.iter().map(|config| {
        let lacks = config.value.is_none() && config.config_operation != DELETE;
        (config.name.as_str(), lacks)
    });
    check_edits(edits)?;
    let edits = resource.configs.iter().map(edit);
    Ok(Wanted {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        is_whole: false,
        edits: edits.collect::<Result<_, _>>()?,
    })
}

fn edit(config: &AlterableConfig) -> Result<Edit, Failure> {
    let name = config.name.to_string();
    let value = config.value.as_ref().map(Str::to_string);
    let value = value.unwrap_or_default();
    Ok(match config.config_operation {
        0 => Edit::Set(name, value),
        DELETE => Edit::Delete(name),
        2 => Edit::Append(name, value),
        3 => Edit::Subtract(name, value),
        other => {
            let message = format!("Unknown operations type {other}");
            return Err(Failure::new(ErrorCode::InvalidRequest, message));
        }
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
