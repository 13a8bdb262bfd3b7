//! Reading and writing parts of Kubernetes objects held as JSON.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use simulation::Resource;

/// What is at a JSON pointer whose keys have neither `/` nor `~`, as those of Kubernetes' types do not: unlike
/// [`Value::pointer`] it needs no memory, and controllers ask thousands of times a second.
pub(crate) fn at<'a>(object: &'a Value, pointer: &str) -> Option<&'a Value> {
    let (mut object, mut rest) = (object, pointer);
    while let Some(path) = rest.strip_prefix('/') {
        // Keys are short: a plain loop is over before a search has begun.
        let end = path.bytes().position(|byte| matches!(byte, b'/' | b'~')).unwrap_or(path.len());
        let (key, after) = path.split_at(end);
        if after.starts_with('~') {
            return object.pointer(rest);
        }
        object = match object {
            Value::Object(map) => map.get(key)?,
            Value::Array(list) => list.get(key.parse::<usize>().ok()?)?,
            _ => return None,
        };
        rest = after;
    }
    Some(object)
}

/// The text at a JSON pointer, or nothing.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    at(object, pointer).and_then(Value::as_i64)
}

/// Whether the truth is there and true.
pub(crate) fn truth(object: &Value, pointer: &str) -> bool {
    at(object, pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// The list at a JSON pointer; empty where there is none.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    at(object, pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The object at a JSON pointer.
pub(crate) fn entries<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    at(object, pointer).and_then(Value::as_object).into_iter().flatten()
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// `namespace/name`, the key of work queues.
pub(crate) fn key(object: &Value) -> String {
    format!("{}/{}", namespace(object), name(object))
}

pub(crate) fn split_key(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

/// Whether its deletion has been asked for.
pub(crate) fn is_deleting(object: &Value) -> bool {
    at(object, "/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// The owner that controls it: kind, name, uid.
pub(crate) fn controller_of(object: &Value) -> Option<(&str, &str, &str)> {
    items(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| truth(owner, "/controller"))
        .map(|owner| (text(owner, "/kind"), text(owner, "/name"), text(owner, "/uid")))
}

/// An owner reference to a controller.
pub(crate) fn owner_reference(resource: &Resource, owner: &Value) -> Value {
    json!({
        "apiVersion": resource.api_version(), "kind": resource.kind, "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// Seconds, as `metav1.Time` is written.
pub(crate) fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time of an object; the epoch where there is none.
pub(crate) fn time(object: &Value, pointer: &str) -> Timestamp {
    text(object, pointer).parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Later by that much; the end of time where it would overflow.
pub(crate) fn after(at: Timestamp, pause: Duration) -> Timestamp {
    at.checked_add(pause).unwrap_or(Timestamp::MAX)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Between two times; zero when the second is earlier.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Puts a value at a path of keys, making the objects on the way.
pub(crate) fn put(object: &mut Value, path: &[&str], value: Value) {
    let mut at = object;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(map) = at else { return };
        at = map.entry((*key).to_owned()).or_insert(Value::Null);
    }
    *at = value;
}

/// Removes what is at a path of keys.
pub(crate) fn remove(object: &mut Value, path: &[&str]) {
    let Some((last, way)) = path.split_last() else { return };
    let mut at = object;
    for key in way {
        match at.get_mut(*key) {
            Some(next) => at = next,
            None => return,
        }
    }
    if let Some(map) = at.as_object_mut() {
        map.remove(*last);
    }
}

/// The condition of a type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").iter().find(|c| text(c, "/type") == kind)
}

/// Whether a pod's Ready condition is true.
pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|c| text(c, "/status") == "True")
}

/// Whether a pod has ended for good.
pub(crate) fn is_terminal(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Neither ended nor being deleted.
pub(crate) fn is_active(pod: &Value) -> bool {
    !is_terminal(pod) && !is_deleting(pod)
}
