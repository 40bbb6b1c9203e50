//! AlterConfigs (KIP-133): replaces all configs of a resource. Superseded by IncrementalAlterConfigs, and still what
//! older tools send.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use floe_protocol::str::Str;

use super::configs::{Altered, Edit, Wanted, alter_all, check_edits, refuse_all};
use super::{Context, Handler, Refuse};
use crate::error::Failure;

impl Handler for AlterConfigsRequest {
    async fn handle(self, context: &Context) -> AlterConfigsResponse {
        AlterConfigsResponse {
            throttle_time_ms: 0,
            responses: alter_all(&self.resources, self.validate_only, context).await,
        }
    }
}

impl Refuse for AlterConfigsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<AlterConfigsResponse> {
        Some(AlterConfigsResponse {
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
        let configs = self.configs.iter();
        check_edits(configs.map(|config| (config.name.as_str(), config.value.is_none())))?;
        let set = self.configs.iter().filter_map(|config| {
            let value = config.value.as_ref()?.to_string();
            Some(Edit::Set(config.name.to_string(), value))
        });
        Ok(Wanted {
            resource_type: self.resource_type,
            name: self.resource_name.to_string(),
            is_whole: true,
            edits: set.collect(),
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
