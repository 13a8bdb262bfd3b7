//! Replays recorded exchanges of a real API server and compares statuses, reasons, messages and structure. What differs
//! is named in `deviations.txt`, with the reason; a line there that no longer differs fails the test too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use embedded::{Cluster, Identity};
use serde_json::{Value, json};

use crate::client::{call, create, namespace, send_as, still, text};

/// The recordings that are played again, each with the test that does it: none is that of this module.
pub(crate) fn claimed() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("claimed.txt").lines().filter(|line| !line.starts_with("//"));
    lines.map(|line| line.split_once(" @").unwrap_or((line, "")))
}

/// The recordings that a test plays again.
pub(crate) fn claimed_by(test: &'static str) -> impl Iterator<Item = &'static str> {
    claimed().filter(move |(_, by)| *by == test).map(|(file, _)| file)
}

/// Exchanges that are known to be answered otherwise, and why.
pub(crate) fn deviations() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines =
        include_str!("deviations.txt").lines().filter(|line| !line.starts_with("//") && !line.trim().is_empty());
    lines.map(|line| line.split_once(' ').expect("file#index reason"))
}

/// Where managed fields were left in the recording.
const WITH_MANAGED: &[&str] =
    &["auth", "create", "apply", "patch", "update", "metadata", "dryrun", "validation", "invalid"];

/// The exchanges that one test is known to find answered otherwise.
pub(crate) fn known_deviations(test: &'static str) -> BTreeSet<String> {
    let own: BTreeSet<&str> = claimed_by(test).collect();
    let file = |key: &str| own.contains(key.split('#').next().unwrap_or(key));
    deviations().filter(|(key, _)| file(key)).map(|(key, _)| key.to_owned()).collect()
}

pub(crate) fn recordings() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/recordings/protocol")
}

fn web(name: &str, replicas: u32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "web", "image": "local/web:1", "ports": [{"containerPort": 8080}]}]}},
        },
    })
}

/// What was there when the exchanges were recorded.
async fn prepare(cluster: &Cluster) {
    namespace(cluster, "proto").await;
    namespace(cluster, "tables").await;
    let apps = "/apis/apps/v1/namespaces/proto/deployments";
    create(cluster, apps, web("web", 2)).await;
    create(cluster, apps, web("patchme", 0)).await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    create(cluster, "/api/v1/namespaces/proto/services", service).await;
    for name in ["talker", "two", "pendingdel"] {
        let container =
            |name: &str, script: &str| json!({"name": name, "image": "busybox:1.36", "command": ["sh", "-c", script]});
        let mut pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {
            "terminationGracePeriodSeconds": 1, "containers": [container("app", "sleep 3600")]}});
        match name {
            "two" => {
                pod["spec"]["containers"] =
                    json!([container("app", "sleep 3600"), container("side", "echo side; sleep 3600")]);
            }
            "talker" => {
                let script = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.5; done";
                pod["spec"]["containers"] = json!([container("app", script)]);
            }
            "pendingdel" => pod["spec"]["nodeSelector"] = json!({"no": "node"}),
            _ => {}
        }
        create(cluster, "/api/v1/namespaces/proto/pods", pod).await;
    }
    for name in ["two", "talker"] {
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "node-1"}});
        create(cluster, &format!("/api/v1/namespaces/proto/pods/{name}/binding"), binding).await;
    }
    for n in 0..7 {
        let item = json!({"metadata": {"name": format!("item-{n}"), "labels": {"set": "items", "n": n.to_string()}},
                          "data": {"a": "1"}});
        create(cluster, "/api/v1/namespaces/proto/configmaps", item).await;
    }
    let secret = json!({"metadata": {"name": "sec"}, "data": {"a": "YQ=="}});
    create(cluster, "/api/v1/namespaces/tables/secrets", secret).await;
    let role = json!({"metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    create(cluster, "/apis/rbac.authorization.k8s.io/v1/namespaces/tables/roles", role).await;
}

/// Recorded uids and resource versions, and what stands for them here.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn learn(&mut self, recorded: &Value, actual: &Value) {
        for key in ["uid", "resourceVersion", "continue"] {
            if let (Some(theirs), Some(ours)) = (recorded["metadata"][key].as_str(), actual["metadata"][key].as_str()) {
                self.0.insert(theirs.to_owned(), ours.to_owned());
            }
        }
    }

    fn translate(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (theirs, ours) in &self.0 {
            text = text.replace(&format!("\"{theirs}\""), &format!("\"{ours}\""));
            for key in ["resourceVersion", "continue"] {
                text = text.replace(&format!("{key}={theirs}"), &format!("{key}={ours}"));
            }
        }
        text
    }
}

