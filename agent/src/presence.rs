//! This process among the others: registered with metadata, beating, and gone from the list when it
//! drains.
//!
//! ```text
//! register ─▶ beat … beat ─▶ not known any more, or a name was refused ─▶ register again
//!                  └▶ leave: clients are no longer sent here, and what was begun is finished
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use floe_metadata::api::{NewProcess, Registration, RequestError, Revision};
use floe_metadata::client::view::View;
use floe_metadata::client::{BEAT, Client, Stopped};
use floe_metadata::steady_clock::SteadyClock;
use floe_planted::Bug;
use floe_storage::latest;
use floe_storage::tasks::Tasks;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::lease::Lease;

mod lease;

/// Pause before a registration is tried again that an owner did not answer.
const AGAIN_AFTER: Duration = Duration::from_millis(20);
/// How long leaving may take: it is a courtesy to clients, who find out by themselves.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// How long telling of the end may take.
const END_PATIENCE: Duration = Duration::from_millis(500);

/// The registration of this process, kept up by a task.
#[derive(Debug)]
pub(crate) struct Presence {
    client: Client,
    /// `None` in a process that serves no clients.
    view: Option<Arc<View>>,
    told: NewProcess,
    lease: Lease,
    /// `None` while a registration is needed.
    registration: Mutex<Option<Registration>>,
    needed: Notify,
    is_leaving: AtomicBool,
    /// Segments that were given names.
    segments_named: AtomicU64,
    /// Sent after each registration.
    registered: latest::Writer<Option<Registration>>,
    /// Set when this process cannot be one of the cluster.
    refused: latest::Writer<Option<RequestError>>,
}

/// Why there are no more registrations.
enum End {
    Stopped,
    Refused(RequestError),
}

