//! A clock that a test drives.

use std::time::Duration;

use clock::{Clock, HurryGuard, WallGuard};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;

/// Stands still until [`ManualClock::advance`].
#[derive(Debug)]
pub(crate) struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new("2026-11-21T10:00:00Z".parse().expect("a time")))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let mut now = self.0.subscribe();
        async move { drop(now.wait_for(|now| *now >= deadline).await) }.boxed()
    }

    fn hurry(&self) -> HurryGuard {
        HurryGuard::none()
    }

    fn keep_wall_time(&self) -> BoxFuture<'static, WallGuard> {
        async { WallGuard::none() }.boxed()
    }
}
