//! Rules about services that lead nowhere.

use serde_json::Value;

use super::Diagnosis;
use crate::finding::{Finding, Weight};
use crate::snapshot::{Snapshot, condition, labels_match, list, text};

/// Services with a selector that finds no pod, or a port that no selected pod has.
pub(crate) fn check(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for service in snapshot.all("Service") {
        let selector = &service["spec"]["selector"];
        if selector.as_object().is_none_or(serde_json::Map::is_empty) {
            continue;
        }
        let pods: Vec<&Value> = snapshot.all("Pod").iter().filter(|pod| labels_match(selector, pod)).collect();
        let diagnosis = if pods.is_empty() {
            Some(nobody(snapshot, selector))
        } else if pods.iter().any(|pod| is_ready(pod)) {
            list(service, "/spec/ports").find_map(|port| wrong_port(port, &pods))
        } else {
            // Its pods are the problem, not the service.
            None
        };
        findings.extend(diagnosis.map(|diagnosis| diagnosis.on(service, snapshot)));
    }
}

/// No pod at all is selected. Where a workload would make such pods, that workload is to blame.
fn nobody(snapshot: &Snapshot, selector: &Value) -> Diagnosis {
    let makers = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];
    let made =
        makers.iter().flat_map(|kind| snapshot.all(kind)).any(|w| labels_match(selector, &w["spec"]["template"]));
    let weight = if made { Weight::Consequence } else { Weight::Symptom };
    Diagnosis::new("no-endpoints", weight, "network", format!("the service selects no pod with {selector}"))
}

/// A target port that the selected pods do not have. Pods need not declare their ports; where they declare none, a
/// number cannot be judged.
fn wrong_port(port: &Value, pods: &[&Value]) -> Option<Diagnosis> {
    let target = port.get("targetPort").unwrap_or(&port["port"]);
    let declared: Vec<&Value> = pods
        .iter()
        .flat_map(|pod| list(pod, "/spec/containers").chain(list(pod, "/spec/initContainers")))
        .flat_map(|container| list(container, "/ports"))
        .collect();
    let (known, weight) = match target {
        Value::String(name) => (declared.iter().any(|port| port["name"] == **name), Weight::Symptom),
        number => (declared.is_empty() || declared.iter().any(|port| port["containerPort"] == *number), Weight::Hint),
    };
    let message = format!("the service's target port {target} is none of its pods'");
    (!known).then(|| Diagnosis::new("wrong-port", weight, "network", message))
}

fn is_ready(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Running" && condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True")
}
