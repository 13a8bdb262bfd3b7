//! Everything that is in a cluster, as kubectl shows it, so that two moments can be compared. It shares nothing with the
//! certification in the product: what one of them overlooks, the other may see.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::Kubectl;

/// Kinds that come and go by themselves or hold measurements.
const RESTLESS: [&str; 7] = [
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "endpointslices.discovery.k8s.io",
    "nodes.metrics.k8s.io",
    "pods.metrics.k8s.io",
    "componentstatuses",
];

/// What a recreated or merely touched object loses although it is the same.
const VOLATILE: [&str; 6] = ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"];

/// Objects by kind, namespace and name; objects with generated names by their owner and what is the same in all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dump(BTreeMap<String, Vec<Value>>);

impl Dump {
    /// What can be listed in a cluster, less what is restless.
    ///
    /// # Panics
    /// When kubectl does not succeed.
    pub fn kinds(kubectl: &Kubectl) -> String {
        let all = kubectl.ok(&["api-resources", "--verbs=list", "-o", "name"]);
        let kinds: Vec<&str> = all.lines().filter(|kind| !RESTLESS.contains(kind)).collect();
        assert!(kinds.len() > 20, "a cluster has many kinds: {all}");
        kinds.join(",")
    }

    /// Reads all of these kinds, in one call.
    ///
    /// # Panics
    /// When kubectl does not succeed.
    pub fn of(kubectl: &Kubectl, kinds: &str) -> Self {
        let list = kubectl.json(&["get", kinds, "--all-namespaces"]);
        let mut objects: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for object in list["items"].as_array().into_iter().flatten() {
            if !is_old_revision(object) {
                let (key, object) = steady(object.clone());
                objects.entry(key).or_default().push(object);
            }
        }
        objects.values_mut().for_each(|alike| alike.sort_by_cached_key(Value::to_string));
        Self(objects)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is not as it was, one line each.
    pub fn difference(&self, now: &Self) -> Vec<String> {
        let none = Vec::new();
        let keys = self.0.keys().chain(now.0.keys().filter(|key| !self.0.contains_key(*key)));
        keys.flat_map(|key| match (self.0.get(key).unwrap_or(&none), now.0.get(key).unwrap_or(&none)) {
            (was, is) if was == is => Vec::new(),
            (was, is) if was.len() != is.len() => {
                vec![format!("{key}: there were {}, there are {}", was.len(), is.len())]
            }
            (was, is) => was.iter().zip(is).flat_map(|(was, is)| changes(key, was, is)).collect(),
        })
        .collect()
    }
}

/// Which parts of a value are not the same.
fn changes(place: &str, was: &Value, is: &Value) -> Vec<String> {
    match (was, is) {
        (was, is) if was == is => Vec::new(),
        (Value::Object(was), Value::Object(is)) => {
            let keys = was.keys().chain(is.keys().filter(|key| !was.contains_key(*key)));
            let part = |map: &Map<String, Value>, key| map.get(key).cloned().unwrap_or_default();
            keys.flat_map(|key| changes(&format!("{place} {key}"), &part(was, key), &part(is, key))).collect()
        }
        _ => vec![format!("{place}: was {was}, is {is}")],
    }
}

/// A ReplicaSet of an earlier template, kept for rolling back.
fn is_old_revision(object: &Value) -> bool {
    object["kind"] == "ReplicaSet"
        && object["spec"]["replicas"] == 0
        && !object["metadata"]["ownerReferences"].is_null()
}

fn steady(mut object: Value) -> (String, Value) {
    let owner =
        object["metadata"]["ownerReferences"].as_array().into_iter().flatten().find(|o| o["controller"] == true);
    let owner = owner.map(|owner| format!("of {} {}", text(&owner["kind"]), text(&owner["name"])));
    let generated = object["metadata"]["generateName"].is_string();
    let metadata = object["metadata"].as_object_mut().expect("an object has metadata");
    VOLATILE.iter().for_each(|key| drop(metadata.remove(*key)));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("deployment.kubernetes.io/"));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    for owner in metadata.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
        owner.as_object_mut().expect("a reference").remove("uid");
    }
    let name = match (&owner, generated) {
        (Some(owner), true) => {
            metadata.remove("name");
            owner.clone()
        }
        _ => text(&metadata["name"]),
    };
    let key = format!(
        "{} {} {}/{name}",
        text(&object["apiVersion"]),
        text(&object["kind"]),
        text(&object["metadata"]["namespace"])
    );
    match object["kind"].as_str() {
        Some("Pod") => pod(&mut object),
        Some("Endpoints") => endpoints(&mut object),
        Some("Node") => drop(object["status"].as_object_mut().map(|status| status.remove("images"))),
        _ => {}
    }
    timeless(&mut object);
    (key, object)
}

/// Of a pod's status only its phase stays; and the name of the volume with its token is random.
fn pod(object: &mut Value) {
    let phase = object["status"]["phase"].take();
    object["status"] = Value::from(Map::from_iter([("phase".to_owned(), phase)]));
    let is_token = |value: &Value| text(&value["name"]).starts_with("kube-api-access-");
    let spec = &mut object["spec"];
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !is_token(volume));
    }
    for container in spec.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
            mounts.retain(|mount| !is_token(mount));
        }
    }
}

/// Addresses of pods that are not the same any more: their number stays.
fn endpoints(object: &mut Value) {
    for subset in object.get_mut("subsets").and_then(Value::as_array_mut).into_iter().flatten() {
        for key in ["addresses", "notReadyAddresses"] {
            if let Some(addresses) = subset.get_mut(key) {
                *addresses = Value::from(addresses.as_array().map_or(0, Vec::len));
            }
        }
    }
}

/// Takes times, and what follows from them, out of a status.
fn timeless(object: &mut Value) {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| {
                    !(key.ends_with("Time") || key.ends_with("Timestamp") || key == "observedGeneration")
                });
                map.values_mut().for_each(walk);
            }
            Value::Array(list) => list.iter_mut().for_each(walk),
            _ => {}
        }
    }
    let Some(status) = object.get_mut("status") else { return };
    walk(status);
    let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) else { return };
    // Their order tells which came first.
    conditions.sort_by_cached_key(|condition| text(&condition["type"]));
    for condition in conditions {
        // They tell how it came to be so.
        condition.as_object_mut().expect("a condition").retain(|key, _| !matches!(key.as_str(), "message" | "reason"));
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
