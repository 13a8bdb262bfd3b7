//! What the server fills in where a client has said nothing, by resource.

mod pod;
mod workload;

use serde_json::{Map, Value, json};

use crate::object::{self, child, default};
use crate::registry::Info;

pub(crate) use pod::pod_spec;

/// Fills in the defaults of an object in its types.
pub(crate) fn apply(info: &Info, object: &mut Value) {
    if let Some(definition) = &info.definition {
        definition.fill(object);
        return;
    }
    match (info.resource.group, info.resource.plural) {
        ("", "pods") => pod::pod(object),
        ("apiextensions.k8s.io", _) => crate::custom::fill_definition(object),
        ("", "podtemplates") => template(object),
        ("", "services") => service(object),
        ("", "namespaces") => namespace(object),
        ("", "secrets") => secret(object),
        ("", "endpoints") => endpoints(object),
        ("", "persistentvolumes") => persistent_volume(object),
        ("", "persistentvolumeclaims") => claim(object),
        ("", "limitranges") => limit_range(object),
        ("", "replicationcontrollers") => workload::replication_controller(object),
        ("apps", "deployments") => workload::deployment(object),
        ("apps", "replicasets") => workload::replica_set(object),
        ("apps", "statefulsets") => workload::stateful_set(object),
        ("apps", "daemonsets") => workload::daemon_set(object),
        ("batch", "jobs") => workload::job(object),
        ("batch", "cronjobs") => workload::cron_job(object),
        ("autoscaling", _) => autoscaler(object),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations" | "mutatingwebhookconfigurations") => {
            webhooks(object);
        }
        ("networking.k8s.io", "networkpolicies") => network_policy(object),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => binding(object),
        ("discovery.k8s.io", _) => endpoint_slice(object),
        ("scheduling.k8s.io", _) => set(object, &[("preemptionPolicy", json!("PreemptLowerPriority"))]),
        ("storage.k8s.io", "storageclasses") => {
            set(object, &[("reclaimPolicy", json!("Delete")), ("volumeBindingMode", json!("Immediate"))]);
        }
        _ => {}
    }
}

pub(crate) fn set(object: &mut Value, defaults: &[(&str, Value)]) {
    if let Value::Object(map) = object {
        set_in(map, defaults);
    }
}

pub(crate) fn set_in(map: &mut Map<String, Value>, defaults: &[(&str, Value)]) {
    for (key, value) in defaults {
        default(map, key, value.clone());
    }
}

pub(crate) fn each(value: &mut Value, key: &str, mut change: impl FnMut(&mut Value)) {
    if let Some(Value::Array(items)) = value.get_mut(key) {
        items.iter_mut().for_each(&mut change);
    }
}

fn webhooks(object: &mut Value) {
    let mutating = object["kind"] == "MutatingWebhookConfiguration";
    each(object, "webhooks", |webhook| {
        each(webhook, "rules", |rule| set(rule, &[("scope", json!("*"))]));
        if webhook["clientConfig"]["service"].is_object() && webhook["clientConfig"]["service"].get("port").is_none() {
            webhook["clientConfig"]["service"]["port"] = json!(443);
        }
        set(
            webhook,
            &[
                ("failurePolicy", json!("Fail")),
                ("matchPolicy", json!("Equivalent")),
                ("namespaceSelector", json!({})),
                ("objectSelector", json!({})),
                ("timeoutSeconds", json!(10)),
            ],
        );
        if mutating {
            set(webhook, &[("reinvocationPolicy", json!("Never"))]);
        }
    });
}

fn template(object: &mut Value) {
    pod_spec(&mut object["template"]["spec"]);
}

