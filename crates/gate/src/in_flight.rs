//! Counts the writes that were sent and not yet answered, so that clean-up can wait for them.

use std::sync::Arc;

use tokio::sync::watch;

/// How many writes are under way.
#[derive(Clone, Debug)]
pub(crate) struct InFlight(Arc<watch::Sender<usize>>);

impl InFlight {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// One more, until the guard is dropped.
    pub(crate) fn begin(&self) -> Guard {
        self.0.send_modify(|n| *n += 1);
        Guard(self.clone())
    }

    /// Resolves when none is under way. Dropping the future loses nothing.
    pub(crate) async fn settled(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|n| *n == 0).await;
    }
}

/// A write under way.
pub(crate) struct Guard(InFlight);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.send_modify(|n| *n -= 1);
    }
}
