//! The embedded cluster behind a network that fails as it is told, and a gate before it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use embedded::{Cluster, Identity};
use gate::{Entry, Gate, GateConfig, Journal, Limits, MemoryJournal, Policy, State, Upstream};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use model::{GateRecord, Party};
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt as _};

/// What happens to one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The connection breaks before the server has read it.
    LostBefore,
    /// It took effect; the answer does not arrive.
    LostAfter,
    /// The server, or what stands before it, answers this and does nothing.
    Code(u16),
    /// The same, but the request took effect.
    CodeAfter(u16),
    /// A 429 that asks to come back after so many seconds.
    Busy(u64),
    /// This Status, and nothing is done.
    Status(Value),
    /// Somebody else merges this into the object at this path first.
    Rival(String, Value),
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: Value,
}

impl Arrived {
    /// `GET`, `PATCH`, or with a question mark when it only asks.
    pub(crate) fn short(&self) -> String {
        let asks = if self.target.contains("dryRun=All") { "?" } else { "" };
        format!("{}{asks}", self.method)
    }
}

type Plan = VecDeque<Option<Fault>>;

/// A gate before a cluster.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) gate: Gate,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) records: Arc<Mutex<Vec<GateRecord>>>,
    log: Arc<Mutex<Vec<Arrived>>>,
    writes: Arc<Mutex<Plan>>,
    all: Arc<Mutex<Plan>>,
}

pub(crate) const CASE: &str = "c-1";
pub(crate) const LABEL_VALUE: &str = "run-7";

impl Scene {
    /// With a cluster whose controllers stand still and the namespace of the case.
    pub(crate) async fn new() -> Self {
        Self::with(|journal, _| journal).await
    }

    /// The same with a journal of one's own.
    pub(crate) async fn with<J: Journal + 'static>(
        journal: impl FnOnce(Arc<MemoryJournal>, &Cluster) -> Arc<J>,
    ) -> Self {
        let cluster = Cluster::with_controllers(1, Vec::new());
        let memory = Arc::new(MemoryJournal::default());
        let journal = journal(Arc::clone(&memory), &cluster);
        let (log, writes, all) = <(Arc<Mutex<Vec<Arrived>>>, Arc<Mutex<Plan>>, Arc<Mutex<Plan>>)>::default();
        let upstream = upstream(cluster.clone(), Arc::clone(&log), Arc::clone(&writes), Arc::clone(&all));
        let records: Arc<Mutex<Vec<GateRecord>>> = Arc::default();
        let sink_records = Arc::clone(&records);
        let sink = Arc::new(move |record| sink_records.lock().expect("lock").push(record));
        let limits = Limits { patience: Duration::from_secs(2), answer: Duration::from_secs(10), ..Limits::default() };
        let gate = Gate::new(GateConfig {
            journal,
            label: LABEL_VALUE.to_owned(),
            limits,
            ..GateConfig::new(upstream, CASE, sink)
        });
        let scene = Self { cluster, gate, journal: memory, records, log, writes, all };
        scene.direct("POST", "/api/v1/namespaces", json!({"metadata": {"name": CASE}})).await;
        scene
    }

    /// Faults of the next writes that are no dry runs, one each.
    pub(crate) fn fail_writes(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.writes.lock().expect("lock") = faults.into_iter().map(Some).collect();
    }

    /// Faults of the next requests of any kind; none: it goes through.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        *self.all.lock().expect("lock") = faults.into_iter().collect();
    }

    /// A request past the gate.
    pub(crate) async fn direct(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        direct(&self.cluster, method, path, "application/merge-patch+json", body.to_string().into()).await
    }

    /// A request through the gate by who may everything.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.send_as(&Policy::everything(), method, path, default_type(method), body).await
    }

    /// The same with another policy and a content type.
    pub(crate) async fn send_as(
        &self,
        policy: &Policy,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> (u16, Value) {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.send_bytes(policy, method, path, content_type, bytes).await
    }

    pub(crate) async fn send_bytes(
        &self,
        policy: &Policy,
        method: &str,
        path: &str,
        content_type: &str,
        bytes: Vec<u8>,
    ) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let request = request.body(Body::from(bytes)).expect("a request");
        let service = self.gate.service(Party::Agent, Arc::new(policy.clone()));
        let response = service.oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let (status, object) = self.direct("GET", path, Value::Null).await;
        (status == 200).then_some(object)
    }

    /// What arrived since the last call.
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.log.lock().expect("lock"))
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.arrived().iter().map(Arrived::short).collect()
    }

    pub(crate) async fn entries(&self) -> Vec<Entry> {
        self.journal.entries().await.expect("a journal in memory")
    }

    /// The one entry that took effect; the others were refused.
    pub(crate) async fn done(&self) -> (Entry, Option<Value>) {
        let entries = self.entries().await;
        let mut done = Vec::new();
        for entry in entries {
            match entry.state.clone() {
                State::Done { after } => done.push((entry, after)),
                State::Refused => {}
                other => panic!("{other:?} of {:?}", entry.intent),
            }
        }
        assert_eq!(done.len(), 1, "{done:?}");
        done.remove(0)
    }
}

