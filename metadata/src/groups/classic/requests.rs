//! What members ask and are answered.

use std::time::Duration;

use bytes::Bytes;
use floe_protocol::error_code::ErrorCode;

/// JoinGroup of one member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRequest {
    /// Empty for a member that has no id yet.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// Drawn for this request: the id of the member, if it needs one.
    pub new_member_id: String,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// After how long without a word the member is given up.
    pub session_timeout: Duration,
    /// How long it may take to join a rebalance.
    pub rebalance_timeout: Duration,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// Names and metadata, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
    /// Whether a member without an id is given one and asked to come back with it (version 4, KIP-394).
    pub comes_back_with_id: bool,
    /// Whether a leader can be told that nothing is to be assigned (version 9, KIP-814).
    pub can_skip_assignment: bool,
}

/// The answer to a Join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinAnswer {
    /// `None` if it worked.
    pub error: ErrorCode,
    /// -1 with an error.
    pub generation: i32,
    /// `consumer`, `connect`, …
    pub protocol_type: Option<String>,
    /// The one that was chosen.
    pub protocol: Option<String>,
    /// Who assigns.
    pub leader: String,
    /// The member's own id.
    pub member_id: String,
    /// All members, for the leader only.
    pub members: Vec<Joined>,
    /// The leader must not assign.
    pub skip_assignment: bool,
}

/// A member as the leader is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Its id.
    pub member_id: String,
    /// Of a static member.
    pub instance: Option<String>,
    /// For the protocol that was chosen.
    pub metadata: Bytes,
}

impl JoinAnswer {
    /// An error for `member_id`.
    #[must_use]
    pub fn refused(error: ErrorCode, member_id: &str) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            member_id: member_id.to_owned(),
            members: Vec::new(),
            skip_assignment: false,
        }
    }
}

/// SyncGroup of one member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncRequest {
    /// Its id.
    pub member_id: String,
    /// Of a static member.
    pub instance: Option<String>,
    /// The one it joined.
    pub generation: i32,
    /// What it takes the group for (version 5).
    pub protocol_type: Option<String>,
    /// What it takes for chosen (version 5).
    pub protocol: Option<String>,
    /// By member id; of the leader only.
    pub assignments: Vec<(String, Bytes)>,
}

/// The answer to a Sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncAnswer {
    /// `None` if it worked.
    pub error: ErrorCode,
    /// `consumer`, `connect`, …
    pub protocol_type: Option<String>,
    /// The one that was chosen.
    pub protocol: Option<String>,
    /// What the leader gave to this member.
    pub assignment: Bytes,
}

impl SyncAnswer {
    /// An error.
    #[must_use]
    pub const fn refused(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol: None,
            assignment: Bytes::new(),
        }
    }
}
