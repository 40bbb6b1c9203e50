//! The one task that owns the state while an epoch lasts: collect, apply, submit, answer when durable.
//!
//! ```text
//! calls ─▶ group: read rows that are paged out ─▶ apply ─▶ seal ─▶ submit ─▶ … ─▶ durable ─▶ replies, events
//!                                                          └ the next group is collected meanwhile
//!          reads: answered from the applied state, once what they saw is durable and ownership proven
//! ```
//!
//! - Nothing leaves before it is durable: no reply, no event, no read of it.
//! - Replies and events leave in the order of groups, so a view never runs ahead of a commit's answer
//!   by more than a wake-up, and never shows a hole.
//! - The first error ends the sequencer. Whoever waits is told that the outcome is unknown.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use floe_planted::Bug;
use floe_storage::clock::Clock;
use floe_storage::latest;
use futures::future::{BoxFuture, FutureExt, poll_fn};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use self::answer::{Reply, Sorted, Waiting};
use self::gathering::Gathering;
use self::groups::Coordination;
use self::leases::Leases;
use self::proof::Proof;
use self::reads::{Question, Read, Reads};
use crate::api::Revision;
use crate::client::{Answer, Call, WatchBatch};
use crate::engine::{Durable, EngineError, RowChange, Session};
use crate::state::{Command, DamagedState, RowKey, State, WriteSet};

mod answer;
mod gathering;
mod groups;
pub(crate) mod leases;
mod presence;
pub(crate) mod proof;
mod reads;

/// Calls taken at once.
const CALLS_MAX: usize = 256;
/// Batches of records after which a group is closed: some 10 ms of work, then answers get their turn.
const GROUP_BATCHES: usize = 20_000;
/// Groups under way; the engine makes one of those that wait for it.
const GROUPS_MAX: usize = 64;
/// Rows of a group that are read at the same time.
const ROWS_READ_AT_ONCE: usize = 64;
/// Bytes of rows under way.
const ROWS_BYTES_MAX: usize = 16 << 20;
/// Watch batches a subscriber may be behind before it must start anew.
const WATCH_BATCHES_MAX: usize = 1024;

/// Why the sequencer ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It was told to; everything taken was answered.
    Drained,
    /// The engine failed or was fenced.
    Lost(EngineError),
    /// The engine's rows make no sense.
    Damaged(DamagedState),
}

impl From<EngineError> for End {
    fn from(error: EngineError) -> Self {
        Self::Lost(error)
    }
}

impl From<DamagedState> for End {
    fn from(error: DamagedState) -> Self {
        Self::Damaged(error)
    }
}

#[derive(Debug)]
pub(crate) struct Sequencer {
    state: State,
    session: Arc<dyn Session>,
    clock: Clock,
    term: u64,
    /// Commands taken and applied, counted.
    pushed: u64,
    applied: u64,
    /// Taken, in no group yet.
    backlog: VecDeque<(Command, Waiting)>,
    /// How long commits of offsets stay in the backlog.
    gathering: Gathering,
    /// Wakes when they have stayed long enough; only while they stay.
    gathered: Pin<Box<Sleep>>,
    is_gathering: bool,
    /// The next group, whose rows are being read.
    paging: Option<Paging>,
    under_way: VecDeque<Group>,
    rows_bytes: usize,
    /// Groups submitted and completed, counted.
    submitted: u64,
    completed: u64,
    reads: Reads,
    proof: Proof,
    watch: broadcast::Sender<Arc<WatchBatch>>,
    durable: latest::Writer<Revision>,
    /// The latest batches that were sent, and the revision before them: who missed no more goes on.
    recent: VecDeque<Arc<WatchBatch>>,
    recent_from: Revision,
    leases: Leases,
    /// Wakes when a lease ends.
    lease_ends: Pin<Box<Sleep>>,
    coordination: Coordination,
    /// Beats that wait for a proof of ownership, and whether the process is known.
    beats: Vec<(bool, Answer<bool>)>,
    /// Who waits until all views show a revision.
    passing: Vec<(Revision, Answer<()>)>,
}

type RowsRead = Result<Vec<(RowKey, Option<Bytes>)>, EngineError>;

struct Paging {
    commands: Vec<(Command, Waiting)>,
    rows: BoxFuture<'static, RowsRead>,
}

impl std::fmt::Debug for Paging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paging")
            .field("commands", &self.commands.len())
            .finish_non_exhaustive()
    }
}

