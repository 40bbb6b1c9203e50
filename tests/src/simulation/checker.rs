//! Holds a history against the final log: the promises, as far as clients can see them.
//!
//! The final log is what a consumer reads from the start of each partition to its high watermark after
//! all faults have stopped. `docs/architecture.md` names the promises.

use std::collections::BTreeMap;

use floe_protocol::types::{Offset, TopicPartition};

use super::history::{Fate, Guarantee, History, Value};

/// Records by offset, per partition, as read at the end, and where each partition's log ends.
#[derive(Debug, Default)]
pub struct FinalLog {
    /// The records in the order they were read.
    pub records: BTreeMap<TopicPartition, Vec<(Offset, Value)>>,
    /// What ListOffsets says of the end.
    pub ends: BTreeMap<TopicPartition, Offset>,
}

/// Every broken rule, in words; empty when all promises hold.
#[must_use]
pub fn check(history: &History, log: &FinalLog) -> Vec<String> {
    let mut broken = history.violations.clone();
    for (partition, records) in &log.records {
        dense(*partition, records, log.ends.get(partition).copied(), &mut broken);
        once_and_in_order(*partition, records, history, &mut broken);
    }
    for (partition, sent) in &history.sent {
        let records = log.records.get(partition).map_or(&[][..], Vec::as_slice);
        acknowledged_is_there(*partition, sent, records, &mut broken);
    }
    reads_agree(history, log, &mut broken);
    broken
}

/// Offsets are dense from 0 to the end of the log, and nothing is missing below the end.
fn dense(
    partition: TopicPartition,
    records: &[(Offset, Value)],
    end: Option<Offset>,
    broken: &mut Vec<String>,
) {
    let mut next = 0;
    for (offset, value) in records {
        if *offset != next {
            broken.push(format!("{partition}: {value} at {offset}, expected offset {next}"));
        }
        next = offset + 1;
    }
    if end != Some(next) {
        broken.push(format!("{partition}: the log ends at {end:?}, records end at {next}"));
    }
}

/// No phantom, no refused record, nothing twice, each producer's records in the order of sending.
fn once_and_in_order(
    partition: TopicPartition,
    records: &[(Offset, Value)],
    history: &History,
    broken: &mut Vec<String>,
) {
    let mut last: BTreeMap<u32, (Offset, Value)> = BTreeMap::new();
    for (offset, value) in records {
        match history.sent.get(&partition).and_then(|sent| sent.get(value)) {
            None => broken.push(format!("{partition}: phantom {value} at {offset}")),
            Some(Fate::Refused) => {
                broken.push(format!("{partition}: refused {value} is at {offset}"));
            }
            Some(Fate::Acked(_) | Fate::Unknown) => {}
        }
        if let Some((before, earlier)) = last.insert(value.producer, (*offset, *value))
            && earlier >= *value
            && (earlier == *value || is_ordered(partition, earlier, *value, history))
        {
            let what = if earlier == *value { "doubled" } else { "reordered" };
            broken.push(format!(
                "{partition}: {what}: {earlier} at {before}, then {value} at {offset}"
            ));
        }
    }
}

/// Whether two records of one producer must stand in the order of their numbers. A plain producer that
/// was left without an answer may find that record behind later ones.
fn is_ordered(partition: TopicPartition, a: Value, b: Value, history: &History) -> bool {
    let is_acked = |value: &Value| {
        let sent = history.sent.get(&partition);
        matches!(sent.and_then(|sent| sent.get(value)), Some(Fate::Acked(_)))
    };
    history.guarantees.get(&a.producer) == Some(&Guarantee::ExactlyOnce)
        || (is_acked(&a) && is_acked(&b))
}

