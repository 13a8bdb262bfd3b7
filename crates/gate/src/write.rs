//! Writes that their policy allows, as far as it can be told from what they address. Those that are not journaled (dry
//! runs, reviews, what the harness itself puts back) are judged and sent here; the others take the way of `create`,
//! `change` or `collection`.

use http::header::{ACCEPT, CONTENT_LENGTH, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use kube::client::Body;
use serde_json::Value;

use crate::body::{self, Decoded};
use crate::flow::{allow, fail};
use crate::forward::Outgoing;
use crate::gate::{Caller, Gate};
use crate::patience::{Answer, Patience, Unread, asked_to_wait};
use crate::record::Entry;
use crate::status::Refusal;
use crate::subject::{Effect, Subject};
use crate::{Attributes, Denial, Hazard, JournalError};

/// A write that its policy allows, as far as it can be told from what it addresses.
pub(crate) struct Write {
    pub(crate) caller: Caller,
    pub(crate) entry: Entry,
    pub(crate) attributes: Attributes,
    pub(crate) parts: Parts,
    pub(crate) decoded: Option<Decoded>,
}

/// What a client asks for; its body is not yet tied to anything.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) method: &'a Method,
    pub(crate) attributes: &'a Attributes,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Option<&'a Decoded>,
}

impl Order<'_> {
    pub(crate) fn outgoing(&self) -> Outgoing<'_> {
        let method = self.method.clone();
        Outgoing { method, attributes: self.attributes, headers: self.headers, body: self.body }
    }
}

/// Why a write is not sent, or not sent on.
#[derive(Debug)]
pub(crate) enum Objection {
    Denied(Denial),
    Refused(Refusal),
    Answered(Box<Answer>),
}

impl From<Refusal> for Objection {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Unread> for Objection {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Answered(answer) => Self::Answered(answer),
            Unread::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl From<JournalError> for Objection {
    fn from(error: JournalError) -> Self {
        // Where the journal lies is nothing for an agent.
        tracing::error!(%error, "a write is refused because it cannot be written down");
        Self::Refused(Refusal::internal("the request could not be carried out"))
    }
}

impl Gate {
    /// On a task of its own: a client that goes away must not leave a write half sent or unrecorded.
    pub(crate) async fn write(&self, write: Write) -> Response<Body> {
        let (gate, guard) = (self.clone(), self.in_flight.begin());
        let task = tokio::spawn(async move {
            let _under_way = guard;
            gate.carry_out(write).await
        });
        task.await.unwrap_or_else(|_| Refusal::unreachable("the request was not finished").response())
    }

    async fn carry_out(&self, write: Write) -> Response<Body> {
        let Write { caller, mut entry, attributes, mut parts, decoded } = write;
        let body = decoded.as_ref().map(|d| &d.value);
        let dry_run = body::is_dry_run(&attributes, body);
        entry.mutation(!dry_run);
        if let Some(name) = body.and_then(body::object_name).filter(|_| attributes.name.is_empty()) {
            entry.named(name);
        }
        let subject = Subject::of(&attributes, body).filter(|_| caller.journaled && !dry_run);
        if subject.is_some() {
            // After-images are taken from answers; clients decode them by what they are, not by what they asked for.
            parts.headers.insert(ACCEPT, HeaderValue::from_static(body::JSON));
        }
        let order = Order {
            caller: &caller,
            method: &parts.method,
            attributes: &attributes,
            headers: &parts.headers,
            body: decoded.as_ref(),
        };
        let done = match subject {
            None => self.pass(&order).await,
            Some(subject) if attributes.verb == "deletecollection" => {
                self.delete_collection(&order, &subject).await.map(whole)
            }
            Some(subject) if subject.effect == Effect::Create => {
                self.create(&order, subject, &mut entry).await.map(whole)
            }
            Some(subject) => self.change(&order, &subject, None).await.map(whole),
        };
        match done {
            Ok(response) => allow(entry, response),
            Err(Objection::Answered(answer)) => allow(entry, whole(*answer)),
            Err(Objection::Refused(refusal)) => fail(entry, &refusal),
            Err(Objection::Denied(denial)) => self.deny(entry, &caller, &attributes, &denial),
        }
    }

    /// Judged and sent, nothing written down.
    async fn pass(&self, order: &Order<'_>) -> Result<Response<Body>, Objection> {
        let compares =
            order.attributes.verb == "update" && !order.caller.policy.hazards().contains(&Hazard::Finalizers);
        let subject = Subject::of(order.attributes, order.body.map(|b| &b.value)).filter(|_| compares);
        let before = match subject {
            Some(subject) => self.look(&subject.key).await?,
            None => None,
        };
        self.judge(&order.caller.policy, &order.outgoing(), before.as_ref()).await?;
        let mut patience = Patience::new(self.config.limits.patience);
        loop {
            let sent = order.outgoing().send(&self.config.upstream, Some(self.config.limits.answer)).await;
            self.health.note(sent.as_ref().ok().map(Response::status));
            let response = sent?;
            match asked_to_wait(&response) {
                Some(pause) if patience.wait(pause).await => {}
                _ => return Ok(response),
            }
        }
    }
}

/// An answer that was read whole, for the client.
fn whole(answer: Answer) -> Response<Body> {
    let mut response = answer.map(Body::from);
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

/// What an answer holds; nothing when it is no JSON.
pub(crate) fn content(answer: &Answer) -> Value {
    serde_json::from_slice(answer.body()).unwrap_or_default()
}

/// Whether the server said why in these words: the `reason` of a Status.
pub(crate) fn is_refused_as(answer: &Answer, code: StatusCode, reason: &str) -> bool {
    answer.status() == code && content(answer).get("reason").and_then(Value::as_str) == Some(reason)
}
