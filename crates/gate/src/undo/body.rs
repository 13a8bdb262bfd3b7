//! What is sent to put an object back: its original as an update of what is there now, or as a new object. Pure.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::fields::{annotation, map_at, metadata, owners, set, text, uid};
use super::normal::{SERVERS_OWN, is_controllers_annotation, is_job, is_nodes_own, strip_job, strip_node_ports};
use crate::ObjectKey;

/// Uids of owners that were made again, old to new.
pub(crate) type Moved = HashMap<String, String>;

/// Members that a controller or the server fills in: the update leaves them as they are where the original has none.
const KEPT: [(&str, &str); 6] = [
    ("persistentvolumeclaims", "/spec/volumeName"),
    ("persistentvolumes", "/spec/claimRef"),
    ("nodes", "/spec/podCIDR"),
    ("nodes", "/spec/podCIDRs"),
    ("nodes", "/spec/providerID"),
    ("customresourcedefinitions", "/spec/conversion/webhook/clientConfig/caBundle"),
];

/// The original as an update of `current`, pinned to it. What stands at `controllers`' pointers stays as it is now, and so
/// does the status unless it is to be put back too.
pub(crate) fn update(
    key: &ObjectKey,
    original: &Value,
    current: &Value,
    status: bool,
    controllers: &[String],
    moved: &Moved,
) -> Value {
    let mut body = original.clone();
    let fields = metadata(&mut body);
    for member in SERVERS_OWN {
        fields.remove(member);
    }
    for member in ["uid", "resourceVersion"] {
        fields.insert(member.into(), current["metadata"][member].clone());
    }
    keep_annotations(&mut body, current);
    if !status {
        set(&mut body, "/status", current.get("status"));
    }
    match key.resource.as_str() {
        "pods" => set(&mut body, "/spec/nodeName", current.pointer("/spec/nodeName")),
        "namespaces" => set(&mut body, "/spec/finalizers", current.pointer("/spec/finalizers")),
        "jobs" if is_job(key) && uid(original) != uid(current) => keep_selector(&mut body, current),
        "nodes" => keep_taints(&mut body, current),
        "secrets" if account(original) != account(current) => set(&mut body, "/data", current.get("data")),
        _ => {}
    }
    for (_, pointer) in KEPT.iter().filter(|(resource, _)| *resource == key.resource) {
        if original.pointer(pointer).is_none() {
            set(&mut body, pointer, current.pointer(pointer));
        }
    }
    for pointer in controllers {
        set(&mut body, pointer, current.pointer(pointer));
    }
    map_owners(&mut body, moved);
    body
}

/// The original as a new object.
pub(crate) fn create(key: &ObjectKey, original: &Value, moved: &Moved) -> Value {
    let mut body = original.clone();
    let fields = metadata(&mut body);
    for member in SERVERS_OWN {
        fields.remove(member);
    }
    let is_volume = key.resource == "persistentvolumes";
    if let Some(Value::Object(annotations)) = fields.get_mut("annotations") {
        // A volume's tell its provisioner how to remove it.
        annotations.retain(|name, _| is_volume || !is_controllers_annotation(name));
    }
    set(&mut body, "/status", None);
    match key.resource.as_str() {
        "pods" => {
            if !was_placed_by_hand(original) {
                set(&mut body, "/spec/nodeName", None);
            }
            set(&mut body, "/spec/ephemeralContainers", None);
        }
        "jobs" if is_job(key) => strip_job(&mut body),
        "namespaces" => set(&mut body, "/spec", None),
        "secrets" => renew_token(&mut body, original, moved),
        _ => {}
    }
    map_owners(&mut body, moved);
    body
}

/// A Service without the addresses that another may have got meanwhile; none when it asks for none.
pub(crate) fn without_addresses(key: &ObjectKey, body: &Value) -> Option<Value> {
    if key.resource != "services" || !key.group.is_empty() {
        return None;
    }
    let mut free = body.clone();
    if text(body, "/spec/clusterIP") != "None" {
        set(&mut free, "/spec/clusterIP", None);
        set(&mut free, "/spec/clusterIPs", None);
    }
    set(&mut free, "/spec/healthCheckNodePort", None);
    strip_node_ports(&mut free);
    (free != *body).then_some(free)
}

