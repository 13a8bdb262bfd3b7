//! An embedded cluster behind a connection on which things go wrong, and what is seen of it from the other side.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use certify::Baseline;
use cluster::{Cluster, EmbeddedProvisioner, ProvisionError, ProvisionRequest, Provisioner};
use embedded::{Identity, Options};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, Full};
use model::ClusterKind;
use serde_json::{Value, json};
use tower::BoxError;

use crate::fault::{Fault, Faults, Seen};

/// How long cluster time is held up after something went wrong, unless the same is asked again: whoever was let down tries
/// again by the wall clock, and a real cluster would not run ahead meanwhile.
const HELD: Duration = Duration::from_secs(2);

/// Writes that took effect: how often, by method and path; creates with the name of what was made.
pub(crate) type Effects = BTreeMap<String, usize>;

/// One cluster, from the other side.
pub(crate) struct Backstage {
    server: embedded::Cluster,
    /// Before anything came from the harness.
    pub(crate) baseline: Baseline,
    seen: Arc<Log>,
}

#[derive(Default)]
struct Log {
    /// `METHOD path`, uid and resourceVersion of what came of it: a write that changed nothing comes to the same.
    effects: Mutex<std::collections::BTreeSet<(String, String, String)>>,
    faults: Mutex<Vec<String>>,
    held: Mutex<BTreeMap<String, Held>>,
}

/// A request that the cluster knows of and that is never made: cluster time waits for it.
type Held = Arc<Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>>;

impl Backstage {
    pub(crate) fn client(&self) -> kube::Client {
        direct(&self.server)
    }

    pub(crate) fn effects(&self) -> Effects {
        let mut effects = Effects::new();
        for (what, ..) in self.seen.effects.lock().unwrap().iter() {
            *effects.entry(what.clone()).or_default() += 1;
        }
        effects
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.seen.faults.lock().unwrap().clone()
    }
}

fn direct(server: &embedded::Cluster) -> kube::Client {
    let server = server.clone();
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let server = server.clone();
        async move { Ok::<_, BoxError>(server.handle(request, Identity::admin()).await) }
    });
    kube::Client::new(service, "default")
}

/// Makes embedded clusters behind bad connections.
pub(crate) struct BadConnections {
    pub(crate) faults: Box<dyn Fn(usize) -> Arc<dyn Faults> + Send + Sync>,
    pub(crate) made: Mutex<Vec<Arc<Backstage>>>,
}

impl fmt::Debug for BadConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BadConnections")
    }
}

impl Provisioner for BadConnections {
    fn kind(&self) -> ClusterKind {
        ClusterKind::Embedded
    }

    fn reusable(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        EmbeddedProvisioner.patience()
    }

    fn provision(&self, request: ProvisionRequest) -> BoxFuture<'_, Result<Cluster, ProvisionError>> {
        async move {
            let seed = request.seed;
            let mut cluster = EmbeddedProvisioner.provision(request).await?;
            let server = embedded::Cluster::start(Options { seed, ..Options::default() });
            let baseline = Baseline::take(&direct(&server)).await.unwrap();
            let number = self.made.lock().unwrap().len();
            let line = Line { server: server.clone(), faults: (self.faults)(number), log: Arc::default() };
            let backstage = Backstage { server: server.clone(), baseline, seen: Arc::clone(&line.log) };
            self.made.lock().unwrap().push(Arc::new(backstage));
            cluster.clock = server.clock();
            let service = tower::service_fn(move |request| line.clone().carry(request));
            cluster.upstream = gate::upstream(kube::Client::new(service, "default"));
            Ok(cluster)
        }
        .boxed()
    }

    /// The faults are for what cases ask.
    fn status<'a>(&'a self, _cluster: &'a Cluster) -> BoxFuture<'a, Result<(), ProvisionError>> {
        async { Ok(()) }.boxed()
    }
}

/// The connection.
#[derive(Clone)]
struct Line {
    server: embedded::Cluster,
    faults: Arc<dyn Faults>,
    log: Arc<Log>,
}

