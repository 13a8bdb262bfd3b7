//! What no recording shows: history that is no fault, and faults that only the workload tells of.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use triage::{Snapshot, Weight, analyse, unsettled};

fn ago(seconds: i64) -> String {
    (now() - SignedDuration::from_secs(seconds)).to_string()
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().expect("a time")
}

fn snapshot(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    let mut snapshot = Snapshot::new("ns", now());
    objects.into_iter().for_each(|object| snapshot.insert(object));
    snapshot
}

/// Runs for `running` seconds, after `restarts` crashes.
fn restarted(restarts: i64, running: i64) -> Value {
    json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": [
            {"name": "app", "ready": true, "restartCount": restarts, "state": {"running": {"startedAt": ago(running)}},
             "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": ago(running + 1)}}}]}})
}

#[test]
fn one_crash_that_was_got_over_is_history() {
    assert!(analyse(&snapshot([restarted(1, 300)])).is_empty());
    assert!(analyse(&snapshot([restarted(5, 900)])).is_empty());
}

#[test]
fn a_crash_just_now_and_crashes_again_and_again_are_faults() {
    assert_eq!(analyse(&snapshot([restarted(1, 5)])).len(), 1);
    assert_eq!(analyse(&snapshot([restarted(3, 300)])).len(), 1);
}

#[test]
fn a_deployment_that_is_down_for_long_is_a_fault_even_without_a_word_from_pods() {
    let deployment = |seconds| {
        json!({"kind": "Deployment", "metadata": {"name": "d", "namespace": "ns"}, "spec": {"replicas": 1},
            "status": {"conditions": [{"type": "Available", "status": "False", "lastTransitionTime": ago(seconds)}]}})
    };
    let just_now = snapshot([deployment(10)]);
    assert!(analyse(&just_now).is_empty() && unsettled(&just_now));
    let findings = analyse(&snapshot([deployment(120)]));
    assert_eq!((findings[0].root.to_string().as_str(), findings[0].weight), ("Deployment/d", Weight::Consequence));
}

#[test]
fn a_failed_try_of_a_completed_job_is_no_fault() {
    let pod = json!({"kind": "Pod", "spec": {"restartPolicy": "Never", "containers": [{"name": "work"}]},
        "metadata": {"name": "j-1", "namespace": "ns", "ownerReferences": [{"kind": "Job", "name": "j", "controller": true}]},
        "status": {"phase": "Failed", "containerStatuses": [{"name": "work", "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}});
    let job = |kind: &str| {
        json!({"kind": "Job", "metadata": {"name": "j", "namespace": "ns"},
            "status": {"conditions": [{"type": kind, "status": "True"}]}})
    };
    assert!(analyse(&snapshot([pod.clone(), job("Complete")])).is_empty());
    let findings = analyse(&snapshot([pod, job("Failed")]));
    assert_eq!(findings[0].root.to_string(), "Job/j");
}

#[test]
fn a_workload_that_nobody_counts_on_may_have_no_replicas() {
    let deployment = json!({"kind": "Deployment", "metadata": {"name": "d", "namespace": "ns"},
        "spec": {"replicas": 0, "template": {"metadata": {"labels": {"app": "d"}}}}});
    let service = json!({"kind": "Service", "metadata": {"name": "s", "namespace": "ns"},
        "spec": {"selector": {"app": "d"}, "ports": [{"port": 80}]}});
    assert!(analyse(&snapshot([deployment.clone()])).is_empty());
    let findings = analyse(&snapshot([deployment, service]));
    assert_eq!((findings[0].root.to_string().as_str(), findings[0].fault_type), ("Deployment/d", "replicas"));
}

#[test]
fn objects_of_any_shape_are_no_panic() {
    for kind in ["Pod", "Event", "Deployment", "ReplicaSet", "Job", "Service", "PersistentVolumeClaim", "Node"] {
        for odd in
            [json!({}), json!({"status": 5, "spec": []}), json!({"metadata": null, "status": {"conditions": {}}})]
        {
            let mut object = odd;
            object["kind"] = Value::from(kind);
            let odd = snapshot([object]);
            let _ = (analyse(&odd), unsettled(&odd));
        }
    }
}
