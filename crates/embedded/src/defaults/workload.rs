//! Defaults of what makes pods: deployments, sets, jobs.

use serde_json::{Value, json};

use super::{claim, each, pod_spec, set, set_in};
use crate::object::child;

fn missing(map: &serde_json::Map<String, Value>, key: &str) -> bool {
    map.get(key).is_none_or(Value::is_null)
}

pub(super) fn deployment(object: &mut Value) {
    pod_spec(&mut object["spec"]["template"]["spec"]);
    let spec = child(object, "spec");
    set_in(
        spec,
        &[("replicas", json!(1)), ("revisionHistoryLimit", json!(10)), ("progressDeadlineSeconds", json!(600))],
    );
    let strategy = child(&mut object["spec"], "strategy");
    set_in(strategy, &[("type", json!("RollingUpdate"))]);
    if strategy["type"] == "RollingUpdate" {
        let rolling = child(&mut object["spec"]["strategy"], "rollingUpdate");
        set_in(rolling, &[("maxUnavailable", json!("25%")), ("maxSurge", json!("25%"))]);
    }
}

pub(super) fn replica_set(object: &mut Value) {
    pod_spec(&mut object["spec"]["template"]["spec"]);
    set_in(child(object, "spec"), &[("replicas", json!(1))]);
}

pub(super) fn replication_controller(object: &mut Value) {
    pod_spec(&mut object["spec"]["template"]["spec"]);
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    let spec = child(object, "spec");
    set_in(spec, &[("replicas", json!(1))]);
    if labels.is_object() && missing(spec, "selector") {
        spec.insert("selector".into(), labels.clone());
    }
    if labels.is_object() && object["metadata"].get("labels").is_none() {
        object["metadata"]["labels"] = labels;
    }
}

pub(super) fn stateful_set(object: &mut Value) {
    pod_spec(&mut object["spec"]["template"]["spec"]);
    each(&mut object["spec"], "volumeClaimTemplates", |template| {
        claim(template);
        set(template, &[("apiVersion", json!("v1")), ("kind", json!("PersistentVolumeClaim"))]);
    });
    let spec = child(object, "spec");
    set_in(
        spec,
        &[
            ("replicas", json!(1)),
            ("podManagementPolicy", json!("OrderedReady")),
            ("revisionHistoryLimit", json!(10)),
            ("persistentVolumeClaimRetentionPolicy", json!({"whenDeleted": "Retain", "whenScaled": "Retain"})),
        ],
    );
    let strategy = child(&mut object["spec"], "updateStrategy");
    set_in(strategy, &[("type", json!("RollingUpdate"))]);
    if strategy["type"] == "RollingUpdate" {
        set_in(child(&mut object["spec"]["updateStrategy"], "rollingUpdate"), &[("partition", json!(0))]);
    }
}

pub(super) fn daemon_set(object: &mut Value) {
    pod_spec(&mut object["spec"]["template"]["spec"]);
    set_in(child(object, "spec"), &[("revisionHistoryLimit", json!(10))]);
    let strategy = child(&mut object["spec"], "updateStrategy");
    set_in(strategy, &[("type", json!("RollingUpdate"))]);
    if strategy["type"] == "RollingUpdate" {
        let rolling = child(&mut object["spec"]["updateStrategy"], "rollingUpdate");
        set_in(rolling, &[("maxUnavailable", json!(1)), ("maxSurge", json!(0))]);
    }
}

pub(super) fn job(object: &mut Value) {
    pod_spec(&mut object["spec"]["template"]["spec"]);
    let spec = child(object, "spec");
    if missing(spec, "completions") && missing(spec, "parallelism") {
        spec.insert("completions".into(), json!(1));
    }
    let per_index = !missing(spec, "backoffLimitPerIndex");
    let replacement = if missing(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    set_in(
        spec,
        &[
            ("parallelism", json!(1)),
            ("backoffLimit", if per_index { json!(i32::MAX) } else { json!(6) }),
            ("completionMode", json!("NonIndexed")),
            ("suspend", json!(false)),
            ("podReplacementPolicy", json!(replacement)),
            ("manualSelector", json!(false)),
        ],
    );
}

pub(super) fn cron_job(object: &mut Value) {
    pod_spec(&mut object["spec"]["jobTemplate"]["spec"]["template"]["spec"]);
    set_in(
        child(object, "spec"),
        &[
            ("concurrencyPolicy", json!("Allow")),
            ("suspend", json!(false)),
            ("successfulJobsHistoryLimit", json!(3)),
            ("failedJobsHistoryLimit", json!(1)),
        ],
    );
}
