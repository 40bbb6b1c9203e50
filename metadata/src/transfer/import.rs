//! A file into another engine, and the move of the cluster there.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use floe_storage::key::Lineage;
use floe_storage::tasks::Tasks;
use futures::TryStreamExt;

use super::file::{Block, Content, FileError, Header, Reader, Sum};
use super::{TransferError, engine_of, lock};
use crate::cluster::Cluster;
use crate::engine::{Durable, Session};
use crate::ownership::{self, ClaimError, Moved, Ownership};
use crate::rpc::Secret;
use crate::service::{ServiceConfig, let_go};
use crate::state::{Command, Rebuild, RowKey, State, WriteSet};

/// Blocks on their way to the engine at once.
const BLOCKS_UNDER_WAY: usize = 4;

/// What was imported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// The cluster as it is now.
    pub cluster: Cluster,
    /// What was moved.
    pub content: Content,
}

/// Moves the cluster of `config`'s store to `config`'s engine with what is in `file`, as a new lineage of
/// [`ServiceConfig::new_cluster`]'s random bytes.
///
/// # Errors
/// See [`TransferError`]. The cluster is where it was, unless the store failed in the last step; then
/// a repeat tells. Rows that were written by then belong to a lineage that nobody knows.
pub async fn import(
    config: &ServiceConfig,
    mut file: impl Read + Seek,
    tasks: &Tasks,
) -> Result<Imported, TransferError> {
    let source = check(config, &mut file)?;
    let cluster = Cluster::read(&config.store).await?;
    let before = cluster.ok_or(TransferError::NoCluster)?;
    let Some(_lock) = lock(&config.exclusion)? else {
        let newest = ownership::newest(&config.store, before.lineage).await?;
        let address = newest.map_or_else(String::new, |(claim, _)| claim.owner.address);
        return Err(TransferError::Running { address });
    };
    check_origin(config, &before, &source).await?;
    let after = Cluster {
        lineage: Lineage(config.new_cluster.lineage),
        engine: config.engine.name().to_owned(),
        secret: Secret(config.new_cluster.secret),
        ..before.clone()
    };
    config.engine.found_lineage(after.lineage, tasks).await?;
    let last_write_epoch = fill(config, &after, &source, &mut file, tasks).await?;
    let moved = Moved {
        epoch: source.header.epoch + 1,
        lineage: after.lineage,
        engine: after.engine,
        secret: after.secret,
        last_write_epoch,
        rows_sha256: source.content.sha256,
    };
    if !moved.record(&config.store, before.lineage).await? {
        check_origin(config, &before, &source).await?;
        return Err(TransferError::Outrun);
    }
    let cluster = Cluster::read(&config.store).await?;
    Ok(Imported {
        cluster: cluster.ok_or(TransferError::NoCluster)?,
        content: source.content,
    })
}

/// A file that was checked from its first byte to its last.
struct Source {
    header: Header,
    content: Content,
    /// The hash of the state in it.
    state_hash: u64,
}

/// Reads the whole file and builds its state, before anything is changed.
fn check(config: &ServiceConfig, file: &mut (impl Read + Seek)) -> Result<Source, TransferError> {
    let (header, mut reader) = open(file)?;
    let mut rebuild = Rebuild::new(config.state.clone());
    let content = loop {
        match reader.next()? {
            Block::Rows(rows) => {
                for (key, value) in &rows {
                    let taken = rebuild.row(key, value);
                    taken.map_err(TransferError::DamagedFile)?;
                }
            }
            Block::End(content) => break content,
        }
    };
    let (state, _) = rebuild.finish().map_err(TransferError::DamagedFile)?;
    if state.revision() != header.revision {
        return Err(FileError::Damaged("its header has another revision than its rows").into());
    }
    Ok(Source {
        header,
        content,
        state_hash: state.hash(),
    })
}

fn open<R: Read + Seek>(file: &mut R) -> Result<(Header, Reader<&mut R>), FileError> {
    file.seek(SeekFrom::Start(0))?;
    Reader::open(file)
}

