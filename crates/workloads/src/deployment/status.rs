//! The status of a deployment and its conditions.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use simulation::World;

use super::{Sync, available, enqueue, size};
use crate::fields::{after, condition, items, key, name, number, put, remove, seconds, text, time};

pub(super) fn new_condition(now: Timestamp, kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "lastUpdateTime": seconds(now), "lastTransitionTime": seconds(now), "reason": reason, "message": message,
    })
}

/// Replaces the condition of this type; one with equal status and reason stays as it is.
pub(super) fn set_condition(status: &mut Value, mut new: Value) {
    let mut conditions = items(status, "/conditions").to_vec();
    let kind = text(&new, "/type").to_owned();
    if let Some(old) = conditions.iter().find(|c| text(c, "/type") == kind) {
        if text(old, "/status") == text(&new, "/status") && text(old, "/reason") == text(&new, "/reason") {
            return;
        }
        if text(old, "/status") == text(&new, "/status") {
            put(&mut new, &["lastTransitionTime"], json!(text(old, "/lastTransitionTime")));
        }
    }
    conditions.retain(|c| text(c, "/type") != kind);
    conditions.push(new);
    put(status, &["conditions"], Value::Array(conditions));
}

fn remove_condition(status: &mut Value, kind: &str) {
    let conditions: Vec<Value> =
        items(status, "/conditions").iter().filter(|c| text(c, "/type") != kind).cloned().collect();
    if conditions.is_empty() {
        remove(status, &["conditions"]);
    } else {
        put(status, &["conditions"], Value::Array(conditions));
    }
}

