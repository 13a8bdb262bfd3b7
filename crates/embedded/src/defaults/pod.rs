//! Defaults of pods and of every pod template.

use serde_json::{Value, json};

use super::{each, set, set_in};
use crate::object::child;

/// A whole pod: what a template gets, and what only pods get.
pub(super) fn pod(object: &mut Value) {
    let spec = &mut object["spec"];
    for list in ["initContainers", "containers"] {
        each(spec, list, requests_from_limits);
    }
    pod_spec(spec);
    set(spec, &[("enableServiceLinks", json!(true))]);
    let status = child(object, "status");
    set_in(status, &[("phase", json!("Pending"))]);
    if !status.contains_key("qosClass") {
        let class = quality(&object["spec"]);
        child(object, "status").insert("qosClass".into(), json!(class));
    }
}

fn requests_from_limits(container: &mut Value) {
    let limits = container["resources"]["limits"].as_object().cloned().unwrap_or_default();
    if limits.is_empty() {
        return;
    }
    let requests = child(&mut container["resources"], "requests");
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// `BestEffort`, `Burstable` or `Guaranteed`.
fn quality(spec: &Value) -> &'static str {
    let mut guaranteed = true;
    let mut any = false;
    let containers = ["containers", "initContainers"].into_iter().filter_map(|list| spec[list].as_array()).flatten();
    for container in containers {
        let resources = &container["resources"];
        for name in ["cpu", "memory"] {
            let (request, limit) = (&resources["requests"][name], &resources["limits"][name]);
            let is_set = |value: &Value| value.as_str().is_some_and(|text| text != "0");
            any |= is_set(request) || is_set(limit);
            guaranteed &= is_set(limit) && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The specification in a template or a pod.
pub(crate) fn pod_spec(spec: &mut Value) {
    let Value::Object(map) = spec else { return };
    set_in(
        map,
        &[
            ("restartPolicy", json!("Always")),
            ("terminationGracePeriodSeconds", json!(30)),
            ("dnsPolicy", json!("ClusterFirst")),
            ("schedulerName", json!("default-scheduler")),
            ("securityContext", json!({})),
        ],
    );
    // Both names of the account are written, whichever was given.
    let account = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .find_map(|key| map.get(key).and_then(Value::as_str).filter(|name| !name.is_empty()))
        .map(str::to_owned);
    if let Some(account) = account {
        map.insert("serviceAccountName".into(), json!(account));
        map.insert("serviceAccount".into(), json!(account));
    }
    let host_network = map.get("hostNetwork") == Some(&json!(true));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list, |container| container_defaults(container, host_network));
    }
    each(spec, "volumes", volume);
    each(spec, "topologySpreadConstraints", |constraint| {
        if let Value::Object(constraint) = constraint {
            for key in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
                if constraint.get(key) == Some(&Value::Null) {
                    constraint.remove(key);
                }
            }
        }
    });
}

fn container_defaults(container: &mut Value, host_network: bool) {
    let image = container["image"].as_str().unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let (_, tag) = last
        .split_once('@')
        .map_or_else(|| last.split_once(':').unwrap_or((last, "latest")), |(name, digest)| (name, digest));
    let policy = if tag == "latest" { "Always" } else { "IfNotPresent" };
    set(
        container,
        &[
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
            ("imagePullPolicy", json!(policy)),
        ],
    );
    each(container, "ports", |port| {
        set(port, &[("protocol", json!("TCP"))]);
        if host_network {
            let number = port["containerPort"].clone();
            set(port, &[("hostPort", number)]);
        }
    });
    each(container, "env", |variable| {
        if let Some(field) = variable.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef")) {
            set(field, &[("apiVersion", json!("v1"))]);
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name).filter(|probe| probe.is_object()) {
            set(
                probe,
                &[
                    ("timeoutSeconds", json!(1)),
                    ("periodSeconds", json!(10)),
                    ("successThreshold", json!(1)),
                    ("failureThreshold", json!(3)),
                ],
            );
            handler(probe);
        }
    }
    if let Some(lifecycle) = container.get_mut("lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.get_mut(name) {
                handler(hook);
            }
        }
    }
}

fn handler(handler: &mut Value) {
    if let Some(get) = handler.get_mut("httpGet") {
        set(get, &[("path", json!("/")), ("scheme", json!("HTTP"))]);
    }
    if let Some(grpc) = handler.get_mut("grpc")
        && grpc["service"].is_null()
    {
        grpc["service"] = json!("");
    }
}

fn volume(volume: &mut Value) {
    const SOURCES_WITH_MODE: [&str; 4] = ["secret", "configMap", "downwardAPI", "projected"];
    let Value::Object(map) = volume else { return };
    if map.len() == 1 && map.contains_key("name") {
        map.insert("emptyDir".into(), json!({}));
    }
    for source in SOURCES_WITH_MODE {
        if let Some(source) = map.get_mut(source) {
            set(source, &[("defaultMode", json!(420))]);
        }
    }
    if let Some(path) = map.get_mut("hostPath")
        && path.get("type").is_none()
    {
        path["type"] = json!("");
    }
    if let Some(projected) = map.get_mut("projected") {
        each(projected, "sources", |source| {
            if let Some(token) = source.get_mut("serviceAccountToken") {
                set(token, &[("expirationSeconds", json!(3600))]);
            }
            downward_items(source.get_mut("downwardAPI"));
        });
    }
    downward_items(map.get_mut("downwardAPI"));
    if let Some(template) = map.get_mut("ephemeral").and_then(|e| e.get_mut("volumeClaimTemplate")) {
        set_in(child(template, "spec"), &[("volumeMode", json!("Filesystem"))]);
    }
}

fn downward_items(source: Option<&mut Value>) {
    if let Some(source) = source {
        each(source, "items", |item| {
            if let Some(field) = item.get_mut("fieldRef") {
                set(field, &[("apiVersion", json!("v1"))]);
            }
        });
    }
}
