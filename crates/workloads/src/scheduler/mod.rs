//! The scheduler: finds each pod a node, or says why there is none.

mod claims;
mod filter;
mod preempt;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulation::resources::{NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES};
use simulation::{Change, Controller, Occurrence, World};

use crate::fields::{
    after, at, is_deleting, is_terminal, items, key, millis, name, namespace, number, put, seconds, split_key, text,
    uid,
};
pub(crate) use filter::{affinity_matches, tolerates};
use filter::{refusals, score};
use preempt::priority;

const NAME: &str = "default-scheduler";
/// Unschedulable pods are tried again at the latest after this.
const FLUSH: Duration = Duration::from_secs(300);

/// What may change so that a pod finds a node (the queueing hints of the scheduler's plugins).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Helps {
    /// A node.
    Nodes,
    /// A node, or pods that go.
    Pods,
    /// Claims, volumes or classes.
    Claims,
}

/// The scheduler.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scheduler {
    nodes: BTreeMap<String, Arc<Value>>,
    /// Pods that have a node and are not over, by uid.
    placed: HashMap<String, Arc<Value>>,
    /// Pods by node: uids.
    by_node: HashMap<String, BTreeSet<String>>,
    /// Keys of pods that found no node, and what may help them.
    waiting: BTreeMap<String, Helps>,
    /// Pods for which others were sent away, by uid: the node that they are to get.
    nominated: HashMap<String, (String, Arc<Value>)>,
}

impl Controller for Scheduler {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, pod) if *r == PODS => self.pod(world, None, pod),
            Change::Modified(r, old, pod) if *r == PODS => self.pod(world, Some(old), pod),
            Change::Deleted(r, pod) if *r == PODS => {
                self.waiting.remove(&key(pod));
                self.nominated.remove(uid(pod));
                world.cancel_wake(NAME, &key(pod));
                if self.forget(uid(pod)) {
                    self.retry(world, |helps| helps == Helps::Pods);
                }
            }
            Change::Added(r, node) | Change::Modified(r, _, node) if *r == NODES => {
                let same = |old: &Arc<Value>| {
                    ["/spec", "/metadata/labels", "/status/allocatable"].iter().all(|p| at(old, p) == at(node, p))
                };
                let unchanged = self.nodes.get(name(node)).is_some_and(same);
                self.nodes.insert(name(node).to_owned(), Arc::clone(node));
                if !unchanged {
                    self.retry(world, |helps| helps != Helps::Claims);
                }
            }
            Change::Deleted(r, node) if *r == NODES => {
                self.nodes.remove(name(node));
            }
            Change::Added(r, _) | Change::Modified(r, _, _)
                if [PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES].contains(r) =>
            {
                self.retry(world, |helps| helps == Helps::Claims);
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, pod) = split_key(key);
        match world.get(&PODS, space, pod) {
            Some(pod) if wants_node(&pod) => self.schedule(world, &pod),
            _ => {
                self.waiting.remove(key);
            }
        }
    }
}

fn wants_node(pod: &Value) -> bool {
    text(pod, "/spec/nodeName").is_empty()
        && !is_deleting(pod)
        && !is_terminal(pod)
        && items(pod, "/spec/schedulingGates").is_empty()
        && matches!(text(pod, "/spec/schedulerName"), "" | NAME)
}

impl Scheduler {
    fn pod(&mut self, world: &mut dyn World, old: Option<&Arc<Value>>, pod: &Arc<Value>) {
        let node = text(pod, "/spec/nodeName");
        if node.is_empty() {
            let changed = old.is_none_or(|old| {
                old.get("spec") != pod.get("spec") || at(old, "/metadata/labels") != at(pod, "/metadata/labels")
            });
            if changed && wants_node(pod) {
                let at = after(world.now(), millis(5));
                world.wake_at(NAME, key(pod), at);
            }
            return;
        }
        self.waiting.remove(&key(pod));
        if is_terminal(pod) {
            if self.forget(uid(pod)) {
                self.retry(world, |helps| helps == Helps::Pods);
            }
            return;
        }
        self.by_node.entry(node.to_owned()).or_default().insert(uid(pod).to_owned());
        self.placed.insert(uid(pod).to_owned(), Arc::clone(pod));
    }

    fn forget(&mut self, uid: &str) -> bool {
        let Some(pod) = self.placed.remove(uid) else { return false };
        if let Some(uids) = self.by_node.get_mut(text(&pod, "/spec/nodeName")) {
            uids.remove(uid);
        }
        true
    }

    /// Something has changed that may help those who wait.
    fn retry(&mut self, world: &mut dyn World, when: impl Fn(Helps) -> bool) {
        let now = world.now();
        for (key, _) in self.waiting.iter().filter(|(_, helps)| when(**helps)) {
            // Those for whom others were sent away come before those who may take what has become free.
            let first = self.nominated.values().any(|(_, pod)| crate::fields::key(pod) == *key);
            // An idle scheduler takes pods out of their back-off.
            world.wake_at(NAME, key.clone(), after(now, millis(if first { 3 } else { 5 })));
        }
    }

    /// Pods that take room on a node as a pod sees it: those that are there, and those of no less importance that are
    /// to come.
    fn on_node(&self, node: &str, pod: &Value) -> Vec<Arc<Value>> {
        let there = self.by_node.get(node).into_iter().flatten().filter_map(|uid| self.placed.get(uid));
        let coming = self
            .nominated
            .iter()
            .filter(|(id, (place, other))| place == node && id.as_str() != uid(pod) && priority(other) >= priority(pod))
            .map(|(_, (_, other))| other);
        there.chain(coming).cloned().collect()
    }

