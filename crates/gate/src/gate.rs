//! What others hold of the gate: its configuration, the ways through it, its life. What happens on the way is in `flow`.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use kube::client::Body;
use model::Party;
use tower::{BoxError, Service};

use crate::authority::Authority;
use crate::forward::Upstream;
use crate::health::Health;
use crate::in_flight::InFlight;
use crate::record::{Entry, Sink};
use crate::{Endpoint, Journal, MemoryJournal, Policy};

/// The label on everything that was made through a gate; its value is the name of the Lease of the run.
pub const LABEL: &str = "run.k8s.local/id";
/// The label of a create, by which its object is known when the answer was lost. No annotation: those of a Deployment go to
/// its ReplicaSets, and stay there when they are taken off the Deployment.
pub const NONCE: &str = "run.k8s.local/rev";

/// Bounds of what the gate takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request body, and of an answer that the gate itself has to read.
    pub body: usize,
    /// Until a request body is there, and until the headers of an answer; watches and logs are exempt.
    pub answer: Duration,
    /// How long a request is sent again that the API server did not answer, or asked to be sent later.
    pub patience: Duration,
    /// Open connections of one endpoint, tunnels among them; more wait.
    pub connections: usize,
    /// Until the headers of the next request must be there, once the connection is free for one.
    pub headers: Duration,
    /// Until a tunnel (exec, attach, port-forward) in which nothing moves is closed.
    pub tunnel_idle: Duration,
    /// Bytes that one tunnel carries, both ways together.
    pub tunnel_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // Three megabytes is the API server's own limit.
        Self {
            body: 3 * 1024 * 1024,
            answer: Duration::from_secs(120),
            patience: Duration::from_secs(20),
            connections: 128,
            // Longer than Go's idle time-out of 90 s, so that it is the client who closes an idle connection and no
            // request meets a closed one.
            headers: Duration::from_secs(120),
            tunnel_idle: Duration::from_mins(15),
            tunnel_bytes: 1 << 30,
        }
    }
}

/// What a gate stands before.
pub struct GateConfig {
    /// The API server, with the harness's credentials.
    pub upstream: Upstream,
    /// The namespace of the case: what `$(case)` means, and the default namespace of clients.
    pub case_namespace: String,
    /// Where records go.
    pub sink: Sink,
    /// Where writes are kept before they are forwarded, so that they can be undone.
    pub journal: Arc<dyn Journal>,
    /// Value of the label [`LABEL`] on everything that is made through the gate: opaque, the same for every party.
    pub label: String,
    /// Bounds.
    pub limits: Limits,
}

impl GateConfig {
    /// With the default limits and a journal in memory.
    pub fn new(upstream: Upstream, case_namespace: impl Into<String>, sink: Sink) -> Self {
        let (case_namespace, journal) = (case_namespace.into(), Arc::new(MemoryJournal::default()));
        Self { upstream, label: case_namespace.clone(), case_namespace, sink, journal, limits: Limits::default() }
    }
}

impl fmt::Debug for GateConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateConfig").field("case_namespace", &self.case_namespace).finish_non_exhaustive()
    }
}

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No loopback port.
    #[error("cannot listen on the loopback interface: {0}")]
    Listen(#[from] std::io::Error),
    /// Keys or certificates.
    #[error("cannot make a certificate for the loopback proxy: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS set-up.
    #[error("cannot set up TLS for the loopback proxy: {0}")]
    Tls(#[from] rustls::Error),
}

/// The gate of one case. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    pub(crate) config: Arc<GateConfig>,
    pub(crate) in_flight: InFlight,
    pub(crate) health: Arc<Health>,
    authority: Arc<Mutex<Option<Arc<Authority>>>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Who asks, and by what right.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) party: Party,
    pub(crate) policy: Arc<Policy>,
    /// Whether its writes are written down to be undone.
    pub(crate) journaled: bool,
}

impl Gate {
    /// A gate before an API server.
    pub fn new(config: GateConfig) -> Self {
        Self { config: Arc::new(config), in_flight: InFlight::new(), health: Arc::default(), authority: Arc::default() }
    }

    /// A client in this process. Must be called inside a tokio runtime.
    pub fn client(&self, party: Party, policy: Arc<Policy>) -> kube::Client {
        kube::Client::new(self.service(party, policy), self.config.case_namespace.clone())
    }

    /// The gate as a service, for those who bring their own client.
    pub fn service(&self, party: Party, policy: Arc<Policy>) -> GateService {
        GateService { gate: self.clone(), caller: Arc::new(Caller { party, policy, journaled: true }) }
    }

    /// The harness's own client for putting back and for looking: it may everything, is recorded as the host, and what it
    /// writes is not journaled. Must be called inside a tokio runtime.
    pub fn keeper(&self) -> kube::Client {
        let caller = Caller { party: Party::Host, policy: Arc::new(Policy::everything()), journaled: false };
        let service = GateService { gate: self.clone(), caller: Arc::new(caller) };
        kube::Client::new(service, self.config.case_namespace.clone())
    }

    /// A loopback TLS proxy with a token and a kubeconfig of its own. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`GateError`] when no port or certificate can be had.
    pub fn serve(&self, party: Party, policy: Arc<Policy>) -> Result<Endpoint, GateError> {
        let authority = self.authority()?;
        Endpoint::open(self.service(party, policy), &authority)
    }

    /// Resolves when no write is under way. Close endpoints first, or new ones may come.
    pub async fn settled(&self) {
        self.in_flight.settled().await;
    }

    /// Since when the API server has not answered, all tries counted; none: the last exchange found it there. A case that
    /// ends while it is lost says nothing about its agent.
    pub fn lost_since(&self) -> Option<Timestamp> {
        self.health.lost_since()
    }

    /// The namespace of the case.
    pub fn case_namespace(&self) -> &str {
        &self.config.case_namespace
    }

    pub(crate) fn limits(&self) -> Limits {
        self.config.limits
    }

    fn authority(&self) -> Result<Arc<Authority>, GateError> {
        let mut slot = self.authority.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authority) = &*slot {
            return Ok(Arc::clone(authority));
        }
        let authority = Arc::new(Authority::new()?);
        *slot = Some(Arc::clone(&authority));
        Ok(authority)
    }

    pub(crate) fn entry(&self, party: Party) -> Entry {
        Entry::begin(party, Arc::clone(&self.config.sink))
    }
}

/// The gate for one party, as a [`tower::Service`].
#[derive(Clone, Debug)]
pub struct GateService {
    gate: Gate,
    caller: Arc<Caller>,
}

impl GateService {
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    pub(crate) fn party(&self) -> Party {
        self.caller.party
    }
}

impl<B> Service<Request<B>> for GateService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (gate, caller) = (self.gate.clone(), Arc::clone(&self.caller));
        Box::pin(async move { Ok(gate.handle(&caller, request).await) })
    }
}
