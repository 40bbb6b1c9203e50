//! Raising the feature level of a cluster ([`FEATURE_LEVEL`](crate::api::FEATURE_LEVEL)).
//!
//! ```text
//! does every process know it? ─▶ mark in the store ─▶ does every process know it? raise ─▶ watch
//! ```
//!
//! The mark keeps an older release from taking over: whoever looks for the owner sees it. It comes before the
//! first row that an older release could not read. If a process of an older release came in between, the
//! level stays and the mark remains; repeat it when that process is gone.

use floe_storage::key::Lineage;
use floe_storage::store::Store;

use crate::api::{RequestError, Revision};
use crate::client::Client;
use crate::ownership;

/// Raises the feature level of one cluster.
#[derive(Clone, Debug)]
pub struct FeatureLevels {
    client: Client,
    store: Store,
    lineage: Lineage,
    known: u32,
}

impl FeatureLevels {
    /// For the cluster of `lineage` in `store`, whose metadata `client` reaches; this process understands
    /// levels up to `known`.
    #[must_use]
    pub const fn new(client: Client, store: Store, lineage: Lineage, known: u32) -> Self {
        Self {
            client,
            store,
            lineage,
            known,
        }
    }

    /// The newest level that this process understands.
    #[must_use]
    pub const fn known(&self) -> u32 {
        self.known
    }

    /// Whether every process understands `level`.
    ///
    /// # Errors
    /// `Unavailable`; `NotUnderstood` names one that does not.
    pub async fn check(&self, level: u32) -> Result<(), RequestError> {
        self.client.check_feature_level(level).await
    }

    /// Raises the cluster to `to`, for ever; returns the revision from which on views show it. Safe to repeat.
    ///
    /// # Errors
    /// As [`FeatureLevels::check`]; `Unavailable` also when the store failed.
    pub async fn raise(&self, to: u32) -> Result<Revision, RequestError> {
        self.check(to).await?;
        let marked = ownership::mark_feature_level(&self.store, self.lineage, to).await;
        if let Err(error) = marked {
            tracing::warn!(%error, level = to, "the feature level is not marked yet");
            return Err(RequestError::Unavailable);
        }
        let revision = self.client.raise_feature_level(to).await?;
        tracing::info!(level = to, "the cluster is at a new feature level");
        Ok(revision)
    }
}
