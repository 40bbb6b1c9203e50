//! Judges a history: which promises of the log did a client see broken?
//!
//! Each anomaly is one row of the table in the reliability page (section 5), for one partition of a
//! topic without compaction and without transactions. Legal there: records of unknown outcome that
//! appear or do not, and any interleaving of different producers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::{Id, Outcome, PartitionHistory, Read};

/// A broken promise, with its evidence: the records and offsets concerned.
#[allow(missing_docs, reason = "the sentence of each variant names its fields")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// Acknowledged, but a pass that covered its place did not deliver it.
    Lost { id: Id, offset: Option<i64> },
    /// One record at two offsets.
    Duplicate { id: Id, offsets: (i64, i64) },
    /// A producer's later record stands before its earlier one.
    Reordered {
        earlier: Id,
        later: Id,
        offsets: (i64, i64),
    },
    /// A record that nobody sent to this partition, or one whose bytes changed.
    Phantom { id: Option<Id>, offset: i64 },
    /// A record that surely failed was delivered.
    FailedYetRead { id: Id, offset: i64 },
    /// Two records at one offset, over all passes and acknowledgements.
    InconsistentOffset { offset: i64, ids: (Id, Id) },
    /// A reader went back or stood still.
    Backward { offset: i64, after: i64 },
    /// A reader jumped over offsets.
    Skipped { from: i64, to: i64 },
    /// An acknowledgement without the offset it owes.
    AckWithoutOffset { id: Id },
}

/// What the history proves, beside its anomalies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Every broken promise, in a fixed order.
    pub anomalies: Vec<Anomaly>,
    /// Records acknowledged.
    pub acked: usize,
    /// Records delivered, over all passes.
    pub delivered: usize,
    /// Records of unknown outcome that are in the log.
    pub unknown_kept: usize,
}

impl Verdict {
    /// Passes a clean verdict on.
    ///
    /// # Panics
    ///
    /// If there is an anomaly, with the first twenty of them.
    pub fn expect_clean(self, what: &str) -> Verdict {
        assert!(self.anomalies.is_empty(), "{what}: {self}");
        self
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict {
            anomalies,
            acked,
            delivered,
            unknown_kept,
        } = self;
        write!(
            f,
            "{acked} acknowledged, {delivered} delivered, {unknown_kept} unknown but kept, {} anomalies",
            anomalies.len()
        )?;
        anomalies
            .iter()
            .take(20)
            .try_for_each(|anomaly| write!(f, "\n  {anomaly:?}"))
    }
}

/// Checks one partition under the promises of an idempotent producer with acks=all.
pub fn check(history: &PartitionHistory) -> Verdict {
    let mut check = Check::new(history);
    check.acknowledgements();
    for read in &history.reads {
        check.pass(read);
    }
    check.order();
    check.losses();
    let unknown_kept = |(id, outcome): &(&Id, &Outcome)| {
        **outcome == Outcome::Unknown && check.offsets.contains_key(id)
    };
    Verdict {
        acked: history.acked(),
        delivered: history.reads.iter().map(|read| read.records.len()).sum(),
        unknown_kept: history.sent.iter().filter(unknown_kept).count(),
        anomalies: check.anomalies.into_iter().collect(),
    }
}

struct Check<'a> {
    history: &'a PartitionHistory,
    /// Which record stands at an offset, as the first evidence has it.
    records: BTreeMap<i64, Id>,
    /// Where a record stands, as the first evidence has it.
    offsets: BTreeMap<Id, i64>,
    anomalies: BTreeSet<Anomaly>,
}

impl<'a> Check<'a> {
    fn new(history: &'a PartitionHistory) -> Self {
        let (records, offsets, anomalies) = Default::default();
        Check {
            history,
            records,
            offsets,
            anomalies,
        }
    }

    /// An acknowledgement is evidence like a delivery: this record, at this offset.
    fn acknowledgements(&mut self) {
        for (id, outcome) in &self.history.sent {
            match outcome {
                Outcome::Acked(Some(offset)) if *offset >= 0 => self.place(*id, *offset),
                Outcome::Acked(_) => {
                    self.anomalies.insert(Anomaly::AckWithoutOffset { id: *id });
                }
                Outcome::Failed | Outcome::Unknown => {}
            }
        }
    }

    fn place(&mut self, id: Id, offset: i64) {
        let there = *self.records.entry(offset).or_insert(id);
        if there != id {
            let ids = (there.min(id), there.max(id));
            self.anomalies
                .insert(Anomaly::InconsistentOffset { offset, ids });
        }
        let before = *self.offsets.entry(id).or_insert(offset);
        if before != offset {
            let offsets = (before.min(offset), before.max(offset));
            self.anomalies.insert(Anomaly::Duplicate { id, offsets });
        }
    }

    /// One reader's pass: known records, each offset after the one before, none left out.
    fn pass(&mut self, read: &Read) {
        let mut next = read.from;
        for seen in &read.records {
            let offset = seen.offset;
            match seen
                .id
                .and_then(|id| self.history.sent.get(&id).map(|outcome| (id, outcome)))
            {
                None => {
                    self.anomalies.insert(Anomaly::Phantom {
                        id: seen.id,
                        offset,
                    });
                }
                Some((id, outcome)) => {
                    if *outcome == Outcome::Failed {
                        self.anomalies.insert(Anomaly::FailedYetRead { id, offset });
                    }
                    self.place(id, offset);
                }
            }
            if offset < next {
                self.anomalies.insert(Anomaly::Backward {
                    offset,
                    after: next - 1,
                });
            } else if offset > next {
                self.anomalies.insert(Anomaly::Skipped {
                    from: next,
                    to: offset,
                });
            }
            next = offset + 1;
        }
        if let Some(to) = read.to.filter(|to| *to > next) {
            self.anomalies.insert(Anomaly::Skipped { from: next, to });
        }
    }

    /// Records of one producer stand in the order in which it sent them.
    fn order(&mut self) {
        let mut last: Option<(Id, i64)> = None;
        for (&later, &offset) in &self.offsets {
            if let Some((earlier, before)) = last
                && earlier.producer == later.producer
                && before > offset
            {
                let offsets = (before, offset);
                self.anomalies.insert(Anomaly::Reordered {
                    earlier,
                    later,
                    offsets,
                });
            }
            last = Some((later, offset));
        }
    }

    /// Every acknowledged record is in each pass that covered its offset.
    fn losses(&mut self) {
        for read in &self.history.reads {
            let Some(to) = read.to else { continue };
            let delivered: BTreeSet<Id> = read.records.iter().filter_map(|seen| seen.id).collect();
            for (&id, outcome) in &self.history.sent {
                let Outcome::Acked(offset) = *outcome else {
                    continue;
                };
                // Acknowledged beyond the promised end: acknowledged after the pass asked for it.
                let covered = offset.is_none_or(|offset| (read.from..to).contains(&offset));
                if covered && !delivered.contains(&id) {
                    self.anomalies.insert(Anomaly::Lost { id, offset });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
