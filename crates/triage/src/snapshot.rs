//! What is known of the cluster at one moment: plain JSON objects by kind, their owners, their events. Read-only;
//! made by the reader, or by a test from recorded objects.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

/// The name of an object, as an answer gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// As manifests write it.
    pub kind: String,
    /// Empty for what lives in no namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectName {
    /// Names `object`.
    pub fn of(object: &Value) -> Self {
        Self {
            kind: text(object, "/kind").to_owned(),
            namespace: text(object, "/metadata/namespace").to_owned(),
            name: text(object, "/metadata/name").to_owned(),
        }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The namespace that is looked at.
    pub namespace: String,
    /// When it was looked at.
    pub now: Timestamp,
    objects: BTreeMap<String, Vec<Value>>,
}

impl Snapshot {
    /// Nothing is known yet.
    pub fn new(namespace: &str, now: Timestamp) -> Self {
        Self { namespace: namespace.to_owned(), now, objects: BTreeMap::new() }
    }

    /// Adds an object, which says its own kind.
    pub fn insert(&mut self, object: Value) {
        self.objects.entry(text(&object, "/kind").to_owned()).or_default().push(object);
    }

    /// Every object of a kind.
    pub fn all(&self, kind: &str) -> &[Value] {
        self.objects.get(kind).map_or(&[], Vec::as_slice)
    }

    /// The object of that name.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.all(kind).iter().find(|object| text(object, "/metadata/name") == name)
    }

    /// The names from the object itself up to its topmost controller.
    pub fn owners(&self, object: &Value) -> Vec<ObjectName> {
        let mut chain = vec![ObjectName::of(object)];
        let mut current = object;
        // Deeper than any real chain: a cycle must end too.
        for _ in 0..8 {
            let Some(owner) = controller(current) else { break };
            let (kind, name) = (text(owner, "/kind"), text(owner, "/name"));
            chain.push(ObjectName { kind: kind.into(), namespace: self.namespace.clone(), name: name.into() });
            match self.find(kind, name) {
                Some(found) => current = found,
                None => break,
            }
        }
        chain
    }

    /// The topmost controller of an object, or the object itself.
    pub fn top(&self, object: &Value) -> ObjectName {
        self.owners(object).pop().unwrap_or_else(|| ObjectName::of(object))
    }

    /// Events about the object, the newest last.
    pub fn events_of<'a>(&'a self, object: &'a Value) -> impl Iterator<Item = &'a Value> {
        let (kind, name, uid) = (text(object, "/kind"), text(object, "/metadata/name"), text(object, "/metadata/uid"));
        self.all("Event").iter().filter(move |event| {
            let about = &event["involvedObject"];
            let same_life = about["uid"].as_str().is_none_or(|seen| seen.is_empty() || uid.is_empty() || seen == uid);
            about["kind"] == *kind && about["name"] == *name && same_life
        })
    }

    /// Seconds from `at` to the moment of the snapshot.
    pub fn seconds_since(&self, at: &Value) -> Option<i64> {
        let at: Timestamp = at.as_str()?.parse().ok()?;
        Some(self.now.as_second() - at.as_second())
    }
}

fn controller(object: &Value) -> Option<&Value> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner["controller"] == true)
}

/// The text at a JSON pointer, or nothing.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer, or 0, as absent counters mean in Kubernetes.
pub(crate) fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// The elements at a JSON pointer.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The condition of a type, whatever its status.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").find(|condition| condition["type"] == *kind)
}

/// Whether the labels contain every pair of a `matchLabels` map (or a Service's selector).
pub(crate) fn labels_match(selector: &Value, object: &Value) -> bool {
    let Some(wanted) = selector.as_object().filter(|wanted| !wanted.is_empty()) else { return false };
    let labels = &object["metadata"]["labels"];
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// When an event was last seen.
pub(crate) fn last_seen(event: &Value) -> &str {
    ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .iter()
        .map(|pointer| text(event, pointer))
        .find(|at| !at.is_empty())
        .unwrap_or_default()
}
