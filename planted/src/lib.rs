//! Bugs on purpose. A test that finds nothing proves nothing until it has found what was put there, so
//! each of these stands in the real code, a line or two, and the simulation must find every one.
//!
//! An ordinary build has none: there [`Bug::is_planted`] is `false` for the compiler already. A build
//! with `FLOE_PLANTED_BUGS` in its environment has them all, each asleep until [`plant`] wakes it, and
//! only without optimisation for release: see `docs/testing.md`.

#[cfg(all(floe_planted, not(debug_assertions)))]
compile_error!("a release binary holds no planted bugs: build without FLOE_PLANTED_BUGS");

use std::sync::atomic::{AtomicUsize, Ordering};

macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A bug on purpose.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Bug {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$name,)+];
        }
    };
}

bugs! {
    /// Produce: acknowledged when it is stored, and never committed.
    AckWithoutCommit,
    /// Produce: a PUT whose outcome is unknown is taken for done.
    FailedPutTakenForDone,
    /// Produce: commits of a lane are sent newest first.
    CommitsReversed,
    /// Produce: the answers of one segment go to each other's callers.
    AnswersCrossed,
    /// Produce: a connection changes its lane while requests are under way.
    LaneChangedInFlight,
    /// Produce: a new process names its segments as the one before, and takes their objects for its own.
    NamesReused,
    /// Produce: later batches are acknowledged on the connection of one that stays undecided.
    AcknowledgedPastUndecided,
    /// Fetch: bytes from the store are not held against their checksum.
    ChecksumIgnored,
    /// Fetch: bytes that another agent gave are not held against their checksum.
    PeerBytesUnchecked,
    /// Fetch: all batches of an extent get the offset of its first.
    OffsetsFromExtentStart,
    /// Metadata: replies leave before their group is durable.
    RepliesBeforeDurable,
    /// Metadata: the high watermark is raised before its group is durable.
    EventsBeforeDurable,
    /// Metadata: reads are answered before what they saw is durable.
    ReadsBeforeDurable,
    /// Metadata: an owner answers reads without a proof that it still owns.
    ReadsUnproven,
    /// Metadata: a new owner answers at once, whatever the one before it may still be answering.
    SuccessorDoesNotWait,
    /// Agent: clients are served though metadata has not been heard for long.
    LeaseIgnored,
    /// Metadata: a watch that goes on where it was leaves out what happened meanwhile.
    ResumedWithGap,
    /// Metadata: a watch event is dropped.
    WatchEventLost,
    /// Metadata: a duplicate is acknowledged with offset 0.
    DuplicateAckedWithZero,
    /// Metadata: a duplicate is written again.
    DuplicateAccepted,
    /// Metadata: four batches of a producer are remembered, not five.
    FourRemembered,
    /// Metadata: a batch may come before the one it follows.
    GapAccepted,
    /// Metadata: the sequence moves on though the batch is refused.
    SequenceBeforeBatch,
    /// Metadata: a repeated commit is applied again.
    RepeatedCommitApplied,
    /// Metadata: producer ids are given out again.
    ProducerIdsReissued,
    /// Metadata: the engine takes batches of an owner that was replaced.
    NoFence,
    /// Metadata: a generation of a group is given out before it is saved.
    GenerationNotSaved,
    /// Metadata: a partition that a member has to let go of is given to another at once.
    PartitionGivenTwice,
    /// Metadata: what members of a consumer group were told is not saved.
    MembersNotSaved,
    /// Metadata: a committed offset is not written.
    OffsetNotWritten,
    /// Metadata: the latest commit is not replayed into producers' states.
    LatestCommitNotReplayed,
    /// Metadata: a head counts as saved and is not.
    HeadLost,
    /// Metadata: a producer's state leaves memory without being saved.
    ProducerLostOnEviction,
}

/// Whether this build has the bugs at all.
pub const ARE_BUILT: bool = cfg!(floe_planted);

/// The bug that is awake, by its place among all; none at first.
static AWAKE: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Wakes one bug in this process and puts all others to sleep. Without effect unless [`ARE_BUILT`].
pub fn plant(bug: Option<Bug>) {
    AWAKE.store(bug.map_or(usize::MAX, |bug| bug as usize), Ordering::SeqCst);
}

impl Bug {
    /// Whether this bug is awake.
    #[inline]
    #[must_use]
    pub fn is_planted(self) -> bool {
        ARE_BUILT && AWAKE.load(Ordering::Relaxed) == self as usize
    }
}
