//! What follows from a node's state for its pods: taints of cordoned and lost nodes, nodes that no longer report, and
//! pods that leave nodes with a NoExecute taint (the node lifecycle and the taint eviction controller).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use simulation::resources::{LEASES, NODES, PODS};
use simulation::{Change, Controller, Deletion, Occurrence, World};

use crate::fields::{
    after, at, between, condition, is_deleting, is_terminal, items, key, millis, name, namespace, number, put, seconds,
    split_key, text, time, truth, uid,
};
use crate::pod_gc::disrupt;
use crate::scheduler::tolerates;

const NAME: &str = "node-lifecycle";
const MANAGER: &str = "kube-controller-manager";
/// A node that has not been heard of for so long is lost.
/// It is counted from the look that saw the last sign, and looked at every 5 s.
const GRACE: Duration = Duration::from_secs(55);
/// NoExecute taints are taken away with the next look.
const RELIEF: Duration = Duration::from_millis(3500);
/// How often it is looked.
const LOOK: Duration = Duration::from_secs(5);
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Both controllers.
#[derive(Debug, Default)]
pub(crate) struct Taints {
    /// Pods that have been given some time, by key.
    leaving: BTreeSet<String>,
}

impl Controller for Taints {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, node) if *r == NODES => self.node(world, None, node),
            Change::Modified(r, old, node) if *r == NODES => self.node(world, Some(old), node),
            Change::Added(r, lease) | Change::Modified(r, _, lease)
                if *r == LEASES && namespace(lease) == "kube-node-lease" =>
            {
                // Heard of: the next look that could find it lost.
                let at = after(world.now(), GRACE);
                world.wake_at(NAME, format!("look/{}", name(lease)), at);
            }
            Change::Added(r, pod) if *r == PODS => self.placed(world, pod),
            Change::Modified(r, old, pod) if *r == PODS => {
                let same = |path: &str| at(old, path) == at(pod, path);
                if !same("/spec/nodeName") || !same("/spec/tolerations") {
                    self.placed(world, pod);
                }
            }
            Change::Deleted(r, pod) if *r == PODS => {
                if self.leaving.remove(&key(pod)) {
                    world.cancel_wake(NAME, &format!("pod/{}", key(pod)));
                }
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        match key.split_once('/') {
            Some(("look", node)) => self.look(world, node),
            Some((effect @ ("NoSchedule" | "NoExecute"), node)) => {
                if let Some(node) = world.get(&NODES, "", node) {
                    mark(world, &node, effect);
                }
            }
            Some(("pod", key)) => {
                self.leaving.remove(key);
                let (space, pod) = split_key(key);
                if let Some(pod) = world.get(&PODS, space, pod).filter(|pod| !is_deleting(pod)) {
                    evict(world, &pod);
                }
            }
            Some(("node", node)) => {
                if let Some(node) = world.get(&NODES, "", node) {
                    self.all(world, &node);
                }
            }
            _ => {}
        }
    }
}

impl Taints {
    fn node(&mut self, world: &mut dyn World, old: Option<&Arc<Value>>, node: &Arc<Value>) {
        let same = |path: &str| old.is_some_and(|old| at(old, path) == at(node, path));
        let now = world.now();
        for (effect, gain, loss) in [("NoSchedule", 8, millis(8)), ("NoExecute", 50, RELIEF)] {
            let (wanted, there) = (taints(node, effect), items(node, "/spec/taints"));
            if wanted != there {
                let pause = if wanted.len() < there.len() { loss } else { millis(gain) };
                world.wake_at(NAME, format!("{effect}/{}", name(node)), after(now, pause));
            }
        }
        if !same("/spec/taints") && (old.is_some() || !items(node, "/spec/taints").is_empty()) {
            world.wake_at(NAME, format!("node/{}", name(node)), after(now, millis(20)));
        }
    }

