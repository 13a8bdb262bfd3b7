//! The row of a pod: its READY and STATUS columns condense what its containers do, as the API server's printer does it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::text::age;
use crate::object;

fn has_condition(pod: &Value, kind: &str, status: &str) -> bool {
    object::list(pod, &["status", "conditions"]).iter().any(|c| c["type"] == kind && c["status"] == status)
}

struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += status["restartCount"].as_i64().unwrap_or(0);
        let finished = status["lastState"]["terminated"]["finishedAt"].as_str().and_then(|at| at.parse().ok());
        self.last = self.last.max(finished);
    }

    fn text(&self, now: Timestamp) -> String {
        match self.last.filter(|_| self.count > 0) {
            Some(last) => format!("{} ({} ago)", self.count, age(&json!(last.to_string()), now)),
            None => self.count.to_string(),
        }
    }
}

fn terminated_text(prefix: &str, terminated: &Value) -> String {
    let reason = terminated["reason"].as_str().unwrap_or_default();
    if !reason.is_empty() {
        return format!("{prefix}{reason}");
    }
    match terminated["signal"].as_i64() {
        Some(signal) if signal != 0 => format!("{prefix}Signal:{signal}"),
        _ => format!("{prefix}ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
    }
}

/// Init containers that restart always run beside the others.
fn is_sidecar(pod: &Value, index: usize) -> bool {
    pod["spec"]["initContainers"][index]["restartPolicy"] == "Always"
}

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let status = &pod["status"];
    let mut total = object::list(pod, &["spec", "containers"]).len();
    let mut ready = 0;
    let mut reason = match status["reason"].as_str() {
        Some(reason) if !reason.is_empty() => reason.to_owned(),
        _ => object::text(status, &["phase"]).to_owned(),
    };
    let gated = object::list(status, &["conditions"])
        .iter()
        .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
    if gated {
        reason = "SchedulingGated".to_owned();
    }
    let (mut restarts, mut sidecar_restarts) = (Restarts { count: 0, last: None }, Restarts { count: 0, last: None });
    let inits = object::list(status, &["initContainerStatuses"]);
    let mut initializing = false;
    for (index, init) in inits.iter().enumerate() {
        restarts.add(init);
        if is_sidecar(pod, index) {
            total += 1;
            sidecar_restarts.add(init);
        }
        let terminated = &init["state"]["terminated"];
        if terminated["exitCode"] == 0 {
            continue;
        }
        if is_sidecar(pod, index) && init["started"] == true {
            ready += usize::from(init["ready"] == true);
            continue;
        }
        let waiting = init["state"]["waiting"]["reason"].as_str().unwrap_or_default();
        reason = if terminated.is_object() {
            terminated_text("Init:", terminated)
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", object::list(pod, &["spec", "initContainers"]).len())
        };
        initializing = true;
        break;
    }
    if !initializing || has_condition(pod, "Initialized", "True") {
        restarts = sidecar_restarts;
        let mut running = false;
        for container in object::list(status, &["containerStatuses"]).iter().rev() {
            restarts.add(container);
            let state = &container["state"];
            let waiting = state["waiting"]["reason"].as_str().unwrap_or_default();
            if !waiting.is_empty() {
                reason = waiting.to_owned();
            } else if state["terminated"].is_object() {
                reason = terminated_text("", &state["terminated"]);
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            reason = if has_condition(pod, "Ready", "True") { "Running" } else { "NotReady" }.to_owned();
        }
    }
    let ended = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
    if object::is_deleting(pod) {
        if status["reason"] == "NodeLost" {
            reason = "Unknown".to_owned();
        } else if !ended {
            reason = "Terminating".to_owned();
        }
    }
    let or_none = |value: &Value| match value.as_str() {
        Some(text) if !text.is_empty() => json!(text),
        _ => json!("<none>"),
    };
    let gates = object::list(pod, &["spec", "readinessGates"]);
    let passed = gates.iter().filter(|gate| has_condition(pod, object::text(gate, &["conditionType"]), "True")).count();
    vec![
        json!(object::name(pod)),
        json!(format!("{ready}/{total}")),
        json!(reason),
        json!(restarts.text(now)),
        json!(age(&pod["metadata"]["creationTimestamp"], now)),
        or_none(&status["podIP"]),
        or_none(&pod["spec"]["nodeName"]),
        or_none(&status["nominatedNodeName"]),
        json!(if gates.is_empty() { "<none>".to_owned() } else { format!("{passed}/{}", gates.len()) }),
    ]
}

/// Rows of pods that have ended are marked.
pub(super) fn completed(pod: &Value) -> Option<Value> {
    match object::text(pod, &["status", "phase"]) {
        "Succeeded" => Some(json!({
            "type": "Completed", "status": "True", "reason": "Succeeded",
            "message": "The pod has completed successfully."})),
        "Failed" => Some(json!({
            "type": "Completed", "status": "True", "reason": "Failed",
            "message": "The pod failed."})),
        _ => None,
    }
}
