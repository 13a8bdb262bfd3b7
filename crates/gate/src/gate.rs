//! The path of a request through the gate: attributes, policy, body, object, upstream, record.
//! The undo journal will stand between judging and sending a write; until then nothing is kept.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use kube::client::Body;
use model::{Decision, Party};
use serde_json::Value;
use tower::{BoxError, Service};

use crate::authority::Authority;
use crate::body::{self, Decoded};
use crate::forward::{self, Outgoing, Upstream};
use crate::in_flight::InFlight;
use crate::record::{Entry, Sink};
use crate::review::Review;
use crate::status::{self, Refusal};
use crate::{Attributes, Denial, Endpoint, Hazard, Policy, attributes, hazard, patch};

/// What agents are called in the cluster's words.
const AGENT_USER: &str = "user";

/// Bounds of what the gate takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request body, and of an answer that the gate itself has to read.
    pub body: usize,
    /// Until the headers of an answer; watches and logs are exempt.
    pub answer: Duration,
    /// Open connections of one endpoint; more wait.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // Three megabytes is the API server's own limit.
        Self { body: 3 * 1024 * 1024, answer: Duration::from_secs(120), connections: 128 }
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
    /// Bounds.
    pub limits: Limits,
}

impl GateConfig {
    /// With the default limits.
    pub fn new(upstream: Upstream, case_namespace: impl Into<String>, sink: Sink) -> Self {
        Self { upstream, case_namespace: case_namespace.into(), sink, limits: Limits::default() }
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
    config: Arc<GateConfig>,
    in_flight: InFlight,
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
}

impl Gate {
    /// A gate before an API server.
    pub fn new(config: GateConfig) -> Self {
        Self { config: Arc::new(config), in_flight: InFlight::new(), authority: Arc::default() }
    }

    /// A client in this process. Must be called inside a tokio runtime.
    pub fn client(&self, party: Party, policy: Arc<Policy>) -> kube::Client {
        kube::Client::new(self.service(party, policy), self.config.case_namespace.clone())
    }

    /// The gate as a service, for those who bring their own client.
    pub fn service(&self, party: Party, policy: Arc<Policy>) -> GateService {
        GateService { gate: self.clone(), caller: Arc::new(Caller { party, policy }) }
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

    /// Answers one request. Dropping the future cancels a read; a write that was sent is finished and recorded.
    async fn handle<B>(&self, caller: &Caller, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let mut entry = self.entry(caller.party);
        let (parts, body) = request.into_parts();
        let attributes = match attributes(&parts.method, &parts.uri) {
            Ok(attributes) => attributes,
            Err(bad) => {
                entry.odd(&parts.method, parts.uri.path());
                return refuse(entry, &bad.into());
            }
        };
        entry.describe(&attributes);
        let review = Review::of(&attributes);
        if review.is_none() {
            entry.mutation(attributes.is_write() && !body::is_dry_run(&attributes, None));
            if let Err(denial) = caller.policy.decide(&attributes) {
                return self.deny(entry, caller, &attributes, &denial);
            }
        }
        if is_upgrade(&attributes, &parts.headers) {
            return refuse(entry, &Refusal::upgrade());
        }
        let decoded = match self.understand(&attributes, &parts.headers, body).await {
            Ok(decoded) => decoded,
            Err(refusal) => return refuse(entry, &refusal),
        };
        if let Some(review) = review {
            return self.answer_review(entry, caller, review, &attributes, decoded.as_ref());
        }
        if attributes.is_write() {
            self.write(Write { caller: caller.clone(), entry, attributes, parts, decoded }).await
        } else {
            self.read(entry, &attributes, parts).await
        }
    }

    async fn understand<B>(
        &self,
        attributes: &Attributes,
        headers: &HeaderMap,
        body: B,
    ) -> Result<Option<Decoded>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        if !attributes.is_write() {
            return Ok(None);
        }
        let bytes = body::read(body, self.config.limits.body).await?;
        let decoded = body::decode(attributes, headers, &bytes)?;
        if let Some(decoded) = &decoded {
            body::agrees(attributes, &decoded.value)?;
        }
        Ok(decoded)
    }

