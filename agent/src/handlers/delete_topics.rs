//! DeleteTopics, by name or by id (KIP-516). A topic is gone for this broker's clients when the answer
//! leaves; its bytes are deleted later.

use std::collections::BTreeSet;
use std::sync::Arc;

use floe_metadata::api::{RequestError, Topic};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use floe_protocol::str::Str;
use floe_protocol::types::TopicId;
use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;

use super::change::{deadline, settle};
use super::{Context, Handler, Refuse};
use crate::error::Failure;

/// Topics of one request that are deleted at once.
const DELETIONS_MAX: usize = 64;

impl Handler for DeleteTopicsRequest {
    async fn handle(self, context: &Context) -> DeleteTopicsResponse {
        let deadline = deadline(self.timeout_ms);
        let wanted = wanted(&self);
        let twice = wanted_twice(&wanted);
        let deleted: Vec<_> = wanted
            .iter()
            .map(|state| one(state, &twice, deadline, context))
            .collect();
        let responses = stream::iter(deleted)
            .buffered(DELETIONS_MAX)
            .collect()
            .await;
        DeleteTopicsResponse {
            throttle_time_ms: 0,
            responses,
        }
    }
}

impl Refuse for DeleteTopicsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DeleteTopicsResponse> {
        let failure = Failure::new(code, code.message());
        let wanted = wanted(self);
        let responses = wanted
            .iter()
            .map(|state| result(state, Err(failure.clone())))
            .collect();
        Some(DeleteTopicsResponse {
            throttle_time_ms: 0,
            responses,
        })
    }
}

/// What the request names, in its order; before version 6 these are names.
fn wanted(request: &DeleteTopicsRequest) -> Vec<DeleteTopicState> {
    let by_name = request.topic_names.iter().map(|name| DeleteTopicState {
        name: Some(name.clone()),
        ..DeleteTopicState::default()
    });
    by_name.chain(request.topics.iter().cloned()).collect()
}

type Wanted<'a> = (Option<&'a str>, TopicId);

fn key(state: &DeleteTopicState) -> Wanted<'_> {
    (state.name.as_deref(), TopicId::from(state.topic_id))
}

fn wanted_twice(wanted: &[DeleteTopicState]) -> BTreeSet<Wanted<'_>> {
    let mut seen = BTreeSet::new();
    wanted
        .iter()
        .map(key)
        .filter(|key| !seen.insert(*key))
        .collect()
}

async fn one(
    state: &DeleteTopicState,
    twice: &BTreeSet<Wanted<'_>>,
    deadline: Instant,
    context: &Context,
) -> DeletableTopicResult {
    let found = check_enabled(context)
        .and_then(|()| check_distinct(state, twice))
        .and_then(|()| find(state, context));
    let outcome = match found {
        Ok(topic) => delete(&topic, deadline, context).await.map(|()| topic),
        Err(failure) => Err(failure),
    };
    result(state, outcome)
}

fn check_enabled(context: &Context) -> Result<(), Failure> {
    if context.broker.settings.is_on("delete.topic.enable") {
        return Ok(());
    }
    // The code of its own came with version 3.
    let code = if context.version < 3 {
        ErrorCode::InvalidRequest
    } else {
        ErrorCode::TopicDeletionDisabled
    };
    Err(Failure::new(
        code,
        "Topic deletion is disabled: delete.topic.enable is false.",
    ))
}

fn check_distinct(state: &DeleteTopicState, twice: &BTreeSet<Wanted<'_>>) -> Result<(), Failure> {
    if !twice.contains(&key(state)) {
        return Ok(());
    }
    let message = if state.name.is_some() {
        "Duplicate topic name."
    } else {
        "Duplicate topic id."
    };
    Err(Failure::new(ErrorCode::InvalidRequest, message))
}

fn find(state: &DeleteTopicState, context: &Context) -> Result<Arc<Topic>, Failure> {
    let view = &context.broker.view;
    let id = TopicId::from(state.topic_id);
    match (&state.name, id.is_zero()) {
        (Some(_), false) => {
            let message = "You may not specify both topic name and topic id.";
            Err(Failure::new(ErrorCode::InvalidRequest, message))
        }
        (None, true) => {
            let message = "Neither topic name nor id were specified.";
            Err(Failure::new(ErrorCode::InvalidRequest, message))
        }
        (Some(name), true) => view.topic_by_name(name).ok_or_else(unknown_name),
        (None, false) => view.topic(id).ok_or_else(|| {
            Failure::new(
                ErrorCode::UnknownTopicId,
                "This server does not host this topic ID.",
            )
        }),
    }
}

fn unknown_name() -> Failure {
    Failure::from(RequestError::UnknownTopic)
}

async fn delete(topic: &Topic, deadline: Instant, context: &Context) -> Result<(), Failure> {
    let metadata = &context.broker.metadata;
    settle(context, deadline, async |in_doubt| {
        match metadata.delete_topic(topic.id).await {
            Ok(revision) => Ok(((), Some(revision))),
            // An attempt whose answer was lost did it.
            Err(RequestError::UnknownTopic) if in_doubt => Ok(((), None)),
            Err(error) => Err(error),
        }
    })
    .await
}

fn result(state: &DeleteTopicState, outcome: Result<Arc<Topic>, Failure>) -> DeletableTopicResult {
    match outcome {
        Ok(topic) => DeletableTopicResult {
            name: Some(Str::from(topic.name.to_string())),
            topic_id: topic.id.into(),
            ..DeletableTopicResult::default()
        },
        Err(failure) => DeletableTopicResult {
            name: state.name.clone(),
            topic_id: state.topic_id,
            error_code: failure.code.code(),
            error_message: Some(Str::from(failure.message)),
        },
    }
}
