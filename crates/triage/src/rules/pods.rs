//! Rules about pods: their containers, their scheduling, their volumes, their end.

use serde_json::Value;

use super::Diagnosis;
use super::containers::{Container, diagnose, missing_objects};
use crate::finding::{Finding, Weight};
use crate::snapshot::{ObjectName, Snapshot, condition, last_seen, list, number, text};

/// An init container that runs longer than this keeps the pod from starting.
const INIT_SECONDS: i64 = 60;
/// A pod that is still there this long after its grace period is stuck.
const STUCK_SECONDS: i64 = 60;

/// Every pod by itself.
pub(crate) fn check(snapshot: &Snapshot, findings: &mut Vec<Finding>) {
    for pod in snapshot.all("Pod") {
        let diagnoses = match pod.pointer("/metadata/deletionTimestamp") {
            Some(since) => stuck(snapshot, pod, since).into_iter().collect(),
            None => of_pod(snapshot, pod),
        };
        findings.extend(diagnoses.into_iter().map(|diagnosis| diagnosis.on(pod, snapshot)));
    }
}

fn of_pod(snapshot: &Snapshot, pod: &Value) -> Vec<Diagnosis> {
    if text(pod, "/status/phase") == "Succeeded" || tried_again(snapshot, pod) {
        return Vec::new();
    }
    if let Some(diagnosis) = unschedulable(snapshot, pod).or_else(|| evicted(pod)) {
        return vec![diagnosis];
    }
    let statuses = [("/status/initContainerStatuses", true), ("/status/containerStatuses", false)];
    let mut diagnoses = Vec::new();
    for (pointer, init) in statuses {
        for status in list(pod, pointer) {
            let container = Container { pod, status, init };
            diagnoses.extend(diagnose(snapshot, &container));
        }
    }
    if diagnoses.is_empty() {
        diagnoses.extend(unmounted(snapshot, pod));
        diagnoses.extend(hanging_init(snapshot, pod));
    }
    diagnoses
}

/// A failed try of a job that was completed in the end.
fn tried_again(snapshot: &Snapshot, pod: &Value) -> bool {
    let owners = snapshot.owners(pod);
    let job = owners.iter().find(|owner| owner.kind == "Job").and_then(|owner| snapshot.find("Job", &owner.name));
    job.and_then(|job| condition(job, "Complete")).is_some_and(|complete| complete["status"] == "True")
}

fn unschedulable(snapshot: &Snapshot, pod: &Value) -> Option<Diagnosis> {
    let scheduled =
        condition(pod, "PodScheduled").filter(|c| c["status"] == "False" && c["reason"] == "Unschedulable")?;
    let said = text(scheduled, "/message");
    let message = format!("it cannot be scheduled: {said}");
    let claims = claims_of(pod).filter(|name| {
        snapshot.find("PersistentVolumeClaim", name).is_none_or(|claim| text(claim, "/status/phase") != "Bound")
    });
    let claims: Vec<ObjectName> = claims.map(|name| claim(snapshot, name)).collect();
    if said.contains("persistentvolumeclaim") || said.contains("PersistentVolumeClaims") {
        // A claim that is there says itself why it has no volume.
        let there = claims.iter().all(|claim| snapshot.find(&claim.kind, &claim.name).is_some());
        let weight = if there && !claims.is_empty() { Weight::Symptom } else { Weight::Cause };
        return Some(Diagnosis::new("unschedulable", weight, "storage", message).with(claims));
    }
    let resources = said.contains("Insufficient") && !said.contains("didn't match") && !said.contains("taint");
    let fault_type = if resources { "resource-limit" } else { "scheduling" };
    let cordoned: Vec<ObjectName> = if said.contains("unschedulable") {
        snapshot.all("Node").iter().filter(|node| node["spec"]["unschedulable"] == true).map(ObjectName::of).collect()
    } else {
        Vec::new()
    };
    // A node that is lost takes no pods: its own finding comes first.
    let lost = snapshot.all("Node").iter().any(|node| condition(node, "Ready").is_some_and(|c| c["status"] != "True"));
    let weight = if lost { Weight::Consequence } else { Weight::Cause };
    Some(Diagnosis::new("unschedulable", weight, fault_type, message).with(cordoned))
}