    fn deny(&self, entry: Entry, caller: &Caller, attributes: &Attributes, denial: &Denial) -> Response<Body> {
        let marked = caller.party != Party::Agent;
        let subject = if caller.policy.subject().is_empty() { caller.party.as_str() } else { caller.policy.subject() };
        let message = if marked {
            denial.explain(subject, self.case_namespace())
        } else {
            denial.in_kubernetes_words(AGENT_USER)
        };
        entry.finish(Decision::Denied, denial.reason(), StatusCode::FORBIDDEN.as_u16());
        status::denied(denial, attributes, &message, marked)
    }

    fn answer_review(
        &self,
        entry: Entry,
        caller: &Caller,
        review: Review,
        attributes: &Attributes,
        body: Option<&Decoded>,
    ) -> Response<Body> {
        let body = body.map_or(&Value::Null, |b| &b.value);
        match review.answer(attributes, body, &caller.policy, AGENT_USER) {
            Ok((code, answer)) => {
                entry.finish(Decision::Allowed, "", code.as_u16());
                status::answer(code, &answer)
            }
            Err(refusal) => refuse(entry, &refusal),
        }
    }

    async fn read(&self, entry: Entry, attributes: &Attributes, parts: Parts) -> Response<Body> {
        let streams = attributes.verb == "watch" || attributes.subresource == "log";
        let timeout = (!streams).then_some(self.config.limits.answer);
        let outgoing = Outgoing { method: parts.method, attributes, headers: &parts.headers, body: None };
        match outgoing.send(&self.config.upstream, timeout).await {
            Ok(response) => allow(entry, response),
            Err(refusal) => fail(entry, &refusal),
        }
    }

    /// On a task of its own: a client that goes away must not leave a write half sent or unrecorded.
    async fn write(&self, write: Write) -> Response<Body> {
        let (gate, guard) = (self.clone(), self.in_flight.begin());
        let task = tokio::spawn(async move {
            let _under_way = guard;
            gate.judge_and_send(write).await
        });
        task.await.unwrap_or_else(|_| Refusal::unreachable("the request was not finished").response())
    }

    async fn judge_and_send(&self, write: Write) -> Response<Body> {
        let Write { caller, mut entry, attributes, mut parts, decoded } = write;
        let body = decoded.as_ref().map(|d| &d.value);
        entry.mutation(!body::is_dry_run(&attributes, body));
        if let Some(name) = body.and_then(body::object_name).filter(|_| attributes.name.is_empty()) {
            entry.named(name);
        }
        let generated =
            attributes.verb == "create" && attributes.name.is_empty() && body.and_then(body::object_name).is_none();
        if generated {
            // The made-up name is in the answer only; it must be one that can be read.
            parts.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
        let method = parts.method.clone();
        let outgoing = Outgoing { method, attributes: &attributes, headers: &parts.headers, body: decoded.as_ref() };
        match self.judge_object(&caller.policy, &outgoing).await {
            Ok(()) => {}
            Err(Objection::Denied(denial)) => return self.deny(entry, &caller, &attributes, &denial),
            Err(Objection::Refused(refusal)) => return fail(entry, &refusal),
            Err(Objection::Answered(response)) => return allow(entry, *response),
        }
        let response = match outgoing.send(&self.config.upstream, Some(self.config.limits.answer)).await {
            Ok(response) => response,
            Err(refusal) => return fail(entry, &refusal),
        };
        if !generated || !response.status().is_success() {
            return allow(entry, response);
        }
        match self.learn_name(response, &mut entry).await {
            Ok(response) => allow(entry, response),
            Err(refusal) => fail(entry, &refusal),
        }
    }

    async fn learn_name(&self, response: Response<Body>, entry: &mut Entry) -> Result<Response<Body>, Refusal> {
        let (mut parts, bytes) = forward::collect(response, self.config.limits.body).await?;
        if let Ok(object) = serde_json::from_slice::<Value>(&bytes)
            && let Some(name) = body::object_name(&object)
        {
            entry.named(name);
        }
        parts.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(parts, Body::from(bytes)))
    }