/// Owners that the object names and that are not there: it has to wait for them.
pub(crate) fn missing_owner<'a>(object: &'a Value, absent: &std::collections::HashSet<String>) -> Option<&'a str> {
    let missing = owners(object).find(|owner| absent.contains(text(owner, "/uid")));
    missing.map(|owner| text(owner, "/name"))
}

pub(crate) fn map_owners(body: &mut Value, moved: &Moved) {
    let Some(Value::Array(owners)) = body.pointer_mut("/metadata/ownerReferences") else { return };
    for owner in owners {
        if let Some(new) = moved.get(text(owner, "/uid")) {
            owner["uid"] = json!(new);
        }
    }
}

fn keep_annotations(body: &mut Value, current: &Value) {
    let mut annotations = metadata(body).remove("annotations").unwrap_or_default();
    if let Some(map) = annotations.as_object_mut() {
        map.retain(|name, _| !is_controllers_annotation(name));
    }
    let now = current.pointer("/metadata/annotations").and_then(Value::as_object);
    for (name, value) in now.into_iter().flatten().filter(|(name, _)| is_controllers_annotation(name)) {
        annotations[name] = value.clone();
    }
    if !annotations.is_null() {
        metadata(body).insert("annotations".into(), annotations);
    }
}

fn keep_selector(body: &mut Value, current: &Value) {
    if body.pointer("/spec/manualSelector") == Some(&json!(true)) {
        return;
    }
    for pointer in ["/spec/selector", "/spec/template/metadata/labels"] {
        set(body, pointer, current.pointer(pointer));
    }
}

fn keep_taints(body: &mut Value, current: &Value) {
    let taints = |node: &Value, own: bool| -> Vec<Value> {
        let all = node.pointer("/spec/taints").and_then(Value::as_array).cloned().unwrap_or_default();
        all.into_iter().filter(|taint| is_nodes_own(taint) == own).collect()
    };
    let mut both = taints(body, false);
    both.extend(taints(current, true));
    let both = (!both.is_empty()).then_some(Value::Array(both));
    set(body, "/spec/taints", both.as_ref());
}

fn account(secret: &Value) -> Option<&str> {
    annotation(secret, "kubernetes.io/service-account.uid")
}

/// A token holds only for the account of this uid; where that was made again, the cluster makes a new token.
fn renew_token(body: &mut Value, original: &Value, moved: &Moved) {
    let Some(account) = account(original) else { return };
    if moved.contains_key(account) {
        set(body, "/data", None);
    } else {
        map_at(metadata_value(body), "annotations").insert("kubernetes.io/service-account.uid".into(), json!(account));
    }
}

fn metadata_value(body: &mut Value) -> &mut Value {
    metadata(body);
    &mut body["metadata"]
}

