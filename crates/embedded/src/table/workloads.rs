//! Rows of what makes pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::text::{age, duration, labels, or_none, selector_text};
use crate::object;

fn number(object: &Value, path: &[&str]) -> i64 {
    object::at(object, path).as_i64().unwrap_or(0)
}

fn containers(template: &Value, key: &str) -> String {
    let names: Vec<&str> =
        object::list(template, &["spec", "containers"]).iter().filter_map(|c| c[key].as_str()).collect();
    names.join(",")
}

/// Names and images of the template's containers.
pub(super) fn template_cells(template: &Value) -> [Value; 2] {
    [json!(containers(template, "name")), json!(containers(template, "image"))]
}

fn selector(object: &Value) -> Value {
    json!(or_none(selector_text(&object["spec"]["selector"])))
}

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = template_cells(&object["spec"]["template"]);
    vec![
        json!(object::name(object)),
        json!(format!("{}/{}", number(object, &["status", "readyReplicas"]), number(object, &["spec", "replicas"]))),
        json!(number(object, &["status", "updatedReplicas"])),
        json!(number(object, &["status", "availableReplicas"])),
        json!(age(&object["metadata"]["creationTimestamp"], now)),
        names,
        images,
        selector(object),
    ]
}

pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = template_cells(&object["spec"]["template"]);
    let selector = if object["kind"] == "ReplicationController" {
        json!(labels(&object["spec"]["selector"]))
    } else {
        selector(object)
    };
    vec![
        json!(object::name(object)),
        json!(number(object, &["spec", "replicas"])),
        json!(number(object, &["status", "replicas"])),
        json!(number(object, &["status", "readyReplicas"])),
        json!(age(&object["metadata"]["creationTimestamp"], now)),
        names,
        images,
        selector,
    ]
}

pub(super) fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = template_cells(&object["spec"]["template"]);
    vec![
        json!(object::name(object)),
        json!(format!("{}/{}", number(object, &["status", "readyReplicas"]), number(object, &["spec", "replicas"]))),
        json!(age(&object["metadata"]["creationTimestamp"], now)),
        names,
        images,
    ]
}

pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = template_cells(&object["spec"]["template"]);
    let status = |key: &str| json!(number(object, &["status", key]));
    vec![
        json!(object::name(object)),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        json!(labels(object::at(object, &["spec", "template", "spec", "nodeSelector"]))),
        json!(age(&object["metadata"]["creationTimestamp"], now)),
        names,
        images,
        selector(object),
    ]
}

fn job_state(object: &Value) -> &'static str {
    let holds = |kind: &str| {
        object::list(object, &["status", "conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True")
    };
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if object::is_deleting(object) {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

pub(super) fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let succeeded = number(object, &["status", "succeeded"]);
    let completions = match object["spec"]["completions"].as_i64() {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None => match number(object, &["spec", "parallelism"]) {
            many if many > 1 => format!("{succeeded}/1 of {many}"),
            _ => format!("{succeeded}/1"),
        },
    };
    let time = |key: &str| object["status"][key].as_str().and_then(|at| at.parse::<Timestamp>().ok());
    let took = match (time("startTime"), time("completionTime")) {
        (Some(start), Some(end)) => duration(start.duration_until(end).as_secs()),
        (Some(start), None) => duration(start.duration_until(now).as_secs()),
        _ => String::new(),
    };
    let [names, images] = template_cells(&object["spec"]["template"]);
    vec![
        json!(object::name(object)),
        json!(job_state(object)),
        json!(completions),
        json!(took),
        json!(age(&object["metadata"]["creationTimestamp"], now)),
        names,
        images,
        selector(object),
    ]
}

pub(super) fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let template = object::at(object, &["spec", "jobTemplate", "spec"]);
    let [names, images] = template_cells(&template["template"]);
    let last = match &object["status"]["lastScheduleTime"] {
        Value::Null => "<none>".to_owned(),
        at => age(at, now),
    };
    let zone = object["spec"]["timeZone"].as_str().unwrap_or("<none>");
    vec![
        json!(object::name(object)),
        json!(object::text(object, &["spec", "schedule"])),
        json!(zone),
        json!(if object["spec"]["suspend"] == true { "True" } else { "False" }),
        json!(object::list(object, &["status", "active"]).len()),
        json!(last),
        json!(age(&object["metadata"]["creationTimestamp"], now)),
        names,
        images,
        json!(or_none(selector_text(&template["selector"]))),
    ]
}