const VOLATILE: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "time",
    "lastTransitionTime",
    "clusterIP",
    "deletionTimestamp",
    "gitCommit",
    "storageVersionHash",
    "description",
    "continue",
    "token",
];

/// Numbers and ids in a message differ from run to run.
pub(crate) fn blurred(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = (0..text.len()).find(|at| text.get(*at..at + 36).is_some_and(is_id)) {
        text.replace_range(at..at + 36, "ID");
    }
    let mut out = String::new();
    let mut last_digit = false;
    for c in text.chars() {
        let digit =
            c.is_ascii_digit() || last_digit && c.is_ascii_hexdigit() && !c.is_ascii_digit() && c.is_lowercase();
        if c.is_ascii_digit() {
            if !last_digit {
                out.push('#');
            }
        } else {
            out.push(c);
        }
        last_digit = digit && c.is_ascii_digit();
    }
    match out.find("kube-api-access-") {
        Some(at) => out[..at].to_owned() + "kube-api-access-*",
        None => out,
    }
}

fn is_id(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_hexdigit();
    text.len() == 36
        && text.bytes().enumerate().all(|(n, b)| if [8, 13, 18, 23].contains(&n) { b == b'-' } else { is_hex(b) })
}

pub(crate) fn compare(path: &str, expected: &Value, actual: &Value, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(want), Value::Object(have)) => {
            for (key, value) in want {
                let path = format!("{path}.{key}");
                match have.get(key) {
                    None => found.push(format!("{path} is missing")),
                    Some(_) if VOLATILE.contains(&key.as_str()) => {}
                    Some(other) => compare(&path, value, other, found),
                }
            }
            for key in have.keys().filter(|key| !want.contains_key(*key) && !VOLATILE.contains(&key.as_str())) {
                found.push(format!("{path}.{key} is too much"));
            }
        }
        (Value::Array(want), Value::Array(have)) => {
            let cut = want.last().and_then(Value::as_str).is_some_and(|text| text.ends_with("more left out)"));
            let want = if cut { &want[..want.len() - 1] } else { &want[..] };
            if !cut && want.len() != have.len() {
                found.push(format!("{path} has {} items, not {}", have.len(), want.len()));
            }
            for (index, (one, other)) in want.iter().zip(have).enumerate() {
                compare(&format!("{path}[{index}]"), one, other, found);
            }
        }
        (Value::String(want), Value::String(have)) => {
            let ids = is_id(want) && is_id(have);
            let ages = path.contains(".cells[") && want.ends_with(['s', 'm']);
            if blurred(want) != blurred(have) && !ids && !ages {
                found.push(format!("{path} is {have:?}, not {want:?}"));
            }
        }
        (want, have) if want != have => found.push(format!("{path} is {have}, not {want}")),
        _ => {}
    }
}

/// What the recorded cluster's own components have written, which are not there in the one that is tested.
fn without_components(area: &str, object: &mut Value) {
    if let Some(list) = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut) {
        list.retain(|e| {
            !matches!(e["manager"].as_str(), Some("kube-controller-manager" | "kubelet" | "kube-scheduler"))
        });
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("generation");
    }
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
    }
    if object.pointer("/metadata/annotations").is_some_and(|a| a == &json!({})) {
        object["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    if area != "create" && matches!(object["kind"].as_str(), Some("Deployment" | "Pod" | "StatefulSet" | "Scale")) {
        object.as_object_mut().unwrap().remove("status");
    }
}

