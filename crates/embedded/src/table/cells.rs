//! The cells of a row, by resource.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::text::{age, labels, or_none, plain, selector_text};
use super::{pods, workloads};
use crate::object;
use crate::registry::Info;

/// The cells, as many as the resource has columns.
pub(super) fn of(info: &Info, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = json!(object::name(object));
    if let Some(definition) = &info.definition {
        let own = definition.columns.iter().map(|column| crate::custom::cell(column, object, now));
        return std::iter::once(name).chain(own).collect();
    }
    let old = json!(age(&object["metadata"]["creationTimestamp"], now));
    let created = object["metadata"]["creationTimestamp"].clone();
    match (info.resource.group, info.resource.plural) {
        ("", "pods") => pods::cells(object, now),
        ("apps", "deployments") => workloads::deployment(object, now),
        ("apps", "replicasets") | ("", "replicationcontrollers") => workloads::replica_set(object, now),
        ("apps", "statefulsets") => workloads::stateful_set(object, now),
        ("apps", "daemonsets") => workloads::daemon_set(object, now),
        ("batch", "jobs") => workloads::job(object, now),
        ("batch", "cronjobs") => workloads::cron_job(object, now),
        ("" | "events.k8s.io", "events") => event(object, now),
        ("", "services") => service(object, old),
        ("", "nodes") => node(object, old),
        ("", "namespaces") => vec![name, object["status"]["phase"].clone(), old],
        ("", "configmaps") => vec![name, json!(count(object, "data") + count(object, "binaryData")), old],
        ("", "secrets") => vec![name, object["type"].clone(), json!(count(object, "data")), old],
        ("", "endpoints") => vec![name, json!(endpoints(object)), old],
        ("", "persistentvolumeclaims") => claim(object, old),
        ("", "persistentvolumes") => volume(object, old),
        ("", "resourcequotas") => quota(object, old),
        ("", "podtemplates") => {
            let [names, images] = workloads::template_cells(&object["template"]);
            vec![name, names, images, json!(labels(object::at(object, &["template", "metadata", "labels"])))]
        }
        ("", "limitranges") | ("rbac.authorization.k8s.io", "roles" | "clusterroles") => vec![name, created],
        ("apiextensions.k8s.io", _) => vec![name, created],
        ("rbac.authorization.k8s.io", _) => role_binding(object, old),
        ("discovery.k8s.io", _) => slice(object, old),
        ("autoscaling", _) => autoscaler(object, old),
        ("networking.k8s.io", "ingresses") => ingress(object, old),
        ("networking.k8s.io", "networkpolicies") => {
            vec![name, json!(or_none(selector_text(&object["spec"]["podSelector"]))), old]
        }
        ("networking.k8s.io", "ingressclasses") => {
            vec![name, object["spec"]["controller"].clone(), json!("<none>"), old]
        }
        ("policy", _) => budget(object, old),
        ("scheduling.k8s.io", _) => vec![
            name,
            object["value"].clone(),
            json!(object["globalDefault"] == true),
            old,
            object["preemptionPolicy"].clone(),
        ],
        ("storage.k8s.io", "storageclasses") => storage_class(object, old),
        ("coordination.k8s.io", _) => vec![name, json!(object::text(object, &["spec", "holderIdentity"])), old],
        ("apps", "controllerrevisions") => {
            let owner = &object["metadata"]["ownerReferences"][0];
            let text =
                format!("{}.apps/{}", object::text(owner, &["kind"]).to_lowercase(), object::text(owner, &["name"]));
            vec![name, json!(if owner.is_null() { "<none>".to_owned() } else { text }), object["revision"].clone(), old]
        }
        _ => vec![name, old],
    }
}

fn count(object: &Value, key: &str) -> usize {
    object[key].as_object().map_or(0, serde_json::Map::len)
}

fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    // The new form has no first and last time, but when it happened and a series.
    let or = |value: &Value, other: &Value| if value.is_null() { other.clone() } else { value.clone() };
    let first = or(&event["firstTimestamp"], &event["eventTime"]);
    let (last, count) = match &event["series"] {
        Value::Null => (or(&event["lastTimestamp"], &first), event["count"].as_i64().unwrap_or(1)),
        series => (series["lastObservedTime"].clone(), series["count"].as_i64().unwrap_or(1)),
    };
    let component = or(&event["source"]["component"], &event["reportingComponent"]);
    let host = or(&event["source"]["host"], &event["reportingInstance"]);
    let source: Vec<String> = [component, host].iter().map(plain).filter(|text| !text.is_empty()).collect();
    let regarding = &event["involvedObject"];
    vec![
        json!(age(&last, now)),
        event["type"].clone(),
        event["reason"].clone(),
        json!(format!("{}/{}", object::text(regarding, &["kind"]).to_lowercase(), object::text(regarding, &["name"]))),
        json!(object::text(regarding, &["fieldPath"])),
        json!(source.join(", ")),
        json!(object::text(event, &["message"]).trim()),
        json!(age(&first, now)),
        json!(count.max(1)),
        json!(object::name(event)),
    ]
}

fn service(service: &Value, old: Value) -> Vec<Value> {
    let spec = &service["spec"];
    let kind = object::text(spec, &["type"]);
    let given: Vec<&str> = object::list(spec, &["externalIPs"]).iter().filter_map(Value::as_str).collect();
    let balancer: Vec<&str> = object::list(service, &["status", "loadBalancer", "ingress"])
        .iter()
        .filter_map(|ingress| ingress["ip"].as_str().or_else(|| ingress["hostname"].as_str()))
        .collect();
    let external = match kind {
        "ExternalName" => object::text(spec, &["externalName"]).to_owned(),
        "LoadBalancer" if balancer.is_empty() && given.is_empty() => "<pending>".to_owned(),
        _ => or_none([balancer, given].concat().join(",")),
    };
    let ports: Vec<String> = object::list(spec, &["ports"])
        .iter()
        .map(|port| {
            let protocol = object::text(port, &["protocol"]);
            match port["nodePort"].as_i64() {
                Some(node) if node != 0 => format!("{}:{node}/{protocol}", port["port"]),
                _ => format!("{}/{protocol}", port["port"]),
            }
        })
        .collect();
    vec![
        json!(object::name(service)),
        json!(kind),
        json!(or_none(object::text(spec, &["clusterIP"]).to_owned())),
        json!(external),
        json!(or_none(ports.join(","))),
        old,
        json!(labels(&spec["selector"])),
    ]
}