fn claims_of(pod: &Value) -> impl Iterator<Item = &str> {
    list(pod, "/spec/volumes").map(|volume| text(volume, "/persistentVolumeClaim/claimName")).filter(|n| !n.is_empty())
}

fn claim(snapshot: &Snapshot, name: &str) -> ObjectName {
    ObjectName { kind: "PersistentVolumeClaim".into(), namespace: snapshot.namespace.clone(), name: name.into() }
}

/// A volume that cannot be mounted, while no container has started.
fn unmounted(snapshot: &Snapshot, pod: &Value) -> Option<Diagnosis> {
    let creating = list(pod, "/status/containerStatuses")
        .chain(list(pod, "/status/initContainerStatuses"))
        .any(|status| matches!(text(status, "/state/waiting/reason"), "ContainerCreating" | "PodInitializing"));
    if !creating || text(pod, "/status/phase") != "Pending" {
        return None;
    }
    let mounts = snapshot.events_of(pod).filter(|event| {
        matches!(text(event, "/reason"), "FailedMount" | "FailedAttachVolume" | "FailedMapVolume")
            // Seen at almost every start, and gone a second later.
            && !text(event, "/message").contains("timed out waiting for the condition")
    });
    let event = mounts.max_by_key(|event| last_seen(event))?;
    let said = text(event, "/message");
    let lower = said.to_lowercase();
    let content = lower.contains("configmap") || lower.contains("secret") || lower.contains("config key");
    let fault_type = if content { "configuration" } else { "storage" };
    let message = format!("a volume cannot be mounted: {said}");
    Some(Diagnosis::new("mount-fails", Weight::Cause, fault_type, message).with(missing_objects(snapshot, said)))
}

fn hanging_init(snapshot: &Snapshot, pod: &Value) -> Option<Diagnosis> {
    let hanging = list(pod, "/status/initContainerStatuses").find(|status| {
        let sidecar = list(pod, "/spec/initContainers")
            .any(|container| container["name"] == status["name"] && container["restartPolicy"] == "Always");
        let started = status.pointer("/state/running/startedAt").and_then(|at| snapshot.seconds_since(at));
        !sidecar && started.is_some_and(|ago| ago >= INIT_SECONDS)
    })?;
    let message = format!("init container {} does not end", text(hanging, "/name"));
    Some(Diagnosis::new("init-endless", Weight::Symptom, "init-container", message))
}

fn evicted(pod: &Value) -> Option<Diagnosis> {
    if text(pod, "/status/phase") != "Failed" {
        return None;
    }
    let (reason, said) = (text(pod, "/status/reason"), text(pod, "/status/message"));
    let message = format!("it failed: {reason} {said}");
    match reason {
        "Evicted" => Some(Diagnosis::new("evicted", Weight::Symptom, "resource-limit", message)),
        "NodeLost" | "NodeAffinity" | "NodeShutdown" | "Terminated" => {
            Some(Diagnosis::new("lost-with-node", Weight::Consequence, "node", message))
        }
        "DeadlineExceeded" => Some(Diagnosis::new("deadline", Weight::Cause, "lifecycle", message)),
        _ => None,
    }
}

/// A pod that should be gone.
fn stuck(snapshot: &Snapshot, pod: &Value, since: &Value) -> Option<Diagnosis> {
    let ago = snapshot.seconds_since(since)?;
    if ago < STUCK_SECONDS {
        return None;
    }
    let finalizers: Vec<&str> = list(pod, "/metadata/finalizers").filter_map(Value::as_str).collect();
    let grace = number(pod, "/metadata/deletionGracePeriodSeconds");
    let message = match finalizers.as_slice() {
        [] => format!("it should have gone {ago} s ago, after {grace} s of grace"),
        names => format!("it should have gone {ago} s ago; finalizers: {}", names.join(", ")),
    };
    Some(Diagnosis::new("stuck-in-deletion", Weight::Symptom, "lifecycle", message))
}
