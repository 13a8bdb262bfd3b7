//! The path of a request through the gate: attributes, policy, body, upstream, record. Writes go on in `write`.

use bytes::Bytes;
use http::header::UPGRADE;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use kube::client::Body;
use model::{Decision, Party};
use serde_json::Value;
use tower::BoxError;

use crate::body::{self, Decoded};
use crate::forward::Outgoing;
use crate::gate::{Caller, Gate};
use crate::record::Entry;
use crate::review::Review;
use crate::status::{self, Refusal};
use crate::write::Write;
use crate::{Attributes, Denial, attributes, pin, tunnel};

/// The field manager of scripts, as that of everything else that is not an agent's: kubectl names itself by what it does,
/// and `kubectl-patch` on one Deployment of three would say which.
const SCRIPT_MANAGER: &str = "kubectl";

/// What agents are called in the cluster's words.
const AGENT_USER: &str = "user";

impl Gate {
    /// Answers one request. Dropping the future cancels a read; a write that was sent is finished and recorded.
    pub(crate) async fn handle<B>(&self, caller: &Caller, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let mut entry = self.entry(caller.party);
        let (mut parts, body) = request.into_parts();
        let connection = tunnel::Connection::of(&mut parts.extensions);
        let mut attributes = match attributes(&parts.method, &parts.uri) {
            Ok(attributes) => attributes,
            Err(bad) => {
                entry.odd(&parts.method, parts.uri.path());
                return refuse(entry, &bad.into());
            }
        };
        entry.describe(&attributes);
        if caller.party == Party::Script {
            attributes.rename_manager(SCRIPT_MANAGER);
        }
        let review = Review::of(&attributes);
        if review.is_none() {
            entry.mutation(attributes.is_write() && !body::is_dry_run(&attributes, None));
            if let Err(denial) = caller.policy.decide(&attributes) {
                return self.deny(entry, caller, &attributes, &denial);
            }
        }
        if tunnel::runs_something(&attributes) {
            entry.mutation(true);
        }
        if tunnel::is_wanted(&attributes, &parts.headers) {
            return self.tunnel(caller, entry, &attributes, &parts, connection).await;
        }
        if parts.headers.contains_key(UPGRADE) {
            return refuse(entry, &Refusal::upgrade());
        }
        if tunnel::is_needed(&attributes) {
            return refuse(entry, &Refusal::bad_request("Upgrade request required"));
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
        let limits = self.config.limits;
        let bytes = tokio::time::timeout(limits.answer, body::read(body, limits.body)).await;
        let bytes = bytes.map_err(|_| Refusal::slow_body())??;
        let decoded = body::decode(attributes, headers, &bytes)?;
        if let Some(decoded) = &decoded {
            body::agrees(attributes, &decoded.value)?;
            if let Some(option) = delete_option_in_query(attributes) {
                return Err(Refusal::bad_request(format!(
                    "give the options of a delete in the body or in the query: `{option}` in the query would not count"
                )));
            }
        }
        Ok(decoded)
    }

    pub(crate) fn deny(
        &self,
        mut entry: Entry,
        caller: &Caller,
        attributes: &Attributes,
        denial: &Denial,
    ) -> Response<Body> {
        let marked = caller.party != Party::Agent;
        let subject = if caller.policy.subject().is_empty() { caller.party.as_str() } else { caller.policy.subject() };
        let message = if marked {
            denial.explain(subject, self.case_namespace())
        } else {
            denial.in_kubernetes_words(AGENT_USER)
        };
        entry.allow_with(denial.lines(self.case_namespace()));
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
        // Behind a proxy somebody else answers, whose errors are answers.
        let once = streams || attributes.subresource == "proxy";
        let answer = if once {
            outgoing.send(&self.config.upstream, timeout).await
        } else {
            self.read_patiently(&outgoing, timeout).await
        };
        match answer {
            Ok(response) => allow(entry, response),
            Err(refusal) => fail(entry, &refusal),
        }
    }
}

/// Kubernetes asks the query for the options of a delete only when there is no body; other servers merge the two.
fn delete_option_in_query(attributes: &Attributes) -> Option<&str> {
    let deletes = matches!(attributes.verb.as_str(), "delete" | "deletecollection");
    attributes.query.iter().map(|(name, _)| name.as_str()).find(|name| deletes && pin::is_option(name))
}

pub(crate) fn allow(entry: Entry, response: Response<Body>) -> Response<Body> {
    entry.finish(Decision::Allowed, "", response.status().as_u16());
    response
}

pub(crate) fn refuse(entry: Entry, refusal: &Refusal) -> Response<Body> {
    entry.finish(Decision::Refused, refusal.message.clone(), refusal.code.as_u16());
    refusal.response()
}

/// Allowed, but the API server did not answer.
pub(crate) fn fail(entry: Entry, refusal: &Refusal) -> Response<Body> {
    entry.finish(Decision::Allowed, refusal.message.clone(), 0);
    refusal.response()
}