/// Both answers in the form that can be compared.
fn comparable(area: &str, mut recorded: Value, mut actual: Value) -> (Value, Value) {
    if recorded["kind"] == "PartialObjectMetadataList" && actual["kind"] != recorded["kind"] {
        // Some lists were asked for in this form though the recording does not show it.
        return (Value::Null, Value::Null);
    }
    let keep = WITH_MANAGED.contains(&area) && recorded["metadata"].get("managedFields").is_some();
    if !keep && let Some(metadata) = actual.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for row in actual.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten() {
        row["object"]["metadata"].as_object_mut().unwrap().remove("managedFields");
    }
    for item in actual.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        item["metadata"].as_object_mut().unwrap().remove("managedFields");
    }
    if recorded["metadata"].get("generateName").is_some() {
        recorded["metadata"]["name"] = actual["metadata"]["name"].clone();
    }
    let items = actual["items"].clone();
    for (index, item) in recorded.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
        if item["metadata"].get("generateName").is_some() {
            item["metadata"]["name"] = items[index]["metadata"]["name"].clone();
        }
    }
    if recorded["kind"] != "Status" && recorded["metadata"].is_object() && actual["metadata"].is_object() {
        without_components(area, &mut recorded);
        without_components(area, &mut actual);
    }
    (recorded, actual)
}

/// The bodies of all requests as they are written, members in their order: servers name them in it.
fn written_bodies(text: &str) -> Vec<String> {
    let body = |request: &str| {
        let own = request.split("\"response\":").next().unwrap();
        let (_, rest) = own.split_once("\"body\":")?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<serde::de::IgnoredAny>();
        values.next()?.ok()?;
        Some(rest[..values.byte_offset()].trim().to_owned())
    };
    text.split("\"request\":").skip(1).map(|request| body(request).unwrap_or_default()).collect()
}