fn node(node: &Value, old: Value) -> Vec<Value> {
    let ready = object::list(node, &["status", "conditions"]).iter().find(|c| c["type"] == "Ready");
    let mut status = match ready.map(|c| c["status"] == "True") {
        Some(true) => "Ready".to_owned(),
        Some(false) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let roles: Vec<&str> = node["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let address = |kind: &str| {
        let found = object::list(node, &["status", "addresses"]).iter().find(|a| a["type"] == kind);
        or_none(found.map(|a| plain(&a["address"])).unwrap_or_default())
    };
    let facts = &node["status"]["nodeInfo"];
    vec![
        json!(object::name(node)),
        json!(status),
        json!(or_none(roles.join(","))),
        old,
        facts["kubeletVersion"].clone(),
        json!(address("InternalIP")),
        json!(address("ExternalIP")),
        facts["osImage"].clone(),
        json!(format!("{} ({})", plain(&facts["kernelVersion"]), plain(&facts["architecture"]))),
        facts["containerRuntimeVersion"].clone(),
    ]
}

/// At most three of them, then how many more.
fn some(items: Vec<String>) -> String {
    let more = items.len().saturating_sub(3);
    let shown = items.into_iter().take(3).collect::<Vec<_>>().join(",");
    let shown = or_none(shown);
    if more > 0 { format!("{shown} + {more} more...") } else { shown }
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in object::list(object, &["subsets"]) {
        let ports = object::list(subset, &["ports"]);
        for address in object::list(subset, &["addresses"]) {
            let ip = object::text(address, &["ip"]);
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(ports.iter().map(|port| format!("{ip}:{}", port["port"])));
        }
    }
    some(all)
}

fn slice(object: &Value, old: Value) -> Vec<Value> {
    let ports = object::list(object, &["ports"]);
    let shown = if ports.is_empty() {
        "<unset>".to_owned()
    } else {
        some(
            ports
                .iter()
                .map(|port| if port["port"].is_null() { "*".to_owned() } else { port["port"].to_string() })
                .collect(),
        )
    };
    let addresses: Vec<String> = object::list(object, &["endpoints"])
        .iter()
        .flat_map(|endpoint| object::list(endpoint, &["addresses"]).iter().map(plain))
        .collect();
    let addresses = if addresses.is_empty() { "<unset>".to_owned() } else { some(addresses) };
    vec![json!(object::name(object)), object["addressType"].clone(), json!(shown), json!(addresses), old]
}

/// `RWO,ROX`.
fn modes(modes: &Value) -> String {
    let short: Vec<&str> = modes
        .as_array()
        .into_iter()
        .flatten()
        .map(|mode| match mode.as_str() {
            Some("ReadWriteOnce") => "RWO",
            Some("ReadOnlyMany") => "ROX",
            Some("ReadWriteMany") => "RWX",
            Some("ReadWriteOncePod") => "RWOP",
            _ => "",
        })
        .collect();
    short.join(",")
}

fn claim(claim: &Value, old: Value) -> Vec<Value> {
    let phase = if object::is_deleting(claim) { json!("Terminating") } else { claim["status"]["phase"].clone() };
    let bound = !object::text(claim, &["spec", "volumeName"]).is_empty();
    let (capacity, access) = if bound {
        (plain(&claim["status"]["capacity"]["storage"]), modes(&claim["status"]["accessModes"]))
    } else {
        (String::new(), String::new())
    };
    let unset = |key: &str| claim["spec"][key].as_str().unwrap_or("<unset>").to_owned();
    vec![
        json!(object::name(claim)),
        phase,
        json!(object::text(claim, &["spec", "volumeName"])),
        json!(capacity),
        json!(access),
        json!(object::text(claim, &["spec", "storageClassName"])),
        json!(unset("volumeAttributesClassName")),
        old,
        json!(unset("volumeMode")),
    ]
}

fn volume(volume: &Value, old: Value) -> Vec<Value> {
    let spec = &volume["spec"];
    let phase = if object::is_deleting(volume) { json!("Terminating") } else { volume["status"]["phase"].clone() };
    let claim = match &spec["claimRef"] {
        Value::Null => String::new(),
        claim => format!("{}/{}", plain(&claim["namespace"]), plain(&claim["name"])),
    };
    vec![
        json!(object::name(volume)),
        json!(plain(&spec["capacity"]["storage"])),
        json!(modes(&spec["accessModes"])),
        spec["persistentVolumeReclaimPolicy"].clone(),
        phase,
        json!(claim),
        json!(plain(&spec["storageClassName"])),
        json!(spec["volumeAttributesClassName"].as_str().unwrap_or("<unset>")),
        json!(plain(&volume["status"]["reason"])),
        old,
        json!(spec["volumeMode"].as_str().unwrap_or("<unset>")),
    ]
}

fn quota(quota: &Value, old: Value) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in quota["status"]["hard"].as_object().into_iter().flatten() {
        let used = plain(&quota["status"]["used"][name]);
        let text = format!("{name}: {used}/{}", plain(hard));
        if name.starts_with("limits") { limits.push(text) } else { requests.push(text) }
    }
    vec![json!(object::name(quota)), json!(requests.join(", ")), json!(limits.join(", ")), old]
}

