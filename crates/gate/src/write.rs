//! A write that its policy allows: judged on the object that would be stored, then sent. The undo journal belongs between
//! the two steps, in [`Gate::judge_and_send`]; until it is there nothing is kept.

use http::header::{ACCEPT, CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode};
use kube::client::Body;
use serde_json::Value;

use crate::body::{self, Decoded};
use crate::flow::{allow, fail};
use crate::forward::{self, Outgoing};
use crate::gate::{Caller, Gate};
use crate::record::Entry;
use crate::status::Refusal;
use crate::{Attributes, Denial, Hazard, Policy, hazard, patch};

impl Gate {
    /// On a task of its own: a client that goes away must not leave a write half sent or unrecorded.
    pub(crate) async fn write(&self, write: Write) -> Response<Body> {
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
            "create" | "update" => hazard::of_object(object, &attributes.namespace, self.case_namespace()),
            "patch" if patch::touches_pod_template(attributes, object) && !has_pod_hazards(policy) => {
                let result = self.result_of_patch(outgoing).await?;
                hazard::of_object(&result, &attributes.namespace, self.case_namespace())
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
pub(crate) struct Write {
    pub(crate) caller: Caller,
    pub(crate) entry: Entry,
    pub(crate) attributes: Attributes,
    pub(crate) parts: Parts,
    pub(crate) decoded: Option<Decoded>,
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
    hazard::OF_PODS.iter().all(|h| policy.hazards().contains(h))
}

/// Finalizers of an object, sorted.
fn finalizers(object: &Value) -> Vec<String> {
    let lists = [object.pointer("/metadata/finalizers"), object.pointer("/spec/finalizers")];
    let words = lists.into_iter().flatten().filter_map(Value::as_array).flatten();
    let mut words: Vec<String> = words.filter_map(Value::as_str).map(str::to_owned).collect();
    words.sort();
    words
}
