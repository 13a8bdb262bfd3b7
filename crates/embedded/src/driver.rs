//! The one task that moves a cluster's time: it runs what is due, and hurries to the next timer when someone waits for
//! that and nothing is pending. Also the cluster's [`Clock`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use clock::{Clock, HurryGuard, WallGuard};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;

use crate::cluster::Shared;
use crate::time::Slept;

/// How often other tasks are let run before time jumps: what they have just been given may lead to a request.
const YIELDS: usize = 8;
/// How long nothing must have happened, on the wall, before time jumps.
const QUIET: Duration = Duration::from_micros(150);
/// While something is pending, it is looked again so often.
const PATIENCE: Duration = Duration::from_millis(2);
/// The longest sleep of the driver: the wall's clock may be set.
const LONGEST: Duration = Duration::from_secs(5);

/// Who wants time to hurry, or not to.
#[derive(Debug)]
pub(crate) struct Drive {
    hurry: AtomicUsize,
    wall: AtomicUsize,
    external: AtomicUsize,
    activity: AtomicU64,
    at_wall: watch::Sender<bool>,
}

impl Default for Drive {
    fn default() -> Self {
        Self {
            hurry: AtomicUsize::new(0),
            wall: AtomicUsize::new(0),
            external: AtomicUsize::new(0),
            activity: AtomicU64::new(0),
            at_wall: watch::Sender::new(false),
        }
    }
}

impl Drive {
    pub(crate) fn note_activity(&self) {
        self.activity.fetch_add(1, Ordering::AcqRel);
    }

    fn activity(&self) -> u64 {
        self.activity.load(Ordering::Acquire)
    }

    /// Someone waits for time to come to the wall.
    fn wants_wall(&self) -> bool {
        self.wall.load(Ordering::Acquire) > 0
    }

    fn may_hurry(&self) -> bool {
        self.hurry.load(Ordering::Acquire) > 0 && !self.wants_wall() && self.external.load(Ordering::Acquire) == 0
    }
}

/// What a guard holds up, while it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holds {
    Hurry,
    Wall,
    External,
}

/// A count of [`Drive`], raised while it lives.
#[derive(Debug)]
pub(crate) struct Held {
    shared: Arc<Shared>,
    what: Holds,
}

impl Held {
    pub(crate) fn new(shared: &Arc<Shared>, what: Holds) -> Self {
        let held = Self { shared: Arc::clone(shared), what };
        held.counter().fetch_add(1, Ordering::AcqRel);
        held.shared.notify.notify_one();
        held
    }

    fn counter(&self) -> &AtomicUsize {
        match self.what {
            Holds::Hurry => &self.shared.drive.hurry,
            Holds::Wall => &self.shared.drive.wall,
            Holds::External => &self.shared.drive.external,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counter().fetch_sub(1, Ordering::AcqRel);
        self.shared.notify.notify_one();
    }
}

enum Step {
    /// Look again after this time, or when woken.
    Wait(Duration),
    /// Something pends: give it time.
    Pending,
    /// Time has moved.
    Moved,
}

/// Runs until it is aborted, which the last clone of the cluster does when it is dropped.
pub(crate) async fn run(alive: Arc<Shared>) {
    loop {
        let step = if alive.drive.wants_wall() {
            catch_up(&alive)
        } else if alive.drive.may_hurry() {
            hurry(&alive).await
        } else {
            Step::Wait(run_due(&alive))
        };
        match step {
            Step::Moved => tokio::task::yield_now().await,
            Step::Pending => tokio::time::sleep(PATIENCE).await,
            Step::Wait(after) => {
                let _ = tokio::time::timeout(after.min(LONGEST), alive.notify.notified()).await;
            }
        }
    }
}

/// Runs what is due by now; how long until the next timer.
fn run_due(shared: &Arc<Shared>) -> Duration {
    let mut state = shared.lock();
    state.catch_up();
    // Nobody's timer is exact to less than a millisecond, and tokio's are not either.
    state.timers.next_at().map_or(LONGEST, |at| state.time.until(at))
}

/// Brings time to the wall, timer by timer.
fn catch_up(shared: &Arc<Shared>) -> Step {
    let mut state = shared.lock();
    if state.time.at_wall() {
        state.catch_up();
        shared.drive.at_wall.send_replace(true);
        let next = state.timers.next_at().map_or(LONGEST, |at| state.time.until(at));
        return Step::Wait(next);
    }
    let wall = state.time.wall();
    match state.timers.next_at().filter(|at| *at < wall) {
        Some(next) if next > state.time.running() => state.time.jump_to(next),
        Some(_) => {}
        None => state.time.meet_wall(),
    }
    state.catch_up();
    Step::Moved
}

/// Jumps to the next timer if nothing pends.
async fn hurry(shared: &Arc<Shared>) -> Step {
    let before = shared.drive.activity();
    if is_pending(shared) {
        return Step::Pending;
    }
    let quiet_since = std::time::Instant::now();
    loop {
        for _ in 0..YIELDS {
            tokio::task::yield_now().await;
        }
        if shared.drive.activity() != before || is_pending(shared) || !shared.drive.may_hurry() {
            return Step::Moved;
        }
        if quiet_since.elapsed() >= QUIET {
            break;
        }
    }
    let mut state = shared.lock();
    let Some(next) = state.timers.next_at() else { return Step::Wait(LONGEST) };
    if next > state.time.running() {
        state.time.jump_to(next);
    }
    state.catch_up();
    Step::Moved
}

fn is_pending(shared: &Arc<Shared>) -> bool {
    if shared.in_flight() > 0 {
        return true;
    }
    let state = shared.lock();
    state.is_dirty() || state.watchers.any_behind() || state.timers.sleeper_pending()
}

/// The clock of one cluster.
pub(crate) struct ClusterClock {
    shared: Arc<Shared>,
}

impl ClusterClock {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl std::fmt::Debug for ClusterClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterClock").field("now", &self.now()).finish()
    }
}

/// A sleep in cluster time.
struct Sleep {
    shared: Arc<Shared>,
    id: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.shared.lock().timers.poll_sleeper(self.id, cx.waker()) {
            Slept::Yes => Poll::Ready(()),
            Slept::NotYet => {
                self.shared.drive.note_activity();
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.shared.lock().timers.remove_sleeper(self.id);
    }
}

impl Clock for ClusterClock {
    fn now(&self) -> Timestamp {
        let state = self.shared.lock();
        state.time.running().max(state.time.now())
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()> {
        let shared = Arc::clone(&self.shared);
        let id = shared.lock().timers.add_sleeper(deadline);
        shared.notify.notify_one();
        Sleep { shared, id }.boxed()
    }

    fn hurry(&self) -> HurryGuard {
        HurryGuard::new(Held::new(&self.shared, Holds::Hurry))
    }

    fn keep_wall_time(&self) -> BoxFuture<'static, WallGuard> {
        let shared = Arc::clone(&self.shared);
        async move {
            let mut at_wall = shared.drive.at_wall.subscribe();
            shared.drive.at_wall.send_replace(false);
            let held = Held::new(&shared, Holds::Wall);
            // The sender lives as long as `shared` does.
            let _ = at_wall.wait_for(|at_wall| *at_wall).await;
            WallGuard::new(held)
        }
        .boxed()
    }
}
