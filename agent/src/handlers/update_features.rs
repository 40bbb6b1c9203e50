//! UpdateFeatures (KIP-584, KIP-1022): raises the cluster's feature level, `floe.level`, when every process
//! knows it. It never goes down, so neither kind of downgrade is possible.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use floe_protocol::str::Str;
use tokio::time::Instant;

use super::api_versions::{FLOE_LEVEL, GROUP_VERSION, METADATA_VERSION};
use super::change::{deadline, settle};
use super::{Context, Handler, Refuse};
use crate::error::Failure;

impl Handler for UpdateFeaturesRequest {
    async fn handle(self, context: &Context) -> UpdateFeaturesResponse {
        let deadline = deadline(self.timeout_ms);
        let outcome = match wanted(&self.feature_updates, context.broker.view.feature_level()) {
            Ok(level) => raise(level, self.validate_only, deadline, context).await,
            Err(failure) => Err(failure),
        };
        response(&self, context.version, outcome)
    }
}

impl Refuse for UpdateFeaturesRequest {
    fn refuse(&self, version: i16, code: ErrorCode) -> Option<UpdateFeaturesResponse> {
        Some(response(
            self,
            version,
            Err(Failure::new(code, code.message())),
        ))
    }
}

/// The level that is asked for, above `present` or equal to it; a request succeeds as a whole or not at all.
fn wanted(updates: &[FeatureUpdateKey], present: u32) -> Result<u32, Failure> {
    let [update] = updates else {
        let message = match updates {
            [] => "no feature is named".to_owned(),
            _ => format!("{FLOE_LEVEL} is the only feature that can be updated, and it once"),
        };
        return Err(Failure::new(ErrorCode::InvalidRequest, message));
    };
    let name = update.feature.as_str();
    let invalid = |message: String| Failure::new(ErrorCode::InvalidUpdateVersion, message);
    if name == METADATA_VERSION.0 {
        let message =
            format!("{name} is fixed: it tells the release of Kafka that this broker is like");
        return Err(invalid(message));
    }
    if name == GROUP_VERSION.0 {
        let message = format!("{name} is fixed: groups may always use either protocol");
        return Err(invalid(message));
    }
    if name != FLOE_LEVEL {
        return Err(invalid(format!("feature {name} is unknown")));
    }
    match u32::try_from(update.max_version_level) {
        Ok(level) if level >= present => Ok(level),
        Ok(_) | Err(_) => Err(invalid(format!(
            "{FLOE_LEVEL} is {present} and cannot go down to {}",
            update.max_version_level
        ))),
    }
}

async fn raise(
    level: u32,
    validate_only: bool,
    deadline: Instant,
    context: &Context,
) -> Result<(), Failure> {
    let levels = &context.broker.levels;
    settle(context, deadline, async |_| {
        if validate_only {
            levels.check(level).await.map(|()| ((), None))
        } else {
            levels.raise(level).await.map(|shown| ((), Some(shown)))
        }
    })
    .await
}

/// Up to version 1 each feature has its own result, once the whole has succeeded.
fn response(
    request: &UpdateFeaturesRequest,
    version: i16,
    outcome: Result<(), Failure>,
) -> UpdateFeaturesResponse {
    let (code, message) = match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err(failure) => (failure.code, Some(Str::from(failure.message))),
    };
    let result = |update: &FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature.clone(),
        error_code: ErrorCode::None.code(),
        error_message: None,
    };
    let results = match version {
        0 | 1 if code == ErrorCode::None => request.feature_updates.iter().map(result).collect(),
        _ => Vec::new(),
    };
    UpdateFeaturesResponse {
        throttle_time_ms: 0,
        error_code: code.code(),
        error_message: message,
        results,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(feature: &'static str, level: i16) -> FeatureUpdateKey {
        FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: level,
            ..FeatureUpdateKey::default()
        }
    }

    #[test]
    fn only_our_level_can_be_updated_and_only_up() {
        let code = |updates: &[FeatureUpdateKey]| wanted(updates, 2).map_err(|error| error.code);
        assert_eq!(code(&[update(FLOE_LEVEL, 3)]), Ok(3));
        assert_eq!(code(&[update(FLOE_LEVEL, 2)]), Ok(2));
        let invalid = Err(ErrorCode::InvalidUpdateVersion);
        assert_eq!(code(&[update(FLOE_LEVEL, 1)]), invalid);
        assert_eq!(code(&[update(FLOE_LEVEL, 0)]), invalid);
        assert_eq!(code(&[update(FLOE_LEVEL, -1)]), invalid);
        assert_eq!(code(&[update("metadata.version", 29)]), invalid);
        assert_eq!(code(&[update("group.version", 1)]), invalid);
        let malformed = Err(ErrorCode::InvalidRequest);
        assert_eq!(code(&[]), malformed);
        assert_eq!(
            code(&[update(FLOE_LEVEL, 3), update(FLOE_LEVEL, 3)]),
            malformed
        );
    }
}
