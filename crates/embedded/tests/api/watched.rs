//! Recorded watches, played again: the same events in the same order. What was written while they were recorded is not in the
//! recordings; it is here.

use std::collections::BTreeMap;

use embedded::Cluster;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::client::{call, create, get, namespace, send, still, text};
use crate::conformance::{claimed_by, compare, recordings};

const MAPS: &str = "/api/v1/namespaces/proto/configmaps";

/// The one exchange of a recording.
fn exchange(file: &str) -> Value {
    let text = std::fs::read_to_string(recordings().join(format!("{file}.json"))).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["exchanges"][0].take()
}

/// The events of a recorded stream.
fn events(exchange: &Value) -> Vec<Value> {
    let lines = exchange["response"]["body"].as_array().into_iter().flatten();
    lines.filter(|line| line["event"].is_object()).map(|line| line["event"].clone()).collect()
}

/// What was there when the watches began: their first events tell.
async fn prepare(cluster: &Cluster) {
    namespace(cluster, "proto").await;
    let mut known = BTreeMap::new();
    for file in claimed_by("watched") {
        let exchange = exchange(file);
        let lines = exchange["response"]["body"].as_array().into_iter().flatten();
        for line in lines.filter(|line| line["t"].as_f64() < Some(0.1) && line["event"]["type"] == "ADDED") {
            let object = &line["event"]["object"];
            known.insert(object["metadata"]["name"].as_str().unwrap().to_owned(), object.clone());
        }
    }
    for (name, object) in known.into_iter().filter(|(name, _)| name != "kube-root-ca.crt") {
        let labels = object["metadata"]["labels"].clone();
        create(cluster, MAPS, json!({"metadata": {"name": name, "labels": labels}, "data": object["data"]})).await;
    }
    // Enough for the first version to be forgotten.
    create(cluster, MAPS, json!({"metadata": {"name": "busy"}})).await;
    for n in 0..2_100 {
        call(cluster, "PATCH", &format!("{MAPS}/busy"), json!({"data": {"n": n.to_string()}})).await;
    }
    call(cluster, "DELETE", &format!("{MAPS}/busy"), Value::Null).await;
}

/// The path with a second of patience, and from where the history of this cluster stands.
fn path(exchange: &Value, now: &str) -> String {
    let path = exchange["request"]["path"].as_str().unwrap();
    let (path, query) = path.split_once('?').unwrap();
    let query: Vec<String> = query
        .split('&')
        .map(|part| match part.split_once('=') {
            Some(("timeoutSeconds", _)) => "timeoutSeconds=1".to_owned(),
            Some(("resourceVersion", version)) if version.len() == 4 => format!("resourceVersion={now}"),
            _ => part.to_owned(),
        })
        .collect();
    format!("{path}?{}", query.join("&"))
}

/// What was written while the two long watches were recorded.
async fn write(cluster: &Cluster, name: &str) {
    let object = format!("{MAPS}/{name}");
    create(cluster, MAPS, json!({"metadata": {"name": name, "labels": {"w": "1"}}, "data": {"a": "1"}})).await;
    call(cluster, "PATCH", &object, json!({"data": {"a": "2"}})).await;
    call(cluster, "PATCH", &object, json!({"metadata": {"labels": null}})).await;
    call(cluster, "DELETE", &object, Value::Null).await;
}

fn without_managed(mut event: Value) -> Value {
    if let Some(metadata) = event["object"]["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        // The tests' own metadata of a bookmark: when the first events ended.
        metadata.remove("resourceVersion");
        metadata.remove("uid");
        metadata.remove("creationTimestamp");
    }
    event
}

#[tokio::test]
async fn recorded_watches_show_the_same_events() {
    let cluster = still();
    prepare(&cluster).await;
    let (_, list) = get(&cluster, MAPS).await;
    let now = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut open = Vec::new();
    for file in claimed_by("watched") {
        // Each of the two that wait for writes sees those of its own alone.
        let one = match file {
            "watch/from-resourceVersion" | "watch/label-selector" => continue,
            _ => exchange(file),
        };
        let response = send(&cluster, "GET", &path(&one, now), &[], "").await;
        open.push(async move { (file, one, text(response).await) });
    }
    let mut all = join_all(open).await;
    for (file, name) in [("watch/from-resourceVersion", "w1"), ("watch/label-selector", "w2")] {
        let (_, list) = get(&cluster, MAPS).await;
        let one = exchange(file);
        let now = list["metadata"]["resourceVersion"].as_str().unwrap();
        let response = send(&cluster, "GET", &path(&one, now), &[], "").await;
        write(&cluster, name).await;
        all.push((file, one, text(response).await));
    }
    let mut found = Vec::new();
    for (file, recorded, (status, body)) in all {
        let response = &recorded["response"];
        if response["status"] != status {
            found.push(format!("{file}: status is {status}, not {}", response["status"]));
            continue;
        }
        if !response["body"].is_array() {
            let mut own = Vec::new();
            compare("", &response["body"], &serde_json::from_str(&body).unwrap(), &mut own);
            found.extend(own.into_iter().map(|text| format!("{file}: {text}")));
            continue;
        }
        let seen: Vec<Value> = body.lines().map(|line| without_managed(serde_json::from_str(line).unwrap())).collect();
        let wanted: Vec<Value> = events(&recorded).into_iter().map(without_managed).collect();
        let mut own = Vec::new();
        compare("", &json!(wanted), &json!(seen), &mut own);
        found.extend(own.into_iter().map(|text| format!("{file}: {text}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
