//! A small case for the unit tests: Deployment `web` is the cause, Deployment `other` is a bystander.

use jiff::Timestamp;
use model::{Decision, GateRecord, Party};
use serde_json::{Value, json};

use crate::owners::{Family, Identity};
use crate::truth::Truth;

pub(crate) fn objects() -> Vec<Value> {
    let mut objects = Vec::new();
    for name in ["web", "other"] {
        let owner = |api: &str, kind: &str, name: String| json!([{"apiVersion": api, "kind": kind, "name": name, "uid": format!("{kind}-{name}"), "controller": true}]);
        let object = |api: &str, kind: &str, name: String, owners: Value| {
            json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "ns",
                "uid": format!("{kind}-{name}"), "ownerReferences": owners}})
        };
        objects.push(object("apps/v1", "Deployment", name.into(), Value::Null));
        objects.push(object("apps/v1", "ReplicaSet", format!("{name}-1"), owner("apps/v1", "Deployment", name.into())));
        for pod in ["a", "b"] {
            let replica_set = owner("apps/v1", "ReplicaSet", format!("{name}-1"));
            objects.push(object("v1", "Pod", format!("{name}-1-{pod}"), replica_set));
        }
    }
    objects
}

pub(crate) fn family() -> Family {
    Family::new(&objects())
}

pub(crate) fn truth() -> Truth {
    Truth {
        fault_type: "resource-limit".into(),
        root_causes: vec![Identity::new("apps", "Deployment", "ns", "web")],
        also_accept: vec![],
        repair_scope: vec![Identity::new("", "ConfigMap", "ns", "settings")],
    }
}

/// An allowed and successful request of the agent in the namespace of the case.
pub(crate) fn record(verb: &str, group: &str, resource: &str, name: &str) -> GateRecord {
    let mutation = !matches!(verb, "get" | "list" | "watch");
    GateRecord {
        at: Timestamp::UNIX_EPOCH,
        party: Party::Agent,
        verb: verb.into(),
        group: group.into(),
        version: "v1".into(),
        resource: resource.into(),
        subresource: String::new(),
        namespace: "ns".into(),
        name: name.into(),
        path: String::new(),
        mutation,
        decision: Decision::Allowed,
        because: String::new(),
        allow_with: String::new(),
        status: 200,
        duration_ms: 1,
    }
}
