//! What the API server refuses with 422: the common cases, in its words.

pub(crate) mod names;
mod pod;
mod update;
mod workload;

use serde_json::{Value, json};

use crate::error::Cause;
use crate::object;
use crate::registry::Info;

pub(crate) use names::{SUBDOMAIN, is_label, is_subdomain};
pub(crate) use update::on_update;

/// All that is wrong with a new object.
pub(crate) fn on_create(info: &Info, object: &Value) -> Vec<Cause> {
    let mut causes = metadata(info, object);
    match &info.definition {
        Some(definition) => causes.extend(definition.check(object, None, false)),
        None => content(info, object, &mut causes),
    }
    causes
}

fn metadata(info: &Info, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = object::name(object);
    if name.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        causes.extend(names::object_name(info, name));
    }
    causes.extend(names::labels("metadata.labels", object::at(object, &["metadata", "labels"])));
    causes.extend(names::annotations("metadata.annotations", object::at(object, &["metadata", "annotations"])));
    for (index, owner) in object::list(object, &["metadata", "ownerReferences"]).iter().enumerate() {
        for key in ["apiVersion", "kind", "name", "uid"] {
            if owner[key].as_str().unwrap_or_default().is_empty() {
                let field = format!("metadata.ownerReferences[{index}].{key}");
                causes.push(Cause::invalid(field, &owner[key], &format!("{key} must not be empty")));
            }
        }
    }
    causes
}

/// What holds for new objects and for changed ones.
fn content(info: &Info, object: &Value, causes: &mut Vec<Cause>) {
    match (info.resource.group, info.resource.plural) {
        ("", "pods") => pod::spec("spec", &object["spec"], causes),
        ("apiextensions.k8s.io", _) => causes.extend(crate::custom::check_definition(object, None)),
        ("", "podtemplates") => pod::template("template", &object["template"], causes),
        ("", "services") => service(object, causes),
        ("", "configmaps" | "secrets") => config_keys(object, causes),
        ("", "events") => event(object, causes),
        ("apps", _) | ("batch", _) | ("", "replicationcontrollers") => workload::check(info, object, causes),
        ("autoscaling", _) => autoscaler(object, causes),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => rules(object, causes),
        ("policy", _) => budget(object, causes),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => {
            crate::policies::check_policy(object, causes);
        }
        ("admissionregistration.k8s.io", _) => crate::webhooks::conditions::check(object, causes),
        _ => {}
    }
}

fn config_keys(object: &Value, causes: &mut Vec<Cause>) {
    for part in ["data", "binaryData"] {
        for key in object[part].as_object().into_iter().flat_map(|map| map.keys()) {
            if key.is_empty() || key.len() > 253 || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            {
                let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                causes.push(Cause::invalid(format!("{part}[{key}]"), &json!(key), why));
            }
        }
    }
}

fn event(object: &Value, causes: &mut Vec<Cause>) {
    let regarding = object::at(object, &["involvedObject", "namespace"]);
    let given = regarding.as_str().unwrap_or_default();
    let own = object::namespace(object);
    if given != own && !(given.is_empty() && own == "default") {
        causes.push(Cause::invalid("involvedObject.namespace", &json!(given), "does not match event.namespace"));
    }
}

fn service(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    let kind = spec["type"].as_str().unwrap_or_default();
    const KINDS: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !KINDS.contains(&kind) {
        causes.push(Cause::unsupported("spec.type", &spec["type"], &KINDS));
    }
    let ports = object::list(spec, &["ports"]);
    if ports.is_empty() && spec["clusterIP"] != "None" && kind != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        if ports.len() > 1 && port["name"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        }
        causes.extend(names::port_number(&format!("{path}.port"), &port["port"]));
        if port["targetPort"].is_number() {
            causes.extend(names::port_number(&format!("{path}.targetPort"), &port["targetPort"]));
        }
        if !matches!(port["protocol"].as_str(), Some("TCP" | "UDP" | "SCTP")) {
            causes.push(Cause::unsupported(format!("{path}.protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]));
        }
        if ports[..index].iter().any(|p| p["port"] == port["port"] && p["protocol"] == port["protocol"]) {
            let value = json!({"port": port["port"], "protocol": port["protocol"]});
            causes.push(Cause::duplicate(path, &value));
        }
    }
    if kind == "ExternalName" && spec["externalName"].as_str().unwrap_or_default().is_empty() {
        causes.push(Cause::required("spec.externalName", ""));
    }
}

fn autoscaler(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if spec["maxReplicas"].as_i64().unwrap_or(0) < 1 {
        causes.push(Cause::invalid("spec.maxReplicas", &spec["maxReplicas"], "must be greater than 0"));
    }
    if spec["minReplicas"].as_i64() > spec["maxReplicas"].as_i64() {
        let why = "must be greater than or equal to `minReplicas`";
        causes.push(Cause::invalid("spec.maxReplicas", &spec["maxReplicas"], why));
    }
}

fn rules(object: &Value, causes: &mut Vec<Cause>) {
    for (index, rule) in object::list(object, &["rules"]).iter().enumerate() {
        if object::list(rule, &["verbs"]).is_empty() {
            causes.push(Cause::required(format!("rules[{index}].verbs"), "verbs must contain at least one value"));
        }
        if object::list(rule, &["nonResourceURLs"]).is_empty() {
            if object::list(rule, &["apiGroups"]).is_empty() {
                let why = "resource rules must supply at least one api group";
                causes.push(Cause::required(format!("rules[{index}].apiGroups"), why));
            }
            if object::list(rule, &["resources"]).is_empty() {
                let why = "resource rules must supply at least one resource";
                causes.push(Cause::required(format!("rules[{index}].resources"), why));
            }
        }
    }
}

fn budget(object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    if spec.get("minAvailable").is_some() && spec.get("maxUnavailable").is_some() {
        let why = "minAvailable and maxUnavailable cannot be both set";
        causes.push(Cause::invalid("spec", spec, why));
    }
}