/// Commands that were applied together and become durable together.
#[derive(Debug)]
struct Group {
    durable: Durable,
    /// When it was submitted, on the steady clock.
    started: Duration,
    rows_bytes: usize,
    replies: Vec<Reply>,
    events: WatchBatch,
}

enum Happened {
    Durable(Result<(), EngineError>),
    Barrier(Result<(), EngineError>),
    RowsRead(RowsRead),
    Called(usize),
    LeaseEnded,
    GroupDue,
    Gathered,
    Stop,
}

impl Sequencer {
    /// A sequencer over a state that was recovered through `session`; `proof` is what is known of our
    /// ownership, `ended` the nonce of a process that surely serves nobody any more.
    pub(crate) fn new(
        state: State,
        session: Arc<dyn Session>,
        clock: Clock,
        proof: Proof,
        term: u64,
        ended: Option<[u8; 16]>,
    ) -> Self {
        let leases = Leases::of(
            &state.processes(),
            state.unlisted_processes(),
            ended,
            proof.now(),
        );
        let durable = latest::channel(state.revision()).0;
        Self {
            recent: VecDeque::new(),
            recent_from: state.revision(),
            leases,
            // Due at once: the first look sets it.
            lease_ends: Box::pin(tokio::time::sleep(Duration::ZERO)),
            gathering: Gathering::default(),
            gathered: Box::pin(tokio::time::sleep(Duration::ZERO)),
            is_gathering: false,
            coordination: Coordination::new(&state, proof.now()),
            pushed: 0,
            applied: 0,
            beats: Vec::new(),
            passing: Vec::new(),
            state,
            session,
            clock,
            term,
            backlog: VecDeque::new(),
            paging: None,
            under_way: VecDeque::new(),
            rows_bytes: 0,
            submitted: 0,
            completed: 0,
            reads: Reads::default(),
            proof,
            watch: broadcast::Sender::new(WATCH_BATCHES_MAX),
            durable,
        }
    }

    /// The newest revision that is durable.
    pub(crate) fn durable(&self) -> latest::Reader<Revision> {
        self.durable.reader()
    }

    /// Serves `calls` until something ends it. Afterwards drop it: that answers `Unavailable` to all
    /// who still wait.
    pub(crate) async fn run(
        &mut self,
        calls: &mut mpsc::Receiver<Call>,
        stop: &CancellationToken,
    ) -> End {
        let mut taken = Vec::new();
        loop {
            let happened = self.next(calls, &mut taken, stop).await;
            let flow = match happened {
                Happened::Durable(outcome) => self.complete(outcome),
                Happened::Barrier(outcome) => self.proven(outcome),
                Happened::RowsRead(rows) => self.admit(rows),
                Happened::Called(0) => ControlFlow::Break(End::Drained),
                Happened::Called(_) => self.take(mem::take(&mut taken)),
                Happened::LeaseEnded => {
                    self.look_at_leases();
                    ControlFlow::Continue(())
                }
                Happened::GroupDue => {
                    self.look_at_groups();
                    ControlFlow::Continue(())
                }
                Happened::Gathered => {
                    self.collect_all();
                    ControlFlow::Continue(())
                }
                Happened::Stop => return self.drain().await,
            };
            if let ControlFlow::Break(end) = flow {
                return end;
            }
            self.answer_reads();
            self.answer_beats();
        }
    }

    /// Waits for the next thing to do. All branches may be cancelled: what they wait for stays where
    /// it is.
    async fn next(
        &mut self,
        calls: &mut mpsc::Receiver<Call>,
        taken: &mut Vec<Call>,
        stop: &CancellationToken,
    ) -> Happened {
        let has_room = self.paging.is_none()
            && self.under_way.len() < GROUPS_MAX
            && self.rows_bytes < ROWS_BYTES_MAX;
        let (under_way, paging, proof) = (&mut self.under_way, &mut self.paging, &mut self.proof);
        let lease_ends = self.lease_ends.as_mut();
        let (gathered, is_gathering) = (self.gathered.as_mut(), self.is_gathering);
        let group_due = self.coordination.due();
        tokio::select! {
            biased;
            outcome = first_durable(under_way) => Happened::Durable(outcome),
            outcome = proof.barrier() => Happened::Barrier(outcome),
            rows = rows_read(paging) => Happened::RowsRead(rows),
            () = stop.cancelled() => Happened::Stop,
            // Who is heard through a call that is not taken yet is not silent.
            () = lease_ends, if has_room => Happened::LeaseEnded,
            () = group_due, if has_room => Happened::GroupDue,
            () = gathered, if has_room && is_gathering => Happened::Gathered,
            count = calls.recv_many(taken, CALLS_MAX), if has_room => Happened::Called(count),
        }
    }

