//! What may not change.

use serde_json::{Value, json};

use super::{content, metadata};
use crate::error::Cause;
use crate::object;
use crate::registry::Info;

/// All that is wrong with a change.
pub(crate) fn on_update(info: &Info, old: &Value, new: &Value, subresource: &str) -> Vec<Cause> {
    let mut causes = metadata(info, new);
    finalizers(old, new, &mut causes);
    if let Some(definition) = &info.definition {
        causes.extend(definition.check(new, Some(old), subresource == "status"));
        return causes;
    }
    if subresource == "status" {
        return causes;
    }
    match (info.resource.group, info.resource.plural) {
        ("", "pods") if subresource.is_empty() => pod(old, new, &mut causes),
        ("", "pods") => {}
        ("", "configmaps" | "secrets") => immutable_config(old, new, &mut causes),
        ("", "services") => service(old, new, &mut causes),
        ("", "persistentvolumeclaims") => claim(old, new, &mut causes),
        ("apps", "deployments" | "replicasets" | "daemonsets") => selector(old, new, &mut causes),
        ("apps", "statefulsets") => stateful_set(old, new, &mut causes),
        ("batch", "jobs") => job(old, new, &mut causes),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") if old["roleRef"] != new["roleRef"] => {
            causes.push(Cause::invalid("roleRef", &new["roleRef"], "cannot change roleRef"));
        }
        ("storage.k8s.io", "storageclasses") => {
            if old["parameters"] != new["parameters"] {
                causes.push(Cause::forbidden("parameters", "updates to parameters are forbidden."));
            }
            if old["provisioner"] != new["provisioner"] {
                causes.push(Cause::forbidden("provisioner", "updates to provisioner are forbidden."));
            }
        }
        ("scheduling.k8s.io", "priorityclasses") if old["value"] != new["value"] => {
            causes.push(Cause::forbidden("value", "may not be changed in an update."));
        }
        ("apiextensions.k8s.io", _) => {
            causes.extend(crate::custom::check_definition(new, Some(old)));
            return causes;
        }
        _ => {}
    }
    if info.resource.plural != "pods" {
        content(info, new, &mut causes);
    }
    causes
}

/// A deletion cannot be made to wait for more than it waited for when it began. The server checks metadata twice.
fn finalizers(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    if !object::is_deleting(old) {
        return;
    }
    let path = ["metadata", "finalizers"];
    let known = object::list(old, &path);
    let mut added: Vec<String> =
        object::list(new, &path).iter().filter(|f| !known.contains(f)).map(Value::to_string).collect();
    added.sort();
    if !added.is_empty() {
        let list = added.join(", ");
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
        );
        causes.extend([Cause::forbidden("metadata.finalizers", &why), Cause::forbidden("metadata.finalizers", &why)]);
    }
}

fn immutable_config(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    if old["immutable"] == true {
        let why = "field is immutable when `immutable` is set";
        for key in ["immutable", "data", "binaryData"] {
            if old[key] != new[key] {
                causes.push(Cause::forbidden(key, why));
            }
        }
    }
    if old.get("type") != new.get("type") && old["kind"] == "Secret" {
        causes.push(Cause::invalid("type", &new["type"], "field is immutable"));
    }
}

fn selector(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    if old["spec"]["selector"] != new["spec"]["selector"] {
        causes.push(Cause::invalid("spec.selector", &new["spec"]["selector"], "field is immutable"));
    }
}

fn without(value: &Value, keys: &[&str]) -> Value {
    let mut map = value.as_object().cloned().unwrap_or_default();
    map.retain(|key, _| !keys.contains(&key.as_str()));
    Value::Object(map)
}

fn stateful_set(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    const MUTABLE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if without(&old["spec"], &MUTABLE) != without(&new["spec"], &MUTABLE) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        causes.push(Cause::forbidden("spec", why));
    }
}

fn job(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    for key in ["completions", "selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"] {
        let (before, after) = (&old["spec"][key], &new["spec"][key]);
        if before != after {
            causes.push(Cause::invalid(format!("spec.{key}"), after, "field is immutable"));
        }
    }
    if old["spec"]["template"] != new["spec"]["template"] && old["spec"]["suspend"] != true
        || old["spec"]["template"]["spec"] != new["spec"]["template"]["spec"]
    {
        causes.push(Cause::invalid("spec.template.spec", &new["spec"]["template"]["spec"], "field is immutable"));
    }
}

fn service(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let (before, after) = (&old["spec"]["clusterIP"], &new["spec"]["clusterIP"]);
    let was_set = before.as_str().is_some_and(|ip| !ip.is_empty());
    if was_set && before != after && new["spec"]["type"] != "ExternalName" {
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!([after]), "may not change once set"));
    }
}

fn claim(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let fixed = |value: &Value| without(value, &["resources", "volumeName", "volumeAttributesClassName"]);
    let bound = !object::text(old, &["spec", "volumeName"]).is_empty();
    if fixed(&old["spec"]) != fixed(&new["spec"]) || bound && old["spec"]["volumeName"] != new["spec"]["volumeName"] {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        causes.push(Cause::forbidden("spec", why));
    }
}

/// Of a pod, images, the deadline and further tolerations may change.
fn pod(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let count = |object: &Value, list: &str| object::list(object, &["spec", list]).len();
    for list in ["containers", "initContainers"] {
        if count(old, list) != count(new, list) {
            causes.push(Cause::forbidden(format!("spec.{list}"), "pod updates may not add or remove containers"));
            return;
        }
    }
    for (index, container) in object::list(new, &["spec", "containers"]).iter().enumerate() {
        if container["image"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("spec.containers[{index}].image"), ""));
        }
    }
    let mut munged = new["spec"].clone();
    for list in ["containers", "initContainers"] {
        let images: Vec<Value> = object::list(old, &["spec", list]).iter().map(|c| c["image"].clone()).collect();
        if let Some(Value::Array(containers)) = munged.get_mut(list) {
            for (container, image) in containers.iter_mut().zip(images) {
                container["image"] = image;
            }
        }
    }
    let before = object::list(old, &["spec", "tolerations"]);
    let after = object::list(new, &["spec", "tolerations"]);
    let only_added = before.iter().all(|toleration| after.contains(toleration));
    let keys: &[&str] = if only_added { &["activeDeadlineSeconds", "tolerations"] } else { &["activeDeadlineSeconds"] };
    let lengthened = match (old["spec"]["activeDeadlineSeconds"].as_i64(), &new["spec"]["activeDeadlineSeconds"]) {
        (Some(before), after) => after.as_i64().is_none_or(|after| after > before),
        (None, _) => false,
    };
    if without(&old["spec"], keys) != without(&munged, keys) || lengthened {
        let why = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        causes.push(Cause::forbidden("spec", why));
    }
}
