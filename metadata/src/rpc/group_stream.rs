//! The stream that carries requests about groups: each has an id of its own, and is answered when it can be.
//!
//! ```text
//! callers ─▶ GroupCalls ══ calls ═▶ GroupAnswers ─▶ sequencer
//!                      ◀═ answers ═ in any order
//! ```
//!
//! A Join may wait for minutes, ten thousand of them at once, so they have no share in the bound of what is
//! under way, but one of their own; beyond it they are told to come again. Everything else is answered soon, and
//! while too much of it is under way the stream is not read.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::connection::Grpc;
use super::proto;
use crate::api::RequestError;
use crate::api::groups::{GroupReply, GroupRequest};
use crate::client::{Answer, Client};

/// Calls on their way into the connection.
const OUTGOING_MAX: usize = 64;
/// Calls of one process that were not answered yet.
const UNANSWERED_MAX: usize = 100_000;
/// Calls of one process under way that are answered soon.
const SOON_MAX: usize = 1024;
/// Calls of one process that wait for others.
const PARKED_MAX: usize = UNANSWERED_MAX - SOON_MAX;

/// The caller's end.
#[derive(Debug)]
pub(super) struct GroupCalls {
    outgoing: mpsc::Sender<proto::GroupCall>,
    answers: Streaming<proto::GroupAnswer>,
    /// A call that waits for room in the connection; nothing is taken after it.
    next: Option<proto::GroupCall>,
    unanswered: BTreeMap<u64, Answer<GroupReply>>,
    last_id: u64,
}

impl GroupCalls {
    pub(super) async fn open(grpc: &mut Grpc) -> Result<Self, Status> {
        let (outgoing, sent) = mpsc::channel(OUTGOING_MAX);
        let sent =
            futures::stream::unfold(
                sent,
                |mut sent| async move { Some((sent.recv().await?, sent)) },
            );
        Ok(Self {
            outgoing,
            answers: grpc.groups(sent).await?.into_inner(),
            next: None,
            unanswered: BTreeMap::new(),
            last_id: 0,
        })
    }

    /// Whether another call may be taken.
    pub(super) const fn has_room(&self) -> bool {
        self.next.is_none()
    }

    /// Takes a call while there is room; one too many is to be repeated.
    pub(super) fn take(&mut self, request: GroupRequest, answer: Answer<GroupReply>) {
        if self.unanswered.len() >= UNANSWERED_MAX {
            self.unanswered.retain(|_, answer| !answer.is_closed());
        }
        if self.unanswered.len() >= UNANSWERED_MAX {
            return;
        }
        self.last_id += 1;
        self.unanswered.insert(self.last_id, answer);
        self.next = Some(proto::GroupCall {
            id: self.last_id,
            what: Some(request.into()),
        });
    }

    /// Sends what waits, or gives an answer to whom it is for. `false` when the stream has ended or makes no
    /// sense. Cancel-safe.
    pub(super) async fn go_on(&mut self) -> bool {
        let answer = tokio::select! {
            biased;
            answer = self.answers.message() => answer,
            permit = self.outgoing.reserve(), if self.next.is_some() => {
                // A closed channel shows as the end of the answers.
                if let (Ok(permit), Some(next)) = (permit, self.next.take()) {
                    permit.send(next);
                }
                return true;
            }
        };
        match answer {
            Ok(Some(answer)) => self.answered(answer),
            Ok(None) => false,
            Err(status) => {
                tracing::debug!(%status, "the stream of calls about groups ended");
                false
            }
        }
    }

    fn answered(&mut self, answer: proto::GroupAnswer) -> bool {
        let to = self.unanswered.remove(&answer.id);
        let reply = answer.what.map(GroupReply::try_from).transpose();
        match (to, reply) {
            (Some(to), Ok(Some(reply))) => {
                // The caller may have gone.
                drop(to.send(Ok(reply)));
                true
            }
            (Some(to), Ok(None)) => {
                drop(to.send(Err(RequestError::Unavailable)));
                true
            }
            // The caller had gone before there was room for others.
            (None, Ok(_)) => true,
            (_, Err(_)) => {
                tracing::error!(id = answer.id, "an answer about groups makes no sense");
                false
            }
        }
    }
}

/// The owner's end: the calls of one process during one term.
pub(super) struct GroupAnswers {
    client: Client,
    term: u64,
    incoming: Streaming<proto::GroupCall>,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    parked: usize,
}

/// An answer, and whether it had waited for others.
struct Answered {
    answer: proto::GroupAnswer,
    was_parked: bool,
}

impl GroupAnswers {
    pub(super) fn new(client: Client, term: u64, incoming: Streaming<proto::GroupCall>) -> Self {
        Self {
            client,
            term,
            incoming,
            under_way: FuturesUnordered::new(),
            parked: 0,
        }
    }

    /// The answers, until the caller is done or the term is over.
    pub(super) fn into_stream(self) -> BoxStream<'static, Result<proto::GroupAnswer, Status>> {
        let answers = futures::stream::unfold(Some(self), |calls| async move {
            let mut calls = calls?;
            match calls.next().await {
                Ok(Some(answer)) => Some((Ok(answer), Some(calls))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        answers.boxed()
    }

    async fn next(&mut self) -> Result<Option<proto::GroupAnswer>, Status> {
        loop {
            let has_room = self.under_way.len() - self.parked < SOON_MAX;
            let (client, term) = (&self.client, self.term);
            let call = tokio::select! {
                biased;
                Some(answered) = self.under_way.next(), if !self.under_way.is_empty() => {
                    self.parked -= usize::from(answered.was_parked);
                    return Ok(Some(answered.answer));
                }
                () = client.term_over(term) => {
                    return Err(Status::unavailable("the owner's term is over"));
                }
                call = self.incoming.message(), if has_room => call?,
            };
            let Some(proto::GroupCall { id, what }) = call else {
                return Ok(None);
            };
            let what = what.ok_or_else(|| Status::invalid_argument("a call of a newer release"))?;
            let request = GroupRequest::try_from(what)?;
            let waits = request.waits();
            if waits && self.parked >= PARKED_MAX {
                return Ok(Some(proto::GroupAnswer { id, what: None }));
            }
            self.parked += usize::from(waits);
            let pending = self.client.begin_group(request).await;
            let answered = pending.map(move |reply| Answered {
                answer: proto::GroupAnswer {
                    id,
                    what: reply.ok().and_then(Result::ok).map(Into::into),
                },
                was_parked: waits,
            });
            self.under_way.push(answered.boxed());
        }
    }
}
