//! Preemption: pods of lower priority make room for one that found no node.

use std::sync::Arc;

use serde_json::Value;
use simulation::resources::PODS;
use simulation::{Deletion, Occurrence, World};

use super::filter::refusals;
use super::{NAME, Scheduler};
use crate::fields::{is_deleting, name, namespace, number, seconds, text, time, uid};
use crate::pod_gc::disrupt;

/// A pod's priority.
pub(super) fn priority(pod: &Value) -> i64 {
    number(pod, "/spec/priority").unwrap_or(0)
}

/// The node on which the fewest and least important pods are in the way, and these.
pub(super) fn victims(scheduler: &Scheduler, pod: &Arc<Value>) -> Option<(String, Vec<Arc<Value>>)> {
    if text(pod, "/spec/preemptionPolicy") == "Never" {
        return None;
    }
    let own = priority(pod);
    let mut best: Option<(i64, usize, String, Vec<Arc<Value>>)> = None;
    for (node_name, node) in &scheduler.nodes {
        let all = scheduler.on_node(node_name, pod);
        let (mut lower, mut kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|p| priority(p) < own);
        if lower.is_empty() || lower.iter().any(|p| is_deleting(p)) {
            continue;
        }
        if !refusals(pod, node, &kept, &scheduler.without(&lower)).is_empty() {
            continue;
        }
        // Those of more importance are let stay first, as far as there is room.
        lower.sort_by_key(|p| (std::cmp::Reverse(priority(p)), time(p, "/status/startTime")));
        let mut taken: Vec<Arc<Value>> = Vec::new();
        for (index, candidate) in lower.iter().enumerate() {
            kept.push(Arc::clone(candidate));
            let gone: Vec<Arc<Value>> = taken.iter().chain(&lower[index + 1..]).cloned().collect();
            if !refusals(pod, node, &kept, &scheduler.without(&gone)).is_empty() {
                kept.pop();
                taken.push(Arc::clone(candidate));
            }
        }
        let highest = taken.iter().map(|p| priority(p)).max().unwrap_or(i64::MIN);
        let better = best.as_ref().is_none_or(|(most, count, ..)| (highest, taken.len()) < (*most, *count));
        if !taken.is_empty() && better {
            best = Some((highest, taken.len(), node_name.clone(), taken));
        }
    }
    best.map(|(_, _, node, taken)| (node, taken))
}

/// Sends a pod away.
pub(super) fn send_away(world: &mut dyn World, victim: &Arc<Value>, preemptor: &Value, node: &str) {
    let mut target = (**victim).clone();
    let text = "default-scheduler: preempting to accommodate a higher priority pod";
    disrupt(&mut target, &seconds(world.now()), "PreemptionByScheduler", text);
    // Either may find that it has gone: then there is room.
    let _ = world.update_status(&PODS, target, "kube-scheduler");
    let how = Deletion { uid: Some(uid(victim).to_owned()), ..Deletion::default() };
    let _ = world.delete(&PODS, namespace(victim), name(victim), how);
    world.event(Occurrence {
        regarding: victim,
        field_path: None,
        warning: false,
        reason: "Preempted",
        message: format!("Preempted by pod {} on node {node}", uid(preemptor)),
        component: NAME,
        host: None,
    });
}
