//! The processes of the cluster: who is there, and where clients and other processes reach them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::State;
use super::command::Reply;
use super::rows::{RowKey, process};
use super::write_set::WriteSet;
use crate::api::{
    BrokerAddress, NewProcess, Process, Registration, RequestError, Revision, WatchEvent,
};

/// How an error names the process that owns the metadata, which does not know its own address.
const OWNER: &str = "the metadata's owner";

/// Registered processes by incarnation.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Processes {
    /// Those that clients and other processes are told.
    listed: BTreeMap<u32, Process>,
    /// Those that may still serve the clients they have.
    unlisted: BTreeMap<u32, Process>,
}

impl Processes {
    pub(super) fn insert(&mut self, process: Process, is_listed: bool) {
        let list = if is_listed {
            &mut self.listed
        } else {
            &mut self.unlisted
        };
        list.insert(process.incarnation, process);
    }

    pub(super) fn len(&self) -> usize {
        self.listed.len() + self.unlisted.len()
    }

    pub(super) fn listed(&self) -> Arc<[Process]> {
        self.listed.values().cloned().collect()
    }

    pub(super) fn unlisted(&self) -> impl Iterator<Item = &Process> {
        self.unlisted.values()
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        self.listed.values().chain(self.unlisted.values())
    }

    fn brokers(&self) -> BTreeSet<BrokerAddress> {
        let told = self
            .listed
            .values()
            .flat_map(|process| &process.told.brokers);
        told.cloned().collect()
    }
}

impl State {
    /// Processes that are registered and listed, by incarnation.
    #[must_use]
    pub fn processes(&self) -> Arc<[Process]> {
        self.processes.listed()
    }

    /// Processes that nobody is told of any more and that may still serve the clients they have.
    pub fn unlisted_processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.unlisted()
    }

    /// Gives a process its incarnation. It replaces its own earlier registration, and that of a process
    /// that answered at the same address: only one can, so the other has ended.
    pub(super) fn register(&mut self, new: NewProcess, writes: &mut WriteSet) -> Reply {
        let (level, known) = (self.counters.feature_level, new.feature_level);
        if known < level {
            return Reply::Registered(Err(RequestError::TooOld { level, known }));
        }
        let write_epoch = self.counters.write_epoch;
        let mut own = self.processes.listed.values();
        if let Some(known) =
            own.find(|known| known.told.nonce == new.nonce && known.told.attempt >= new.attempt)
        {
            return Reply::Registered(Ok(Registration {
                incarnation: known.incarnation,
                write_epoch,
            }));
        }
        let brokers = self.processes.brokers();
        let replaced =
            |known: &Process| known.told.nonce == new.nonce || known.told.internal == new.internal;
        let gone = self.processes.all().filter(|known| replaced(known));
        let gone: Vec<_> = gone.map(|known| known.incarnation).collect();
        for incarnation in gone {
            self.remove_process(incarnation, writes);
        }
        let incarnation = self
            .counters
            .incarnations
            .checked_add(1)
            .expect("fewer than 2^32 registrations");
        self.counters.incarnations = incarnation;
        let process = Process {
            incarnation,
            told: new,
        };
        let row = process::encode(&process.told, true);
        writes.put(RowKey::process(incarnation), row);
        self.processes.insert(process, true);
        self.processes_changed(&brokers, writes);
        Reply::Registered(Ok(Registration {
            incarnation,
            write_epoch,
        }))
    }

    /// What stands in the way of feature level `asked`: a process that does not know it.
    pub(super) fn check_feature_level(&self, asked: u32) -> Result<(), RequestError> {
        let not_understood = |process: &str, known| RequestError::NotUnderstood {
            process: process.to_owned(),
            known,
            asked,
        };
        let known = self.config.feature_level;
        if known < asked {
            return Err(not_understood(OWNER, known));
        }
        let mut registered = self.processes.all().map(|process| &process.told);
        match registered.find(|told| told.feature_level < asked) {
            Some(told) => Err(not_understood(&told.internal, told.feature_level)),
            None => Ok(()),
        }
    }

    /// Raises the feature level, for ever.
    pub(super) fn raise_feature_level(
        &mut self,
        to: u32,
        writes: &mut WriteSet,
    ) -> Result<Revision, RequestError> {
        self.check_feature_level(to)?;
        if self.counters.feature_level < to {
            self.counters.feature_level = to;
            writes.events.push(WatchEvent::FeatureLevelRaised(to));
        }
        Ok(self.counters.revision)
    }

    /// Takes processes that drain or are not heard of off the list. What they committed and still commit
    /// counts, and they may still serve the clients they have.
    pub(super) fn unlist_processes(
        &mut self,
        incarnations: &[u32],
        writes: &mut WriteSet,
    ) -> Reply {
        let brokers = self.processes.brokers();
        let mut any = false;
        for incarnation in incarnations {
            if let Some(process) = self.processes.listed.remove(incarnation) {
                let row = process::encode(&process.told, false);
                writes.put(RowKey::process(*incarnation), row);
                self.processes.insert(process, false);
                any = true;
            }
        }
        if any {
            self.processes_changed(&brokers, writes);
        }
        Reply::Forgotten
    }

    /// Forgets processes that serve nobody any more. What they committed and still commit counts.
    pub(super) fn forget_processes(&mut self, gone: &[u32], writes: &mut WriteSet) -> Reply {
        let brokers = self.processes.brokers();
        let mut any = false;
        for incarnation in gone {
            any |= self.remove_process(*incarnation, writes);
        }
        if any {
            self.processes_changed(&brokers, writes);
        }
        Reply::Forgotten
    }

    /// Whether it was on the list.
    fn remove_process(&mut self, incarnation: u32, writes: &mut WriteSet) -> bool {
        let Processes { listed, unlisted } = &mut self.processes;
        let was_listed = listed.remove(&incarnation).is_some();
        if unlisted.remove(&incarnation).is_some() || was_listed {
            writes.delete(RowKey::process(incarnation));
        }
        was_listed
    }

    /// Tells who is there now. Some clients follow a new leader only if its epoch is higher, so the epoch
    /// rises with every change of what clients may be told.
    fn processes_changed(&mut self, before: &BTreeSet<BrokerAddress>, writes: &mut WriteSet) {
        if *before != self.processes.brokers() {
            let raised = self.counters.leader_epoch.checked_add(1);
            self.counters.leader_epoch = raised.expect("fewer than 2^31 changes of brokers");
            let event = WatchEvent::LeaderEpochRaised(self.counters.leader_epoch);
            writes.events.push(event);
        }
        let event = WatchEvent::ProcessesChanged(self.processes.listed());
        writes.events.push(event);
    }
}
