//! When two images of an object are the same to people: without what the server and controllers write by themselves. Also
//! which differences a controller has made, which are nobody's to undo.

use serde_json::{Map, Value, json};

use super::fields::{difference, members, metadata, set, text, uid};
use super::finalizers::is_clusters_own;
use crate::ObjectKey;

/// Metadata that only the server writes.
pub(crate) const SERVERS_OWN: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Annotations that controllers write; a final `/` stands for everything below it.
const CONTROLLERS_ANNOTATIONS: [&str; 14] = [
    "deployment.kubernetes.io/",
    "deprecated.daemonset.template.generation",
    "control-plane.alpha.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    "volume.beta.kubernetes.io/",
    "endpoints.kubernetes.io/last-change-trigger-time",
    "autoscaling.alpha.kubernetes.io/",
    "node.alpha.kubernetes.io/ttl",
    "volumes.kubernetes.io/controller-managed-attach-detach",
    "csi.volume.kubernetes.io/nodeid",
    "cni.projectcalico.org/",
    "k8s.v1.cni.cncf.io/network-status",
    "kubernetes.io/service-account.uid",
];

/// Members that the cluster fills in later, where nobody has given them: no difference while one side has none.
const LATE: [(&str, &str); 8] = [
    ("persistentvolumeclaims", "/spec/volumeName"),
    ("persistentvolumes", "/spec/claimRef"),
    ("nodes", "/spec/podCIDR"),
    ("nodes", "/spec/podCIDRs"),
    ("nodes", "/spec/providerID"),
    ("namespaces", "/spec/finalizers"),
    ("customresourcedefinitions", "/spec/conversion/webhook/clientConfig/caBundle"),
    ("services", "/spec/healthCheckNodePort"),
];

/// Field managers of Kubernetes itself.
const CONTROL_PLANE: [&str; 5] =
    ["kube-controller-manager", "kube-scheduler", "kubelet", "cloud-controller-manager", "kube-apiserver"];

/// Labels by which a Job knows its pods; the server makes them up.
const JOB_LABELS: [&str; 4] =
    ["controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"];

pub(crate) fn is_controllers_annotation(name: &str) -> bool {
    CONTROLLERS_ANNOTATIONS.iter().any(|known| match known.ends_with('/') {
        true => name.starts_with(known),
        false => name == *known,
    })
}

pub(crate) fn is_job(key: &ObjectKey) -> bool {
    key.group == "batch" && key.resource == "jobs"
}

/// Takes from a Job what the server makes up, which is bound to its uid.
pub(crate) fn strip_job(job: &mut Value) {
    if job.pointer("/spec/manualSelector") == Some(&json!(true)) {
        return;
    }
    set(job, "/spec/selector", None);
    for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
        if let Some(Value::Object(labels)) = job.pointer_mut(labels) {
            labels.retain(|name, _| !JOB_LABELS.contains(&name.as_str()));
        }
    }
}

/// The object without what nobody wrote on purpose. Its status is not part of it.
pub(crate) fn normal(key: &ObjectKey, object: &Value) -> Value {
    let mut form = object.clone();
    strip_nulls(&mut form);
    for member in ["apiVersion", "kind", "status"] {
        set(&mut form, &format!("/{member}"), None);
    }
    match key.resource.as_str() {
        "pods" => set(&mut form, "/spec/nodeName", None),
        "leases" => set(&mut form, "/spec/renewTime", None),
        "jobs" if is_job(key) => strip_job(&mut form),
        "nodes" => strip_taints(&mut form),
        _ => {}
    }
    let metadata = metadata(&mut form);
    for member in SERVERS_OWN {
        metadata.remove(member);
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.retain(|name, _| !is_controllers_annotation(name));
    }
    if let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") {
        finalizers.retain(|finalizer| !finalizer.as_str().is_some_and(|name| is_clusters_own(key, name)));
        finalizers.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    if let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") {
        // Owners that were made again have another uid; that is looked at separately.
        owners.iter_mut().filter_map(Value::as_object_mut).for_each(|owner| {
            owner.remove("uid");
        });
    }
    metadata.retain(|_, member| !is_empty(member));
    form
}

/// Both forms, made alike where one side has not been filled in yet.
pub(crate) fn pair(key: &ObjectKey, a: &Value, b: &Value) -> (Value, Value) {
    let (mut one, mut other) = (normal(key, a), normal(key, b));
    for (_, pointer) in LATE.iter().filter(|(resource, _)| *resource == key.resource) {
        if one.pointer(pointer).is_some() != other.pointer(pointer).is_some() {
            set(&mut one, pointer, None);
            set(&mut other, pointer, None);
        }
    }
    // The token of an account is made for its uid.
    let account =
        |object: &Value| super::fields::annotation(object, "kubernetes.io/service-account.uid").map(str::to_owned);
    if key.resource == "secrets" && account(a) != account(b) {
        set(&mut one, "/data", None);
        set(&mut other, "/data", None);
    }
    (one, other)
}

/// Whether nothing differs that anyone wrote on purpose.
pub(crate) fn same(key: &ObjectKey, a: &Value, b: &Value) -> bool {
    let (a, b) = pair(key, a, b);
    a == b
}

/// The same, or a Service that has got another address.
pub(crate) fn same_but_address(key: &ObjectKey, a: &Value, b: &Value) -> bool {
    let (mut a, mut b) = pair(key, a, b);
    if key.resource == "services" {
        for form in [&mut a, &mut b] {
            if !matches!(text(form, "/spec/clusterIP"), "" | "None") {
                set(form, "/spec/clusterIP", None);
                set(form, "/spec/clusterIPs", None);
            }
            strip_node_ports(form);
        }
    }
    a == b
}