impl Sync<'_> {
    /// Status without a word about progress: what a scaled or paused deployment gets.
    pub(super) fn write_status(&mut self, world: &mut dyn World, sets: &[Arc<Value>], new: Option<&Arc<Value>>) {
        let status = self.calculate(world.now(), sets, new);
        self.store_status(world, status);
    }

    /// Status with the Progressing condition.
    pub(super) fn rollout_status(&mut self, world: &mut dyn World, sets: &[Arc<Value>], new: Option<&Arc<Value>>) {
        let now = world.now();
        let mut status = self.calculate(now, sets, new);
        let deadline = number(&self.deployment, "/spec/progressDeadlineSeconds").filter(|d| *d != i64::from(i32::MAX));
        if deadline.is_none() {
            remove_condition(&mut status, "Progressing");
        }
        let current = condition(&self.deployment, "Progressing").cloned();
        let reason = current.as_ref().map_or("", |c| text(c, "/reason"));
        let count = |status: &Value, field: &str| number(status, field).unwrap_or(0);
        let done =
            count(&status, "/replicas") == count(&status, "/updatedReplicas") && reason == "NewReplicaSetAvailable";
        if let Some(deadline) = deadline.filter(|_| !done) {
            let who = match new {
                Some(set) => format!("ReplicaSet \"{}\"", name(set)),
                None => format!("Deployment \"{}\"", name(&self.deployment)),
            };
            let before = self.deployment.get("status").cloned().unwrap_or(Value::Null);
            if self.completes(&status) {
                let message = format!("{who} has successfully progressed.");
                set_condition(
                    &mut status,
                    new_condition(now, "Progressing", "True", "NewReplicaSetAvailable", &message),
                );
            } else if progresses(&before, &status) {
                let mut new =
                    new_condition(now, "Progressing", "True", "ReplicaSetUpdated", &format!("{who} is progressing."));
                if let Some(current) = current.as_ref().filter(|c| text(c, "/status") == "True") {
                    put(&mut new, &["lastTransitionTime"], json!(text(current, "/lastTransitionTime")));
                }
                remove_condition(&mut status, "Progressing");
                set_condition(&mut status, new);
            } else if timed_out(current.as_ref(), deadline, now) {
                let message = format!("{who} has timed out progressing.");
                set_condition(
                    &mut status,
                    new_condition(now, "Progressing", "False", "ProgressDeadlineExceeded", &message),
                );
            }
        }
        self.failure_condition(&mut status, sets, new, now);
        self.store_status(world, status);
        self.watch_deadline(world);
    }

    pub(super) fn is_complete(&self) -> bool {
        self.deployment.get("status").is_some_and(|status| self.completes(status))
    }

    fn completes(&self, status: &Value) -> bool {
        let wanted = self.replicas();
        ["/updatedReplicas", "/replicas", "/availableReplicas"].iter().all(|f| number(status, f).unwrap_or(0) == wanted)
            && number(status, "/observedGeneration") >= number(&self.deployment, "/metadata/generation")
    }

    fn calculate(&self, now: Timestamp, sets: &[Arc<Value>], new: Option<&Arc<Value>>) -> Value {
        let sum = |field: &str| sets.iter().map(|set| number(set, field).unwrap_or(0)).sum::<i64>();
        let ready = sum("/status/availableReplicas");
        let mut status = json!({"observedGeneration": number(&self.deployment, "/metadata/generation").unwrap_or(1)});
        let unavailable = (sets.iter().map(|set| size(set)).sum::<i64>() - ready).max(0);
        let updated = new.map_or(0, |set| number(set, "/status/replicas").unwrap_or(0));
        for (field, value) in [
            ("replicas", sum("/status/replicas")),
            ("updatedReplicas", updated),
            ("readyReplicas", sum("/status/readyReplicas")),
            ("availableReplicas", ready),
            ("unavailableReplicas", unavailable),
        ] {
            if value > 0 {
                put(&mut status, &[field], json!(value));
            }
        }
        put(&mut status, &["terminatingReplicas"], json!(sum("/status/terminatingReplicas")));
        if let Some(collisions) = number(&self.deployment, "/status/collisionCount") {
            put(&mut status, &["collisionCount"], json!(collisions));
        }
        let conditions = items(&self.deployment, "/status/conditions");
        if !conditions.is_empty() {
            put(&mut status, &["conditions"], json!(conditions));
        }
        let (_, may_lack) = self.bounds();
        let condition = if sets.iter().map(|set| available(set)).sum::<i64>() >= self.replicas() - may_lack {
            new_condition(now, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            new_condition(
                now,
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            )
        };
        set_condition(&mut status, condition);
        status
    }

    /// What a replica set could not do shows on the deployment.
    fn failure_condition(&self, status: &mut Value, sets: &[Arc<Value>], new: Option<&Arc<Value>>, now: Timestamp) {
        let failed = |set: &Arc<Value>| condition(set, "ReplicaFailure").cloned();
        match new.and_then(failed).or_else(|| sets.iter().find_map(failed)) {
            Some(found) => {
                let new = new_condition(
                    now,
                    "ReplicaFailure",
                    text(&found, "/status"),
                    text(&found, "/reason"),
                    text(&found, "/message"),
                );
                set_condition(status, new);
            }
            None => remove_condition(status, "ReplicaFailure"),
        }
    }

    /// Looks again when the deadline for progress will have passed.
    fn watch_deadline(&self, world: &mut dyn World) {
        let Some(deadline) = number(&self.deployment, "/spec/progressDeadlineSeconds") else { return };
        let Some(current) = condition(&self.deployment, "Progressing") else { return };
        if self.is_complete()
            || matches!(text(current, "/reason"), "NewReplicaSetAvailable" | "ProgressDeadlineExceeded")
        {
            return;
        }
        let due = after(time(current, "/lastUpdateTime"), Duration::from_secs(deadline.max(0) as u64 + 1));
        let now = world.now();
        enqueue(world, &key(&self.deployment), crate::fields::between(now, due).max(Duration::from_millis(10)));
    }
}

fn progresses(before: &Value, after: &Value) -> bool {
    let count = |status: &Value, field: &str| number(status, field).unwrap_or(0);
    let old = |status: &Value| count(status, "/replicas") - count(status, "/updatedReplicas");
    count(after, "/updatedReplicas") > count(before, "/updatedReplicas")
        || old(after) < old(before)
        || count(after, "/readyReplicas") > count(before, "/readyReplicas")
        || count(after, "/availableReplicas") > count(before, "/availableReplicas")
}

fn timed_out(current: Option<&Value>, deadline: i64, now: Timestamp) -> bool {
    let Some(current) = current else { return false };
    match text(current, "/reason") {
        "NewReplicaSetAvailable" => false,
        "ProgressDeadlineExceeded" => true,
        _ => after(time(current, "/lastUpdateTime"), Duration::from_secs(deadline.max(0) as u64)) < now,
    }
}