    /// All pods of a node, after its taints have changed.
    fn all(&mut self, world: &mut dyn World, node: &Value) {
        for pod in world.list(&PODS, None) {
            if text(&pod, "/spec/nodeName") == name(node) {
                self.pod(world, &pod, node);
            }
        }
    }

    fn placed(&mut self, world: &mut dyn World, pod: &Arc<Value>) {
        let node = text(pod, "/spec/nodeName");
        if node.is_empty() {
            return;
        }
        if let Some(node) = world.get(&NODES, "", node)
            && !items(&node, "/spec/taints").is_empty()
        {
            self.pod(world, pod, &node);
        }
    }

    fn pod(&mut self, world: &mut dyn World, pod: &Arc<Value>, node: &Value) {
        if is_deleting(pod) || is_terminal(pod) {
            return;
        }
        let chasing: Vec<&Value> =
            items(node, "/spec/taints").iter().filter(|taint| text(taint, "/effect") == "NoExecute").collect();
        let timer = format!("pod/{}", key(pod));
        if chasing.is_empty() {
            if self.leaving.remove(&key(pod)) {
                world.cancel_wake(NAME, &timer);
                let message = format!("Cancelling deletion of Pod {}/{}", namespace(pod), name(pod));
                say(world, pod, message);
            }
            return;
        }
        let mut least: Option<i64> = None;
        for taint in &chasing {
            let covering: Vec<&Value> =
                items(pod, "/spec/tolerations").iter().filter(|t| tolerates(t, taint)).collect();
            if covering.is_empty() {
                return evict(world, pod);
            }
            let shortest = covering.iter().filter_map(|t| number(t, "/tolerationSeconds")).min();
            least = least.into_iter().chain(shortest).min();
        }
        let Some(seconds) = least else { return };
        if seconds <= 0 {
            return evict(world, pod);
        }
        if self.leaving.insert(key(pod)) {
            let at = after(world.now(), Duration::from_secs(seconds as u64));
            world.wake_at(NAME, timer, at);
        }
    }

    /// Whether the node has been heard of.
    fn look(&mut self, world: &mut dyn World, node: &str) {
        let Some(node) = world.get(&NODES, "", node) else { return };
        let lease = world.get(&LEASES, "kube-node-lease", name(&node));
        let heard = lease
            .map_or(Timestamp::UNIX_EPOCH, |lease| time(&lease, "/spec/renewTime"))
            .max(condition(&node, "Ready").map_or(Timestamp::UNIX_EPOCH, |c| time(c, "/lastHeartbeatTime")));
        let now = world.now();
        let silent = between(heard, now);
        if silent < GRACE {
            let wait = LOOK * (1 + ((GRACE - silent).as_millis() / LOOK.as_millis()) as u32);
            world.wake_at(NAME, format!("look/{}", name(&node)), after(now, wait));
            return;
        }
        world.wake_at(NAME, format!("look/{}", name(&node)), after(now, LOOK));
        if condition(&node, "Ready").is_some_and(|c| text(c, "/status") == "Unknown") {
            return;
        }
        lose(world, &node);
    }
}

/// Says of a node that nothing is known of it, and of its pods that they are not ready.
fn lose(world: &mut dyn World, node: &Arc<Value>) {
    let now = seconds(world.now());
    let mut lost = (**node).clone();
    if let Some(conditions) = lost.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        for condition in conditions {
            for (field, value) in [
                ("status", "Unknown"),
                ("reason", "NodeStatusUnknown"),
                ("message", "Kubelet stopped posting node status."),
                ("lastTransitionTime", &now),
            ] {
                put(condition, &[field], json!(value));
            }
        }
    }
    // Refused: the node has just reported.
    if world.update_status(&NODES, lost, MANAGER).is_err() {
        return;
    }
    for pod in world.list(&PODS, None) {
        if text(&pod, "/spec/nodeName") != name(node) || is_terminal(&pod) {
            continue;
        }
        let mut unready = (*pod).clone();
        if let Some(conditions) = unready.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
            for condition in conditions.iter_mut().filter(|c| text(c, "/type") == "Ready") {
                put(condition, &["status"], json!("False"));
                put(condition, &["lastTransitionTime"], json!(now));
            }
        }
        let _ = world.update_status(&PODS, unready, MANAGER);
        world.event(Occurrence {
            regarding: &pod,
            field_path: None,
            warning: true,
            reason: "NodeNotReady",
            message: "Node is not ready".to_owned(),
            component: "node-controller",
            host: None,
        });
    }
}

