//! Finding the owner of the sequencer, and becoming it where there is none.

use std::sync::Arc;
use std::time::Duration;

use floe_storage::key::Lineage;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::member::Standing;
use super::owner::{Owned, check_rows};
use super::{ServiceConfig, StartError, StopReason};
use crate::api::Revision;
use crate::engine::{Engine, EngineError};
use crate::ownership::{self, Claim, ClaimError, Exclusion, FolderLock, Ownership, Predecessor};
use crate::rpc::{Connection, Knock, Secret};

/// Pauses between looks that found nobody, or failed.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_secs(1);
/// How long a claimant may take until it owns the sequencer; then the next one tries.
const CLAIMANT_PATIENCE: Duration = Duration::from_secs(10);
/// How long an owner that lets go may take until it has left its mark.
const ENDING_PATIENCE: Duration = Duration::from_secs(1);

/// What is known of the owner before, and its nonce if it surely serves nobody any more.
type Before = (Predecessor, Option<[u8; 16]>);

/// Looks for the owner on behalf of one process.
pub(super) struct Seeker {
    pub(super) config: ServiceConfig,
    pub(super) lineage: Lineage,
    secret: Secret,
    engine: Arc<dyn Engine>,
    rng: SmallRng,
    /// Held by the owner of a cluster in a folder.
    lock: Option<FolderLock>,
    /// Whether the store was seen to refuse what it must refuse.
    is_store_checked: bool,
    /// A claimant, by its nonce, that is there but does not own the sequencer, and since when. It may claim
    /// one epoch after the other in vain.
    claimant: Option<([u8; 16], Instant)>,
    /// What was known of the owner before when this process claimed, until it has become the owner: a second
    /// claim must not take its first for a predecessor that is gone.
    unfinished: Option<Before>,
}

/// What a look found.
enum Look {
    Found(Standing),
    /// Look again after a pause.
    Nobody,
    /// Somebody was faster: look again at once.
    Outrun,
}

impl Seeker {
    pub(super) fn new(
        config: ServiceConfig,
        lineage: Lineage,
        secret: Secret,
        engine: Arc<dyn Engine>,
    ) -> Self {
        let rng = SmallRng::seed_from_u64(config.seed);
        Self {
            config,
            lineage,
            secret,
            engine,
            rng,
            lock: None,
            is_store_checked: false,
            claimant: None,
            unfinished: None,
        }
    }

    /// Finds or becomes the owner for the first time: errors are for the person who started the process.
    pub(super) async fn find_first(&mut self) -> Result<Standing, StartError> {
        let mut pause = LOOK_FIRST;
        let mut is_told = false;
        loop {
            match self.look().await {
                Ok(Look::Found(standing)) => return Ok(standing),
                Ok(Look::Outrun) => {}
                Err(error) if is_outrun(&error) => {}
                Err(error) => return Err(error),
                Ok(Look::Nobody) => {
                    if !is_told && pause == LOOK_LAST {
                        tracing::info!("waiting for an owner of the metadata that answers");
                        is_told = true;
                    }
                    self.rest(&mut pause).await;
                }
            }
        }
    }

    /// Finds or becomes the owner again, for as long as it takes.
    pub(super) async fn find(&mut self) -> Result<Standing, StopReason> {
        let mut pause = LOOK_FIRST;
        loop {
            match self.look().await {
                Ok(Look::Found(standing)) => return Ok(standing),
                Ok(Look::Outrun) => {}
                Err(error) if is_outrun(&error) => {}
                Ok(Look::Nobody) => self.rest(&mut pause).await,
                Err(error) if is_passing(&error) => {
                    tracing::warn!(%error, ?pause, "metadata is not available yet; trying again");
                    self.rest(&mut pause).await;
                }
                Err(error) => return Err(StopReason::Damaged(error)),
            }
        }
    }

    async fn rest(&mut self, pause: &mut Duration) {
        let rest = self.rng.random_range(*pause / 2..=*pause);
        tokio::time::sleep(rest).await;
        *pause = (*pause * 2).min(LOOK_LAST);
    }

    /// Who follows does not claim: another process may have the lock.
    pub(super) fn give_up_lock(&mut self) {
        self.lock = None;
    }

