//! Rules about one container: why it waits, why it ended, why it is started again and again.

use serde_json::Value;

use super::change::what_changed;
use super::{Diagnosis, quoted_after};
use crate::finding::Weight;
use crate::snapshot::{ObjectName, Snapshot, last_seen, list, number, text};

/// A crash longer ago than this, of a container that runs now, is history.
const RECENT: i64 = 600;
/// A container that has run this long since its only crash has recovered.
const SETTLED: i64 = 120;

/// One container with its status.
pub(crate) struct Container<'a> {
    pub(crate) pod: &'a Value,
    pub(crate) status: &'a Value,
    pub(crate) init: bool,
}

impl Container<'_> {
    fn name(&self) -> &str {
        text(self.status, "/name")
    }

    fn spec(&self) -> Option<&Value> {
        let containers = if self.init { "/spec/initContainers" } else { "/spec/containers" };
        list(self.pod, containers).find(|container| container["name"] == self.status["name"])
    }
}

/// What is wrong with a container, if anything.
pub(crate) fn diagnose(snapshot: &Snapshot, container: &Container<'_>) -> Option<Diagnosis> {
    waiting(snapshot, container).or_else(|| ended(snapshot, container)).or_else(|| not_ready(snapshot, container))
}

fn waiting(snapshot: &Snapshot, container: &Container<'_>) -> Option<Diagnosis> {
    let reason = text(container.status, "/state/waiting/reason");
    let said = text(container.status, "/state/waiting/message");
    let message = format!("container {} waits: {reason}: {said}", container.name());
    let cause = |fault_type| Some(Diagnosis::new("waiting-reason", Weight::Cause, fault_type, message.clone()));
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => cause("image"),
        "CreateContainerConfigError" => {
            let missing = missing_objects(snapshot, said);
            cause("configuration").map(|diagnosis| diagnosis.with(missing))
        }
        "RunContainerError" | "CreateContainerError" | "StartError" => {
            let mounts = said.contains("mount") && !said.contains("exec:");
            cause(if mounts { "storage" } else { "command" })
        }
        _ => None,
    }
}

/// Config maps and secrets that a message says are missing.
pub(crate) fn missing_objects(snapshot: &Snapshot, message: &str) -> Vec<ObjectName> {
    let lower = message.to_lowercase();
    if !lower.contains("not found") {
        return Vec::new();
    }
    let kinds = [("configmap", "ConfigMap"), ("secret", "Secret")];
    let named = kinds.iter().filter_map(|(word, kind)| {
        let name = quoted_after(&lower, word)?;
        Some(ObjectName { kind: (*kind).to_owned(), namespace: snapshot.namespace.clone(), name })
    });
    named.collect()
}

/// A container that ended badly: now, or lately and was started again. The back-off before a restart shows mostly as
/// `state.terminated`, and only briefly as the waiting reason CrashLoopBackOff: both are looked at.
fn ended(snapshot: &Snapshot, container: &Container<'_>) -> Option<Diagnosis> {
    let status = container.status;
    let restarts = number(status, "/restartCount");
    let now = status.pointer("/state/terminated");
    let last = status.pointer("/lastState/terminated");
    let runs = status.pointer("/state/running").is_some();
    let ended = match (now, last) {
        (Some(now), _) if now["exitCode"] != 0 => now,
        // Ends again and again, though without an error: a service must not end.
        (Some(now), _) if restarts > 0 && must_not_end(container) => now,
        (Some(_), _) => return None,
        (None, Some(last)) if !runs => last,
        (None, Some(last)) if !recovered(snapshot, status) => last,
        _ => return None,
    };
    let (reason, code) = (text(ended, "/reason"), number(ended, "/exitCode"));
    let message = format!(
        "container {} ended with {reason}, exit code {code}, {restarts} restarts{}",
        container.name(),
        if runs { ", runs again at the moment" } else { "" },
    );
    let probe = failed_probe(snapshot, container);
    if let (Some(probe), true) = (probe, reason != "OOMKilled") {
        let message = format!("{message}; {probe}");
        return Some(Diagnosis::new("killed-by-probe", Weight::Cause, "probe", message));
    }
    let changed = what_changed(snapshot, container.pod);
    let (rule, fault_type) = match (reason, code) {
        ("OOMKilled", _) => ("out-of-memory", "resource-limit"),
        ("StartError" | "ContainerCannotRun", _) | (_, 126..=128) => ("cannot-start", "command"),
        _ => ("ends-again-and-again", crash_type(container, changed.as_deref())),
    };
    let fault_type = if container.init { "init-container" } else { fault_type };
    let message = match &changed {
        Some(parts) if !parts.is_empty() => format!("{message}; the last rollout changed: {}", parts.join(", ")),
        _ => message,
    };
    Some(Diagnosis::new(rule, Weight::Cause, fault_type, message))
}

fn must_not_end(container: &Container<'_>) -> bool {
    let policy = text(container.pod, "/spec/restartPolicy");
    !container.init && matches!(policy, "" | "Always")
}

/// It runs now, and its last end is history: long ago, or the only one and it has run on since.
fn recovered(snapshot: &Snapshot, status: &Value) -> bool {
    let ago = |pointer: &str| status.pointer(pointer).and_then(|at| snapshot.seconds_since(at)).unwrap_or_default();
    let once = number(status, "/restartCount") < 2 && ago("/state/running/startedAt") > SETTLED;
    once || ago("/lastState/terminated/finishedAt") > RECENT
}

/// Why a program that could be started ends: what the last rollout changed, else whether the pod brings its own command.
fn crash_type(container: &Container<'_>, changed: Option<&[&'static str]>) -> &'static str {
    let suspects = ["command", "configuration", "image", "resource-limit", "permission"];
    if let Some(suspect) = changed.and_then(|parts| suspects.iter().find(|suspect| parts.contains(suspect))) {
        // A new image that starts and ends is the program's fault, not the reference's.
        return if *suspect == "image" { "application" } else { suspect };
    }
    let overridden = container.spec().is_some_and(|spec| spec["command"].is_array() || spec["args"].is_array());
    if overridden { "command" } else { "application" }
}

/// The kubelet's word that it killed the container over a probe.
fn failed_probe(snapshot: &Snapshot, container: &Container<'_>) -> Option<String> {
    let killed = format!("Container {} failed", container.name());
    let mut events: Vec<&Value> = snapshot.events_of(container.pod).collect();
    events.sort_by_key(|event| last_seen(event));
    let killing = events
        .iter()
        .rev()
        .find(|event| event["reason"] == "Killing" && text(event, "/message").starts_with(&killed))?;
    let why = events
        .iter()
        .rev()
        .find(|event| event["reason"] == "Unhealthy" && !text(event, "/message").starts_with("Readiness"));
    Some(text(why.unwrap_or(killing), "/message").trim().to_owned())
}

/// It runs, but its readiness or startup probe keeps it out.
fn not_ready(snapshot: &Snapshot, container: &Container<'_>) -> Option<Diagnosis> {
    let status = container.status;
    if container.init || status["ready"] == true || status.pointer("/state/running").is_none() {
        return None;
    }
    let events = snapshot.events_of(container.pod).filter(|event| event["reason"] == "Unhealthy");
    let event = events.max_by_key(|event| last_seen(event))?;
    let message = format!("container {} runs but is not ready: {}", container.name(), text(event, "/message").trim());
    Some(Diagnosis::new("probe-fails", Weight::Symptom, "probe", message))
}