    /// Sorts calls into commands and reads. A read sees what was applied before it was taken.
    fn take(&mut self, calls: Vec<Call>) -> ControlFlow<End> {
        for call in calls {
            match answer::sort(call) {
                Sorted::Commit { term, .. } if term != self.term => {}
                Sorted::Commit {
                    request, waiting, ..
                } => {
                    self.push(Command::Commit(request), waiting);
                }
                Sorted::Change(command, waiting) => self.push(command, waiting),
                Sorted::Group(request, answer) => self.group(request, answer),
                Sorted::Presence(presence) => self.presence(presence),
                Sorted::Read(Question::Subscribe(Some(from), to)) if self.can_resume(from) => {
                    let missed = self.missed_since(from);
                    let (batches, now) = (self.watch.subscribe(), self.proof.now());
                    let read = Read::resumption(missed, batches, to, self.completed, now);
                    self.reads.push(read, self.completed, &self.watch);
                }
                Sorted::Read(question) => {
                    let read = Read::new(question, &self.state, self.submitted, self.proof.now());
                    self.reads.push(read, self.completed, &self.watch);
                }
            }
        }
        self.collect();
        ControlFlow::Continue(())
    }

    fn push(&mut self, command: Command, waiting: Waiting) {
        match &command {
            Command::CommitOffsets { offsets, .. } => {
                self.gathering.commit_came(self.proof.now(), offsets.len());
            }
            _ => self.gathering.hurry(),
        }
        self.pushed += 1;
        self.backlog.push_back((command, waiting));
    }

    /// Makes groups of the backlog, unless it is to wait for more.
    fn collect(&mut self) {
        let now = self.proof.now();
        match self.gathering.until(now) {
            Some(_) if self.backlog.is_empty() || self.is_gathering => {}
            Some(until) => {
                self.is_gathering = true;
                let at = tokio::time::Instant::now() + (until - now);
                self.gathered.as_mut().reset(at);
            }
            None => self.collect_all(),
        }
    }

    /// Makes groups of the backlog, up to the first that has to read rows.
    fn collect_all(&mut self) {
        self.is_gathering = false;
        while self.paging.is_none() && !self.backlog.is_empty() {
            let mut commands = Vec::with_capacity(self.backlog.len());
            let (mut batches, mut missing) = (0, BTreeSet::new());
            while batches < GROUP_BATCHES
                && let Some((command, waiting)) = self.backlog.pop_front()
            {
                match &command {
                    Command::Commit(request) => batches += request.index.batch_count(),
                    // About the same work for each.
                    Command::CompleteMerge(request) => batches += request.extents.len(),
                    _ => {}
                }
                missing.extend(self.state.missing(&command));
                commands.push((command, waiting));
            }
            if missing.is_empty() {
                self.apply(commands);
            } else {
                let rows = read_rows(Arc::clone(&self.session), missing).boxed();
                self.paging = Some(Paging { commands, rows });
            }
        }
    }

    fn admit(&mut self, rows: RowsRead) -> ControlFlow<End> {
        let Some(paging) = self.paging.take() else {
            return ControlFlow::Continue(());
        };
        match rows
            .map_err(End::from)
            .and_then(|rows| Ok(self.state.admit(rows)?))
        {
            Ok(()) => {
                self.apply(paging.commands);
                // What is behind it has waited.
                self.collect_all();
                ControlFlow::Continue(())
            }
            Err(end) => ControlFlow::Break(end),
        }
    }

