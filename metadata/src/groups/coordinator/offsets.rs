//! Who may commit, fetch and delete offsets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use floe_protocol::error_code::ErrorCode;

use super::Coordinator;
use super::machine::Machine;
use crate::api::groups::Identity;

impl<W> Coordinator<W> {
    /// Whether somebody may commit offsets; the state keeps the group from then on.
    ///
    /// # Errors
    /// The code for all offsets of the commit.
    pub(crate) fn may_commit(
        &mut self,
        now: Duration,
        by: &Identity,
        unknown: ErrorCode,
    ) -> Result<Arc<str>, ErrorCode> {
        if !self.groups.contains_key(by.group.as_str()) && by.generation >= 0 {
            return Err(unknown);
        }
        let name = self.name(&by.group);
        let entry = self.entry(&name);
        let (id, instance) = (&by.member_id, by.instance.as_deref());
        match &mut entry.group {
            Machine::Classic(group) => group.may_commit(now, id, instance, by.generation)?,
            Machine::Consumer(group) => {
                // Versions that know of missing groups know of epochs as well.
                let knows_epochs = unknown == ErrorCode::GroupIdNotFound;
                group.check_epoch(id, instance, by.generation, knows_epochs)?;
            }
        }
        entry.is_kept = true;
        Ok(name)
    }

    /// Whether somebody may read offsets: of a group of the consumer protocol only a member of the present epoch,
    /// or nobody in particular.
    ///
    /// # Errors
    /// The code for the group.
    pub(crate) fn may_fetch(
        &self,
        name: &str,
        member_id: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        match self.groups.get(name).map(|entry| &entry.group) {
            Some(Machine::Consumer(group)) if member_id.is_some() || epoch >= 0 => {
                group.check_epoch(member_id.unwrap_or_default(), None, epoch, true)
            }
            _ => Ok(()),
        }
    }

    /// Whether offsets of a group may be deleted one by one, and which topics its members read: of these none.
    /// `None` for all.
    ///
    /// # Errors
    /// The code for all of them.
    pub(crate) fn subscribed(&self, name: &str) -> Result<Option<BTreeSet<String>>, ErrorCode> {
        let entry = self.groups.get(name).ok_or(ErrorCode::GroupIdNotFound)?;
        let saved = match &entry.group {
            Machine::Classic(group) => group.saved(),
            Machine::Consumer(group) => return Ok(Some(group.topics_read())),
        };
        if saved.members.is_empty() {
            return Ok(Some(BTreeSet::new()));
        }
        if saved.is_of_consumers() {
            Ok(saved.subscribed())
        } else {
            Err(ErrorCode::NonEmptyGroup)
        }
    }
}
