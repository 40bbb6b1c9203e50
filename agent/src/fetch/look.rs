//! What the watched picture says about one partition of a fetch, before anything is read.

use floe_metadata::api::{Extent, PartitionBounds};
use floe_metadata::client::view::{Tail, View};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::{LeaderEpoch, Offset, TopicPartition};

/// Which records a consumer may see (KIP-98).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Isolation {
    /// All below the high watermark.
    ReadUncommitted,
    /// All below the last stable offset.
    ReadCommitted,
}

impl Isolation {
    /// The level with this number on the wire.
    pub(crate) const fn from_wire(level: i8) -> Option<Self> {
        match level {
            0 => Some(Self::ReadUncommitted),
            1 => Some(Self::ReadCommitted),
            _ => None,
        }
    }

    /// One past the last offset that may be read.
    pub(crate) const fn upper(self, bounds: &PartitionBounds) -> Offset {
        match self {
            Self::ReadUncommitted => bounds.high_watermark,
            Self::ReadCommitted => bounds.last_stable,
        }
    }
}

/// What is to be read of a partition, as far as a look at the picture needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Position {
    /// Which partition.
    pub(crate) partition: TopicPartition,
    /// The first offset wanted.
    pub(crate) fetch_offset: Offset,
    /// Most bytes wanted.
    pub(crate) max_bytes: u64,
    /// The leader epoch the client knows, -1 for none.
    pub(crate) current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record the client has, -1 for none.
    pub(crate) last_fetched_epoch: LeaderEpoch,
}

/// What there is for a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// It cannot be served.
    Error(ErrorCode),
    /// Nothing beyond the position yet.
    Nothing(PartitionBounds),
    /// Records, in these extents.
    Resident(Vec<Extent>, PartitionBounds),
    /// Records, older than what is resident.
    Older(PartitionBounds),
    /// The position is above the end as it is known here: others may know better.
    Beyond(PartitionBounds),
}

impl Look {
    /// Bytes that can be read, as a guess: 0 exactly when there are none.
    pub(crate) fn available_bytes(&self, position: &Position, isolation: Isolation) -> u64 {
        match self {
            Self::Error(_) | Self::Nothing(_) | Self::Beyond(_) => 0,
            Self::Resident(extents, bounds) => extents
                .iter()
                .filter(|extent| extent.base_offset < isolation.upper(bounds))
                .map(|extent| u64::from(extent.length_bytes))
                .sum(),
            Self::Older(_) => position.max_bytes.max(1),
        }
    }
}

/// Looks at one partition. `ahead_bytes` more than the position asks for are listed, to be read ahead.
pub(crate) fn look(
    view: &View,
    position: &Position,
    isolation: Isolation,
    ahead_bytes: u64,
) -> Look {
    if let Some(error) = check_epochs(view.leader_epoch(), position) {
        return Look::Error(error);
    }
    let list_bytes = position.max_bytes.saturating_add(ahead_bytes);
    let tail = view.tail(position.partition, position.fetch_offset, list_bytes);
    let (Tail::Extents(_, bounds) | Tail::Older(bounds)) = &tail else {
        return Look::Error(ErrorCode::UnknownTopicOrPartition);
    };
    let bounds = *bounds;
    // The log start never goes back, so that a position below it is out of range on any view.
    if position.fetch_offset < bounds.log_start {
        return Look::Error(ErrorCode::OffsetOutOfRange);
    }
    if position.fetch_offset > bounds.high_watermark {
        return Look::Beyond(bounds);
    }
    if position.fetch_offset >= isolation.upper(&bounds) {
        return Look::Nothing(bounds);
    }
    match tail {
        Tail::Extents(extents, _) => Look::Resident(extents, bounds),
        Tail::Older(_) | Tail::UnknownPartition => Look::Older(bounds),
    }
}

/// Epochs up to ours are served, since ours rises without any change of the log; a client that knows a
/// higher one has newer metadata than we have (KIP-320). Batches carry epoch 0.
fn check_epochs(ours: LeaderEpoch, position: &Position) -> Option<ErrorCode> {
    if position.current_leader_epoch > ours {
        Some(ErrorCode::UnknownLeaderEpoch)
    } else if position.last_fetched_epoch > ours {
        Some(ErrorCode::OffsetOutOfRange)
    } else {
        None
    }
}