/// Every acknowledged record is in the log at the offset that was acknowledged.
fn acknowledged_is_there(
    partition: TopicPartition,
    sent: &BTreeMap<Value, Fate>,
    records: &[(Offset, Value)],
    broken: &mut Vec<String>,
) {
    let by_offset: BTreeMap<Offset, Value> = records.iter().copied().collect();
    for (value, fate) in sent {
        if let Fate::Acked(offset) = fate
            && by_offset.get(offset) != Some(value)
        {
            let found = by_offset.get(offset);
            broken.push(format!("{partition}: lost {value}, acknowledged at {offset}: {found:?}"));
        }
    }
}

/// What a consumer saw at an offset during the run is what stands there at the end.
fn reads_agree(history: &History, log: &FinalLog, broken: &mut Vec<String>) {
    let final_log: BTreeMap<(TopicPartition, Offset), Value> = log
        .records
        .iter()
        .flat_map(|(partition, records)| {
            records.iter().map(|(offset, value)| ((*partition, *offset), *value))
        })
        .collect();
    for read in &history.reads {
        let found = final_log.get(&(read.partition, read.offset));
        if found != Some(&read.value) {
            broken.push(format!(
                "{}: read {} at {}, at the end there is {found:?}",
                read.partition, read.value, read.offset
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::history::Read;

    const PARTITION: TopicPartition = TopicPartition::new(floe_protocol::types::TopicId::ZERO, 0);

    fn value(number: u32) -> Value {
        Value { producer: 1, number }
    }

    /// A clean run of three acknowledged records.
    fn clean() -> (History, FinalLog) {
        let mut history = History::default();
        history.guarantees.insert(1, Guarantee::ExactlyOnce);
        let mut log = FinalLog::default();
        for number in 0..3 {
            let offset = Offset::from(number);
            history.sending(PARTITION, value(number));
            history.settled(PARTITION, value(number), Fate::Acked(offset));
            log.records.entry(PARTITION).or_default().push((offset, value(number)));
            history.reads.push(Read { partition: PARTITION, offset, value: value(number) });
        }
        log.ends.insert(PARTITION, 3);
        (history, log)
    }

    #[test]
    fn a_clean_run_passes() {
        let (history, log) = clean();
        assert_eq!(check(&history, &log), Vec::<String>::new());
    }

    #[test]
    fn each_anomaly_is_found() {
        type Spoil = fn(&mut History, &mut FinalLog);
        let table: [(&str, &str, Spoil); 9] = [
            ("lost", "lost 1:2", |_, log| {
                log.records.get_mut(&PARTITION).expect("there").pop();
                log.ends.insert(PARTITION, 2);
            }),
            ("hidden behind the end", "the log ends at", |_, log| {
                log.ends.insert(PARTITION, 4);
            }),
            ("doubled", "doubled", |_, log| {
                log.records.get_mut(&PARTITION).expect("there").push((3, value(2)));
                log.ends.insert(PARTITION, 4);
            }),
            ("reordered", "reordered", |_, log| {
                let records = log.records.get_mut(&PARTITION).expect("there");
                (records[1].1, records[2].1) = (value(2), value(1));
            }),
            ("phantom", "phantom", |_, log| {
                log.records.get_mut(&PARTITION).expect("there").push((3, value(9)));
                log.ends.insert(PARTITION, 4);
            }),
            ("gap", "expected offset", |_, log| {
                log.records.get_mut(&PARTITION).expect("there")[2].0 = 5;
            }),
            ("changed after it was read", "at the end there is", |history, _| {
                history.reads[0].value = value(7);
            }),
            ("refused and yet there", "refused", |history, _| {
                history.sent.get_mut(&PARTITION).expect("there").insert(value(1), Fate::Refused);
            }),
            ("two offsets acknowledged", "then Acked(9)", |history, _| {
                history.settled(PARTITION, value(1), Fate::Acked(9));
            }),
        ];
        for (name, sign, spoil) in table {
            let (mut history, mut log) = clean();
            spoil(&mut history, &mut log);
            let broken = check(&history, &log);
            assert!(broken.iter().any(|line| line.contains(sign)), "{name}: {broken:?}");
        }
    }
}
