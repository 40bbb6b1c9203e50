//! How many bytes each partition of a fetch may fill. Pure: what is there in, shares out.

/// Most record bytes in one answer, whatever the client asks for (`fetch.max.bytes` of Kafka).
pub(crate) const ANSWER_BYTES_MAX: u64 = 55 * 1024 * 1024;

/// One partition of a fetch, in the order in which partitions are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Demand {
    /// Bytes that can be read now, or a guess that is 0 exactly when there are none.
    pub(crate) available_bytes: u64,
    /// Most bytes the client wants of this partition.
    pub(crate) max_bytes: u64,
}

impl Demand {
    /// Bytes that can be read and are wanted.
    pub(crate) fn wanted_bytes(&self) -> u64 {
        self.available_bytes.min(self.max_bytes)
    }
}

/// What a partition may fill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    /// Bytes of whole batches.
    pub(crate) bytes: u64,
    /// The first batch goes out even if it is larger than that.
    pub(crate) at_least_one: bool,
}

/// Shares out `max_bytes` in the order given; `None` for a partition that gets nothing this time. The
/// first partition that has anything gets at least one batch, above every limit, or a consumer would be
/// stuck on a large one (KIP-74).
pub(crate) fn share_out(demands: &[Demand], max_bytes: u64) -> Vec<Option<Share>> {
    let mut left = max_bytes.min(ANSWER_BYTES_MAX);
    let mut first = true;
    demands
        .iter()
        .map(|demand| {
            let bytes = demand.wanted_bytes().min(left);
            if demand.available_bytes == 0 || !first && bytes == 0 {
                return None;
            }
            let share = Share {
                bytes: demand.max_bytes.min(left),
                at_least_one: first,
            };
            left -= bytes;
            first = false;
            Some(share)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(name: &str, demands: &[(u64, u64)], max_bytes: u64, expected: &[Option<(u64, bool)>]) {
        let demands: Vec<_> = demands
            .iter()
            .map(|(available_bytes, max_bytes)| Demand {
                available_bytes: *available_bytes,
                max_bytes: *max_bytes,
            })
            .collect();
        let shares: Vec<_> = share_out(&demands, max_bytes)
            .into_iter()
            .map(|share| share.map(|share| (share.bytes, share.at_least_one)))
            .collect();
        assert_eq!(shares, expected, "{name}");
    }

    #[test]
    fn table() {
        check("nothing asked", &[], 100, &[]);
        check("nothing there", &[(0, 50)], 100, &[None]);
        check(
            "enough for all",
            &[(30, 50), (40, 50)],
            100,
            &[Some((50, true)), Some((50, false))],
        );
        check(
            "in order",
            &[(80, 80), (80, 80)],
            100,
            &[Some((80, true)), Some((20, false))],
        );
        check(
            "the last gets none",
            &[(80, 80), (80, 80)],
            80,
            &[Some((80, true)), None],
        );
        check(
            "first batch above all limits",
            &[(9, 0), (9, 9)],
            0,
            &[Some((0, true)), None],
        );
        check(
            "the first that has any",
            &[(0, 9), (9, 9)],
            0,
            &[None, Some((0, true))],
        );
        check(
            "no bytes wanted",
            &[(9, 9), (9, 0)],
            100,
            &[Some((9, true)), None],
        );
    }

    proptest! {
        #[test]
        fn limits_hold(
            demands in prop::collection::vec((0u64..100 << 20, 0u64..100 << 20), 0..20),
            max_bytes: u64,
        ) {
            let demands: Vec<_> = demands
                .into_iter()
                .map(|(available_bytes, max_bytes)| Demand { available_bytes, max_bytes })
                .collect();
            let shares = share_out(&demands, max_bytes);
            prop_assert_eq!(shares.len(), demands.len());
            let mut sum = 0;
            for (demand, share) in demands.iter().zip(&shares) {
                if let Some(share) = share {
                    prop_assert!(demand.available_bytes > 0);
                    prop_assert!(share.bytes <= demand.max_bytes);
                    sum += share.bytes.min(demand.available_bytes);
                }
            }
            prop_assert!(sum <= max_bytes.min(ANSWER_BYTES_MAX));
            let any = demands.iter().any(|demand| demand.available_bytes > 0);
            let granted = shares.iter().flatten().filter(|share| share.at_least_one).count();
            prop_assert_eq!(granted, usize::from(any));
        }
    }
}
