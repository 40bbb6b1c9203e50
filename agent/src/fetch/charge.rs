//! Memory that answers hold, charged to the budget from before the read until the socket has taken the
//! bytes: the permit travels inside one of the answer's own pieces and ends with it.

use std::time::Duration;

use bytes::Bytes;
use floe_protocol::records::Records;

use crate::memory::{MemoryBudget, MemoryPermit, Share};

/// One answer takes this part of the share at most, so that a few clients that do not read what they
/// asked for cannot keep all others from reading.
const SHARE_PARTS: usize = 8;
/// How long new records wait for the memory of old ones in the same answer.
const PATIENCE: Duration = Duration::from_millis(100);
/// Without room for more, an answer of this size is waited for.
const PATIENT_BYTES: usize = 1024 * 1024;

/// Reserves up to `wanted_bytes` for one answer, less where memory is short. Waits only when there is
/// hardly any. Cancel-safe.
pub(super) async fn reserve(memory: &MemoryBudget, wanted_bytes: u64) -> MemoryPermit {
    let part = memory.capacity_bytes(Share::Answers) / SHARE_PARTS;
    let wanted = usize::try_from(wanted_bytes)
        .unwrap_or(usize::MAX)
        .min(part);
    match memory.try_reserve(Share::Answers, wanted) {
        Some(permit) => permit,
        None => {
            memory
                .reserve(Share::Answers, wanted.min(PATIENT_BYTES))
                .await
        }
    }
}

/// Reserves up to `wanted_bytes` for the old records of one answer, in the part of the share that is theirs.
/// Waits when that is used up, but for [`PATIENCE`] only if the answer `has_new` records to give: then it goes
/// out without the old ones. Cancel-safe.
pub(super) async fn reserve_old(
    memory: &MemoryBudget,
    wanted_bytes: u64,
    has_new: bool,
) -> MemoryPermit {
    let part = memory.capacity_bytes(Share::Answers) / SHARE_PARTS;
    let wanted = usize::try_from(wanted_bytes)
        .unwrap_or(usize::MAX)
        .min(part);
    if let Some(permit) = memory.try_reserve(Share::CatchUp, wanted) {
        return permit;
    }
    let waiting = memory.reserve(Share::CatchUp, wanted.min(PATIENT_BYTES));
    if has_new {
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        return waited.unwrap_or_default();
    }
    waiting.await
}

/// `pieces` as records that hold `permits` until their largest piece has been written.
pub(super) fn charged(mut pieces: Vec<Bytes>, permits: [MemoryPermit; 2]) -> Records {
    if let Some(largest) = pieces.iter_mut().max_by_key(|piece| piece.len()) {
        let bytes = std::mem::take(largest);
        *largest = Bytes::from_owner(Charged {
            bytes,
            _permits: permits,
        });
    }
    pieces.into_iter().collect()
}

struct Charged {
    bytes: Bytes,
    _permits: [MemoryPermit; 2],
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::memory::MemoryPlan;

    const MIB: usize = 1024 * 1024;

    fn memory(answer_bytes: usize) -> MemoryBudget {
        MemoryBudget::new(&MemoryPlan {
            produce_bytes: 0,
            request_bytes: 0,
            answer_bytes,
            fresh_bytes: 0,
            cache_bytes: 0,
            engine_bytes: 0,
        })
    }

    #[test]
    fn the_charge_ends_with_the_largest_piece() {
        let memory = memory(16 * MIB);
        let permit = reserve(&memory, 1000).now_or_never().unwrap();
        let pieces = vec![Bytes::from(vec![1; 17]), Bytes::from(vec![2; 300])];
        let records = charged(pieces, [permit, MemoryPermit::empty()]);
        assert_eq!(records.len_bytes(), 317);
        let [small, large] = records.chunks() else {
            panic!("two pieces")
        };
        assert_eq!((small.len(), large.len()), (17, 300));
        let tail = large.slice(290..);
        drop(records);
        assert_eq!(memory.used_bytes(Share::Answers), 1000, "a slice keeps it");
        drop(tail);
        assert_eq!(memory.used_bytes(Share::Answers), 0);
    }

    #[test]
    fn one_answer_takes_a_part_and_little_room_gives_little() {
        let memory = memory(16 * MIB);
        let first = reserve(&memory, u64::MAX).now_or_never().unwrap();
        assert_eq!(first.size_bytes(), 2 * MIB);
        let rest = memory.try_reserve(Share::Answers, 13 * MIB).unwrap();
        let second = reserve(&memory, u64::MAX).now_or_never().unwrap();
        assert_eq!(second.size_bytes(), MIB);
        assert!(
            reserve(&memory, u64::MAX).now_or_never().is_none(),
            "nothing is left"
        );
        drop((first, second, rest));
        assert_eq!(memory.used_bytes(Share::Answers), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn old_records_wait_for_their_part_and_new_ones_hardly_for_them() {
        let memory = memory(16 * MIB);
        let mut held = Vec::new();
        for _ in 0..4 {
            let permit = reserve_old(&memory, u64::MAX, false).now_or_never();
            held.push(permit.unwrap());
        }
        assert_eq!(memory.used_bytes(Share::CatchUp), 8 * MIB);
        let began = tokio::time::Instant::now();
        let none = reserve_old(&memory, 1000, true).await;
        assert_eq!((none.size_bytes(), began.elapsed()), (0, PATIENCE));
        let waiting = reserve_old(&memory, u64::MAX, false);
        let freed = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(held.pop());
        };
        let (permit, ()) = tokio::join!(waiting, freed);
        assert_eq!((permit.size_bytes(), began.elapsed().as_secs()), (MIB, 5));
        drop((held, permit));
        assert_eq!(memory.used_bytes(Share::CatchUp), 0);
    }
}