/// The taints that a node should have, as far as those of one effect go: those of its state, besides those that others
/// put there.
fn taints(node: &Value, effect: &str) -> Vec<Value> {
    let asked = effect;
    let ready = condition(node, "Ready").map_or("True", |c| text(c, "/status"));
    let wanted = |key: &str, effect: &str| match (key, effect) {
        (UNSCHEDULABLE, "NoSchedule") => truth(node, "/spec/unschedulable"),
        (UNREACHABLE, "NoSchedule" | "NoExecute") => ready == "Unknown",
        (NOT_READY, "NoSchedule" | "NoExecute") => ready == "False",
        _ => true,
    };
    let mut taints: Vec<Value> = items(node, "/spec/taints")
        .iter()
        .filter(|taint| text(taint, "/effect") != asked || wanted(text(taint, "/key"), asked))
        .cloned()
        .collect();
    for (key, effect) in [
        (UNSCHEDULABLE, "NoSchedule"),
        (UNREACHABLE, "NoSchedule"),
        (UNREACHABLE, "NoExecute"),
        (NOT_READY, "NoSchedule"),
        (NOT_READY, "NoExecute"),
    ] {
        let there = taints.iter().any(|taint| text(taint, "/key") == key && text(taint, "/effect") == effect);
        if effect == asked && !there && wanted(key, effect) {
            taints.push(json!({"key": key, "effect": effect}));
        }
    }
    taints
}

fn mark(world: &mut dyn World, node: &Arc<Value>, effect: &str) {
    let now = seconds(world.now());
    let mut marked = (**node).clone();
    let mut wanted = taints(node, effect);
    for taint in wanted.iter_mut().filter(|taint| {
        let (key, added) = (text(taint, "/key"), taint.get("timeAdded"));
        added.is_none() && [UNSCHEDULABLE, UNREACHABLE, NOT_READY].contains(&key)
    }) {
        let known = items(node, "/spec/taints")
            .iter()
            .any(|old| text(old, "/key") == text(taint, "/key") && text(old, "/effect") == text(taint, "/effect"));
        if !known {
            put(taint, &["timeAdded"], json!(now));
        }
    }
    if wanted.is_empty() {
        crate::fields::remove(&mut marked, &["spec", "taints"]);
    } else {
        put(&mut marked, &["spec", "taints"], Value::Array(wanted));
    }
    // Refused: the node has changed, which comes back as a change.
    let _ = world.update(&NODES, marked, MANAGER);
}

fn evict(world: &mut dyn World, pod: &Arc<Value>) {
    let message = format!("Marking for deletion Pod {}/{}", namespace(pod), name(pod));
    say(world, pod, message);
    let mut target = (**pod).clone();
    let text = "Taint manager: deleting due to NoExecute taint";
    disrupt(&mut target, &seconds(world.now()), "DeletionByTaintManager", text);
    // Either may find that it has gone: then it need not be told to.
    let _ = world.update_status(&PODS, target, MANAGER);
    let how = Deletion { uid: Some(uid(pod).to_owned()), ..Deletion::default() };
    let _ = world.delete(&PODS, namespace(pod), name(pod), how);
}

fn say(world: &mut dyn World, pod: &Value, message: String) {
    world.event(Occurrence {
        regarding: pod,
        field_path: None,
        warning: false,
        reason: "TaintManagerEviction",
        message,
        component: "taint-eviction-controller",
        host: None,
    });
}
