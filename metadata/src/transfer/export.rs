//! All rows of a stopped cluster into a file.

use std::fs::File;
use std::io::{self, Write};

use floe_storage::tasks::Tasks;
use futures::TryStreamExt;

use super::file::{Content, Header, Writer};
use super::{Lock, TransferError, engine_of, lock, open};
use crate::cluster::Cluster;
use crate::ownership::{self, Claim, Ownership, Predecessor};
use crate::rpc::{Connection, Knock};
use crate::service::{Fenced, ServiceConfig, fence, let_go};
use crate::state::{Rebuild, RowKey};

/// Where an export goes.
pub trait Sink: Write {
    /// Makes everything written durable.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// What was exported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exported {
    /// What the file says of itself.
    pub header: Header,
    /// What is in it.
    pub content: Content,
}

/// Writes the metadata of a stopped cluster to `out`. Owns the cluster meanwhile, as a process that runs it
/// would, so that nothing changes under its hands.
///
/// # Errors
/// See [`TransferError`]. Of the cluster nothing has changed but its epoch; what was written to `out` is no
/// whole file.
pub async fn export(
    config: &ServiceConfig,
    out: impl Sink,
    tasks: &Tasks,
) -> Result<Exported, TransferError> {
    let cluster = open(config).await?;
    let Owning {
        fenced,
        predecessor,
        ..
    } = own(config, &cluster, tasks).await?;
    let exported = write(config, &cluster, &fenced, out).await?;
    // Who was cut off may have answered reads until now. It does not any more when this command ends.
    predecessor.rest().await;
    let_go(&fenced.ownership, &fenced.session).await?;
    Ok(exported)
}

/// An engine that is ours.
struct Owning {
    fenced: Fenced,
    predecessor: Predecessor,
    _lock: Lock,
}

/// Owns the engine, unless somebody else is there.
async fn own(
    config: &ServiceConfig,
    cluster: &Cluster,
    tasks: &Tasks,
) -> Result<Owning, TransferError> {
    let engine = engine_of(config, cluster, tasks);
    let newest = ownership::newest(&config.store, cluster.lineage).await?;
    let lock = lock(&config.exclusion)?;
    let (lock, predecessor) = match (&newest, lock) {
        (newest, None) => return Err(running(newest.as_ref())),
        (None | Some((_, true)), Some(lock)) => (lock, Predecessor::Gone),
        (Some(_), Some(lock @ Lock::Folder(_))) => (lock, Predecessor::Gone),
        (Some((claim, false)), Some(lock)) => {
            if is_there(config, cluster, claim).await {
                return Err(running(newest.as_ref()));
            }
            (lock, Predecessor::Silent)
        }
    };
    let epoch = engine.epoch().await?;
    let before = newest.as_ref().map(|(claim, _)| claim);
    let owner = config.owner.clone();
    let claimed = Ownership::claim(&config.store, cluster.lineage, owner, before, epoch).await?;
    let ownership = claimed.ok_or(TransferError::Outrun)?;
    ownership.check_store().await?;
    let fenced = fence(ownership, &engine, &config.steady, epoch).await?;
    Ok(Owning {
        fenced,
        predecessor,
        _lock: lock,
    })
}

fn running(newest: Option<&(Claim, bool)>) -> TransferError {
    let address = newest.map_or("an unknown address", |(claim, _)| &claim.owner.address);
    TransferError::Running {
        address: address.to_owned(),
    }
}

/// Whether the process that made a claim answers.
pub(super) async fn is_there(config: &ServiceConfig, cluster: &Cluster, claim: &Claim) -> bool {
    let (theirs, own) = (claim.owner.nonce, config.owner.nonce);
    let address = &claim.owner.address;
    match Connection::knock(&config.dial, address, theirs, own, cluster.secret).await {
        Knock::Owner(_) | Knock::NotOwner | Knock::Ending => true,
        Knock::Refused | Knock::Silent => false,
    }
}

async fn write(
    config: &ServiceConfig,
    cluster: &Cluster,
    fenced: &Fenced,
    out: impl Sink,
) -> Result<Exported, TransferError> {
    let mut rows = fenced.session.scan(RowKey::all());
    let mut rebuild = Rebuild::new(config.state.clone());
    let mut next = rows.try_next().await?;
    if let Some((key, value)) = &next {
        // The counters come first: they know the revision.
        rebuild.row(key, value)?;
    }
    let header = Header {
        cluster: cluster.id.clone(),
        lineage: cluster.lineage,
        engine: cluster.engine.clone(),
        epoch: fenced.ownership.epoch(),
        nonce: config.owner.nonce,
        revision: rebuild.revision(),
    };
    let mut writer = Writer::new(out, &header)?;
    while let Some((key, value)) = next {
        writer.row(&key, &value)?;
        next = rows.try_next().await?;
        if let Some((key, value)) = &next {
            rebuild.row(key, value)?;
        }
    }
    // Rows that make no state are better found now than after the move.
    rebuild.finish()?;
    let (mut out, content) = writer.finish()?;
    out.sync()?;
    Ok(Exported { header, content })
}
