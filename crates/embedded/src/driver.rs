//! The one task that moves a cluster's time: it runs what is due, and hurries to the next timer when someone waits for
//! that and nothing is pending. Also the cluster's [`Clock`].

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use clock::{Busy, Clock, HurryGuard, WallGuard};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::cluster::Shared;
use crate::time::Slept;

/// Between two looks while something is pending.
const LOOK: Duration = Duration::from_micros(30);
/// After so many looks the driver lets other clusters' drivers go on.
const LOOKS: usize = 30;
/// While something stays pending, it is looked again so often.
const PATIENCE: Duration = Duration::from_millis(1);
/// A runtime that other work keeps busy holds time up for so long and no longer: what pends here is told otherwise.
const OTHERS: Duration = Duration::from_millis(5);
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
    /// What hurries, as far as it tells whether it is busy.
    works: Mutex<Vec<Weak<Busy>>>,
    /// The count of `activity` that was last seen, and when it or something pending was.
    last: Mutex<(u64, Instant)>,
}

impl Default for Drive {
    fn default() -> Self {
        Self {
            hurry: AtomicUsize::new(0),
            wall: AtomicUsize::new(0),
            external: AtomicUsize::new(0),
            activity: AtomicU64::new(0),
            at_wall: watch::Sender::new(false),
            works: Mutex::default(),
            last: Mutex::new((0, Instant::now())),
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

    fn someone_is_busy(&self) -> bool {
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        works.retain(|work| work.strong_count() > 0);
        works.iter().filter_map(Weak::upgrade).any(|work| work.is())
    }

    /// For how long nothing has pended or happened here; none while something pends.
    fn quiet(&self, pending: bool) -> Option<Duration> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let activity = self.activity();
        if pending || last.0 != activity {
            *last = (activity, Instant::now());
        }
        (!pending).then(|| last.1.elapsed())
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
            hurry(&alive)
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

/// Jumps to the next timer if nothing pends, here or in the runtime that the cluster was started in.
fn hurry(shared: &Arc<Shared>) -> Step {
    for _ in 0..LOOKS {
        if !shared.drive.may_hurry() {
            return Step::Moved;
        }
        let quiet = shared.drive.quiet(is_pending(shared));
        if quiet.is_some_and(|quiet| is_idle(&shared.host) || quiet >= OTHERS) {
            return jump(shared);
        }
        std::thread::sleep(LOOK);
    }
    Step::Pending
}

fn jump(shared: &Arc<Shared>) -> Step {
    let mut state = shared.lock();
    let Some(next) = state.timers.next_at() else { return Step::Wait(LONGEST) };
    if next > state.time.running() {
        state.time.jump_to(next);
    }
    state.catch_up();
    Step::Moved
}

fn is_pending(shared: &Arc<Shared>) -> bool {
    if shared.in_flight() > 0 || shared.drive.someone_is_busy() {
        return true;
    }
    let state = shared.lock();
    state.is_dirty() || state.watchers.any_behind() || state.timers.sleeper_pending()
}

/// True when every worker of the runtime is parked and no task waits for one: nothing that has been woken has yet to run.
fn is_idle(host: &Handle) -> bool {
    let metrics = host.metrics();
    // An odd count is that of a parked worker.
    let parks = || (0..metrics.num_workers()).map(|worker| metrics.worker_park_unpark_count(worker));
    let before: Vec<u64> = parks().collect();
    before.iter().all(|count| count % 2 == 1) && metrics.global_queue_depth() == 0 && parks().eq(before)
}

/// Where the drivers of all clusters run: a thread of their own, so that they do not count as work of the runtimes that
/// they watch.
pub(crate) fn thread() -> &'static Handle {
    static THREAD: OnceLock<Handle> = OnceLock::new();
    THREAD.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        // Without memory for a timer wheel there is no cluster and nothing to fall back on.
        let runtime = runtime.expect("a runtime without I/O needs no resource that could be missing");
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("cluster-time".into())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .expect("a thread can be started at the first use of a cluster");
        handle
    })
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

    fn hurry_for(&self, work: &Arc<Busy>) -> HurryGuard {
        self.shared.drive.works.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(work));
        self.hurry()
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
