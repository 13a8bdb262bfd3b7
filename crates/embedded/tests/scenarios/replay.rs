//! Makes the writes of a recording against an embedded cluster and watches what comes of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded::{Cluster, Identity};
use http::Request;
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use serde_json::{Value, json};
use simulation::resources::EVENTS;
use simulation::{Change, Controller, World};

use crate::recording::{Recording, Write};
use crate::timeline::Seen;

/// Sees every change at its very time.
#[derive(Debug, Default)]
struct Recorder(Arc<Mutex<Vec<(Timestamp, bool, Arc<Value>)>>>);

impl Controller for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        let (resource, deleted, object) = match change {
            Change::Added(resource, object) | Change::Modified(resource, _, object) => (resource, false, object),
            Change::Deleted(resource, object) => (resource, true, object),
        };
        if *resource != EVENTS {
            self.0.lock().expect("not poisoned").push((world.now(), deleted, Arc::clone(object)));
        }
    }

    fn wake(&mut self, _: &mut dyn World, _: &str) {}
}

/// One request; the status and the body as JSON.
pub(crate) async fn send(cluster: &Cluster, method: &str, path: &str, content_type: &str, body: &[u8]) -> (u16, Value) {
    let (status, body, _) = exchange(cluster, method, path, content_type, body).await;
    (status, body)
}

/// A GET; the status and the body as text.
pub(crate) async fn send_text(cluster: &Cluster, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Full::new(bytes::Bytes::new())).expect("a request");
    let response = cluster.handle(request, Identity::admin()).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// One request; the status, the body as JSON, and warnings.
async fn exchange(
    cluster: &Cluster,
    method: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> (u16, Value, Vec<String>) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .header("accept", "application/json")
        .header("user-agent", "scenarios/1.0")
        .body(Full::new(bytes::Bytes::copy_from_slice(body)))
        .expect("a request");
    let response = cluster.handle(request, Identity::admin()).await;
    let status = response.status().as_u16();
    let warnings = response.headers().get_all("warning").iter().filter_map(|value| value.to_str().ok());
    let warnings = warnings.map(str::to_owned).collect();
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null), warnings)
}

type Changes = Arc<Mutex<Vec<(Timestamp, bool, Arc<Value>)>>>;

/// What was done beside the writes, as the recordings' notes tell: the labels of the namespace, and a kubelet that was
/// stopped for some time.
fn surroundings(name: &str) -> (Value, Vec<workloads::Outage>) {
    let labels = match name {
        "psa-restricted" => json!({"pod-security.kubernetes.io/enforce": "restricted"}),
        _ => json!({}),
    };
    let outage = |from: f64, until: f64| workloads::Outage {
        node: "node-1".to_owned(),
        from: Duration::from_secs_f64(from),
        until: Duration::from_secs_f64(until),
    };
    (labels, if name == "node-not-ready" { vec![outage(4.1, 95.6)] } else { Vec::new() })
}

/// A pod of a recording by the name of its like here: as old among those of its owner.
fn renamed(recording: &Recording, changes: &Changes, text: &str) -> String {
    let mut renamed = text.to_owned();
    let mentioned: Vec<_> = recording.seen.pods.iter().filter(|pod| text.contains(&pod.name)).collect();
    if mentioned.is_empty() {
        return renamed;
    }
    let seen = seen_of(recording, changes, None);
    for pod in mentioned {
        let like = |list: &[crate::timeline::Pod]| -> Vec<String> {
            list.iter().filter(|other| other.group == pod.group).map(|other| other.name.clone()).collect()
        };
        let index = like(&recording.seen.pods).iter().position(|name| *name == pod.name).expect("its own group");
        if let Some(name) = like(&seen.pods).get(index) {
            renamed = renamed.replace(&pod.name, name);
        }
    }
    renamed
}

/// What has been seen since `zero`.
fn seen_of(recording: &Recording, changes: &Changes, zero: Option<Timestamp>) -> Seen {
    let mut seen = Seen::default();
    seen.end = recording.end;
    let changes = changes.lock().expect("not poisoned");
    let own: Vec<_> = changes.iter().filter(|(_, _, object)| recording.is_about(object)).collect();
    for (_, _, object) in &own {
        seen.learn(object);
    }
    for (at, deleted, object) in own {
        // The node's own start is no part of a scenario; the namespace is made before it.
        if object["kind"] == "Namespace" || zero.is_none_or(|zero| *at >= zero) {
            let at = zero.map_or(0.0, |zero| at.duration_since(zero).as_secs_f64());
            seen.object(at, *deleted, object);
        }
    }
    seen
}

/// Runs the scenario in cluster time.
pub(crate) async fn replay(recording: &Recording, seed: u64) -> Seen {
    let changes: Changes = Arc::default();
    let (labels, mut outages) = surroundings(&recording.name);
    // From the start of the cluster to the first write: the same in each replay, but where schedules go by the minute.
    let lead = match recording.name.as_str() {
        "cronjob" => 5 + (recording.second - 5 - Timestamp::now().as_second()).rem_euclid(60),
        _ => 7,
    };
    for outage in &mut outages {
        outage.from += Duration::from_secs(lead as u64);
        outage.until += Duration::from_secs(lead as u64);
    }
    let node = workloads::NodeConfig { images: recording.images.clone(), outages, ..workloads::NodeConfig::default() };
    let mut controllers = workloads::controllers(&node);
    controllers.push(Box::new(Recorder(Arc::clone(&changes))));
    let cluster = Cluster::with_controllers(seed, controllers);
    let clock = cluster.clock();
    let _hurry = clock.hurry();
    let zero = clock.now() + Duration::from_secs(lead as u64);
    clock.sleep_until(zero - Duration::from_secs(1)).await;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": recording.name, "labels": labels}});
    send(&cluster, "POST", "/api/v1/namespaces", "application/json", namespace.to_string().as_bytes()).await;
    clock.sleep_until(zero).await;
    let mut answers = Vec::new();
    for Write { at, method, path, content_type, body, .. } in &recording.writes {
        clock.sleep_until(zero + Duration::from_secs_f64(*at)).await;
        let path = renamed(recording, &changes, path);
        let body = renamed(recording, &changes, &String::from_utf8_lossy(body));
        answers.push(exchange(&cluster, method, &path, content_type, body.as_bytes()).await);
    }
    clock.sleep_until(zero + Duration::from_secs_f64(recording.end + 1.5)).await;
    let path = format!("/api/v1/namespaces/{}/events", recording.name);
    let (_, events) = send(&cluster, "GET", &path, "application/json", b"").await;
    let mut seen = seen_of(recording, &changes, Some(zero));
    seen.answers = answers.iter().map(|(status, body, warnings)| seen.answer(*status, Some(body), warnings)).collect();
    for event in events["items"].as_array().into_iter().flatten() {
        seen.event(event);
    }
    seen
}