    /// The same without these pods.
    fn without(&self, gone: &[Arc<Value>]) -> Self {
        let mut rest = self.clone();
        for pod in gone {
            rest.forget(uid(pod));
        }
        rest
    }

    fn schedule(&mut self, world: &mut dyn World, pod: &Arc<Value>) {
        if let Some(reason) = claims::obstacle(world, pod) {
            return self.unschedulable(world, pod, reason, Helps::Claims);
        }
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut best: Option<(i128, String)> = None;
        let mut helpful = 0;
        let mut helps = Helps::Nodes;
        for (node_name, node) in &self.nodes {
            let pods = self.on_node(node_name, pod);
            let refused = refusals(pod, node, &pods, self);
            if refused.is_empty() {
                let free = score(node, &pods);
                if best.as_ref().is_none_or(|(most, _)| free > *most) {
                    best = Some((free, node_name.clone()));
                }
                continue;
            }
            // Only what other pods take can be freed by preemption.
            helpful += usize::from(refused.iter().all(|r| r.by_pods));
            if refused.iter().any(|r| r.by_pods) {
                helps = Helps::Pods;
            }
            for refusal in refused {
                *reasons.entry(refusal.text).or_default() += 1;
            }
        }
        if let Some((_, node)) = best {
            return self.place(world, pod, node);
        }
        let victims = if helpful > 0 { preempt::victims(self, pod) } else { None };
        let Some((node, victims)) = victims else {
            let message = self.message(pod, &reasons, helpful);
            return self.unschedulable(world, pod, message, helps);
        };
        self.nominated.insert(uid(pod).to_owned(), (node.clone(), Arc::clone(pod)));
        let message = format!("0/{} nodes are available: {}.", self.nodes.len(), counted(&reasons));
        self.unschedulable(world, pod, message, Helps::Pods);
        for victim in victims {
            preempt::send_away(world, &victim, pod, &node);
        }
    }

    fn place(&mut self, world: &mut dyn World, pod: &Arc<Value>, node: String) {
        if !claims::select_node(world, pod, &node) {
            // Comes again when the claims are bound.
            self.waiting.insert(key(pod), Helps::Claims);
            return;
        }
        let Ok(bound) = world.bind(namespace(pod), name(pod), &node) else { return };
        self.waiting.remove(&key(pod));
        self.nominated.remove(uid(pod));
        self.by_node.entry(node.clone()).or_default().insert(uid(&bound).to_owned());
        self.placed.insert(uid(&bound).to_owned(), bound);
        let message = format!("Successfully assigned {}/{} to {node}", namespace(pod), name(pod));
        world.event(Occurrence {
            regarding: pod,
            field_path: None,
            warning: false,
            reason: "Scheduled",
            message,
            component: NAME,
            host: None,
        });
    }

    fn message(&self, pod: &Value, reasons: &BTreeMap<String, usize>, helpful: usize) -> String {
        let total = self.nodes.len();
        if total == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let preemption = if text(pod, "/spec/preemptionPolicy") == "Never" {
            "not eligible due to preemptionPolicy=Never.".to_owned()
        } else {
            let mut parts = Vec::new();
            if helpful > 0 {
                parts.push(format!("{helpful} No preemption victims found for incoming pod"));
            }
            if total > helpful {
                parts.push(format!("{} Preemption is not helpful for scheduling", total - helpful));
            }
            format!("0/{total} nodes are available: {}.", parts.join(", "))
        };
        format!(
            "0/{total} nodes are available: {}. no new claims to deallocate, preemption: {preemption}",
            counted(reasons)
        )
    }

    fn unschedulable(&mut self, world: &mut dyn World, pod: &Arc<Value>, message: String, helps: Helps) {
        world.event(Occurrence {
            regarding: pod,
            field_path: None,
            warning: true,
            reason: "FailedScheduling",
            message: message.clone(),
            component: NAME,
            host: None,
        });
        let now = world.now();
        self.waiting.insert(key(pod), helps);
        world.wake_at(NAME, key(pod), after(now, FLUSH));
        let old = crate::fields::condition(pod, "PodScheduled");
        let since = old
            .filter(|c| text(c, "/status") == "False")
            .map_or_else(|| seconds(now), |c| text(c, "/lastTransitionTime").to_owned());
        let mut changed = (**pod).clone();
        let mut conditions: Vec<Value> =
            items(pod, "/status/conditions").iter().filter(|c| text(c, "/type") != "PodScheduled").cloned().collect();
        conditions.push(json!({
            "type": "PodScheduled", "observedGeneration": number(pod, "/metadata/generation").unwrap_or(1), "status": "False",
            "lastProbeTime": null, "lastTransitionTime": since, "reason": "Unschedulable", "message": message,
        }));
        put(&mut changed, &["status", "conditions"], Value::Array(conditions));
        if let Some((node, _)) = self.nominated.get(uid(pod)) {
            put(&mut changed, &["status", "nominatedNodeName"], json!(node));
        }
        if changed != **pod {
            // Gone or changed meanwhile: that wakes the scheduler again.
            let _ = world.update_status(&PODS, changed, "kube-scheduler");
        }
    }
}

/// `1 Insufficient cpu, 2 node(s) were unschedulable`.
fn counted(reasons: &BTreeMap<String, usize>) -> String {
    let mut parts: Vec<String> = reasons.iter().map(|(text, count)| format!("{count} {text}")).collect();
    parts.sort();
    parts.join(", ")
}
