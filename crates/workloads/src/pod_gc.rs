//! The pod garbage collector: removes pods that are bound to a node that is not there.

use std::time::Duration;

use serde_json::{Value, json};
use simulation::resources::{NODES, PODS};
use simulation::{Change, Controller, Deletion, World};

use crate::fields::{after, is_terminal, items, key, millis, name, number, put, seconds, split_key, text, uid};

const NAME: &str = "pod-garbage-collector";
/// A node must have been away for 40 s, which is looked at every 20 s.
const AWAY: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_secs(20);

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct PodCollector;

impl Controller for PodCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, pod) if *r == PODS => watch(world, pod),
            Change::Modified(r, old, pod) if *r == PODS => {
                if text(old, "/spec/nodeName") != text(pod, "/spec/nodeName") {
                    watch(world, pod);
                }
            }
            Change::Deleted(r, node) if *r == NODES => {
                for pod in world.list(&PODS, None) {
                    if text(&pod, "/spec/nodeName") == name(node) {
                        watch(world, &pod);
                    }
                }
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, pod) = split_key(key);
        let Some(pod) = world.get(&PODS, space, pod) else { return };
        if !is_orphan(world, &pod) {
            return;
        }
        if !is_terminal(&pod) {
            let mut failed = (*pod).clone();
            put(&mut failed, &["status", "phase"], json!("Failed"));
            put(
                &mut failed,
                &["status", "observedGeneration"],
                json!(number(&pod, "/metadata/generation").unwrap_or(1)),
            );
            disrupt(&mut failed, &seconds(world.now()), "DeletionByPodGC", "PodGC: node no longer exists");
            // Refused: it has changed, and is looked at again.
            let _ = world.update_status(&PODS, failed, "kube-controller-manager");
        }
        let how = Deletion { grace_seconds: Some(0), uid: Some(uid(&pod).to_owned()), ..Deletion::default() };
        let _ = world.delete(&PODS, space, name(&pod), how);
    }
}

fn is_orphan(world: &dyn World, pod: &Value) -> bool {
    let node = text(pod, "/spec/nodeName");
    !node.is_empty() && world.get(&NODES, "", node).is_none()
}

fn watch(world: &mut dyn World, pod: &Value) {
    if is_orphan(world, pod) {
        // Where in the period of its looks a pod comes is chance.
        let wait = millis(world.random() % LOOK.as_millis() as u64);
        let at = after(world.now(), AWAY + wait);
        world.wake_at(NAME, key(pod), at);
    }
}

/// Adds the condition that tells why a pod is taken away.
pub(crate) fn disrupt(pod: &mut Value, now: &str, reason: &str, message: &str) {
    let generation = number(pod, "/metadata/generation").unwrap_or(1);
    let mut conditions: Vec<Value> =
        items(pod, "/status/conditions").iter().filter(|c| text(c, "/type") != "DisruptionTarget").cloned().collect();
    conditions.push(json!({
        "type": "DisruptionTarget", "observedGeneration": generation, "status": "True", "lastProbeTime": null,
        "lastTransitionTime": now, "reason": reason, "message": message,
    }));
    put(pod, &["status", "conditions"], Value::Array(conditions));
}
