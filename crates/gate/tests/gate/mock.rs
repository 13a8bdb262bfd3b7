//! An API server that answers as it is told and remembers what it was asked.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gate::{Gate, GateConfig, Limits, Upstream};
use http::{HeaderMap, Request, Response, StatusCode};
use kube::client::Body;
use model::GateRecord;
use serde_json::{Value, json};
use tower::BoxError;

/// One request as it arrived upstream.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Arrived {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// What the mock saw and what the gate recorded.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) arrived: Arc<Mutex<Vec<Arrived>>>,
    pub(crate) records: Arc<Mutex<Vec<GateRecord>>>,
}

impl Seen {
    pub(crate) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().expect("lock").clone()
    }

    pub(crate) fn records(&self) -> Vec<GateRecord> {
        self.records.lock().expect("lock").clone()
    }

    pub(crate) fn last(&self) -> GateRecord {
        self.records().pop().expect("a record")
    }
}

pub(crate) const CASE: &str = "c-1";

pub(crate) fn gate_before(upstream: Upstream) -> (Gate, Seen) {
    gate_within(upstream, Limits::default())
}

pub(crate) fn gate_within(upstream: Upstream, limits: Limits) -> (Gate, Seen) {
    let seen = Seen::default();
    let records = Arc::clone(&seen.records);
    let sink = Arc::new(move |record| records.lock().expect("lock").push(record));
    (Gate::new(GateConfig { limits, ..GateConfig::new(upstream, CASE, sink) }), seen)
}

/// A gate before a server that answers each request by `answer`.
pub(crate) fn gate_with(answer: impl Fn(&Arrived) -> Response<Body> + Send + Sync + 'static) -> (Gate, Seen) {
    let arrived: Arc<Mutex<Vec<Arrived>>> = Arc::default();
    let (answer, log) = (Arc::new(answer), Arc::clone(&arrived));
    let upstream = Upstream::new(tower::service_fn(move |request: Request<Body>| {
        let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let (method, target) = (parts.method.to_string(), parts.uri.to_string());
            let one = Arrived { method, target, headers: parts.headers, body };
            let response = answer(&one);
            log.lock().expect("lock").push(one);
            Ok::<_, BoxError>(response)
        }
    }));
    let (gate, mut seen) = gate_before(upstream);
    seen.arrived = arrived;
    (gate, seen)
}

/// A gate before a server that echoes what it stores.
pub(crate) fn gate() -> (Gate, Seen) {
    gate_with(|request| {
        let object = serde_json::from_slice(&request.body).unwrap_or_else(|_| json!({"kind": "List", "items": []}));
        let code = if request.method == "POST" { StatusCode::CREATED } else { StatusCode::OK };
        json_response(code, &object)
    })
}

pub(crate) fn json_response(code: StatusCode, body: &Value) -> Response<Body> {
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string().into_bytes()))
        .expect("a response")
}

/// A request as a client would send it.
pub(crate) fn request(method: &str, target: &str, content_type: Option<&str>, body: &[u8]) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(target);
    if let Some(content_type) = content_type {
        builder = builder.header("content-type", content_type);
    }
    builder.body(Body::from(body.to_vec())).expect("a request")
}

pub(crate) async fn body_of(response: Response<Body>) -> Value {
    let bytes = response.into_body().collect_bytes().await.expect("a body");
    serde_json::from_slice(&bytes).expect("a JSON body")
}
