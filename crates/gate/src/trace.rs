//! Whether a write left its trace in its object, for answers that were lost.

use serde_json::{Value, json};

use crate::Gate;
use crate::body::Decoded;
use crate::deliver::Sending;
use crate::forward::Outgoing;
use crate::pin::{self, Form, uid, version};
use crate::stamp::{metadata, nonce_of};
use crate::subject::Effect;

/// What reading told.
#[derive(Debug)]
pub(crate) enum Trace {
    /// It took effect: the object now; none: it is gone.
    Effect(Option<Value>),
    /// It took none, so far.
    Nothing,
    /// The server could not be read.
    Unreadable,
}

impl Gate {
    /// Reads the object of a write.
    pub(crate) async fn trace(&self, sending: &Sending<'_>) -> Trace {
        let Ok(now) = self.look(&sending.subject.key).await else { return Trace::Unreadable };
        match (sending.subject.effect, sending.before, now) {
            (Effect::Create, _, Some(now)) | (Effect::Change, None, Some(now)) if is_made_by(sending, &now) => {
                Trace::Effect(Some(now))
            }
            (Effect::Delete, Some(_), None) => Trace::Effect(None),
            // Another one of the same name.
            (Effect::Delete, Some(before), Some(now)) if uid(before) != uid(&now) => Trace::Effect(None),
            (Effect::Delete, Some(before), Some(now)) if is_deleting(&now) && !is_deleting(before) => {
                Trace::Effect(Some(now))
            }
            (Effect::Change, Some(before), Some(now)) => self.trace_change(sending, before, now).await,
            _ => Trace::Nothing,
        }
    }

    /// The write was tied to a version: as long as that is the object's, nothing has happened. Else it was this write, or
    /// another came first; its effect tells.
    async fn trace_change(&self, sending: &Sending<'_>, before: &Value, now: Value) -> Trace {
        if uid(before) != uid(&now) || version(before) == version(&now) {
            return Trace::Nothing;
        }
        let shows = match (sending.subject.subresource.as_str(), sending.outgoing.body) {
            (_, None) | ("token", _) => false,
            ("binding", Some(body)) => {
                body.value.pointer("/target/name").is_some_and(|node| now.pointer("/spec/nodeName") == Some(node))
            }
            (_, Some(body)) if body.form() == Form::JsonPatch => {
                pin::patched(before, &body.value).is_some_and(|expected| shows(before, expected, &now))
            }
            (_, Some(body)) => match self.would_change(sending, body, &now).await {
                Some(would) => !would,
                None => return Trace::Unreadable,
            },
        };
        if shows { Trace::Effect(Some(now)) } else { Trace::Nothing }
    }

    /// Whether the write would change the object as it is now.
    async fn would_change(&self, sending: &Sending<'_>, body: &Decoded, now: &Value) -> Option<bool> {
        let mut body = body.clone();
        if let Some(metadata) = metadata(&mut body.value) {
            metadata.insert("resourceVersion".to_owned(), json!(version(now)));
        }
        let attributes = sending.outgoing.tried();
        let method = sending.outgoing.method.clone();
        let outgoing =
            Outgoing { method, attributes: &attributes, headers: sending.outgoing.headers, body: Some(&body) };
        let answer = self.ask(&outgoing, self.config.limits.body).await.ok()?;
        if !answer.status().is_success() {
            // It is refused now, whatever it was before; sending it again will tell the client why.
            return (!crate::patience::is_doubtful(answer.status())).then_some(true);
        }
        let result: Value = serde_json::from_slice(answer.body()).ok()?;
        if result.get("kind") != now.get("kind") {
            // A Scale.
            return Some(result.pointer("/spec/replicas").unwrap_or(&json!(0)) != &now["spec"]["replicas"]);
        }
        Some(content(&result) != content(now))
    }
}

fn is_made_by(sending: &Sending<'_>, now: &Value) -> bool {
    match sending.nonce {
        Some(nonce) => nonce_of(now) == Some(nonce),
        // What is not stamped is known by all that was asked for.
        None => sending.outgoing.body.is_some_and(|body| covers(&body.value, now)),
    }
}

/// On its way out.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(Value::is_string)
}

/// The object without what the server keeps count of by itself.
fn content(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = metadata(&mut object) {
        for key in ["resourceVersion", "managedFields", "generation"] {
            metadata.remove(key);
        }
    }
    object
}

/// Whether everything by which `expected` differs from `before` is in `now`.
fn shows(before: &Value, expected: Value, now: &Value) -> bool {
    let expected = content(&expected);
    let before = content(before);
    differences_show(Some(&before), &expected, Some(now))
}

fn differences_show(before: Option<&Value>, expected: &Value, now: Option<&Value>) -> bool {
    if before == Some(expected) {
        return true;
    }
    match (expected, now) {
        (Value::Object(expected), Some(Value::Object(now))) => {
            let old = before.and_then(Value::as_object);
            let removed = old.into_iter().flat_map(|old| old.keys()).filter(|key| !expected.contains_key(*key));
            expected.iter().all(|(key, value)| differences_show(old.and_then(|o| o.get(key)), value, now.get(key)))
                && removed.into_iter().all(|key| !now.contains_key(key))
        }
        (expected, Some(now)) => covers(expected, now),
        (_, None) => false,
    }
}

/// Whether everything in `part` is in `whole`, which may have defaults besides.
fn covers(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|whole| covers(value, whole)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| covers(part, whole))
        }
        (part, whole) => part == whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_patch_changed_shows_whatever_else_has_changed() {
        let before =
            json!({"metadata": {"resourceVersion": "1"}, "spec": {"a": 1, "b": 2, "list": [1]}, "status": {"n": 1}});
        let expected =
            json!({"metadata": {"resourceVersion": "1"}, "spec": {"a": 3, "list": [1, {"x": 1}]}, "status": {"n": 1}});
        let now = json!({"metadata": {"resourceVersion": "5"}, "spec": {"a": 3, "list": [1, {"x": 1, "y": 2}], "c": 0},
                         "status": {"n": 7}});
        assert!(shows(&before, expected.clone(), &now));
        for (path, value) in [("/spec/a", json!(1)), ("/spec/list", json!([1])), ("/spec", json!({"a": 3, "b": 2}))] {
            let mut other = now.clone();
            *other.pointer_mut(path).unwrap() = value;
            assert!(!shows(&before, expected.clone(), &other), "{path}");
        }
    }
}
