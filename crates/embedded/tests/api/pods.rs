//! Recorded requests about pods that run: their logs, their evictions, commands in them. The pods here are like those of the
//! recorded cluster, as far as the recordings tell of them.

use std::collections::BTreeSet;
use std::time::Duration;

use clock::run_until;
use embedded::{Cluster, Options};
use serde_json::{Value, json};

use crate::client::{create, get, namespace, send, text};
use crate::conformance::{blurred, compare, known_deviations, recordings};

const PODS: &str = "/api/v1/namespaces/proto/pods";

fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "busybox:1.36", "command": ["sh", "-c", script]})
}

async fn pod(cluster: &Cluster, name: &str, spec: Value) {
    let mut spec = spec;
    spec["terminationGracePeriodSeconds"] = json!(1);
    create(cluster, PODS, json!({"metadata": {"name": name}, "spec": spec})).await;
}

async fn wait(cluster: &Cluster, seconds: u64) {
    let clock = cluster.clock();
    let end = clock.now() + Duration::from_secs(seconds);
    run_until(&clock, Duration::from_secs(300), clock.sleep_until(end)).await.expect("time goes on");
}

/// What was there when logs were first asked for.
async fn fill(cluster: &Cluster) {
    namespace(cluster, "proto").await;
    let labels = json!({"app": "web"});
    let web = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "local/web:1"}]}}}});
    create(cluster, "/apis/apps/v1/namespaces/proto/deployments", web).await;
    let budget = json!({"metadata": {"name": "web"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": labels}}});
    create(cluster, "/apis/policy/v1/namespaces/proto/poddisruptionbudgets", budget).await;
    let lines = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.5; done";
    pod(cluster, "talker", json!({"containers": [container("app", lines)]})).await;
    pod(cluster, "defaults", json!({"containers": [container("c", "sleep 3600")]})).await;
    pod(cluster, "badimage", json!({"containers": [{"name": "app", "image": "busybox:no-such-tag"}]})).await;
    let init =
        json!({"initContainers": [container("prep", "sleep 3600")], "containers": [container("app", "sleep 3600")]});
    pod(cluster, "init", init).await;
    // Long enough for the image to be waited for, and for some lines.
    wait(cluster, 48).await;
}

/// What was made before logs of several containers were asked for.
async fn add(cluster: &Cluster) {
    let two = json!({"initContainers": [container("prep", "echo prep log")],
        "containers": [container("app", "sleep 3600"), container("side", "echo side log; sleep 3600")]});
    pod(cluster, "two", two).await;
    pod(cluster, "badimage2", json!({"containers": [{"name": "app", "image": "busybox:no-such-tag"}]})).await;
    let mut unset = container("app", "sleep 3600");
    unset["env"] = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "a"}}}]);
    pod(cluster, "noenv", json!({"containers": [unset]})).await;
    pod(cluster, "finished", json!({"restartPolicy": "Never", "containers": [container("app", "echo all done")]}))
        .await;
    wait(cluster, 6).await;
}

/// The exchanges of a recording that are answered otherwise, and how.
async fn replay(cluster: &Cluster, file: &str) -> Vec<(String, String)> {
    let recording = std::fs::read_to_string(recordings().join(format!("{file}.json"))).unwrap();
    let recording: Value = serde_json::from_str(&recording).unwrap();
    let (_, all) = get(cluster, &format!("{PODS}?labelSelector=app%3Dweb")).await;
    let web = all["items"][0]["metadata"]["name"].as_str().unwrap();
    let mut found = Vec::new();
    for (index, exchange) in recording["exchanges"].as_array().unwrap().iter().enumerate() {
        let (request, response) = (&exchange["request"], &exchange["response"]);
        // Names of pods of a Deployment are drawn.
        let here = |text: &str| text.replace("web-978758f58-8bdtt", web);
        let path = here(request["path"].as_str().unwrap());
        let body = if request["body"].is_null() { String::new() } else { here(&request["body"].to_string()) };
        let headers = [("content-type", "application/json")];
        let answer = send(cluster, request["method"].as_str().unwrap(), &path, &headers, &body).await;
        let (status, body) = text(answer).await;
        let mut own = Vec::new();
        if response["status"] != status {
            own.push(format!("status is {status}, not {}", response["status"]));
        }
        match &response["body"] {
            Value::String(wanted) if blurred(wanted) != blurred(&body) => own.push(format!("{body:?}, not {wanted:?}")),
            Value::String(_) => {}
            wanted => compare("", wanted, &serde_json::from_str(&body).unwrap_or(Value::String(body)), &mut own),
        }
        found.extend(own.into_iter().map(|text| (format!("{file}#{index}"), text)));
    }
    found
}

#[tokio::test]
async fn recorded_requests_about_running_pods_are_answered_as_recorded() {
    let cluster = Cluster::start(Options::default());
    fill(&cluster).await;
    let mut found = replay(&cluster, "pods/log").await;
    found.extend(replay(&cluster, "pods/exec-without-upgrade-400").await);
    add(&cluster).await;
    found.extend(replay(&cluster, "pods/log-containers").await);
    found.extend(replay(&cluster, "pods/eviction").await);
    let known = known_deviations("pods");
    let new: Vec<String> =
        found.iter().filter(|(key, _)| !known.contains(key)).map(|(key, text)| format!("{key}: {text}")).collect();
    assert!(new.is_empty(), "{}", new.join("\n"));
    let differing: BTreeSet<String> = found.into_iter().map(|(key, _)| key).collect();
    assert_eq!(known, differing, "some of deviations.txt no longer differ");
}
