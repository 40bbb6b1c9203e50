//! Where old records lie, remembered from look-ups: a consumer that goes through a long history asks
//! metadata once per few hundred extents, not once per fetch.
//!
//! What is remembered stays true as long as the objects exist. Metadata keeps replaced objects for 15
//! minutes, so a plan that lives for [`PLAN_AGE_MAX`] at most never meets a deleted one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use floe_metadata::api::Extent;
use floe_protocol::types::{Offset, TopicPartition};
use tokio::time::Instant;

/// Extents one look-up asks for.
pub(super) const PLAN_EXTENTS_MAX: usize = 256;
/// Partitions with a plan; about 16 KiB each when full.
const PLANS_MAX: usize = 512;
/// Oldest plan that is used.
const PLAN_AGE_MAX: Duration = Duration::from_secs(60);

/// Plans by partition.
#[derive(Debug, Default)]
pub(super) struct Plans(Mutex<BTreeMap<TopicPartition, Plan>>);

#[derive(Debug)]
struct Plan {
    made: Instant,
    extents: Arc<[Extent]>,
}

impl Plans {
    /// The known extents from the one that holds `from` on; `None` if a look-up is needed.
    pub(super) fn find(
        &self,
        now: Instant,
        partition: TopicPartition,
        from: Offset,
    ) -> Option<Vec<Extent>> {
        let plans = self.lock();
        let plan = plans.get(&partition)?;
        if now.saturating_duration_since(plan.made) > PLAN_AGE_MAX {
            return None;
        }
        let first = plan
            .extents
            .partition_point(|extent| extent.end_offset <= from);
        let rest = plan.extents.get(first..)?;
        // Before the plan's first extent there may be others.
        let is_covered = first > 0 || rest.first().is_some_and(|first| first.base_offset <= from);
        (is_covered && !rest.is_empty()).then(|| rest.to_vec())
    }

    /// Remembers what a look-up at `now` answered.
    pub(super) fn remember(&self, now: Instant, partition: TopicPartition, extents: &[Extent]) {
        let mut plans = self.lock();
        if plans.len() >= PLANS_MAX && !plans.contains_key(&partition) {
            let oldest = plans
                .iter()
                .min_by_key(|(_, plan)| plan.made)
                .map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                plans.remove(&oldest);
            }
        }
        plans.insert(
            partition,
            Plan {
                made: now,
                extents: extents.into(),
            },
        );
    }

    /// Forgets the plan of `partition`: an object in it was replaced.
    pub(super) fn forget(&self, partition: TopicPartition) {
        self.lock().remove(&partition);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Plan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use floe_protocol::types::TopicId;
    use floe_storage::segment::SegmentId;

    use super::*;

    fn extent(base_offset: Offset, end_offset: Offset) -> Extent {
        Extent {
            segment: SegmentId {
                write_epoch: 1,
                incarnation: 1,
                counter: 1,
            },
            level: 0,
            position_bytes: 0,
            length_bytes: 10,
            base_offset,
            end_offset,
            max_timestamp_ms: 0,
        }
    }

    fn partition(index: i32) -> TopicPartition {
        TopicPartition::new(TopicId::ZERO, index)
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_covers_its_extents_for_a_while() {
        let (plans, now) = (Plans::default(), Instant::now());
        plans.remember(
            now,
            partition(0),
            &[extent(10, 20), extent(20, 30), extent(35, 40)],
        );
        let found = |from| {
            let extents = plans.find(now, partition(0), from)?;
            Some(
                extents
                    .iter()
                    .map(|extent| extent.base_offset)
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(found(9), None, "there may be an earlier extent");
        assert_eq!(found(10), Some(vec![10, 20, 35]));
        assert_eq!(found(29), Some(vec![20, 35]));
        assert_eq!(found(31), Some(vec![35]), "a gap that compaction left");
        assert_eq!(found(40), None, "beyond the plan");
        assert_eq!(plans.find(now, partition(1), 10), None);
        assert_eq!(
            plans.find(now + PLAN_AGE_MAX * 2, partition(0), 10),
            None,
            "too old"
        );
        plans.forget(partition(0));
        assert_eq!(found(10), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_plan_makes_room() {
        let (plans, now) = (Plans::default(), Instant::now());
        for index in 0..=i32::try_from(PLANS_MAX).unwrap() {
            let at = now + Duration::from_millis(u64::try_from(index).unwrap());
            plans.remember(at, partition(index), &[extent(0, 9)]);
        }
        assert_eq!(plans.find(now, partition(0), 0), None);
        assert!(plans.find(now, partition(1), 0).is_some());
        assert_eq!(plans.lock().len(), PLANS_MAX);
    }
}
