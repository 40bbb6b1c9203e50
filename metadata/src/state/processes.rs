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
pub(super) struct Processes(BTreeMap<u32, Process>);

impl Processes {
    pub(super) fn insert(&mut self, process: Process) {
        self.0.insert(process.incarnation, process);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn all(&self) -> Arc<[Process]> {
        self.0.values().cloned().collect()
    }

    fn brokers(&self) -> BTreeSet<BrokerAddress> {
        let told = self.0.values().flat_map(|process| &process.told.brokers);
        told.cloned().collect()
    }
}

impl State {
    /// Processes that are registered, by incarnation.
    #[must_use]
    pub fn processes(&self) -> Arc<[Process]> {
        self.processes.all()
    }

    /// Gives a process its incarnation. It replaces its own earlier registration, and that of a process
    /// that answered at the same address: only one can, so the other has ended.
    pub(super) fn register(&mut self, new: NewProcess, writes: &mut WriteSet) -> Reply {
        let (level, known) = (self.counters.feature_level, new.feature_level);
        if known < level {
            return Reply::Registered(Err(RequestError::TooOld { level, known }));
        }
        let write_epoch = self.counters.write_epoch;
        let mut own = self.processes.0.values();
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
        let gone = self.processes.0.values().filter(|known| replaced(known));
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
        writes.put(RowKey::process(incarnation), process::encode(&process.told));
        self.processes.insert(process);
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
        let mut registered = self.processes.0.values().map(|process| &process.told);
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

    /// Forgets processes that drain or are not heard of. What they committed and still commit counts.
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

    fn remove_process(&mut self, incarnation: u32, writes: &mut WriteSet) -> bool {
        let was_there = self.processes.0.remove(&incarnation).is_some();
        if was_there {
            writes.delete(RowKey::process(incarnation));
        }
        was_there
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
        let event = WatchEvent::ProcessesChanged(self.processes.all());
        writes.events.push(event);
    }
}