    /// Applies a group and submits it.
    fn apply(&mut self, commands: Vec<(Command, Waiting)>) {
        let now_ms = self.clock.now_ms();
        let mut writes = WriteSet::new();
        let mut replies = Vec::with_capacity(commands.len());
        let changes_processes = commands.iter().any(|(command, _)| {
            matches!(
                command,
                Command::Register(_) | Command::UnlistProcesses(_) | Command::ForgetProcesses(_)
            )
        });
        for (command, waiting) in commands {
            self.applied += 1;
            let of_group = groups::concerned(&command);
            let answer = self.state.apply(now_ms, command, &mut writes);
            self.follow_groups(of_group, &answer);
            let reply = waiting.reply(answer);
            if Bug::RepliesBeforeDurable.is_planted() {
                reply.send();
            } else {
                replies.push(reply);
            }
        }
        self.state.seal(&mut writes);
        let rows_bytes = writes.rows.iter().map(row_bytes).sum();
        let started = self.proof.now();
        self.gathering.started(started);
        let durable = self.session.submit(writes.rows);
        let mut events = WatchBatch {
            revision: self.state.revision(),
            events: writes.events,
        };
        if changes_processes {
            self.processes_changed();
        }
        if Bug::EventsBeforeDurable.is_planted() {
            let early = WatchBatch {
                events: mem::take(&mut events.events),
                ..events
            };
            drop(self.watch.send(Arc::new(early)));
        }
        if Bug::WatchEventLost.is_planted() && events.revision.is_multiple_of(16) {
            events.events.clear();
        }
        self.rows_bytes += rows_bytes;
        self.submitted += 1;
        self.under_way.push_back(Group {
            durable,
            started,
            rows_bytes,
            replies,
            events,
        });
        self.release_held();
    }

    /// Ends the oldest group: everything in it is durable, or all is lost.
    fn complete(&mut self, outcome: Result<(), EngineError>) -> ControlFlow<End> {
        let Some(group) = self.under_way.pop_front() else {
            return ControlFlow::Continue(());
        };
        if let Err(error) = outcome {
            return ControlFlow::Break(End::Lost(error));
        }
        self.completed += 1;
        self.durable.set(group.events.revision);
        self.rows_bytes -= group.rows_bytes;
        self.proof.raise(group.started);
        let took = self.proof.now().saturating_sub(group.started);
        self.gathering.ended(took);
        for reply in group.replies {
            reply.send();
        }
        let events = Arc::new(group.events);
        self.remember(Arc::clone(&events));
        // An error means that nobody watches.
        drop(self.watch.send(events));
        self.reads.reached(self.completed, &self.watch);
        ControlFlow::Continue(())
    }

    fn proven(&mut self, outcome: Result<(), EngineError>) -> ControlFlow<End> {
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(End::Lost(error)),
        }
    }

    fn answer_reads(&mut self) {
        self.reads.answer(self.completed, &self.proof);
        if self.reads.wait_for_proof(self.completed) {
            self.proof.ask(&self.session);
        }
    }

    /// Answers what was taken, takes nothing more.
    async fn drain(&mut self) -> End {
        self.collect_all();
        loop {
            let happened = {
                let (under_way, paging) = (&mut self.under_way, &mut self.paging);
                let proof = &mut self.proof;
                if under_way.is_empty() && paging.is_none() && self.reads.is_empty() {
                    return End::Drained;
                }
                tokio::select! {
                    biased;
                    outcome = first_durable(under_way) => Happened::Durable(outcome),
                    outcome = proof.barrier() => Happened::Barrier(outcome),
                    rows = rows_read(paging) => Happened::RowsRead(rows),
                }
            };
            let flow = match happened {
                Happened::Durable(outcome) => self.complete(outcome),
                Happened::Barrier(outcome) => self.proven(outcome),
                Happened::RowsRead(rows) => self.admit(rows),
                Happened::Called(_)
                | Happened::LeaseEnded
                | Happened::GroupDue
                | Happened::Gathered
                | Happened::Stop => ControlFlow::Continue(()),
            };
            if let ControlFlow::Break(end) = flow {
                return end;
            }
            self.answer_reads();
        }
    }
}

fn row_bytes((key, value): &RowChange) -> usize {
    key.len() + value.as_ref().map_or(0, Bytes::len)
}

async fn read_rows(session: Arc<dyn Session>, keys: BTreeSet<RowKey>) -> RowsRead {
    let session = &session;
    let read = keys.into_iter().map(|key| async move {
        let row = session.get(key.as_bytes()).await?;
        Ok((key, row))
    });
    stream::iter(read)
        .buffered(ROWS_READ_AT_ONCE)
        .try_collect()
        .await
}

/// The outcome of the oldest group; never, while there is none.
async fn first_durable(under_way: &mut VecDeque<Group>) -> Result<(), EngineError> {
    poll_fn(|context| match under_way.front_mut() {
        Some(group) => Pin::new(&mut group.durable).poll_unpin(context),
        None => Poll::Pending,
    })
    .await
}

/// The rows the next group waits for; never, while none does.
async fn rows_read(paging: &mut Option<Paging>) -> RowsRead {
    poll_fn(|context| match paging {
        Some(paging) => paging.rows.poll_unpin(context),
        None => Poll::Pending,
    })
    .await
}