pub(crate) fn default_type(method: &str) -> &'static str {
    if method == "PATCH" { "application/merge-patch+json" } else { "application/json" }
}

async fn direct(cluster: &Cluster, method: &str, path: &str, patch_type: &str, body: Bytes) -> (u16, Value) {
    let content_type = if method == "PATCH" { patch_type } else { "application/json" };
    let body = if body == "null" { Bytes::new() } else { body };
    let request = Request::builder().method(method).uri(path).header("content-type", content_type);
    let request = request.body(Body::from(body.to_vec())).expect("a request");
    let response = cluster.handle(request, Identity::admin()).await;
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn upstream(
    cluster: Cluster,
    log: Arc<Mutex<Vec<Arrived>>>,
    writes: Arc<Mutex<Plan>>,
    all: Arc<Mutex<Plan>>,
) -> Upstream {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (cluster, log, writes, all) = (cluster.clone(), Arc::clone(&log), Arc::clone(&writes), Arc::clone(&all));
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect_bytes().await?;
            let one = Arrived {
                method: parts.method.to_string(),
                target: parts.uri.to_string(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
            };
            let is_write = one.method != "GET" && !one.target.contains("dryRun=All");
            log.lock().expect("lock").push(one);
            let mut fault = all.lock().expect("lock").pop_front().flatten();
            if is_write && fault.is_none() {
                fault = writes.lock().expect("lock").pop_front().flatten();
            }
            let forward = || async {
                let request = Request::from_parts(parts, Body::from(bytes.to_vec()));
                let (parts, body) = cluster.handle(request, Identity::admin()).await.into_parts();
                let bytes = body.collect().await.map_err(BoxError::from)?.to_bytes();
                Ok::<_, BoxError>(Response::from_parts(parts, Body::from(bytes.to_vec())))
            };
            let refuse = |code: u16| {
                let body =
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "x"});
                Ok(answer(code, &body))
            };
            match fault {
                None => forward().await,
                Some(Fault::LostBefore) => Err(BoxError::from("connection reset")),
                Some(Fault::LostAfter) => {
                    forward().await?;
                    Err(BoxError::from("connection reset"))
                }
                Some(Fault::Code(code)) => refuse(code),
                Some(Fault::CodeAfter(code)) => {
                    forward().await?;
                    refuse(code)
                }
                Some(Fault::Busy(seconds)) => {
                    let mut response = answer(429, &json!({"kind": "Status", "code": 429}));
                    response.headers_mut().insert("retry-after", seconds.into());
                    Ok(response)
                }
                Some(Fault::Status(status)) => {
                    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).expect("a code");
                    Ok(answer(code, &status))
                }
                Some(Fault::Rival(path, patch)) => {
                    let kind = "application/merge-patch+json";
                    let (status, said) = direct(&cluster, "PATCH", &path, kind, patch.to_string().into()).await;
                    assert_eq!(status, 200, "{said}");
                    forward().await
                }
            }
        }
    });
    Upstream::new(service)
}

fn answer(code: u16, body: &Value) -> Response<Body> {
    let response = Response::builder().status(code).header("content-type", "application/json");
    response.body(Body::from(body.to_string().into_bytes())).expect("a response")
}

pub(crate) const MAPS: &str = "/api/v1/namespaces/c-1/configmaps";
pub(crate) const SETS: &str = "/apis/apps/v1/namespaces/c-1/replicasets";
pub(crate) const PODS: &str = "/api/v1/namespaces/c-1/pods";

pub(crate) fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": value}})
}

pub(crate) fn set(name: &str) -> Value {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name},
           "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}})
}

pub(crate) fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().expect("a version")
}