fn service(object: &mut Value) {
    let Value::Object(spec) = &mut object["spec"] else { return };
    set_in(spec, &[("sessionAffinity", json!("None")), ("type", json!("ClusterIP"))]);
    let kind = spec["type"].as_str().unwrap_or_default().to_owned();
    if spec["sessionAffinity"] == "None" {
        spec.remove("sessionAffinityConfig");
    } else if let Some(config) = spec.get_mut("sessionAffinityConfig").and_then(|c| c.get_mut("clientIP")) {
        set(config, &[("timeoutSeconds", json!(10800))]);
    } else {
        spec.insert("sessionAffinityConfig".into(), json!({"clientIP": {"timeoutSeconds": 10800}}));
    }
    if let Some(Value::Array(ports)) = spec.get_mut("ports") {
        for port in ports {
            let number = port["port"].clone();
            let Value::Object(port) = port else { continue };
            default(port, "protocol", "TCP");
            if matches!(port.get("targetPort"), None | Some(Value::Null))
                || port["targetPort"] == 0
                || port["targetPort"] == ""
            {
                port.insert("targetPort".into(), number);
            }
        }
    }
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" && !spec.contains_key("allocateLoadBalancerNodePorts") {
        spec.insert("allocateLoadBalancerNodePorts".into(), json!(true));
    }
}

fn namespace(object: &mut Value) {
    let name = object::name(object).to_owned();
    let status = child(object, "status");
    default(status, "phase", "Active");
    if !name.is_empty() {
        let metadata = object::metadata(object);
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        labels["kubernetes.io/metadata.name"] = json!(name);
    }
    if !object::is_deleting(object) {
        let spec = child(object, "spec");
        spec.entry("finalizers").or_insert_with(|| json!(["kubernetes"]));
    }
}

fn secret(object: &mut Value) {
    use base64::Engine as _;
    set(object, &[("type", json!("Opaque"))]);
    let Value::Object(map) = object else { return };
    if let Some(Value::Object(plain)) = map.remove("stringData") {
        let data = map.entry("data").or_insert_with(|| json!({}));
        for (key, value) in plain {
            let encoded = base64::engine::general_purpose::STANDARD.encode(value.as_str().unwrap_or_default());
            data[key] = json!(encoded);
        }
    }
}

fn endpoints(object: &mut Value) {
    each(object, "subsets", |subset| each(subset, "ports", |port| set(port, &[("protocol", json!("TCP"))])));
}

fn endpoint_slice(object: &mut Value) {
    each(object, "ports", |port| {
        set(port, &[("protocol", json!("TCP"))]);
        if port.get("name").is_none() {
            port["name"] = json!("");
        }
    });
}

fn persistent_volume(object: &mut Value) {
    let spec = child(object, "spec");
    set_in(spec, &[("persistentVolumeReclaimPolicy", json!("Retain")), ("volumeMode", json!("Filesystem"))]);
    if let Some(path) = spec.get_mut("hostPath") {
        set(path, &[("type", json!(""))]);
        if path.get("type").is_none() {
            path["type"] = json!("");
        }
    }
    default(child(object, "status"), "phase", "Pending");
}

pub(crate) fn claim(object: &mut Value) {
    default(child(object, "spec"), "volumeMode", "Filesystem");
    default(child(object, "status"), "phase", "Pending");
}

fn limit_range(object: &mut Value) {
    each(&mut object["spec"], "limits", |item| {
        if item["type"] != "Container" {
            return;
        }
        let copy = |item: &mut Value, from: &str, to: &str| {
            for (name, value) in item.get(from).and_then(Value::as_object).cloned().unwrap_or_default() {
                default(child(item, to), &name, value);
            }
        };
        copy(item, "max", "default");
        copy(item, "default", "defaultRequest");
        copy(item, "min", "defaultRequest");
    });
}

fn autoscaler(object: &mut Value) {
    let spec = child(object, "spec");
    if !spec.contains_key("minReplicas") {
        spec.insert("minReplicas".into(), json!(1));
    }
    if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec.insert("metrics".into(), json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
    }
}

fn network_policy(object: &mut Value) {
    let spec = child(object, "spec");
    if spec.get("policyTypes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|e| !e.is_empty());
        spec.insert("policyTypes".into(), if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
    each(&mut object["spec"], "ingress", |rule| each(rule, "ports", |p| set(p, &[("protocol", json!("TCP"))])));
    each(&mut object["spec"], "egress", |rule| each(rule, "ports", |p| set(p, &[("protocol", json!("TCP"))])));
}

fn binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    default(child(object, "roleRef"), "apiGroup", GROUP);
    each(object, "subjects", |subject| {
        if subject["kind"] == "User" || subject["kind"] == "Group" {
            set(subject, &[("apiGroup", json!(GROUP))]);
        }
    });
}