/// Whether the pod's node was asked for, rather than chosen by the scheduler: binding leaves no managed field.
fn was_placed_by_hand(pod: &Value) -> bool {
    let managed = pod.pointer("/metadata/managedFields").and_then(Value::as_array);
    managed.into_iter().flatten().any(|entry| entry.pointer("/fieldsV1/f:spec/f:nodeName").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: &str, resource: &str) -> ObjectKey {
        let [group, resource] = [group, resource].map(str::to_owned);
        ObjectKey { group, version: "v1".into(), resource, namespace: "a".into(), name: "x".into() }
    }

    #[test]
    fn a_new_object_has_nothing_of_the_old_ones_identity() {
        let original = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "x", "generateName": "x-", "namespace": "a", "uid": "1", "resourceVersion": "2", "generation": 3,
                "creationTimestamp": "t", "managedFields": [{"fieldsV1": {"f:spec": {}}}], "labels": {"a": "b"},
                "ownerReferences": [{"name": "o", "uid": "old"}, {"name": "p", "uid": "kept"}]},
            "spec": {"nodeName": "n", "containers": [{"name": "c"}], "ephemeralContainers": [{"name": "d"}]},
            "status": {"phase": "Running"},
        });
        let moved = Moved::from([("old".to_owned(), "new".to_owned())]);
        let expected = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "x", "generateName": "x-", "namespace": "a", "labels": {"a": "b"},
                "ownerReferences": [{"name": "o", "uid": "new"}, {"name": "p", "uid": "kept"}]},
            "spec": {"containers": [{"name": "c"}]},
        });
        assert_eq!(create(&key("", "pods"), &original, &moved), expected);
        let mut placed = original;
        placed["metadata"]["managedFields"] = json!([{"fieldsV1": {"f:spec": {"f:nodeName": {}}}}]);
        assert_eq!(create(&key("", "pods"), &placed, &moved)["spec"]["nodeName"], "n");
    }

    #[test]
    fn a_job_is_made_again_without_what_ties_it_to_its_uid() {
        let labels = json!({"app": "x", "controller-uid": "1", "batch.kubernetes.io/job-name": "x"});
        let job = json!({"metadata": {"name": "x", "labels": labels}, "spec": {"selector": {"matchLabels": {"controller-uid": "1"}},
            "template": {"metadata": {"labels": labels}}}});
        let made = create(&key("batch", "jobs"), &job, &Moved::new());
        assert_eq!(made["spec"], json!({"template": {"metadata": {"labels": {"app": "x"}}}}));
        let mut manual = job.clone();
        manual["spec"]["manualSelector"] = json!(true);
        assert_eq!(create(&key("batch", "jobs"), &manual, &Moved::new())["spec"], manual["spec"]);
    }

    #[test]
    fn a_token_is_kept_while_its_account_is_the_same() {
        let secret = json!({"metadata": {"name": "x", "annotations": {"kubernetes.io/service-account.name": "s",
            "kubernetes.io/service-account.uid": "1"}}, "data": {"token": "t"}});
        assert_eq!(create(&key("", "secrets"), &secret, &Moved::new()), secret);
        let moved = Moved::from([("1".to_owned(), "2".to_owned())]);
        let renewed = create(&key("", "secrets"), &secret, &moved);
        assert_eq!(
            renewed,
            json!({"metadata": {"name": "x", "annotations": {"kubernetes.io/service-account.name": "s"}}})
        );
    }

    #[test]
    fn an_update_is_pinned_and_leaves_the_controllers_their_own() {
        let original = json!({"metadata": {"name": "x", "uid": "1", "resourceVersion": "1", "labels": {"a": "1"},
            "annotations": {"deployment.kubernetes.io/revision": "1", "mine": "1"}}, "spec": {"replicas": 1, "paused": false},
            "status": {"replicas": 1}});
        let current = json!({"metadata": {"name": "x", "uid": "1", "resourceVersion": "9", "finalizers": ["f"],
            "annotations": {"deployment.kubernetes.io/revision": "2", "theirs": "1"}}, "spec": {"replicas": 5, "paused": true},
            "status": {"replicas": 5}});
        let body =
            update(&key("apps", "deployments"), &original, &current, false, &["/spec/replicas".into()], &Moved::new());
        let expected = json!({"metadata": {"name": "x", "uid": "1", "resourceVersion": "9", "labels": {"a": "1"},
            "annotations": {"deployment.kubernetes.io/revision": "2", "mine": "1"}}, "spec": {"replicas": 5, "paused": false},
            "status": {"replicas": 5}});
        assert_eq!(body, expected);
        let with_status = update(&key("apps", "deployments"), &original, &current, true, &[], &Moved::new());
        assert_eq!(with_status["status"], original["status"]);
    }

    #[test]
    fn only_a_service_has_addresses_to_give_up() {
        let service = json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 1, "nodePort": 30000}]}});
        let free = json!({"spec": {"ports": [{"port": 1}]}});
        assert_eq!(without_addresses(&key("", "services"), &service), Some(free));
        let headless = json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}});
        assert_eq!(without_addresses(&key("", "services"), &headless), None);
        assert_eq!(without_addresses(&key("", "configmaps"), &service), None);
    }
}
