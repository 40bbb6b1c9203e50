//! ConsumerGroupHeartbeat: which group it is for, and what kind of group that becomes.

use std::time::Duration;

use floe_protocol::error_code::ErrorCode;

use super::machine::Machine;
use super::{Coordinator, Outcomes};
use crate::groups::classic::Effect;
use crate::groups::consumer::{
    self, Catalog, GroupSettings, HeartbeatAnswer, HeartbeatRequest, Refusal, Topics,
};

impl<W> Coordinator<W> {
    /// A heartbeat of the consumer protocol: the answer, and what comes before it.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        now: Duration,
        topics: &dyn Topics,
        settings: GroupSettings,
        name: &str,
        request: HeartbeatRequest,
    ) -> (HeartbeatAnswer, Outcomes<W>) {
        let refused = |refusal| (HeartbeatAnswer::refused(refusal), Vec::new());
        if let Err(refusal) = request.check(name, &self.config.consumer) {
            return refused(refusal);
        }
        let catalog = self.catalog(topics);
        let is_consumer = |machine: &Machine| matches!(machine, Machine::Consumer(_));
        let found = self.groups.get(name);
        if found.is_some_and(|entry| is_consumer(&entry.group)) {
            let name = self.name(name);
            let mut answer = None;
            let outcomes = self.with(&name, catalog, now, |machine, _| {
                if let Machine::Consumer(group) = machine {
                    group.configure(settings);
                    answer = Some(group.heartbeat(now, catalog, request));
                }
            });
            let answer = answer.unwrap_or_else(|| HeartbeatAnswer::refused(unknown(&name)));
            return (answer, outcomes);
        }
        // A group that is to be, or to be another: it is so only if the member can join it.
        let made = self.made(now, catalog, name, &request);
        let Some(mut group) = made else {
            return refused(unknown(name));
        };
        group.configure(settings);
        let answer = group.heartbeat(now, catalog, request);
        if answer.error != ErrorCode::None {
            return (answer, Vec::new());
        }
        let name = self.name(name);
        let outcomes = self.with(&name, catalog, now, |machine, effects: &mut Vec<Effect>| {
            if let Machine::Classic(classic) = machine {
                classic.dissolve(effects);
            }
            *machine = Machine::Consumer(group);
        });
        (answer, outcomes)
    }

    /// The group that a member may join which is not of the consumer protocol yet.
    fn made(
        &self,
        now: Duration,
        catalog: Catalog<'_>,
        name: &str,
        request: &HeartbeatRequest,
    ) -> Option<consumer::Group> {
        if request.epoch != 0 {
            return None;
        }
        let config = self.config.consumer.clone();
        match self.groups.get(name).map(|entry| &entry.group) {
            None => Some(consumer::Group::new(config, 0)),
            Some(Machine::Consumer(_)) => None,
            Some(Machine::Classic(group)) => {
                let saved = group.saved();
                if saved.members.is_empty() {
                    return Some(consumer::Group::new(config, saved.generation));
                }
                consumer::Group::from_classic(config, now, &saved, catalog)
            }
        }
    }
}

fn unknown(name: &str) -> Refusal {
    let message = format!("Consumer group {name} not found.");
    Refusal(ErrorCode::GroupIdNotFound, message)
}
