//! The one task that moves a cluster's time: it runs what is due, and hurries to the next timer when someone waits for
//! that and nothing is pending. What is pending is known, never guessed from how long nothing was heard: on a machine under
//! load, work that was woken may wait for its turn for longer than any limit. Also the cluster's [`Clock`].

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use clock::{AtRest, Busy, Clock, HurryGuard, WallGuard};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::cluster::Shared;
use crate::time::Slept;

/// Between two looks while something is pending; other clusters' drivers look in between.
const LOOK: Duration = Duration::from_micros(30);
/// After so many looks in a row it is not over at once, and time goes on at the pace of the wall.
const LOOKS: u32 = 30;
/// While something stays pending, it is looked again so often.
const PATIENCE: Duration = Duration::from_millis(1);
/// The longest sleep of the driver: the wall's clock may be set.
const LONGEST: Duration = Duration::from_secs(5);

/// Who wants time to hurry, or not to.
#[derive(Debug)]
pub(crate) struct Drive {
    hurry: AtomicUsize,
    wall: AtomicUsize,
    external: AtomicUsize,
    at_wall: watch::Sender<bool>,
    /// What hurries, as far as it tells whether it is busy.
    works: Mutex<Vec<Weak<Busy>>>,
}

impl Default for Drive {
    fn default() -> Self {
        Self {
            hurry: AtomicUsize::new(0),
            wall: AtomicUsize::new(0),
            external: AtomicUsize::new(0),
            at_wall: watch::Sender::new(false),
            works: Mutex::default(),
        }
    }
}

impl Drive {
    fn someone_is_busy(&self) -> bool {
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        works.retain(|work| work.strong_count() > 0);
        works.iter().filter_map(Weak::upgrade).any(|work| work.is())
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

/// Starts what moves the time of a cluster: on the runtime of whoever uses it, where that tells when it comes to rest, else
/// beside it.
pub(crate) fn start(shared: &Arc<Shared>) -> AbortHandle {
    let told = clock::listen(shared);
    let runtime = if told { &shared.host } else { thread() };
    runtime.spawn(run(Arc::clone(shared), told)).abort_handle()
}

/// Runs until it is aborted, which the last clone of the cluster does when it is dropped. Who is `told` when the runtime is
/// idle need not look.
async fn run(alive: Arc<Shared>, told: bool) {
    let mut looks = 0;
    loop {
        let step = if alive.drive.wants_wall() {
            catch_up(&alive)
        } else if alive.drive.may_hurry() {
            // At rest and still here: something pends.
            if told { Step::Wait(run_due(&alive).min(PATIENCE)) } else { hurry(&alive) }
        } else {
            Step::Wait(run_due(&alive))
        };
        looks = if matches!(step, Step::Pending) { looks + 1 } else { 0 };
        match step {
            Step::Moved => tokio::task::yield_now().await,
            Step::Pending if looks < LOOKS => {
                std::thread::sleep(LOOK);
                tokio::task::yield_now().await;
            }
            // Whoever keeps it pending may itself be waiting for the wall.
            Step::Pending => pause(&alive, run_due(&alive).min(PATIENCE)).await,
            Step::Wait(after) => pause(&alive, after.min(LONGEST)).await,
        }
    }
}

/// Until something is told to the driver, and no longer than this.
async fn pause(shared: &Shared, longest: Duration) {
    let _ = tokio::time::timeout(longest, shared.notify.notified()).await;
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
    if is_pending(shared) || !is_idle(&shared.host) { Step::Pending } else { jump(shared) }
}

/// The runtime that the cluster was started in has nothing left to do but what others, elsewhere, have just given it.
impl AtRest for Shared {
    fn at_rest(&self) {
        if self.drive.may_hurry() && !is_pending(self) && self.host.metrics().global_queue_depth() == 0 {
            jump(self);
            // The runtime looks around once more, without sleeping, and comes to rest again: for the next jump.
            self.notify.notify_one();
        }
    }
}

fn jump(shared: &Shared) -> Step {
    let mut state = shared.lock();
    let Some(next) = state.timers.next_at() else { return Step::Wait(LONGEST) };
    if next > state.time.running() {
        state.time.jump_to(next);
    }
    state.catch_up();
    Step::Moved
}

fn is_pending(shared: &Shared) -> bool {
    if shared.in_flight() > 0 || shared.drive.someone_is_busy() {
        return true;
    }
    let state = shared.lock();
    state.is_dirty() || state.watchers.any_behind() || state.timers.sleeper_pending()
}

/// True when every worker of the runtime is parked and no task waits for one: nothing that has been woken has yet to run.
/// A worker that is woken has counted so before it takes its task from the queue, and it has queued whatever it woke before
/// it counts as parked.
fn is_idle(host: &Handle) -> bool {
    let metrics = host.metrics();
    // An odd count is that of a parked worker.
    let parks = || (0..metrics.num_workers()).map(|worker| metrics.worker_park_unpark_count(worker));
    let before: Vec<u64> = parks().collect();
    fence(Ordering::SeqCst);
    let queued = metrics.global_queue_depth();
    fence(Ordering::SeqCst);
    before.iter().all(|count| count % 2 == 1) && queued == 0 && parks().eq(before)
}

/// Where the drivers of clusters run that are not told: a thread of their own, so that they do not count as work of the
/// runtimes that they watch.
fn thread() -> &'static Handle {
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
            Slept::NotYet => Poll::Pending,
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

    fn worked(&self) -> Duration {
        self.shared.worked()
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
