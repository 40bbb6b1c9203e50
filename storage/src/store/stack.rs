//! Puts the layers over each other, one stack per caller.

use std::sync::Arc;

use object_store::ObjectStore;

use super::count::{Caller, CountingStore, RequestCounts};
use super::hedge::{HedgeState, HedgeStore};
use super::limit::{LimitStore, Limiter};
use super::options::StoreOptions;
use super::retry::{RetryState, RetryStore};
use super::timeout::{AttemptTimeout, TimeoutStore};

/// What the stacks of all callers share.
pub(super) struct Layers {
    pub(super) base: Arc<dyn ObjectStore>,
    pub(super) counts: Arc<RequestCounts>,
    pub(super) limiter: Arc<Limiter>,
    pub(super) hedge: Option<Arc<HedgeState>>,
    pub(super) retry: Arc<RetryState>,
}

impl Layers {
    /// The stack of `caller`, outermost layer last.
    pub(super) fn stack(&self, caller: Caller, options: &StoreOptions) -> Arc<dyn ObjectStore> {
        let is_probe = caller == Caller::Probe;
        let timeout = AttemptTimeout {
            base: if is_probe {
                options.probe_timeout / 2
            } else {
                options.attempt_timeout
            },
            per_mib: options.attempt_timeout_per_mib,
        };
        let total = if is_probe {
            options.probe_timeout
        } else {
            options.total_timeout
        };
        let counts = Arc::clone(&self.counts);
        let mut stack: Arc<dyn ObjectStore> =
            Arc::new(CountingStore::new(Arc::clone(&self.base), counts, caller));
        stack = Arc::new(TimeoutStore::new(stack, timeout));
        // Below the limit, so that the time a PUT waits for its turn is not taken for slowness.
        if let Some(hedge) = &self.hedge {
            stack = Arc::new(HedgeStore::new(stack, Arc::clone(hedge)));
        }
        if !matches!(caller, Caller::Metadata | Caller::Probe) {
            stack = Arc::new(LimitStore::new(stack, Arc::clone(&self.limiter)));
        }
        Arc::new(RetryStore::new(stack, Arc::clone(&self.retry), total))
    }
}
