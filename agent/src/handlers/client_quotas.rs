//! DescribeClientQuotas and AlterClientQuotas (KIP-546): quotas are kept and told. Nobody is throttled by them.

mod entity;

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_metadata::api::RequestError;
use floe_metadata::api::admin::{AlterConfigs, ConfigKind, ConfigResource, ConfigValues};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::alter_client_quotas as alter;
use floe_protocol::messages::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse,
};
use floe_protocol::messages::describe_client_quotas as describe;
use floe_protocol::messages::describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};
use floe_protocol::str::Str;
use tokio::time::Instant;

use self::entity::{Entity, Filter, check_key, check_value};
use super::change::settle;
use super::configs::PATIENCE;
use super::{Context, Handler, Refuse};
use crate::error::Failure;

impl Handler for DescribeClientQuotasRequest {
    async fn handle(self, context: &Context) -> DescribeClientQuotasResponse {
        let filter = match Filter::of(&self.components, self.strict) {
            Ok(filter) => filter,
            Err(failure) => return failed(&failure),
        };
        let all = context.broker.view.all_configs(ConfigKind::Quota);
        let entries = all.into_iter().filter_map(|(name, values)| {
            let entity = Entity::of_name(&name).filter(|entity| filter.matches(entity))?;
            let entity = entity.parts().map(|(kind, name)| describe::EntityData {
                entity_type: Str::from(kind.to_owned()),
                entity_name: name.map(|name| Str::from(name.to_owned())),
            });
            let values = values.iter().filter_map(|(key, value)| {
                Some(describe::ValueData {
                    key: Str::from(key.clone()),
                    value: value.parse().ok()?,
                })
            });
            Some(describe::EntryData {
                entity: entity.collect(),
                values: values.collect(),
            })
        });
        DescribeClientQuotasResponse {
            entries: Some(entries.collect()),
            ..DescribeClientQuotasResponse::default()
        }
    }
}

impl Refuse for DescribeClientQuotasRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeClientQuotasResponse> {
        Some(failed(&Failure::new(code, code.message())))
    }
}

fn failed(failure: &Failure) -> DescribeClientQuotasResponse {
    DescribeClientQuotasResponse {
        error_code: failure.code.code(),
        error_message: Some(Str::from(failure.message.clone())),
        entries: None,
        ..DescribeClientQuotasResponse::default()
    }
}

impl Handler for AlterClientQuotasRequest {
    async fn handle(self, context: &Context) -> AlterClientQuotasResponse {
        let deadline = Instant::now() + PATIENCE;
        let mut counts = BTreeMap::<_, u32>::new();
        for entry in &self.entries {
            if let Ok(entity) = entity_of(entry) {
                *counts.entry(entity).or_default() += 1;
            }
        }
        let mut entries = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let outcome = match change(entry) {
                Ok((entity, _)) if counts.get(&entity).is_some_and(|count| *count > 1) => {
                    let message = "Duplicate client quota entity";
                    Err(Failure::new(ErrorCode::InvalidRequest, message))
                }
                Ok(_) if self.validate_only => Ok(()),
                Ok((entity, edits)) => store(&entity, &edits, deadline, context).await,
                Err(failure) => Err(failure),
            };
            entries.push(response(entry, outcome));
        }
        AlterClientQuotasResponse {
            throttle_time_ms: 0,
            entries,
        }
    }
}

impl Refuse for AlterClientQuotasRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<AlterClientQuotasResponse> {
        let failure = Failure::new(code, code.message());
        let entries = self.entries.iter();
        let entries = entries.map(|entry| response(entry, Err(failure.clone())));
        Some(AlterClientQuotasResponse {
            throttle_time_ms: 0,
            entries: entries.collect(),
        })
    }
}

fn entity_of(entry: &alter::EntryData) -> Result<Entity, Failure> {
    let parts = entry.entity.iter();
    Entity::new(parts.map(|part| (part.entity_type.as_str(), part.entity_name.as_deref())))
}

/// Values by key, `None` for one that goes.
type Edits = BTreeMap<String, Option<String>>;

fn change(entry: &alter::EntryData) -> Result<(Entity, Edits), Failure> {
    let entity = entity_of(entry)?;
    let mut edits = Edits::new();
    for op in &entry.ops {
        check_key(&entity, &op.key)?;
        let value = match op.remove {
            true => None,
            false => Some(check_value(&op.key, op.value)?),
        };
        if edits.insert(op.key.to_string(), value).is_some() {
            let (key, entity) = (op.key.as_str(), entity.name());
            let message =
                format!("Duplicate quota key {key} not updating quota for this entity {entity}");
            return Err(Failure::new(ErrorCode::InvalidRequest, message));
        }
    }
    Ok((entity, edits))
}

async fn store(
    entity: &Entity,
    edits: &Edits,
    deadline: Instant,
    context: &Context,
) -> Result<(), Failure> {
    let name: Arc<str> = Arc::from(entity.name());
    settle(context, deadline, async |_| {
        loop {
            let view = &context.broker.view;
            let seen = view.revision();
            let before = view.configs(ConfigKind::Quota, &name);
            let before = before.unwrap_or_default();
            let mut after = ConfigValues::clone(&before);
            for (key, value) in edits {
                match value {
                    Some(value) => after.insert(key.clone(), value.clone()),
                    None => after.remove(key),
                };
            }
            let change = AlterConfigs {
                resource: ConfigResource::Named(ConfigKind::Quota, Arc::clone(&name)),
                before: ConfigValues::clone(&before),
                after,
            };
            match context.broker.metadata.alter_configs(change).await {
                Ok(revision) => return Ok(((), Some(revision))),
                // Another change came first: it is newer than all that was seen here.
                Err(RequestError::ConfigsChanged) => view.wait_revision(seen + 1).await,
                Err(error) => return Err(error),
            }
        }
    })
    .await
}

fn response(entry: &alter::EntryData, outcome: Result<(), Failure>) -> alter::ResponseEntryData {
    let failure = outcome.err();
    let code = failure.as_ref().map_or(ErrorCode::None, |it| it.code);
    alter::ResponseEntryData {
        error_code: code.code(),
        error_message: failure.map(|failure| Str::from(failure.message)),
        entity: entry.entity.clone(),
    }
}
