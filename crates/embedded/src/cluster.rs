//! A cluster as its users hold it: cheap to clone, ended when the last clone is dropped.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use simulation::Controller;
use tokio::sync::Notify;

use crate::body::Body;
use crate::driver::{ClusterClock, Drive};
use crate::error::ApiError;
use crate::state::State;
use crate::{Identity, bootstrap, machinery, pipe, respond, server, webhooks};

/// How a cluster is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Names, addresses and delays follow from it.
    pub seed: u64,
    /// The node and its images.
    pub node: workloads::NodeConfig,
}

/// What the driver, the clock and every request share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Nanoseconds.
    worked: AtomicU64,
    /// Wakes the driver: a timer was set, a guard came or went, work was done.
    pub(crate) notify: Notify,
    /// Requests that are not answered yet.
    in_flight: AtomicUsize,
    pub(crate) drive: Drive,
    /// The runtime of whoever uses the cluster.
    pub(crate) host: tokio::runtime::Handle,
}

impl Shared {
    pub(crate) fn lock(&self) -> AtWork<'_> {
        // A panic of a controller is a defect, but the state stays usable: the next change finds it as it was left.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        AtWork { state, since: Instant::now(), worked: &self.worked }
    }

    /// How long the state has been held: everything that the cluster does it does on that.
    pub(crate) fn worked(&self) -> Duration {
        Duration::from_nanos(self.worked.load(Ordering::Relaxed))
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

/// The state, and a note of how long it was held.
pub(crate) struct AtWork<'a> {
    state: MutexGuard<'a, State>,
    since: Instant,
    worked: &'a AtomicU64,
}

impl Deref for AtWork<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for AtWork<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let nanos = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.worked.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// Counts a request while it lives.
#[derive(Debug)]
struct InFlight(Arc<Shared>);

impl InFlight {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.notify.notify_one();
    }
}

/// Ends the driver with the last clone of the cluster, and every watch and sleep that is still held.
#[derive(Debug)]
struct Life {
    driver: tokio::task::AbortHandle,
    shared: Arc<Shared>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.driver.abort();
        self.shared.lock().end();
    }
}

/// Makes calls of webhooks for controllers. Time waits for them as it waits for requests.
fn launcher(shared: &Arc<Shared>) -> webhooks::Launch {
    let weak = Arc::downgrade(shared);
    Box::new(move |call| {
        let Some(in_flight) = weak.upgrade().as_ref().map(InFlight::new) else { return };
        // The drivers' thread has no sockets.
        let host = in_flight.0.host.clone();
        host.spawn(async move {
            let outcome = webhooks::make(&call).await;
            in_flight.0.lock().webhooks.settle(call.key, outcome);
        });
    })
}

/// One embedded cluster. Clones are the same cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    _life: Arc<Life>,
}

impl Cluster {
    /// Starts a cluster with its controllers, scheduler and node. Must be called inside a tokio runtime.
    pub fn start(options: Options) -> Self {
        let mut controllers = machinery::controllers();
        controllers.extend(workloads::controllers(&options.node));
        Self::start_with(options.seed, controllers)
    }

    /// Starts a cluster with these controllers alone, besides those of the API machinery when `controllers` has them.
    fn start_with(seed: u64, controllers: Vec<Box<dyn Controller>>) -> Self {
        let start = Instant::now();
        let mut state = State::new(seed);
        bootstrap::fill(&mut state);
        state.start(controllers);
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            worked: AtomicU64::new(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            notify: Notify::new(),
            in_flight: AtomicUsize::new(0),
            drive: Drive::default(),
            host: tokio::runtime::Handle::current(),
        });
        shared.lock().webhooks.launch = Some(launcher(&shared));
        let driver = crate::driver::start(&shared);
        Self { shared: Arc::clone(&shared), _life: Arc::new(Life { driver, shared }) }
    }

    /// Starts a cluster with the controllers of the API machinery and `controllers`: for tests of controllers.
    pub fn with_controllers(seed: u64, controllers: Vec<Box<dyn Controller>>) -> Self {
        let mut all = machinery::controllers();
        all.extend(controllers);
        Self::start_with(seed, all)
    }

    /// Answers a request of the Kubernetes API. Watches and followed logs stream until the body is dropped.
    ///
    /// The cluster counts the request as pending from this call on. Dropping the future before it is ready means that
    /// the request was not made.
    pub fn handle<B>(
        &self,
        request: Request<B>,
        identity: Identity,
    ) -> impl Future<Output = Response<Body>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let shared = Arc::clone(&self.shared);
        let in_flight = InFlight::new(&shared);
        async move {
            let (parts, body) = request.into_parts();
            let response = match Limited::new(body, wire::MAX_BODY).collect().await {
                Ok(body) if pipe::is_needed(&parts) => pipe::answer(&shared, parts, body.to_bytes(), identity).await,
                Ok(body) => server::answer(&shared, parts, body.to_bytes(), identity).await,
                Err(_) => respond::failure(&ApiError::new(
                    413,
                    "RequestEntityTooLarge",
                    format!("Request entity is too large: limit is {}", wire::MAX_BODY),
                )),
            };
            drop(in_flight);
            response
        }
    }

    /// Stops everything that makes objects behave: controllers, scheduler, nodes. The API server goes on, with what belongs
    /// to it alone. There is no way back.
    pub fn freeze(&self) {
        self.shared.lock().freeze();
    }

    /// Whose token it is, if it is one of a service account of this cluster.
    pub(crate) fn identity_of(&self, token: &str) -> Option<Identity> {
        self.shared.lock().identity_of(token)
    }

    /// The cluster's time.
    pub fn clock(&self) -> Arc<dyn clock::Clock> {
        Arc::new(ClusterClock::new(Arc::clone(&self.shared)))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}
