//! What administrators ask, as calls.

use floe_protocol::types::{Offset, TopicPartition};

use super::{Call, Client};
use crate::api::admin::{ActiveProducer, AdminReply, AdminRequest, AlterConfigs, QuorumFacts};
use crate::api::{PartitionBounds, RequestError, Revision};

impl Client {
    /// Asks; the reply fits the request, see [`AdminReply`].
    pub(crate) async fn admin(&self, request: AdminRequest) -> Result<AdminReply, RequestError> {
        self.call(|answer| Call::Admin(request, answer)).await
    }

    /// Replaces the configs of a resource, if they are still those that the change was made of. Succeeds also
    /// where they are already as wanted, so that a repeat does no harm.
    ///
    /// # Errors
    /// `Unavailable`, `UnknownTopic`, `ConfigsChanged`: look again, and make the change of what is there now;
    /// `TooManyResources`.
    pub async fn alter_configs(&self, change: AlterConfigs) -> Result<Revision, RequestError> {
        match self.admin(AdminRequest::AlterConfigs(change)).await? {
            AdminReply::Altered(revision) => Ok(revision),
            other => Err(unfit(&other)),
        }
    }

    /// Moves log starts up, at most to the high watermark, never down. Returns the bounds afterwards, `None`
    /// for a partition that does not exist, and the revision after which views show them.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn move_log_starts(
        &self,
        moves: Vec<(TopicPartition, Offset)>,
    ) -> Result<(Vec<Option<PartitionBounds>>, Revision), RequestError> {
        match self.admin(AdminRequest::MoveLogStarts(moves)).await? {
            AdminReply::LogStarts(bounds, revision) => Ok((bounds, revision)),
            other => Err(unfit(&other)),
        }
    }

    /// How many bytes the records of each partition take; `None` for one that does not exist. Linearizable.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn sizes(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<Option<u64>>, RequestError> {
        match self.admin(AdminRequest::Sizes(partitions)).await? {
            AdminReply::Sizes(sizes) => Ok(sizes),
            other => Err(unfit(&other)),
        }
    }

    /// Who writes with sequences to each partition, by producer id; `None` for a partition that does not
    /// exist. Producers that memory had no room for are left out. Linearizable.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn producers(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<Option<Vec<ActiveProducer>>>, RequestError> {
        match self.admin(AdminRequest::Producers(partitions)).await? {
            AdminReply::Producers(producers) => Ok(producers),
            other => Err(unfit(&other)),
        }
    }

    /// Who owns metadata, and how far it is.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn quorum(&self) -> Result<QuorumFacts, RequestError> {
        match self.admin(AdminRequest::Quorum).await? {
            AdminReply::Quorum(facts) => Ok(facts),
            other => Err(unfit(&other)),
        }
    }
}

/// An answer to another question: only an owner of another release gives one.
fn unfit(reply: &AdminReply) -> RequestError {
    tracing::error!(?reply, "metadata's owner answered another question");
    RequestError::Unavailable
}