    /// Finds the owner, or becomes it where there is none.
    async fn look(&mut self) -> Result<Look, StartError> {
        let store = &self.config.store;
        let claims = ownership::claims(store, self.lineage);
        // Read before the claim is made, and at the same time as the newest one to save a round trip.
        let (claims, epoch) = if self.config.may_own {
            let epoch = async { Ok::<_, StartError>(self.engine.epoch().await?) };
            let claims = async { Ok(claims.await?) };
            futures::future::try_join(claims, epoch).await?
        } else {
            (claims.await?, 0)
        };
        let (level, known) = (claims.feature_level, self.config.state.feature_level);
        if level > known {
            return Err(ClaimError::NewerLevel { level, known }.into());
        }
        let newest = claims.newest;
        let before = match &newest {
            None => (Predecessor::Gone, None),
            Some((claim, true)) => (Predecessor::Gone, Some(claim.owner.nonce)),
            // What this process owned it has let go of; what it only claimed says nothing of others.
            Some((claim, false)) if claim.owner == self.config.owner => {
                self.claimant = None;
                self.unfinished.unwrap_or((Predecessor::Gone, None))
            }
            Some((claim, false)) => {
                // A lock that was free says that its owner is gone, and saves the question.
                if self.has_taken_lock()? {
                    (Predecessor::Gone, Some(claim.owner.nonce))
                } else {
                    match self.knock(claim).await {
                        Knock::Owner(connection) => {
                            self.claimant = None;
                            let follower = Standing::Follower(connection);
                            return Ok(Look::Found(follower));
                        }
                        Knock::NotOwner if !self.is_overdue(claim, CLAIMANT_PATIENCE) => {
                            return Ok(Look::Nobody);
                        }
                        Knock::Ending if !self.is_overdue(claim, ENDING_PATIENCE) => {
                            return Ok(Look::Nobody);
                        }
                        Knock::NotOwner | Knock::Ending | Knock::Silent => {
                            (Predecessor::Silent, None)
                        }
                        Knock::Refused => (Predecessor::Silent, Some(claim.owner.nonce)),
                    }
                }
            }
        };
        if !self.config.may_own || !self.may_claim()? {
            return Ok(Look::Nobody);
        }
        let newest = newest.as_ref().map(|(claim, _)| claim);
        check_rows(self.engine.as_ref(), claims.durable).await?;
        self.claim(newest, level, (epoch, claims.durable), before)
            .await
    }

    async fn claim(
        &mut self,
        newest: Option<&Claim>,
        marked_level: u32,
        (mut epoch, durable): (u64, Revision),
        before: Before,
    ) -> Result<Look, StartError> {
        let ServiceConfig { store, owner, .. } = &self.config;
        if newest.is_some_and(|claim| claim.engine_epoch > epoch) {
            // Others may have acquired the engine and claimed since its epoch was read.
            epoch = self.engine.epoch().await?;
        }
        self.unfinished = Some(before);
        let claimed = Ownership::claim(store, self.lineage, owner.clone(), newest, epoch).await?;
        let Some(ownership) = claimed else {
            return Ok(Look::Outrun);
        };
        if !self.is_store_checked {
            ownership.check_store().await?;
            self.is_store_checked = true;
        }
        let (state, steady) = (self.config.state.clone(), &self.config.steady);
        let owned = Owned::acquire(
            ownership,
            &self.engine,
            state,
            steady,
            epoch,
            durable,
            before,
        )
        .await?;
        let level = owned.state.feature_level();
        if level > marked_level {
            ownership::mark_feature_level(store, self.lineage, level).await?;
        }
        self.unfinished = None;
        Ok(Look::Found(Standing::Owner(Box::new(owned))))
    }

    /// Whether the lock of the cluster's folder was free and is ours now.
    fn has_taken_lock(&mut self) -> Result<bool, ClaimError> {
        let Exclusion::Folder(folder) = &self.config.exclusion else {
            return Ok(false);
        };
        if self.lock.is_some() || !self.config.may_own {
            return Ok(false);
        }
        self.lock = FolderLock::take(folder)?;
        Ok(self.lock.is_some())
    }

    fn may_claim(&mut self) -> Result<bool, ClaimError> {
        match &self.config.exclusion {
            Exclusion::Shared => Ok(true),
            Exclusion::Folder(_) => Ok(self.lock.is_some() || self.has_taken_lock()?),
        }
    }

    async fn knock(&self, claim: &Claim) -> Knock {
        let address = &claim.owner.address;
        let (theirs, own) = (claim.owner.nonce, self.config.owner.nonce);
        Connection::knock(&self.config.dial, address, theirs, own, self.secret).await
    }

    /// Whether the owner of a claim, which is there, has had its time to become ready.
    fn is_overdue(&mut self, claim: &Claim, patience: Duration) -> bool {
        match self.claimant {
            Some((nonce, since)) if nonce == claim.owner.nonce => since.elapsed() > patience,
            Some(_) | None => {
                self.claimant = Some((claim.owner.nonce, Instant::now()));
                false
            }
        }
    }
}

/// Whether another process was faster, so that a look finds it.
const fn is_outrun(error: &StartError) -> bool {
    matches!(
        error,
        StartError::Claim(ClaimError::Overtaken(_))
            | StartError::Engine(EngineError::Fenced | EngineError::UnexpectedEpoch { .. })
    )
}

/// Whether trying again may help.
const fn is_passing(error: &StartError) -> bool {
    matches!(
        error,
        StartError::Claim(ClaimError::Store(_))
            | StartError::Engine(
                EngineError::Unavailable(_) | EngineError::Refused(_) | EngineError::Closed
            )
    )
}
