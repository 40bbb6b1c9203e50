//! IncrementalAlterConfigs (KIP-339): sets, deletes, and adds to or takes from lists, config by config.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use floe_protocol::str::Str;

use super::configs::{Altered, Edit, Wanted, alter_all, check_edits, refuse_all};
use super::{Context, Handler, Refuse};
use crate::error::Failure;

const DELETE: i8 = 1;

impl Handler for IncrementalAlterConfigsRequest {
    async fn handle(self, context: &Context) -> IncrementalAlterConfigsResponse {
        IncrementalAlterConfigsResponse {
            throttle_time_ms: 0,
            responses: alter_all(&self.resources, self.validate_only, context).await,
        }
    }
}

impl Refuse for IncrementalAlterConfigsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<IncrementalAlterConfigsResponse> {
        Some(IncrementalAlterConfigsResponse {
            throttle_time_ms: 0,
            responses: refuse_all(&self.resources, code),
        })
    }
}

impl Altered for AlterConfigsResource {
    type Response = AlterConfigsResourceResponse;

    fn key(&self) -> (i8, &str) {
        (self.resource_type, self.resource_name.as_str())
    }

    fn wanted(&self) -> Result<Wanted, Failure> {
        let edits = self.configs.iter().map(|config| {
            let lacks = config.value.is_none() && config.config_operation != DELETE;
            (config.name.as_str(), lacks)
        });
        check_edits(edits)?;
        let edits = self.configs.iter().map(edit);
        Ok(Wanted {
            resource_type: self.resource_type,
            name: self.resource_name.to_string(),
            is_whole: false,
            edits: edits.collect::<Result<_, _>>()?,
        })
    }

    fn response(&self, code: ErrorCode, message: Option<Str>) -> AlterConfigsResourceResponse {
        AlterConfigsResourceResponse {
            error_code: code.code(),
            error_message: message,
            resource_type: self.resource_type,
            resource_name: self.resource_name.clone(),
        }
    }
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
