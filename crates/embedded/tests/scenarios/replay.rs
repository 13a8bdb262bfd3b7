//! Makes the writes of a recording against an embedded cluster and watches what comes of them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use embedded::{Cluster, Identity};
use http::Request;
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use serde_json::Value;
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
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Runs the scenario in cluster time.
pub(crate) async fn replay(recording: &Recording, seed: u64) -> Seen {
    let changes = Arc::new(Mutex::new(Vec::new()));
    let node = workloads::NodeConfig { images: recording.images.clone(), ..workloads::NodeConfig::default() };
    let mut controllers = workloads::controllers(&node);
    controllers.push(Box::new(Recorder(Arc::clone(&changes))));
    let cluster = Cluster::with_controllers(seed, controllers);
    let clock = cluster.clock();
    let _hurry = clock.hurry();
    let namespace = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{}"}}}}"#, recording.name);
    send(&cluster, "POST", "/api/v1/namespaces", "application/json", namespace.as_bytes()).await;
    clock.sleep_until(clock.now() + Duration::from_secs(1)).await;
    let zero = clock.now();
    for Write { at, method, path, content_type, body } in &recording.writes {
        clock.sleep_until(zero + Duration::from_secs_f64(*at)).await;
        let (status, answer) = send(&cluster, method, path, content_type, body).await;
        assert!(status < 300, "{}: {method} {path}: {status} {answer}", recording.name);
    }
    clock.sleep_until(zero + Duration::from_secs_f64(recording.end + 1.5)).await;
    let path = format!("/api/v1/namespaces/{}/events", recording.name);
    let (_, events) = send(&cluster, "GET", &path, "application/json", b"").await;
    let mut seen = Seen::default();
    seen.end = recording.end;
    let changes = changes.lock().expect("not poisoned");
    let own: Vec<_> = changes
        .iter()
        .filter(|(_, _, object)| object.pointer("/metadata/namespace").and_then(Value::as_str) == Some(&recording.name))
        .collect();
    for (_, _, object) in &own {
        seen.learn(object);
    }
    for (at, deleted, object) in own {
        seen.object(at.duration_since(zero).as_secs_f64(), *deleted, object);
    }
    for event in events["items"].as_array().into_iter().flatten() {
        seen.event(event);
    }
    seen
}