fn role_binding(binding: &Value, old: Value) -> Vec<Value> {
    let role = format!("{}/{}", plain(&binding["roleRef"]["kind"]), plain(&binding["roleRef"]["name"]));
    let subjects = |kind: &str| {
        let names: Vec<String> = object::list(binding, &["subjects"])
            .iter()
            .filter(|subject| subject["kind"] == kind)
            .map(|subject| match subject["namespace"].as_str() {
                Some(namespace) if kind == "ServiceAccount" => format!("{namespace}/{}", plain(&subject["name"])),
                _ => plain(&subject["name"]),
            })
            .collect();
        json!(names.join(", "))
    };
    vec![
        json!(object::name(binding)),
        json!(role),
        old,
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

fn autoscaler(hpa: &Value, old: Value) -> Vec<Value> {
    let target = &hpa["spec"]["scaleTargetRef"];
    let current = object::list(hpa, &["status", "currentMetrics"]);
    let targets: Vec<String> = object::list(hpa, &["spec", "metrics"])
        .iter()
        .map(|metric| {
            let source = &metric["resource"];
            let wanted = match source["target"]["averageUtilization"].as_i64() {
                Some(percent) => format!("{percent}%"),
                None => plain(&source["target"]["averageValue"]),
            };
            let have = current
                .iter()
                .find(|c| c["resource"]["name"] == source["name"])
                .and_then(|c| c["resource"]["current"]["averageUtilization"].as_i64())
                .map_or_else(|| "<unknown>".to_owned(), |percent| format!("{percent}%"));
            format!("{}: {have}/{wanted}", plain(&source["name"]))
        })
        .collect();
    vec![
        json!(object::name(hpa)),
        json!(format!("{}/{}", plain(&target["kind"]), plain(&target["name"]))),
        json!(or_none(targets.join(", "))),
        json!(hpa["spec"]["minReplicas"].as_i64().map_or_else(|| "<unset>".to_owned(), |n| n.to_string())),
        hpa["spec"]["maxReplicas"].clone(),
        json!(hpa["status"]["currentReplicas"].as_i64().unwrap_or(0)),
        old,
    ]
}

fn ingress(ingress: &Value, old: Value) -> Vec<Value> {
    let rules = object::list(ingress, &["spec", "rules"]);
    let hosts: Vec<String> = rules.iter().map(|rule| plain(&rule["host"])).filter(|host| !host.is_empty()).collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { some(hosts) };
    let addresses: Vec<&str> = object::list(ingress, &["status", "loadBalancer", "ingress"])
        .iter()
        .filter_map(|i| i["ip"].as_str().or_else(|| i["hostname"].as_str()))
        .collect();
    let tls = !object::list(ingress, &["spec", "tls"]).is_empty();
    vec![
        json!(object::name(ingress)),
        json!(or_none(object::text(ingress, &["spec", "ingressClassName"]).to_owned())),
        json!(hosts),
        json!(addresses.join(",")),
        json!(if tls { "80, 443" } else { "80" }),
        old,
    ]
}

fn budget(budget: &Value, old: Value) -> Vec<Value> {
    let bound = |key: &str| match &budget["spec"][key] {
        Value::Null => json!("N/A"),
        value => json!(plain(value)),
    };
    vec![
        json!(object::name(budget)),
        bound("minAvailable"),
        bound("maxUnavailable"),
        json!(budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0)),
        old,
    ]
}

fn storage_class(class: &Value, old: Value) -> Vec<Value> {
    let default = object::at(class, &["metadata", "annotations", "storageclass.kubernetes.io/is-default-class"]);
    let name = object::name(class);
    vec![
        json!(if default == "true" { format!("{name} (default)") } else { name.to_owned() }),
        class["provisioner"].clone(),
        class["reclaimPolicy"].clone(),
        class["volumeBindingMode"].clone(),
        json!(class["allowVolumeExpansion"] == true),
        old,
    ]
}