fn anonymous() -> Identity {
    Identity { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
}

async fn replay(cluster: &Cluster, file: &str, names: &mut Names) -> Vec<String> {
    let text_of_file = fs::read_to_string(recordings().join(format!("{file}.json"))).unwrap();
    let recording: Value = serde_json::from_str(&text_of_file).unwrap();
    let area = file.split('/').next().unwrap();
    let mut differences = Vec::new();
    let bodies = written_bodies(&text_of_file);
    for (index, exchange) in recording["exchanges"].as_array().unwrap().iter().enumerate() {
        let (request, response) = (&exchange["request"], &exchange["response"]);
        let body = match &request["body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            _ => bodies[index].clone(),
        };
        let headers: Vec<(&str, String)> = request["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.as_str(), names.translate(value.as_str().unwrap())))
            .collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let path = names.translate(request["path"].as_str().unwrap());
        let who = if file.contains("anonymous") { anonymous() } else { Identity::admin() };
        let method = request["method"].as_str().unwrap();
        let answer = send_as(cluster, who, method, &path, &headers, &names.translate(&body)).await;
        if let (Some(theirs), Some(ours)) = (response["headers"]["Etag"].as_str(), answer.headers().get("etag")) {
            let plain = |tag: &str| tag.trim_matches('"').to_owned();
            names.0.insert(plain(theirs), plain(ours.to_str().unwrap()));
        }
        let warning = answer.headers().get("warning").map(|value| value.to_str().unwrap().to_owned());
        let (status, body) = text(answer).await;
        let mut found = Vec::new();
        if response["status"] != status {
            found.push(format!("status is {status}, not {}", response["status"]));
        }
        let wanted = response["headers"]["Warning"].as_str().map(str::to_owned);
        if wanted != warning && !file.contains("warn-") {
            found.push(format!("warning is {warning:?}, not {wanted:?}"));
        }
        match &response["body"] {
            Value::String(text) if serde_json::from_str::<Value>(&body).is_err() => {
                if blurred(text.lines().next().unwrap_or_default()) != blurred(body.lines().next().unwrap_or_default())
                {
                    found.push(format!("body is {body:?}, not {text:?}"));
                }
            }
            recorded => {
                let actual = serde_json::from_str(&body).unwrap_or(Value::String(body));
                names.learn(recorded, &actual);
                let (recorded, actual) = comparable(area, recorded.clone(), actual);
                compare("", &recorded, &actual, &mut found);
            }
        }
        differences.extend(found.into_iter().map(|text| format!("{file}#{index}: {text}")));
    }
    differences
}

#[tokio::test]
async fn recorded_exchanges_are_answered_as_recorded() {
    let cluster = still();
    prepare(&cluster).await;
    let mut names = Names::default();
    // Its creation is not in the recording, its uid is.
    let (_, item) = call(&cluster, "GET", "/api/v1/namespaces/proto/configmaps/item-0", Value::Null).await;
    names.learn(&json!({"metadata": {"uid": "fa956199-fde4-428b-8a63-d5a6b239670a"}}), &item);
    let mut differing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in claimed_by("") {
        for difference in replay(&cluster, file, &mut names).await {
            let key = difference.split(": ").next().unwrap().to_owned();
            differing.entry(key).or_default().push(difference);
        }
    }
    let known = known_deviations("");
    let new: Vec<&String> =
        differing.iter().filter(|(key, _)| !known.contains(*key)).flat_map(|(_, all)| all).collect();
    assert!(
        new.is_empty(),
        "{} differences:\n{}",
        new.len(),
        new.iter().map(|l| l.as_str()).collect::<Vec<_>>().join("\n")
    );
    let gone: Vec<&String> = known.iter().filter(|key| !differing.contains_key(*key)).collect();
    assert!(gone.is_empty(), "these no longer differ, take them out of deviations.txt: {gone:?}");
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_no_write() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let created =
        create(&cluster, "/api/v1/namespaces/a/configmaps", json!({"metadata": {"name": "x"}, "data": {"k": "v"}}))
            .await;
    let (_, patched) = call(&cluster, "PATCH", "/api/v1/namespaces/a/configmaps/x", json!({"data": {"k": "v"}})).await;
    assert_eq!(created["metadata"]["resourceVersion"], patched["metadata"]["resourceVersion"]);
    let (_, put) = call(&cluster, "PUT", "/api/v1/namespaces/a/configmaps/x", created.clone()).await;
    assert_eq!(created, put);
}

/// A recorded answer, changed: another kind, reason or message, a member less, a row less.
fn perturbed(body: &Value) -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    let members = body.as_object().unwrap();
    for (what, key) in [("another kind", "kind"), ("another reason", "reason"), ("another message", "message")] {
        if let Some(text) = members.get(key).and_then(Value::as_str) {
            let mut changed = body.clone();
            changed[key] = json!(format!("{text}x"));
            all.push((what, changed));
        }
    }
    let last = members.keys().rfind(|key| !VOLATILE.contains(&key.as_str())).cloned();
    if let Some(last) = last {
        let mut changed = body.clone();
        changed.as_object_mut().unwrap().remove(&last);
        all.push(("a member less", changed));
    }
    for key in ["items", "rows", "resources", "groups"] {
        let items =
            members.get(key).and_then(Value::as_array).filter(|items| items.last().is_some_and(Value::is_object));
        if let Some(items) = items {
            let mut changed = body.clone();
            changed[key] = json!(items[..items.len() - 1]);
            all.push(("an item less", changed));
        }
    }
    all
}

/// The comparison sees what is changed in any recorded answer.
#[test]
fn each_perturbed_exchange_differs() {
    let (mut missed, mut tried) = (Vec::new(), 0);
    for (file, _) in claimed() {
        let text = fs::read_to_string(recordings().join(format!("{file}.json"))).unwrap();
        let recording: Value = serde_json::from_str(&text).unwrap();
        for (index, exchange) in recording["exchanges"].as_array().unwrap().iter().enumerate() {
            let body = &exchange["response"]["body"];
            for (what, changed) in body.as_object().map(|_| perturbed(body)).unwrap_or_default() {
                let mut found = Vec::new();
                compare("", body, &changed, &mut found);
                tried += 1;
                if found.is_empty() {
                    missed.push(format!("{file}#{index} with {what}"));
                }
            }
        }
    }
    assert!(missed.is_empty() && tried > 500, "of {tried} these should not have matched: {missed:#?}");
}
