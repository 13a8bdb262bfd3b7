//! Specifications of pods.

use serde_json::{Value, json};
use wire::quantity::Quantity;

use super::names::{annotations, label_name, labels, not_negative, port_number};
use crate::error::Cause;
use crate::object;

/// A template: labels, annotations and specification.
pub(super) fn template(path: &str, template: &Value, causes: &mut Vec<Cause>) {
    causes.extend(labels(&format!("{path}.metadata.labels"), object::at(template, &["metadata", "labels"])));
    let annotated = object::at(template, &["metadata", "annotations"]);
    causes.extend(annotations(&format!("{path}.metadata.annotations"), annotated));
    spec(&format!("{path}.spec"), &template["spec"], causes);
}

pub(super) fn spec(path: &str, spec: &Value, causes: &mut Vec<Cause>) {
    let volumes = volumes(path, spec, causes);
    let list = object::list(spec, &["containers"]);
    if list.is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut names: Vec<&str> = Vec::new();
    for (list, key) in [(list, "containers"), (object::list(spec, &["initContainers"]), "initContainers")] {
        for (index, one) in list.iter().enumerate() {
            let path = format!("{path}.{key}[{index}]");
            container(&path, one, &volumes, causes);
            let name = one["name"].as_str().unwrap_or_default();
            if !name.is_empty() && names.contains(&name) {
                causes.push(Cause::duplicate(format!("{path}.name"), &one["name"]));
            }
            names.push(name);
        }
    }
    one_of(&format!("{path}.restartPolicy"), &spec["restartPolicy"], &["Always", "OnFailure", "Never"], causes);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(&format!("{path}.dnsPolicy"), &spec["dnsPolicy"], &policies, causes);
    let grace = &spec["terminationGracePeriodSeconds"];
    causes.extend(not_negative(&format!("{path}.terminationGracePeriodSeconds"), grace));
    let deadline = &spec["activeDeadlineSeconds"];
    if deadline.as_i64().is_some_and(|seconds| seconds < 1) {
        let field = format!("{path}.activeDeadlineSeconds");
        causes.push(Cause::invalid(field, deadline, "must be between 1 and 2147483647, inclusive"));
    }
}

fn one_of(field: &str, value: &Value, allowed: &[&str], causes: &mut Vec<Cause>) {
    if !value.as_str().is_some_and(|value| allowed.contains(&value)) {
        causes.push(Cause::unsupported(field, value, allowed));
    }
}

fn volumes<'a>(path: &str, spec: &'a Value, causes: &mut Vec<Cause>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for (index, volume) in object::list(spec, &["volumes"]).iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        causes.extend(label_name(&format!("{path}.name"), &volume["name"]));
        let name = volume["name"].as_str().unwrap_or_default();
        if names.contains(&name) {
            causes.push(Cause::duplicate(format!("{path}.name"), &volume["name"]));
        }
        names.push(name);
        if volume.get("secret").is_some_and(|s| s["secretName"].as_str().unwrap_or_default().is_empty()) {
            causes.push(Cause::required(format!("{path}.secret.secretName"), ""));
        }
        if volume.get("configMap").is_some_and(|s| s["name"].as_str().unwrap_or_default().is_empty()) {
            causes.push(Cause::required(format!("{path}.configMap.name"), ""));
        }
        if volume.get("persistentVolumeClaim").is_some_and(|s| s["claimName"].as_str().unwrap_or_default().is_empty()) {
            causes.push(Cause::required(format!("{path}.persistentVolumeClaim.claimName"), ""));
        }
    }
    names
}

fn container(path: &str, container: &Value, volumes: &[&str], causes: &mut Vec<Cause>) {
    causes.extend(label_name(&format!("{path}.name"), &container["name"]));
    let image = container["image"].as_str().unwrap_or_default();
    if image.is_empty() {
        causes.push(Cause::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        causes.push(Cause::invalid(format!("{path}.image"), &container["image"], why));
    }
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(&format!("{path}.imagePullPolicy"), &container["imagePullPolicy"], &policies, causes);
    for (index, port) in object::list(container, &["ports"]).iter().enumerate() {
        causes.extend(port_number(&format!("{path}.ports[{index}].containerPort"), &port["containerPort"]));
        let protocols = ["SCTP", "TCP", "UDP"];
        one_of(&format!("{path}.ports[{index}].protocol"), &port["protocol"], &protocols, causes);
    }
    for (index, variable) in object::list(container, &["env"]).iter().enumerate() {
        if variable["name"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.env[{index}].name"), ""));
        }
        let has_value = !variable["value"].as_str().unwrap_or_default().is_empty();
        if has_value && variable.get("valueFrom").is_some() {
            let why = "may not be specified when `value` is not empty";
            causes.push(Cause::invalid(format!("{path}.env[{index}].valueFrom"), &json!(""), why));
        }
    }
    for (index, mount) in object::list(container, &["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if !volumes.contains(&name) {
            causes.push(Cause::not_found(format!("{path}.name"), &mount["name"]));
        }
        if mount["mountPath"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.mountPath"), ""));
        }
    }
    resources(path, container, causes);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(given) = container.get(probe) {
            check_probe(&format!("{path}.{probe}"), given, probe != "readinessProbe", causes);
        }
    }
}

fn resources(path: &str, container: &Value, causes: &mut Vec<Cause>) {
    let parts = &container["resources"];
    let amount = |value: &Value| value.as_str().and_then(Quantity::parse);
    for part in ["limits", "requests"] {
        for (name, value) in parts[part].as_object().into_iter().flatten() {
            if amount(value).is_some_and(|amount| amount.nanos() < 0) {
                let field = format!("{path}.resources.{part}[{name}]");
                causes.push(Cause::invalid(field, value, "must be greater than or equal to 0"));
            }
        }
    }
    for (name, request) in parts["requests"].as_object().into_iter().flatten() {
        let limit = &parts["limits"][name];
        if let (Some(asked), Some(bound)) = (amount(request), amount(limit))
            && asked.nanos() > bound.nanos()
        {
            let why = format!("must be less than or equal to {name} limit of {}", limit.as_str().unwrap_or_default());
            causes.push(Cause::invalid(format!("{path}.resources.requests"), request, &why));
        }
    }
}

fn check_probe(path: &str, probe: &Value, one_success: bool, causes: &mut Vec<Cause>) {
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"].iter().filter(|h| probe.get(**h).is_some()).count();
    match handlers {
        0 => causes.push(Cause::required(path, "must specify a handler type")),
        1 => {}
        _ => causes.push(Cause::forbidden(path, "may not specify more than 1 handler type")),
    }
    for key in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        causes.extend(not_negative(&format!("{path}.{key}"), &probe[key]));
    }
    if one_success && probe["successThreshold"].as_i64().is_some_and(|n| n != 1) {
        causes.push(Cause::invalid(format!("{path}.successThreshold"), &probe["successThreshold"], "must be 1"));
    }
    if probe["httpGet"]["port"].is_number() {
        causes.extend(port_number(&format!("{path}.httpGet.port"), &probe["httpGet"]["port"]));
    }
}
