//! A cluster in words, without disturbing it.

use std::fmt;
use std::sync::Arc;

use floe_protocol::types::TimestampMs;
use floe_storage::tasks::Tasks;
use futures::TryStreamExt;

use super::export::is_there;
use super::{TransferError, engine_of, open};
use crate::api::{Process, Revision};
use crate::cluster::Cluster;
use crate::engine::{Engine, EngineError};
use crate::ownership::{self, Claim};
use crate::service::ServiceConfig;
use crate::state::{Counts, Rebuild, RowFigures, RowKey, State};

/// How often a look is begun again because the owner tidied up meanwhile.
const LOOKS: u32 = 3;

/// A cluster at one moment.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// What its objects say.
    pub cluster: Cluster,
    /// The newest claim, and how its owner is.
    pub owner: Option<(Claim, Standing)>,
    /// What the rows say.
    pub figures: Figures,
}

/// How the process of the newest claim is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It answers.
    Answers,
    /// It does not answer, and has not let go.
    Silent,
    /// It has let go.
    Released,
}

/// What the rows of a cluster say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Commands so far.
    pub revision: Revision,
    /// Cluster time.
    pub now_ms: TimestampMs,
    /// The write epoch of new segments.
    pub write_epoch: u32,
    /// The lowest that a commit may name.
    pub lowest_accepted: u32,
    /// Sizes of the state.
    pub counts: Counts,
    /// What only the rows tell.
    pub rows: RowFigures,
    /// Registered processes.
    pub processes: Arc<[Process]>,
}

/// Looks at the cluster of `config`'s store. Changes nothing, and does not disturb whoever runs it.
///
/// # Errors
/// See [`TransferError`].
pub async fn inspect(config: &ServiceConfig, tasks: &Tasks) -> Result<Inspection, TransferError> {
    let cluster = open(config).await?;
    let owner = match ownership::newest(&config.store, cluster.lineage).await? {
        None => None,
        Some((claim, true)) => Some((claim, Standing::Released)),
        Some((claim, false)) => {
            let answers = is_there(config, &cluster, &claim).await;
            let standing = if answers {
                Standing::Answers
            } else {
                Standing::Silent
            };
            Some((claim, standing))
        }
    };
    let engine = engine_of(config, &cluster, tasks);
    let figures = figures(&rebuild(config, &engine).await?);
    Ok(Inspection {
        cluster,
        owner,
        figures,
    })
}

/// The state that the rows of `engine` make, at some moment after this call.
pub(super) async fn rebuild(
    config: &ServiceConfig,
    engine: &Arc<dyn Engine>,
) -> Result<(State, RowFigures), TransferError> {
    let mut looks = 1;
    loop {
        match look(config, engine).await {
            Err(TransferError::Engine(EngineError::Unavailable(_))) if looks < LOOKS => looks += 1,
            rebuilt => return rebuilt,
        }
    }
}

async fn look(
    config: &ServiceConfig,
    engine: &Arc<dyn Engine>,
) -> Result<(State, RowFigures), TransferError> {
    let mut rebuild = Rebuild::new(config.state.clone());
    let mut rows = engine.look(RowKey::all());
    while let Some((key, value)) = rows.try_next().await? {
        rebuild.row(&key, &value)?;
    }
    Ok(rebuild.finish()?)
}

fn figures((state, rows): &(State, RowFigures)) -> Figures {
    Figures {
        revision: state.revision(),
        now_ms: state.now_ms(),
        write_epoch: state.write_epoch(),
        lowest_accepted: state.lowest_accepted(),
        counts: state.counts(),
        rows: *rows,
        processes: state.processes(),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cluster {
            id,
            lineage,
            earlier,
            engine,
            ..
        } = &self.cluster;
        writeln!(f, "cluster            {id}")?;
        writeln!(f, "engine             {engine}")?;
        writeln!(f, "lineage            {lineage}")?;
        for life in earlier {
            let last = life.last_write_epoch;
            writeln!(
                f,
                "earlier lineage    {}, write epochs up to {last}",
                life.lineage
            )?;
        }
        match &self.owner {
            None => writeln!(f, "owner              there never was one")?,
            Some((claim, standing)) => {
                let address = &claim.owner.address;
                writeln!(
                    f,
                    "owner              epoch {}, {address}, {standing}",
                    claim.epoch
                )?;
            }
        }
        write!(f, "{}", self.figures)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answers => "which answers",
            Self::Silent => "which does not answer",
            Self::Released => "which has let go",
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            topics,
            partitions,
            segments,
            dead_segments,
            groups,
            committed_offsets,
            ..
        } = self.counts;
        let RowFigures {
            segment_bytes,
            producer_states,
        } = self.rows;
        let time = chrono::DateTime::from_timestamp_millis(self.now_ms);
        let time = time.map_or_else(String::new, |time| {
            format!(
                " ({})",
                time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
            )
        });
        writeln!(f, "revision           {}", self.revision)?;
        writeln!(f, "cluster time       {} ms{time}", self.now_ms)?;
        writeln!(
            f,
            "topics             {topics}, with {partitions} partitions"
        )?;
        writeln!(
            f,
            "segments           {segments}, with {segment_bytes} bytes"
        )?;
        writeln!(
            f,
            "dead segments      {dead_segments} of them, to be deleted"
        )?;
        writeln!(
            f,
            "producer states    {producer_states} in rows of their own, {} read with the latest commits",
            self.counts.producer_states
        )?;
        writeln!(
            f,
            "groups             {groups}, with {committed_offsets} committed offsets"
        )?;
        writeln!(
            f,
            "write epoch        {}, commits accepted from {} on",
            self.write_epoch, self.lowest_accepted
        )?;
        writeln!(f, "processes          {} registered", self.processes.len())?;
        for process in self.processes.iter() {
            let told = &process.told;
            write!(f, "  {}, at {}", process.incarnation, told.internal)?;
            for broker in &told.brokers {
                write!(f, ", {} {}:{}", broker.listener, broker.host, broker.port)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
