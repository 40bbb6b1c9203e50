//! All objects that metadata knows at one moment, without disturbing whoever runs the cluster.

use std::collections::BTreeSet;
use std::sync::Arc;

use floe_storage::segment::SegmentId;
use floe_storage::tasks::Tasks;

use super::inspect::rebuild;
use super::{TransferError, engine_of, open};
use crate::api::Revision;
use crate::api::objects::{DeadObject, SegmentSummary, WriteEpochs};
use crate::cluster::Cluster;
use crate::engine::Engine;
use crate::service::ServiceConfig;

/// Looks at a cluster's metadata again and again.
#[derive(Debug)]
pub struct Observer<'a> {
    config: &'a ServiceConfig,
    cluster: Cluster,
    engine: Arc<dyn Engine>,
}

/// The objects that metadata knows at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Census {
    /// Commands so far.
    pub revision: Revision,
    /// Which names are accepted.
    pub epochs: WriteEpochs,
    /// Those that logs lead to, by commit.
    pub live: Vec<SegmentSummary>,
    /// Those that no log leads to and that are not surely deleted, the longest dead first.
    pub dead: Vec<DeadObject>,
    known: BTreeSet<SegmentId>,
}

impl Census {
    /// Whether a segment is live, or dead and not forgotten.
    #[must_use]
    pub fn is_known(&self, id: SegmentId) -> bool {
        self.known.contains(&id)
    }

    /// The segment of this name, if a log leads to it.
    #[must_use]
    pub fn live(&self, commit: u64) -> Option<&SegmentSummary> {
        let found = self.live.binary_search_by_key(&commit, |it| it.commit);
        self.live.get(found.ok()?)
    }
}

impl<'a> Observer<'a> {
    /// Opens the cluster in `config`'s store. Changes nothing.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn open(config: &'a ServiceConfig, tasks: &Tasks) -> Result<Self, TransferError> {
        let cluster = open(config).await?;
        let engine = engine_of(config, &cluster, tasks);
        Ok(Self {
            config,
            cluster,
            engine,
        })
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The objects that are known at some moment after this call.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn census(&self) -> Result<Census, TransferError> {
        let (state, _) = rebuild(self.config, &self.engine).await?;
        let live = state.segment_summaries(u8::MAX);
        let dead = state.dead_objects(0, usize::MAX);
        let known = live.iter().map(|it| it.segment);
        let known = known.chain(dead.iter().map(|it| it.segment)).collect();
        Ok(Census {
            revision: state.revision(),
            epochs: state.write_epochs(),
            live,
            dead,
            known,
        })
    }
}