    /// Judges the object that would be stored: the body of a create or update, the dry run of a patch.
    async fn judge_object(&self, policy: &Policy, outgoing: &Outgoing<'_>) -> Result<(), Objection> {
        let (attributes, Some(body)) = (outgoing.attributes, outgoing.body) else { return Ok(()) };
        let object = &body.value;
        let mut needs = match attributes.verb.as_str() {
            "create" | "update" => hazard::of_object(object),
            "patch" if patch::touches_pod_template(attributes, object) && !has_pod_hazards(policy) => {
                hazard::of_object(&self.result_of_patch(outgoing).await?)
            }
            _ => Default::default(),
        };
        let finalizers = match attributes.verb.as_str() {
            _ if policy.hazards().contains(&Hazard::Finalizers) => false,
            "create" => !finalizers(object).is_empty(),
            "update" => finalizers(object) != self.current_finalizers(attributes).await?,
            "patch" => patch::touches_finalizers(object),
            _ => false,
        };
        if finalizers {
            needs.insert(Hazard::Finalizers);
        }
        policy.decide_hazards(&needs, attributes).map_err(Objection::Denied)
    }

    async fn result_of_patch(&self, outgoing: &Outgoing<'_>) -> Result<Value, Objection> {
        let response = outgoing.dry_run(&self.config.upstream, self.config.limits.answer).await?;
        if !response.status().is_success() {
            // It would fail for real just so.
            return Err(Objection::Answered(Box::new(response)));
        }
        let (_, bytes) = forward::collect(response, self.config.limits.body).await?;
        serde_json::from_slice(&bytes)
            .map_err(|_| Objection::Refused(Refusal::unreachable("the result of the patch could not be read")))
    }

    async fn current_finalizers(&self, attributes: &Attributes) -> Result<Vec<String>, Objection> {
        let response = forward::current(&self.config.upstream, attributes, self.config.limits.answer).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        if !response.status().is_success() {
            return Err(Objection::Answered(Box::new(response)));
        }
        let (_, bytes) = forward::collect(response, self.config.limits.body).await?;
        Ok(finalizers(&serde_json::from_slice(&bytes).unwrap_or_default()))
    }
}

/// A write that its policy allows, as far as it can be told from what it addresses.
struct Write {
    caller: Caller,
    entry: Entry,
    attributes: Attributes,
    parts: Parts,
    decoded: Option<Decoded>,
}

/// Why a write is not sent.
enum Objection {
    Denied(Denial),
    Refused(Refusal),
    Answered(Box<Response<Body>>),
}

impl From<Refusal> for Objection {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn has_pod_hazards(policy: &Policy) -> bool {
    [Hazard::PrivilegedPods, Hazard::HostPath, Hazard::HostNamespaces].iter().all(|h| policy.hazards().contains(h))
}

/// Finalizers of an object, sorted.
fn finalizers(object: &Value) -> Vec<String> {
    let lists = [object.pointer("/metadata/finalizers"), object.pointer("/spec/finalizers")];
    let words = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    let mut words: Vec<String> = words.filter_map(Value::as_str).map(str::to_owned).collect();
    words.sort();
    words
}

fn is_upgrade(attributes: &Attributes, headers: &HeaderMap) -> bool {
    let exec_like = matches!(attributes.subresource.as_str(), "exec" | "attach" | "portforward");
    headers.contains_key(UPGRADE) || (attributes.resource == "pods" && exec_like)
}

fn allow(entry: Entry, response: Response<Body>) -> Response<Body> {
    entry.finish(Decision::Allowed, "", response.status().as_u16());
    response
}

fn refuse(entry: Entry, refusal: &Refusal) -> Response<Body> {
    entry.finish(Decision::Refused, refusal.message.clone(), refusal.code.as_u16());
    refusal.response()
}

/// Allowed, but the API server did not answer.
fn fail(entry: Entry, refusal: &Refusal) -> Response<Body> {
    entry.finish(Decision::Allowed, refusal.message.clone(), 0);
    refusal.response()
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
