//! Changes and deletions of what is there: read, tied to what was read, written down, sent; read again when the object
//! has moved on and it was not the client who had tied its write to an older one.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;

use crate::body::Decoded;
use crate::deliver::Sending;
use crate::forward::Outgoing;
use crate::journal::Intent;
use crate::patience::{Answer, Found};
use crate::pin::{self, Form, Pinned, version};
use crate::subject::{Effect, Subject};
use crate::write::{Objection, Order, content, is_refused_as};
use crate::{Attributes, Gate};

/// How often an object that moves on is read again.
const ROUNDS: u32 = 8;
/// How often one is sent again that has not moved: quotas are kept in objects of their own, and they move.
const UNMOVED: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(2);

impl Gate {
    /// Changes or deletes an object. `known` is the object as a list has just shown it.
    pub(crate) async fn change(
        &self,
        order: &Order<'_>,
        subject: &Subject,
        known: Option<Value>,
    ) -> Result<Answer, Objection> {
        let mut before = match known {
            Some(known) => known,
            None => match self.find(&subject.key).await? {
                Found::Object(before) => before,
                Found::Absent(answer) => return self.change_absent(order, subject, *answer).await,
            },
        };
        let mut pause = FIRST_PAUSE;
        let mut round = 1;
        loop {
            let tied = Tied::new(order, subject, &before)?;
            let outcome = self.change_once(order, subject, &tied, &before).await;
            let conflict = match &outcome {
                Ok(answer) => is_version_conflict(answer),
                Err(Objection::Answered(answer)) => is_version_conflict(answer),
                Err(_) => false,
            };
            if !conflict || !tied.ours || round == ROUNDS {
                return outcome;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            round += 1;
            before = match self.find(&subject.key).await? {
                // It was not the version, then.
                Found::Object(now)
                    if version(&now) == version(&before) && (round > UNMOVED || names_another(order, &now)) =>
                {
                    return outcome;
                }
                Found::Object(now) => now,
                Found::Absent(answer) => return self.change_absent(order, subject, *answer).await,
            };
        }
    }

    async fn change_once(
        &self,
        order: &Order<'_>,
        subject: &Subject,
        tied: &Tied,
        before: &Value,
    ) -> Result<Answer, Objection> {
        let outgoing = Outgoing {
            method: order.method.clone(),
            attributes: &tied.attributes,
            headers: order.headers,
            body: tied.body.as_ref(),
        };
        self.judge(&order.caller.policy, &outgoing, Some(before)).await?;
        let intent = Intent {
            party: order.caller.party,
            verb: subject.verb(order.attributes),
            subresource: subject.subresource.clone(),
            key: subject.key.clone(),
            before: Some(before.clone()),
            nonce: None,
            irreversible: subject.irreversible,
        };
        self.forward(&Sending { outgoing, subject, before: Some(before), nonce: None }, intent).await
    }

    /// An update or an apply makes what is not there, as far as the server lets it; all else finds nothing.
    async fn change_absent(&self, order: &Order<'_>, subject: &Subject, absent: Answer) -> Result<Answer, Objection> {
        let makes = match (order.method, order.body) {
            (&Method::PUT, Some(_)) => true,
            (&Method::PATCH, Some(body)) => body.form() == Form::Apply,
            _ => false,
        };
        let Some(body) = order.body.filter(|_| makes && subject.subresource.is_empty()) else {
            return Ok(absent);
        };
        self.judge(&order.caller.policy, &order.outgoing(), None).await?;
        self.make(order, subject, body.clone()).await
    }
}

/// A write that is tied to an object.
struct Tied {
    attributes: Attributes,
    body: Option<Decoded>,
    /// Whether it may be tied anew.
    ours: bool,
}

impl Tied {
    fn new(order: &Order<'_>, subject: &Subject, before: &Value) -> Result<Self, Objection> {
        let mut attributes = order.attributes.clone();
        let Pinned { body, ours } = match (subject.effect, subject.subresource.as_str()) {
            (Effect::Delete, "eviction") => pin::eviction(order.body, before),
            (Effect::Delete, _) => {
                let mut options = pin::take_options(&mut attributes, order.body)?;
                let ours = pin::delete(&mut options, before);
                Pinned { body: Some(pin::options_body(options)), ours }
            }
            _ => pin::change(order.attributes, order.body, before),
        };
        Ok(Self { attributes, body, ours })
    }
}

/// Whether the client speaks of an object of this name that is not there any more, or never was.
fn names_another(order: &Order<'_>, now: &Value) -> bool {
    let body = order.body.map(|body| &body.value);
    let named = |place| body.and_then(|body| body.pointer(place)).and_then(Value::as_str);
    ["/preconditions/uid", "/metadata/uid"].into_iter().filter_map(named).any(|named| named != pin::uid(now))
}

/// A 409 that may be about the version: not one of field managers.
fn is_version_conflict(answer: &Answer) -> bool {
    is_refused_as(answer, StatusCode::CONFLICT, "Conflict")
        && !content(answer)
            .pointer("/details/causes")
            .and_then(Value::as_array)
            .is_some_and(|causes| causes.iter().any(|cause| cause["reason"] == "FieldManagerConflict"))
}
