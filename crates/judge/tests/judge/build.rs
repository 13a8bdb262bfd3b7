//! Small failures, objects and times for the tests.

use std::sync::Arc;

use catalog::Resolved;
use jiff::Timestamp;
use judge::{Checks, Observer, Seen};
use serde_json::{Value, json};

/// A resolved failure with these checks and this ground truth.
pub(crate) fn resolved(symptoms: Value, health: Value, ground_truth: Value) -> Resolved {
    serde_json::from_value(json!({
        "id": "x", "namespace": "ns", "params": {"wanted": 2}, "workload": [], "capabilities": {}, "induce": [],
        "symptoms": symptoms, "health": health, "ground_truth": ground_truth,
        "reference_fix": [], "wrong_fixes": [], "expected_duration": "30s",
    }))
    .expect("a resolved failure")
}

pub(crate) fn web_truth() -> Value {
    json!({"fault_type": "resource-limit",
        "root_causes": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "ns"}]})
}

/// Symptom: a pod of the app was OOM-killed. Health: the Deployment has what it had before, for 60 s.
pub(crate) fn oom() -> Resolved {
    resolved(
        json!([{"name": "oom", "select": {"apiVersion": "v1", "kind": "Pod", "labelSelector": "app=web"},
            "any": "object.status.reason == 'OOMKilled'"}]),
        json!([{"name": "available", "select": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "all": "object.status.available >= baseline.status.available", "for": "60s"}]),
        web_truth(),
    )
}

pub(crate) fn observer(resolved: &Resolved) -> Observer {
    Observer::new(Arc::new(Checks::compile(resolved).expect("checks")))
}

/// Seconds after the beginning, thousandths included.
pub(crate) fn at(seconds: f64) -> Timestamp {
    at_millis((seconds * 1000.0).round() as i64)
}

pub(crate) fn at_millis(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).expect("a time")
}

pub(crate) fn pod(name: &str, reason: &str) -> Seen {
    Seen::Upsert(json!({"apiVersion": "v1", "kind": "Pod", "status": {"reason": reason},
        "metadata": {"name": name, "namespace": "ns", "labels": {"app": "web"}, "uid": format!("uid-{name}")}}))
}

pub(crate) fn deployment_object(available: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"available": available},
        "metadata": {"name": "web", "namespace": "ns", "uid": "uid-web"}})
}

pub(crate) fn deployment(available: i64) -> Seen {
    Seen::Upsert(deployment_object(available))
}

pub(crate) const PODS: usize = 0;
pub(crate) const DEPLOYMENTS: usize = 1;

/// Healthy with two replicas, baseline taken, armed at second 0.
pub(crate) fn armed() -> Observer {
    let mut observer = observer(&oom());
    observer.observe(at(0.0), PODS, pod("a", ""));
    observer.observe(at(0.0), PODS, Seen::Synced);
    observer.observe(at(0.0), DEPLOYMENTS, deployment(2));
    observer.observe(at(0.0), DEPLOYMENTS, Seen::Synced);
    observer.set_baseline();
    observer.arm();
    observer
}