pub(crate) fn strip_node_ports(service: &mut Value) {
    if let Some(Value::Array(ports)) = service.pointer_mut("/spec/ports") {
        ports.iter_mut().filter_map(Value::as_object_mut).for_each(|port| {
            port.remove("nodePort");
        });
    }
}

/// What differs from the last touch, split: what a controller has written since, and what somebody else has.
pub(crate) fn since(key: &ObjectKey, last: &Value, current: &Value) -> (Vec<String>, Vec<String>) {
    let (a, b) = pair(key, last, current);
    let managed = current.pointer("/metadata/managedFields").and_then(Value::as_array);
    let sets: Vec<&Value> = managed
        .into_iter()
        .flatten()
        .filter(|entry| CONTROL_PLANE.contains(&text(entry, "/manager")))
        .filter_map(|entry| entry.get("fieldsV1"))
        .collect();
    difference(&a, &b, true).into_iter().partition(|pointer| sets.iter().any(|fields| covers(fields, pointer)))
}

/// Whether a set of fields (`FieldsV1`) holds what the pointer leads to.
fn covers(fields: &Value, pointer: &str) -> bool {
    let mut node = fields;
    for (depth, member) in members(pointer).iter().enumerate() {
        match node.get(format!("f:{member}")) {
            Some(below) => node = below,
            // A leaf is the whole value below it; an empty set is nothing.
            None => return depth > 0 && node.as_object().is_some_and(Map::is_empty),
        }
    }
    // Of a list whose items have owners of their own, nothing can be said as a whole.
    !node.as_object().is_some_and(|members| members.keys().any(|name| name.starts_with("k:") || name.starts_with("v:")))
}

/// Whether the object names an owner by a uid that is no longer its.
pub(crate) fn names_gone_owner(object: &Value, moved: &std::collections::HashMap<String, String>) -> bool {
    super::fields::owners(object).any(|owner| moved.contains_key(owner["uid"].as_str().unwrap_or_default()))
}

/// Whether both are one object, not only one name.
pub(crate) fn is_one(a: &Value, b: &Value) -> bool {
    uid(a) == uid(b)
}

/// Takes taints away that the node controller sets by what it sees.
fn strip_taints(node: &mut Value) {
    if let Some(Value::Array(taints)) = node.pointer_mut("/spec/taints") {
        taints.retain(|taint| !is_nodes_own(taint));
    }
    if node.pointer("/spec/taints").is_some_and(is_empty) {
        set(node, "/spec/taints", None);
    }
}

/// Whether the node controller sets and removes this taint.
pub(crate) fn is_nodes_own(taint: &Value) -> bool {
    taint["key"].as_str().is_some_and(|key| key.starts_with("node.kubernetes.io/"))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: &str, resource: &str) -> ObjectKey {
        let [group, resource] = [group, resource].map(str::to_owned);
        ObjectKey { group, version: "v1".into(), resource, namespace: "a".into(), name: "x".into() }
    }

    #[test]
    fn what_the_server_writes_makes_no_difference() {
        let a = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "uid": "1", "resourceVersion": "5", "generation": 1, "labels": {},
                "annotations": {"deployment.kubernetes.io/revision": "1"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"replicas": 1, "template": {"metadata": {"creationTimestamp": null}}}, "status": {"replicas": 1},
        });
        let b = json!({
            "metadata": {"name": "x", "uid": "2", "resourceVersion": "9", "managedFields": [{}], "finalizers": ["orphan"]},
            "spec": {"replicas": 1, "template": {"metadata": {}}},
        });
        assert!(same(&key("apps", "deployments"), &a, &b));
        let mut c = b.clone();
        set(&mut c, "/metadata/annotations/mine", Some(&json!("1")));
        assert!(!same(&key("apps", "deployments"), &a, &c), "an annotation of a user's counts");
        let applied = "kubectl.kubernetes.io/last-applied-configuration";
        let mut d = b;
        d["metadata"]["annotations"] = json!({applied: "{}"});
        assert!(!same(&key("apps", "deployments"), &a, &d), "and so does kubectl's");
    }

    #[test]
    fn a_late_member_counts_only_where_both_have_it() {
        let claim = |volume: Option<&str>| match volume {
            Some(volume) => json!({"spec": {"volumeName": volume}}),
            None => json!({"spec": {}}),
        };
        let key = key("", "persistentvolumeclaims");
        assert!(same(&key, &claim(None), &claim(Some("v1"))));
        assert!(!same(&key, &claim(Some("v2")), &claim(Some("v1"))));
    }

    #[test]
    fn a_controllers_field_is_told_from_a_persons() {
        let last = json!({"metadata": {}, "spec": {"replicas": 1, "paused": false, "ports": [{"a": 1}]}});
        let managed = json!([
            {"manager": "kube-controller-manager", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:ports": {"k:{}": {}}}}},
            {"manager": "kubectl", "fieldsV1": {"f:spec": {"f:paused": {}}}},
        ]);
        let current = json!({
            "metadata": {"managedFields": managed}, "spec": {"replicas": 5, "paused": true, "ports": [{"a": 2}]},
        });
        let (controllers, others) = since(&key("apps", "deployments"), &last, &current);
        assert_eq!(controllers, ["/spec/replicas"]);
        assert_eq!(others, ["/spec/paused", "/spec/ports"]);
    }

    #[test]
    fn a_service_may_have_got_another_address() {
        let service = |ip: &str, port: u16| json!({"spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80, "nodePort": port}]}});
        let key = key("", "services");
        assert!(!same(&key, &service("10.0.0.1", 1), &service("10.0.0.2", 1)));
        assert!(same_but_address(&key, &service("10.0.0.1", 1), &service("10.0.0.2", 2)));
        assert!(!same_but_address(&key, &service("None", 1), &service("10.0.0.2", 1)), "headless is no address");
    }
}
