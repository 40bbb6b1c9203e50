//! One fetch session: its partitions in the order to serve them. A partition whose records were sent
//! goes to the end, so that a small answer is filled by others next time.

use std::collections::BTreeMap;

use super::{Asked, PartitionKey, SessionError, Told};
use floe_metadata::api::PartitionBounds;

/// The session of one consumer.
#[derive(Debug)]
pub(super) struct Session {
    uses_ids: bool,
    /// Epoch of the request that comes next.
    next_epoch: i32,
    /// Places in the order, by partition.
    places: BTreeMap<PartitionKey, u64>,
    /// Partitions by place.
    partitions: BTreeMap<u64, Partition>,
    /// The place behind the last.
    end: u64,
}

#[derive(Debug)]
struct Partition {
    asked: Asked,
    /// What the client was told last; `None` if that was an error or nothing yet.
    told: Option<PartitionBounds>,
}

impl Session {
    /// A session of `asked`, of which the client is now told `told`.
    pub(super) fn open(uses_ids: bool, asked: Vec<Asked>, told: &[Told]) -> Self {
        let mut session = Self {
            uses_ids,
            next_epoch: 1,
            places: BTreeMap::new(),
            partitions: BTreeMap::new(),
            end: 0,
        };
        let keys: Vec<_> = asked.iter().map(|asked| asked.key.clone()).collect();
        session.update(asked, &[]);
        for (key, told) in keys.iter().zip(told) {
            session.tell(key, *told);
        }
        session
    }

    /// Number of partitions.
    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    /// Checks that a request is the session's next one, and moves the session on.
    pub(super) fn check(
        &mut self,
        id: i32,
        epoch: i32,
        uses_ids: bool,
    ) -> Result<(), SessionError> {
        if epoch != self.next_epoch {
            return Err(SessionError::Epoch {
                id,
                expected: self.next_epoch,
                found: epoch,
            });
        }
        if uses_ids != self.uses_ids {
            return Err(SessionError::TopicId(id));
        }
        // After the last epoch comes 1: 0 and -1 have meanings of their own.
        self.next_epoch = self.next_epoch.checked_add(1).unwrap_or(1);
        Ok(())
    }

    /// Takes partitions in or changes them, then drops the forgotten.
    pub(super) fn update(&mut self, asked: Vec<Asked>, forgotten: &[PartitionKey]) {
        for asked in asked {
            match self
                .places
                .get(&asked.key)
                .and_then(|place| self.partitions.get_mut(place))
            {
                Some(partition) => partition.asked = asked,
                None => self.append(Partition { asked, told: None }),
            }
        }
        for key in forgotten {
            self.remove(key);
        }
    }

    /// All partitions in order.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.partitions
            .values()
            .map(|partition| partition.asked.clone())
            .collect()
    }

    /// Notes what the client is told of a partition; returns whether that is worth telling: records,
    /// an error, or bounds that changed.
    pub(super) fn tell(&mut self, key: &PartitionKey, told: Told) -> bool {
        let Some(partition) = self
            .places
            .get(key)
            .and_then(|place| self.partitions.get_mut(place))
        else {
            // Forgotten by a request that overtook this one.
            return true;
        };
        let news = told.has_records || told.bounds.is_none() || told.bounds != partition.told;
        partition.told = told.bounds;
        if told.has_records
            && let Some(partition) = self.remove(key)
        {
            self.append(partition);
        }
        news
    }

    fn append(&mut self, partition: Partition) {
        self.places.insert(partition.asked.key.clone(), self.end);
        self.partitions.insert(self.end, partition);
        self.end += 1;
    }

    fn remove(&mut self, key: &PartitionKey) -> Option<Partition> {
        self.places
            .remove(key)
            .and_then(|place| self.partitions.remove(&place))
    }
}