impl Line {
    async fn carry(self, request: Request<kube::client::Body>) -> Result<Response<Answer>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let seen = Seen { method: &method, path: uri.path(), query: uri.query().unwrap_or_default() };
        let what = format!("{method} {}", uri.path());
        self.log.held.lock().unwrap().remove(&what);
        let fault = self.faults.of(&seen);
        if let Some(fault) = fault {
            self.log.faults.lock().unwrap().push(format!("{fault:?} {what}"));
        }
        match fault {
            Some(Fault::Conflict) => {
                self.hold(what);
                return Ok(status(409, "Conflict", None));
            }
            Some(Fault::Busy(seconds)) => {
                self.hold(what);
                return Ok(status(429, "TooManyRequests", Some(seconds)));
            }
            Some(Fault::Error) => {
                self.hold(what);
                return Ok(status(500, "InternalError", None));
            }
            Some(Fault::LostBefore) => {
                self.hold(what);
                return Err("the connection broke before the request was there".into());
            }
            Some(Fault::Late(time)) => {
                let _held = self.pending();
                tokio::time::sleep(time).await;
            }
            _ => {}
        }
        let kept = seen.is_write() && !seen.is_dry_run();
        let response = self.server.handle(Request::from_parts(parts, Full::new(body)), Identity::admin()).await;
        let response = if kept { self.note(&what, response).await? } else { response.map(Answer::whole) };
        match fault {
            Some(Fault::LostAfter) => {
                self.hold(what);
                Err("the connection broke before the answer was there".into())
            }
            Some(Fault::Cut { after, cleanly }) if response.status().is_success() && seen.is_watch() => {
                let line = self.clone();
                let tell = Box::new(move || line.hold(what));
                let cut = Some(Cut { left: after, cleanly, tell });
                Ok(response.map(|body| Answer { cut, ..body }))
            }
            _ => Ok(response),
        }
    }

    /// Writes down what a write came to.
    async fn note(&self, what: &str, response: Response<embedded::Body>) -> Result<Response<Answer>, BoxError> {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|_| "the cluster's own answer broke off")?.to_bytes();
        if parts.status.is_success() {
            let object: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
            let what = if what.starts_with("POST") { format!("{what}/{}", text("name")) } else { what.to_owned() };
            self.log.effects.lock().unwrap().insert((what, text("uid"), text("resourceVersion")));
        }
        Ok(Response::from_parts(parts, Answer::of(bytes)))
    }

    /// Holds cluster time up until the same is asked again, or nobody seems to want it any more.
    fn hold(&self, what: String) {
        let held = self.pending();
        let weak = Arc::downgrade(&held);
        self.log.held.lock().unwrap().insert(what.clone(), held);
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            tokio::time::sleep(HELD).await;
            let mut held = log.held.lock().unwrap();
            if held.get(&what).is_some_and(|held| weak.upgrade().is_some_and(|own| Arc::ptr_eq(held, &own))) {
                held.remove(&what);
            }
        });
    }

    fn pending(&self) -> Held {
        let request = Request::get("/version").body(Full::new(Bytes::new())).unwrap();
        let never = self.server.handle(request, Identity::admin()).map(|_| ());
        Arc::new(Mutex::new(Box::pin(never)))
    }
}

fn status(code: u16, reason: &str, retry_after: Option<u64>) -> Response<Answer> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": "as the test ordered",
    });
    let mut response = Response::builder().status(code).header("content-type", "application/json");
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(Answer::of(Bytes::from(body.to_string()))).unwrap()
}

/// A body that may end before its time.
struct Answer {
    body: Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>,
    cut: Option<Cut>,
}

/// How a body ends before its time.
struct Cut {
    /// Frames until then.
    left: usize,
    /// Not in the middle.
    cleanly: bool,
    tell: Box<dyn FnOnce() + Send>,
}

impl Answer {
    fn of(bytes: Bytes) -> Self {
        Self { body: Box::pin(Full::new(bytes).map_err(|never| match never {})), cut: None }
    }

    fn whole(body: embedded::Body) -> Self {
        Self { body: Box::pin(body.map_err(BoxError::from)), cut: None }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(cut) = self.cut.take_if(|cut| cut.left == 0) {
            (cut.tell)();
            self.body = Box::pin(Empty::new().map_err(|never| match never {}));
            return Poll::Ready((!cut.cleanly).then(|| Err("the watch broke off".into())));
        }
        let frame = std::task::ready!(self.body.as_mut().poll_frame(context));
        if let Some(cut) = &mut self.cut {
            cut.left -= 1;
        }
        Poll::Ready(frame)
    }
}
