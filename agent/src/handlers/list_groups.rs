//! ListGroups (KIP-518, KIP-848): all groups, or those of some states and types. Filters ignore case; one that
//! nobody knows matches nothing.

use floe_metadata::api::groups::{
    GroupReply, GroupRequest, ListedGroup as Listed, ListedState, PAGE_ITEMS,
};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use floe_protocol::str::Str;

use super::consumer_group_describe::state_name as consumers_state;
use super::describe_groups::state_name;
use super::groups::{PATIENCE, ask};
use super::{Context, Handler, Refuse};

/// Type and state of a group, as Kafka calls them.
const fn words(state: ListedState) -> (&'static str, &'static str) {
    match state {
        ListedState::Classic(phase) => ("classic", state_name(phase)),
        ListedState::Consumer(state) => ("consumer", consumers_state(state)),
    }
}

impl Handler for ListGroupsRequest {
    async fn handle(self, context: &Context) -> ListGroupsResponse {
        match all(context).await {
            Ok(groups) => response(&self, groups),
            Err(code) => failed(code),
        }
    }
}

impl Refuse for ListGroupsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ListGroupsResponse> {
        Some(failed(code))
    }
}

/// All groups, by name.
async fn all(context: &Context) -> Result<Vec<Listed>, ErrorCode> {
    let mut groups: Vec<Listed> = Vec::new();
    loop {
        let after = groups.last().map(|group| group.name.clone());
        match ask(context, GroupRequest::List(after), PATIENCE).await? {
            GroupReply::Listed(page) => {
                let is_last = page.len() < PAGE_ITEMS;
                groups.extend(page);
                if is_last {
                    return Ok(groups);
                }
            }
            _ => return Err(ErrorCode::UnknownServerError),
        }
    }
}

fn response(request: &ListGroupsRequest, groups: Vec<Listed>) -> ListGroupsResponse {
    let passes = |filter: &[Str], value: &str| {
        let mut wanted = filter.iter();
        filter.is_empty() || wanted.any(|wanted| wanted.trim().eq_ignore_ascii_case(value))
    };
    let groups = groups.into_iter().filter_map(|group| {
        let (kind, state) = words(group.state);
        let is_wanted =
            passes(&request.states_filter, state) && passes(&request.types_filter, kind);
        is_wanted.then(|| ListedGroup {
            group_id: Str::from(group.name),
            protocol_type: Str::from(group.protocol_type),
            group_state: Str::from_static(state),
            group_type: Str::from_static(kind),
        })
    });
    ListGroupsResponse {
        groups: groups.collect(),
        ..ListGroupsResponse::default()
    }
}

fn failed(code: ErrorCode) -> ListGroupsResponse {
    ListGroupsResponse {
        error_code: code.code(),
        ..ListGroupsResponse::default()
    }
}
