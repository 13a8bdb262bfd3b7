//! Places for the cases of proofs on one cluster, shared by all failures that are proved there.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many cases may be at work on a cluster at the same time.
#[derive(Clone, Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    all: NonZero<u32>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot(#[expect(dead_code, reason = "held for its Drop")] Option<OwnedSemaphorePermit>);

impl Slots {
    /// So many.
    pub fn new(all: NonZero<u32>) -> Self {
        Self { free: Arc::new(Semaphore::new(usize::try_from(all.get()).unwrap_or(1))), all }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        usize::try_from(self.all.get()).unwrap_or(1)
    }

    /// Waits for a place; `alone` takes all of them, for what changes the cluster for everybody. Whoever asked first is
    /// served first, so nobody waits for ever.
    pub(crate) async fn take(&self, alone: bool) -> Slot {
        let wanted = if alone { self.all.get() } else { 1 };
        // It is never closed.
        Slot(Arc::clone(&self.free).acquire_many_owned(wanted).await.ok())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_wants_all_waits_for_all() {
        let slots = Slots::new(NonZero::new(2).expect("not zero"));
        let (first, second) = (slots.take(false).await, slots.take(false).await);
        assert!(slots.take(false).now_or_never().is_none(), "there are two");
        drop(first);
        assert!(slots.take(true).now_or_never().is_none(), "one of two is taken");
        drop(second);
        let all = slots.take(true).await;
        assert!(slots.take(false).now_or_never().is_none());
        drop(all);
        assert!(slots.take(false).now_or_never().is_some());
    }
}
