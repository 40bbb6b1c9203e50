//! Memory that answers hold, charged to the budget from before the read until the socket has taken the
//! bytes: the permit travels inside one of the answer's own pieces and ends with it.

use bytes::Bytes;
use floe_protocol::records::Records;

use crate::memory::{MemoryBudget, MemoryPermit, Share};

/// One answer takes this part of the share at most, so that a few clients that do not read what they
/// asked for cannot keep all others from reading.
const SHARE_PARTS: usize = 8;
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

/// `pieces` as records that hold `permit` until their largest piece has been written.
pub(super) fn charged(mut pieces: Vec<Bytes>, permit: MemoryPermit) -> Records {
    if let Some(largest) = pieces.iter_mut().max_by_key(|piece| piece.len()) {
        let bytes = std::mem::take(largest);
        *largest = Bytes::from_owner(Charged {
            bytes,
            _permit: permit,
        });
    }
    pieces.into_iter().collect()
}

struct Charged {
    bytes: Bytes,
    _permit: MemoryPermit,
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
        let records = charged(pieces, permit);
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
}
