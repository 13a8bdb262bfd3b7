//! Cluster time. A cluster of flesh runs on the wall clock; the embedded one has a clock of its own that may hurry.
//! Everything that waits for a cluster waits through [`Clock`]; nothing here knows what is waited for.

mod busy;
mod rest;

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, FutureExt, select};
use jiff::Timestamp;

pub use busy::Busy;
pub use rest::{AtRest, come_to_rest, listen, tell_of_rest};

/// The time of one cluster.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Cluster time now.
    fn now(&self) -> Timestamp;

    /// Resolves when cluster time has reached `deadline`. Dropping the future cancels the wait and loses nothing.
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()>;

    /// While the guard lives, cluster time may jump to the next timer whenever nothing else is pending.
    /// On a clock that cannot hurry the guard does nothing.
    fn hurry(&self) -> HurryGuard;

    /// The same, on behalf of `work`: while it is about to go on, nothing jumps.
    fn hurry_for(&self, work: &Arc<Busy>) -> HurryGuard {
        let _ = work;
        self.hurry()
    }

    /// Brings cluster time to wall time and keeps it there, running 1:1, while the guard lives. Hurrying is suspended.
    fn keep_wall_time(&self) -> BoxFuture<'static, WallGuard>;

    /// Wall time in which the cluster itself has been at work in this process; zero for a cluster that lives elsewhere.
    fn worked(&self) -> Duration {
        Duration::ZERO
    }
}

/// Lets the cluster hurry until dropped.
#[must_use = "cluster time hurries only while the guard lives"]
pub struct HurryGuard(#[allow(dead_code, reason = "held for its Drop")] Option<Box<dyn Send + Sync>>);

impl HurryGuard {
    /// A guard that releases `inner` when dropped.
    pub fn new(inner: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(inner)))
    }

    /// A guard of a clock that cannot hurry.
    pub fn none() -> Self {
        Self(None)
    }
}

impl Debug for HurryGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HurryGuard").field("hurries", &self.0.is_some()).finish()
    }
}

/// Keeps cluster time at wall time until dropped.
#[must_use = "cluster time follows the wall only while the guard lives"]
pub struct WallGuard(#[allow(dead_code, reason = "held for its Drop")] Option<Box<dyn Send + Sync>>);

impl WallGuard {
    /// A guard that releases `inner` when dropped.
    pub fn new(inner: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(inner)))
    }

    /// A guard of a clock that is wall time already.
    pub fn none() -> Self {
        Self(None)
    }
}

impl Debug for WallGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WallGuard")
    }
}

/// `max` cluster time passed before the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Runs `work` for at most `max` of cluster time, letting the cluster hurry meanwhile.
///
/// # Errors
/// [`Elapsed`] when the time is up; `work` is dropped then.
pub async fn run_until<T>(clock: &Arc<dyn Clock>, max: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let deadline = clock.now().checked_add(max).unwrap_or(Timestamp::MAX);
    let timer = clock.sleep_until(deadline);
    let busy = Arc::new(Busy::default());
    let _hurry = clock.hurry_for(&busy);
    let work = pin!(busy::watched(work, busy));
    match select(work, timer).await {
        Either::Left((value, _)) => Ok(value),
        // Both may be ready at once: work that is done counts, whatever the clock says.
        Either::Right(((), work)) => work.now_or_never().ok_or(Elapsed),
    }
}

/// Wall time, for clusters that are not ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        async move {
            let left = Timestamp::now().duration_until(deadline);
            if let Ok(left) = Duration::try_from(left) {
                tokio::time::sleep(left).await;
            }
        }
        .boxed()
    }

    fn hurry(&self) -> HurryGuard {
        HurryGuard::none()
    }

    fn keep_wall_time(&self) -> BoxFuture<'static, WallGuard> {
        async { WallGuard::none() }.boxed()
    }
}