/// Sees to it that the file is the newest there is of this cluster.
async fn check_origin(
    config: &ServiceConfig,
    cluster: &Cluster,
    source: &Source,
) -> Result<(), TransferError> {
    let header = &source.header;
    if cluster.id != header.cluster {
        return Err(TransferError::OtherCluster {
            found: header.cluster.clone(),
            expected: cluster.id.clone(),
        });
    }
    if let Some(moved) = ownership::moved(&config.store, header.lineage).await? {
        let is_this = moved.epoch == header.epoch + 1
            && moved.rows_sha256 == source.content.sha256
            && moved.lineage == cluster.lineage;
        return Err(if is_this {
            let engine = moved.engine;
            TransferError::ImportedAlready { engine }
        } else {
            TransferError::EarlierLineage
        });
    }
    if cluster.lineage != header.lineage {
        return Err(TransferError::EarlierLineage);
    }
    match ownership::newest(&config.store, cluster.lineage).await? {
        Some((claim, _)) if claim.epoch == header.epoch && claim.owner.nonce == header.nonce => {
            Ok(())
        }
        Some((claim, _)) => Err(TransferError::Stale {
            address: claim.owner.address,
        }),
        None => Err(ClaimError::Damaged(format!("claim {}", header.epoch)).into()),
    }
}

/// Writes the rows to the new engine, checks that they are there, and begins the new life. Returns the
/// last write epoch of the one before.
async fn fill(
    config: &ServiceConfig,
    after: &Cluster,
    source: &Source,
    file: &mut (impl Read + Seek),
    tasks: &Tasks,
) -> Result<u32, TransferError> {
    let engine = engine_of(config, after, tasks);
    if engine.epoch().await? != 0 {
        return Err(TransferError::NotEmpty);
    }
    let session = engine.acquire(0).await?;
    let (_, mut reader) = open(file)?;
    write(&session, &mut reader).await?;
    let state = read_back(config, &session, source).await?;
    let last_write_epoch = state.write_epoch();
    begin(state, &session).await?;
    // Says how far the engine has come: one that shows less later was set back.
    let (store, owner) = (&config.store, config.owner.clone());
    let claimed = Ownership::claim(store, after.lineage, owner, None, session.epoch()).await?;
    let ownership = claimed.ok_or(TransferError::NotEmpty)?;
    ownership.check_store().await?;
    let_go(&ownership, &session).await?;
    Ok(last_write_epoch)
}

async fn write(
    session: &Arc<dyn Session>,
    reader: &mut Reader<impl Read>,
) -> Result<(), TransferError> {
    let mut under_way: VecDeque<Durable> = VecDeque::new();
    while let Block::Rows(rows) = reader.next()? {
        if under_way.len() >= BLOCKS_UNDER_WAY
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.await?;
        }
        let batch = rows.into_iter().map(|(key, value)| (key, Some(value)));
        under_way.push_back(session.submit(batch.collect()));
    }
    for durable in under_way {
        durable.await?;
    }
    Ok(())
}

/// Reads everything from the engine again and compares: row by row, and the state that they make.
async fn read_back(
    config: &ServiceConfig,
    session: &Arc<dyn Session>,
    source: &Source,
) -> Result<State, TransferError> {
    let mut rebuild = Rebuild::new(config.state.clone());
    let mut sum = Sum::new();
    let mut rows = session.scan(RowKey::all());
    while let Some((key, value)) = rows.try_next().await? {
        sum.add(&key, &value);
        rebuild.row(&key, &value)?;
    }
    if sum.finish() != source.content {
        return Err(TransferError::NotTheSame("its rows differ"));
    }
    let (state, _) = rebuild.finish()?;
    if state.hash() != source.state_hash {
        return Err(TransferError::NotTheSame("its state differs"));
    }
    Ok(state)
}

/// The first commands of the new life: no process of the old one is there, and no name that it could
/// give is given again or accepted.
async fn begin(mut state: State, session: &Arc<dyn Session>) -> Result<(), TransferError> {
    let listed = state.processes();
    let gone = listed.iter().chain(state.unlisted_processes());
    let gone = gone.map(|it| it.incarnation).collect();
    let above = state.write_epoch();
    let commands = [
        Command::ForgetProcesses(gone),
        Command::RaiseWriteEpoch { above },
        Command::RaiseLowestAccepted { to: u32::MAX },
    ];
    let mut writes = WriteSet::new();
    let now_ms = state.now_ms();
    for command in commands {
        state.apply(now_ms, command, &mut writes);
    }
    state.seal(&mut writes);
    Ok(session.submit(writes.rows).await?)
}