impl From<Stopped> for End {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl Presence {
    /// Registers this process now and whenever that is needed again, until `ended` or until metadata has
    /// ended for good. Without a view it serves no clients, and nobody waits for what it shows.
    pub(crate) fn start(
        client: Client,
        view: Option<Arc<View>>,
        told: NewProcess,
        steady: SteadyClock,
        tasks: &Tasks,
        ended: CancellationToken,
    ) -> Arc<Self> {
        let presence = Arc::new(Self {
            client,
            view,
            told,
            lease: Lease::new(steady),
            registration: Mutex::new(None),
            needed: Notify::new(),
            is_leaving: AtomicBool::new(false),
            segments_named: AtomicU64::new(0),
            registered: latest::channel(None).0,
            refused: latest::channel(None).0,
        });
        let kept = Arc::clone(&presence);
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                Err(end) = kept.keep() => match end {
                    End::Stopped => tracing::debug!("no more registrations"),
                    End::Refused(error) => kept.refused.set(Some(error)),
                }
            }
        });
        presence
    }

    /// What this process was told when it registered; `None` while it has to register (again).
    pub(crate) fn registration(&self) -> Option<Registration> {
        *self.lock()
    }

    /// A number for the name of a segment, never given before by this process, from 0 on.
    pub(crate) fn count_segment(&self) -> u64 {
        self.segments_named.fetch_add(1, Ordering::Relaxed)
    }

    /// The registration with the newest write epoch that is known here: what new segments are to be named
    /// with. Metadata accepts every epoch up to the present one of a process that is registered.
    pub(crate) fn naming(&self) -> Option<Registration> {
        let registration = self.registration()?;
        let shown = self.view.as_ref().map_or(0, |view| view.write_epoch());
        Some(Registration {
            write_epoch: registration.write_epoch.max(shown),
            ..registration
        })
    }

    /// The registrations to come, for who waits for one.
    pub(crate) fn registered(&self) -> latest::Reader<Option<Registration>> {
        self.registered.reader()
    }

    /// Waits until the cluster does not take this process, for ever if it does. Cancel-safe.
    pub(crate) async fn refused_for_good(&self) -> RequestError {
        let refused = self.refused.reader();
        match refused.wait_for(Option::is_some).await {
            Some(Some(error)) => error,
            // The writer lives in `self`.
            Some(None) | None => std::future::pending().await,
        }
    }

    /// Metadata does not accept (any more) what was named with `incarnation`: a new registration is needed,
    /// unless there has been one since.
    pub(crate) fn refused(&self, incarnation: u32) {
        let mut registration = self.lock();
        if registration.is_some_and(|known| known.incarnation == incarnation) {
            *registration = None;
            self.needed.notify_one();
        }
    }

    /// Waits until clients may be served from the view; `false` when that does not come in time. Cancel-safe.
    pub(crate) async fn may_serve(&self) -> bool {
        Bug::LeaseIgnored.is_planted() || self.lease.held().await
    }

    /// Whether clients are no longer sent here.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    /// Takes this process off the list of those that clients are told.
    pub(crate) async fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
        let Some(Registration { incarnation, .. }) = self.registration() else {
            return;
        };
        let left = tokio::time::timeout(LEAVE_PATIENCE, self.take_off(incarnation)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::debug!("metadata did not confirm that this process leaves");
        }
    }

    /// Asks until it is confirmed: in a rolling restart the owner often is the one that left just before.
    async fn take_off(&self, incarnation: u32) -> Result<(), Stopped> {
        while self.client.leave(incarnation).await.is_err() {
            tokio::time::sleep(AGAIN_AFTER).await;
            self.client.wait_for_owner().await?;
        }
        Ok(())
    }

    /// Tells that this process serves nobody any more. Nobody is harmed if that is not heard, but a change
    /// of a topic may wait until its lease has lapsed.
    pub(crate) async fn end(&self) {
        if let Some(Registration { incarnation, .. }) = self.registration() {
            let ended = self.client.ended(incarnation);
            drop(tokio::time::timeout(END_PATIENCE, ended).await);
        }
    }

    async fn keep(&self) -> Result<std::convert::Infallible, End> {
        let mut attempt = 0;
        loop {
            let told = NewProcess {
                attempt,
                ..self.told.clone()
            };
            let registration = self.register(told).await?;
            tracing::info!(
                incarnation = registration.incarnation,
                write_epoch = registration.write_epoch,
                "registered with the cluster"
            );
            *self.lock() = Some(registration);
            self.registered.set(Some(registration));
            if self.is_leaving() {
                // It has left meanwhile, and did not know of this registration.
                self.take_off(registration.incarnation).await?;
            }
            self.beat(registration.incarnation).await;
            attempt += 1;
        }
    }

    async fn register(&self, told: NewProcess) -> Result<Registration, End> {
        loop {
            self.client.wait_for_owner().await?;
            match self.client.register(told.clone()).await {
                Ok(registration) => return Ok(registration),
                Err(error @ RequestError::TooOld { .. }) => return Err(End::Refused(error)),
                Err(error) => {
                    tracing::debug!(%error, "registration was not answered");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    /// Beats until a new registration is needed: in time, and at once when the view has passed a change
    /// that somebody may wait for.
    async fn beat(&self, incarnation: u32) {
        let view = self.view.as_deref();
        loop {
            let (passed, changed) = shown(view);
            // Changes from before the registration do not wait for this process: it has to show them first.
            let may_serve = view.is_none_or(|view| shows(view, incarnation));
            let sent = self.lease.now();
            match self.client.beat(incarnation, passed).await {
                Ok(true) if may_serve => self.lease.extend(sent),
                Ok(true) => {}
                Ok(false) if self.is_leaving() => {}
                Ok(false) => return,
                Err(error) => tracing::debug!(%error, "a beat was not answered"),
            }
            tokio::select! {
                biased;
                () = self.needed.notified() => return,
                () = changed => {}
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Registration>> {
        self.registration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a view shows the registration that gave this incarnation, and so everything before it.
fn shows(view: &View, incarnation: u32) -> bool {
    let processes = view.processes();
    processes
        .iter()
        .any(|process| process.incarnation == incarnation)
}

/// What a view shows, and the wait for its next change of more than records.
fn shown(view: Option<&View>) -> (Revision, impl Future<Output = ()>) {
    let changes = view.map(View::changes);
    // Before the revision: a change in between is told twice rather than late.
    let told = changes.as_ref().map(latest::Reader::get);
    let passed = view.map_or(Revision::MAX, View::revision);
    let changed = async move {
        match (changes, told) {
            (Some(changes), Some(told)) => {
                changes.wait_for(|changed| *changed > told).await;
            }
            _ => std::future::pending().await,
        }
    };
    (passed, changed)
}
