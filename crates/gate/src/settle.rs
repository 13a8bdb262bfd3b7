//! From the intent to what became of it: the one place where writes are written down, sent and settled.

use http::{Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};

use crate::deliver::{Delivered, Sending};
use crate::journal::{Intent, State};
use crate::patience::Answer;
use crate::pin::uid;
use crate::status::{self, Refusal};
use crate::subject::Effect;
use crate::trace::is_deleting;
use crate::write::{Objection, content};
use crate::{Gate, crash_point};

impl Gate {
    /// Writes the intent down, sends, and writes down what became of it. What cannot be written down is not sent.
    pub(crate) async fn forward(&self, sending: &Sending<'_>, intent: Intent) -> Result<Answer, Objection> {
        crash_point("journal.before-intend");
        let id = self.config.journal.intend(intent).await?;
        crash_point("journal.intended");
        let delivered = self.deliver(sending).await;
        crash_point("journal.forwarded");
        let state = self.outcome(sending, &delivered).await;
        if let Err(error) = self.config.journal.settle(id, state).await {
            // It stays an intent, which is settled by reading when it matters.
            tracing::warn!(%error, "what became of a write was not written down");
        }
        crash_point("journal.settled");
        match delivered {
            Delivered::Answered(answer) => Ok(answer),
            Delivered::Found(now) => Ok(self.answer_found(sending, now).await?),
            Delivered::Unknown => Err(Objection::Refused(Refusal::unknown())),
        }
    }

    async fn outcome(&self, sending: &Sending<'_>, delivered: &Delivered) -> State {
        let made = sending.before.is_none();
        match delivered {
            // Somebody else had made it since the look: it is theirs, and is not to be taken away as if it were ours.
            Delivered::Answered(answer) if made && answer.status() == StatusCode::OK => {
                tracing::warn!(object = %sending.subject.key, "an object was made by another while it was applied");
                State::Refused
            }
            Delivered::Answered(answer) if answer.status().is_success() => self.after(sending, answer).await,
            Delivered::Answered(_) => State::Refused,
            Delivered::Found(now) => State::Done { after: now.clone().filter(stays) },
            Delivered::Unknown => State::Unknown,
        }
    }

    /// The object after a write, from the server's answer:
    ///
    /// - an answer that is the object is its after-image, unless it is a farewell: gone with the answer;
    /// - a `Status` in answer to a delete means that it is gone;
    /// - of a `Scale` of a built-in resource, replicas, resourceVersion and generation are put into the before-image;
    /// - all else (bindings, evictions, tokens, parts that only their own controllers know) is read once more.
    async fn after(&self, sending: &Sending<'_>, answer: &Answer) -> State {
        let answered = content(answer);
        let kind = |object: &Value| object.get("kind").cloned().unwrap_or_default();
        let is_object = match sending.before {
            Some(before) => kind(before) == kind(&answered),
            None => kind(&answered) != "Status",
        };
        let after = match sending.subject.effect {
            Effect::Delete if is_object && sending.subject.subresource.is_empty() => {
                Some(answered).filter(|object| is_deleting(object) && stays(object))
            }
            Effect::Delete if sending.subject.subresource.is_empty() => None,
            Effect::Create | Effect::Change if is_object => Some(answered).filter(stays),
            Effect::Change if kind(&answered) == "Scale" && is_scaled_by_replicas(sending) => {
                sending.before.map(|before| scaled(before, &answered))
            }
            _ => match self.look(&sending.subject.key).await {
                Ok(now) => now.filter(|now| sending.before.is_none_or(|before| uid(before) == uid(now))),
                // It took effect, but what came of it is not to be had: undo must look.
                Err(_) => return State::Unknown,
            },
        };
        State::Done { after }
    }

    /// What the server would have answered.
    async fn answer_found(&self, sending: &Sending<'_>, now: Option<Value>) -> Result<Answer, Objection> {
        let subject = sending.subject;
        let code = match subject.effect {
            Effect::Create => StatusCode::CREATED,
            Effect::Change if sending.before.is_none() => StatusCode::CREATED,
            _ => StatusCode::OK,
        };
        let answer = match (now, subject.subresource.as_str()) {
            (_, "binding" | "eviction") => status::answer(StatusCode::CREATED, &status::success(json!({}))),
            (_, "scale") => return Ok(self.get(format!("{}/scale", subject.key.path())).await?),
            (Some(now), _) => status::answer(code, &now),
            (None, _) => {
                let uid = sending.before.map(uid).unwrap_or_default();
                let mut details = json!({"name": subject.key.name, "kind": subject.key.resource, "uid": uid});
                if !subject.key.group.is_empty() {
                    details["group"] = json!(subject.key.group);
                }
                status::answer(code, &status::success(details))
            }
        };
        in_memory(answer).await
    }
}

async fn in_memory(answer: Response<Body>) -> Result<Answer, Objection> {
    let (parts, body) = answer.into_parts();
    let bytes = crate::body::read(body, usize::MAX).await?;
    Ok(Response::from_parts(parts, bytes))
}

/// Whether an object that is answered is still there: one that is on its way out stays while a finalizer or its grace
/// holds it.
fn stays(object: &Value) -> bool {
    let held = |path: &str| object.pointer(path).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
    !is_deleting(object) || held("/metadata/finalizers") || held("/spec/finalizers") || grace.is_some_and(|s| s > 0)
}

/// Custom resources may count their replicas elsewhere.
fn is_scaled_by_replicas(sending: &Sending<'_>) -> bool {
    matches!(sending.subject.key.group.as_str(), "" | "apps")
}

fn scaled(before: &Value, scale: &Value) -> Value {
    let mut after = before.clone();
    let replicas = scale.pointer("/spec/replicas").cloned().unwrap_or(json!(0));
    let generation = before.pointer("/metadata/generation").and_then(Value::as_i64);
    if before.pointer("/spec/replicas") != Some(&replicas)
        && let Some(generation) = generation
    {
        after["metadata"]["generation"] = json!(generation + 1);
    }
    after["spec"]["replicas"] = replicas;
    if let Some(version) = scale.pointer("/metadata/resourceVersion") {
        after["metadata"]["resourceVersion"] = version.clone();
    }
    after
}
