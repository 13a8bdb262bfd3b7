//! The scheduler: finds each pod a node, or says why there is none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulation::resources::{NODES, PERSISTENT_VOLUME_CLAIMS, PODS};
use simulation::{Change, Controller, Occurrence, World};

use crate::fields::{
    after, entries, is_deleting, is_terminal, items, key, millis, name, namespace, number, put, seconds, split_key,
    text, truth, uid,
};
use crate::{quantity, selector};

const NAME: &str = "default-scheduler";
/// Unschedulable pods are tried again at the latest after this.
const FLUSH: Duration = Duration::from_secs(300);
/// Pause before the next try of a pod when something changed that might help: doubles up to the second.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(10);

/// The scheduler.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    nodes: BTreeMap<String, Arc<Value>>,
    /// Pods that have a node and are not over, by uid.
    placed: HashMap<String, Arc<Value>>,
    /// Pods by node: uids.
    by_node: HashMap<String, BTreeSet<String>>,
    /// Keys of pods that found no node, and how often they were tried.
    waiting: BTreeMap<String, u32>,
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
                world.cancel_wake(NAME, &key(pod));
                if self.forget(uid(pod)) {
                    self.retry(world);
                }
            }
            Change::Added(r, node) | Change::Modified(r, _, node) if *r == NODES => {
                let same = |old: &Arc<Value>| {
                    ["/spec", "/metadata/labels", "/status/allocatable"]
                        .iter()
                        .all(|p| old.pointer(p) == node.pointer(p))
                };
                let unchanged = self.nodes.get(name(node)).is_some_and(same);
                self.nodes.insert(name(node).to_owned(), Arc::clone(node));
                if !unchanged {
                    self.retry(world);
                }
            }
            Change::Deleted(r, node) if *r == NODES => {
                self.nodes.remove(name(node));
            }
            Change::Added(r, _) | Change::Modified(r, _, _) if *r == PERSISTENT_VOLUME_CLAIMS => self.retry(world),
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
                old.get("spec") != pod.get("spec") || old.pointer("/metadata/labels") != pod.pointer("/metadata/labels")
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
                self.retry(world);
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
    fn retry(&mut self, world: &mut dyn World) {
        let now = world.now();
        for (key, tries) in &self.waiting {
            let pause =
                PAUSE.saturating_mul(1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX)).min(PAUSE_MOST);
            let soon = if *tries <= 1 { millis(20) } else { pause };
            world.wake_at(NAME, key.clone(), after(now, soon));
        }
    }

    fn schedule(&mut self, world: &mut dyn World, pod: &Arc<Value>) {
        if let Some(reason) = claims(world, pod) {
            return self.unschedulable(world, pod, reason);
        }
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut best: Option<(i128, String)> = None;
        let mut helpful = 0;
        for (node_name, node) in &self.nodes {
            let pods: Vec<&Arc<Value>> =
                self.by_node.get(node_name).into_iter().flatten().filter_map(|uid| self.placed.get(uid)).collect();
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
            for refusal in refused {
                *reasons.entry(refusal.text).or_default() += 1;
            }
        }
        if let Some((_, node)) = best {
            if let Ok(bound) = world.bind(namespace(pod), name(pod), &node) {
                self.waiting.remove(&key(pod));
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
            return;
        }
        let message = self.message(pod, &reasons, helpful);
        self.unschedulable(world, pod, message);
    }

    fn message(&self, pod: &Value, reasons: &BTreeMap<String, usize>, helpful: usize) -> String {
        let total = self.nodes.len();
        if total == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let mut parts: Vec<String> = reasons.iter().map(|(text, count)| format!("{count} {text}")).collect();
        parts.sort();
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
            parts.join(", ")
        )
    }

    fn unschedulable(&mut self, world: &mut dyn World, pod: &Arc<Value>, message: String) {
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
        let tries = self.waiting.entry(key(pod)).or_default();
        *tries = tries.saturating_add(1);
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
        if changed != **pod {
            // Gone or changed meanwhile: that wakes the scheduler again.
            let _ = world.update_status(&PODS, changed, "kube-scheduler");
        }
    }
}

struct NodeRefusal {
    text: String,
    by_pods: bool,
}

/// Why this node cannot take the pod, in the order of the scheduler's plugins; the first plugin that refuses decides.
fn refusals(pod: &Value, node: &Value, pods: &[&Arc<Value>], scheduler: &Scheduler) -> Vec<NodeRefusal> {
    let one = |text: &str, by_pods| vec![NodeRefusal { text: text.to_owned(), by_pods }];
    if truth(node, "/spec/unschedulable") && !tolerates_key(pod, "node.kubernetes.io/unschedulable") {
        return one("node(s) were unschedulable", false);
    }
    let untolerated = items(node, "/spec/taints").iter().any(|taint| {
        matches!(text(taint, "/effect"), "NoSchedule" | "NoExecute")
            && !items(pod, "/spec/tolerations").iter().any(|t| tolerates(t, taint))
    });
    if untolerated {
        return one("node(s) had untolerated taint(s)", false);
    }
    if !affinity_matches(pod, node) {
        return one("node(s) didn't match Pod's node affinity/selector", false);
    }
    if ports_clash(pod, pods) {
        return one("node(s) didn't have free ports for the requested pod ports", true);
    }
    let lacking = resources(pod, node, pods);
    if !lacking.is_empty() {
        return lacking;
    }
    if spread_refuses(pod, node, scheduler) {
        return one("node(s) didn't match pod topology spread constraints", true);
    }
    inter_pod(pod, node, scheduler).map(|text| one(text, true)).unwrap_or_default()
}

fn tolerates_key(pod: &Value, key: &str) -> bool {
    let taint = json!({"key": key, "effect": "NoSchedule"});
    items(pod, "/spec/tolerations").iter().any(|t| tolerates(t, &taint))
}

/// Whether a toleration covers a taint.
pub(crate) fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let effect = text(toleration, "/effect");
    let key = text(toleration, "/key");
    (effect.is_empty() || effect == text(taint, "/effect"))
        && (key.is_empty() || key == text(taint, "/key"))
        && (text(toleration, "/operator") == "Exists" || text(toleration, "/value") == text(taint, "/value"))
}

/// nodeSelector and required node affinity.
pub(crate) fn affinity_matches(pod: &Value, node: &Value) -> bool {
    let labels = node.pointer("/metadata/labels");
    if let Some(wanted) = pod.pointer("/spec/nodeSelector").filter(|s| s.is_object())
        && !selector::map_matches(wanted, labels)
    {
        return false;
    }
    let terms =
        items(pod, "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
    terms.is_empty()
        || terms.iter().any(|term| {
            let label = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
            let (expressions, fields) = (items(term, "/matchExpressions"), items(term, "/matchFields"));
            !(expressions.is_empty() && fields.is_empty())
                && expressions.iter().all(|e| selector::expression(e, label(text(e, "/key"))))
                && fields.iter().all(|f| selector::expression(f, Some(name(node))))
        })
}

fn host_ports(pod: &Value) -> impl Iterator<Item = (i64, &str, &str)> {
    items(pod, "/spec/containers").iter().flat_map(|c| items(c, "/ports")).filter_map(|port| {
        let number = number(port, "/hostPort").filter(|n| *n > 0)?;
        let protocol = text(port, "/protocol");
        Some((number, if protocol.is_empty() { "TCP" } else { protocol }, text(port, "/hostIP")))
    })
}

fn ports_clash(pod: &Value, pods: &[&Arc<Value>]) -> bool {
    let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
    host_ports(pod).any(|(port, protocol, ip)| {
        pods.iter().any(|other| {
            host_ports(other).any(|(p, proto, other_ip)| {
                p == port && proto == protocol && (any(ip) || any(other_ip) || ip == other_ip)
            })
        })
    })
}

/// What a pod asks for of a resource: the sum of its containers, at least the largest init container.
pub(crate) fn request(pod: &Value, resource: &str) -> i128 {
    let of = |container: &Value| {
        let field = container
            .pointer("/resources/requests")
            .or_else(|| container.pointer("/resources/limits"))
            .and_then(|r| r.get(resource));
        field.and_then(quantity::milli).unwrap_or(0)
    };
    let mut sum: i128 = items(pod, "/spec/containers").iter().map(of).sum();
    let mut most = 0;
    for init in items(pod, "/spec/initContainers") {
        if text(init, "/restartPolicy") == "Always" {
            sum += of(init);
        } else {
            most = most.max(of(init));
        }
    }
    sum.max(most) + pod.pointer("/spec/overhead").and_then(|o| o.get(resource)).and_then(quantity::milli).unwrap_or(0)
}

fn resources(pod: &Value, node: &Value, pods: &[&Arc<Value>]) -> Vec<NodeRefusal> {
    let mut lacking = Vec::new();
    let allocatable = |resource: &str| {
        node.pointer("/status/allocatable").and_then(|a| a.get(resource)).and_then(quantity::milli).unwrap_or(0)
    };
    if (pods.len() as i128 + 1) * 1000 > allocatable("pods") {
        lacking.push(NodeRefusal { text: "Too many pods".to_owned(), by_pods: true });
    }
    let mut wanted: BTreeSet<&str> = BTreeSet::from(["cpu", "memory", "ephemeral-storage"]);
    for container in items(pod, "/spec/containers") {
        wanted.extend(entries(container, "/resources/requests").map(|(k, _)| k.as_str()));
    }
    for resource in wanted {
        let asked = request(pod, resource);
        let total = allocatable(resource);
        if asked == 0 {
            continue;
        }
        let used: i128 = pods.iter().map(|p| request(p, resource)).sum();
        if asked + used > total {
            lacking.push(NodeRefusal { text: format!("Insufficient {resource}"), by_pods: asked <= total });
        }
    }
    lacking
}

/// More is better: what is left of the CPU and the number of pods.
fn score(node: &Value, pods: &[&Arc<Value>]) -> i128 {
    let total = node.pointer("/status/allocatable/cpu").and_then(quantity::milli).unwrap_or(0);
    total - pods.iter().map(|p| request(p, "cpu")).sum::<i128>() - pods.len() as i128
}

/// Required affinity and anti-affinity to other pods, and theirs to this one.
fn inter_pod(pod: &Value, node: &Value, scheduler: &Scheduler) -> Option<&'static str> {
    const ANTI: &str = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    const WITH: &str = "/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let domain = |node: &Value, term: &Value| {
        node.pointer("/metadata/labels").and_then(|l| l.get(text(term, "/topologyKey"))).cloned()
    };
    let selected = |term: &Value, owner: &Value, other: &Value| {
        let spaces = items(term, "/namespaces");
        let space = if spaces.is_empty() {
            namespace(owner) == namespace(other)
        } else {
            spaces.iter().any(|s| s == namespace(other))
        };
        space && term.pointer("/labelSelector").is_some_and(|s| selector::matches(s, other.pointer("/metadata/labels")))
    };
    let near = |term: &Value, other: &Value| {
        scheduler
            .nodes
            .get(text(other, "/spec/nodeName"))
            .is_some_and(|n| domain(n, term).is_some() && domain(n, term) == domain(node, term))
    };
    let clash = |term: &Value| scheduler.placed.values().any(|other| selected(term, pod, other) && near(term, other));
    if items(pod, ANTI).iter().any(clash) {
        return Some("node(s) didn't match pod anti-affinity rules");
    }
    for term in items(pod, WITH) {
        let any = scheduler.placed.values().any(|other| selected(term, pod, other));
        let first = !any && selected(term, pod, pod) && domain(node, term).is_some();
        if !first && !clash(term) {
            return Some("node(s) didn't match pod affinity rules");
        }
    }
    let refused = scheduler
        .placed
        .values()
        .any(|other| items(other, ANTI).iter().any(|term| selected(term, other, pod) && near(term, other)));
    refused.then_some("node(s) didn't satisfy existing pods anti-affinity rules")
}

fn spread_refuses(pod: &Value, node: &Value, scheduler: &Scheduler) -> bool {
    items(pod, "/spec/topologySpreadConstraints")
        .iter()
        .filter(|c| text(c, "/whenUnsatisfiable") == "DoNotSchedule")
        .any(|constraint| {
            let topology = text(constraint, "/topologyKey");
            let domain = |node: &Value| {
                node.pointer("/metadata/labels")
                    .and_then(|l| l.get(topology))
                    .and_then(Value::as_str)
                    .map(str::to_owned)
            };
            let Some(own) = domain(node) else { return true };
            let mut counts: BTreeMap<String, i64> =
                scheduler.nodes.values().filter_map(|n| domain(n)).map(|d| (d, 0)).collect();
            for other in scheduler.placed.values().filter(|o| namespace(o) == namespace(pod) && !is_deleting(o)) {
                let selected = constraint
                    .pointer("/labelSelector")
                    .is_some_and(|s| selector::matches(s, other.pointer("/metadata/labels")));
                let place = scheduler.nodes.get(text(other, "/spec/nodeName")).and_then(|n| domain(n));
                if let Some(count) = place.filter(|_| selected).and_then(|d| counts.get_mut(&d)) {
                    *count += 1;
                }
            }
            let least = counts.values().min().copied().unwrap_or(0);
            let wanted = number(constraint, "/minDomains").unwrap_or(1);
            let least = if (counts.len() as i64) < wanted { 0 } else { least };
            counts.get(&own).copied().unwrap_or(0) + 1 - least > number(constraint, "/maxSkew").unwrap_or(1)
        })
}

/// Claims of a pod that keep it from being scheduled.
fn claims(world: &dyn World, pod: &Value) -> Option<String> {
    let total = world.list(&NODES, None).len();
    let tail =
        "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    let tail = tail.replace("0/1", &format!("0/{total}")).replace(": 1 P", &format!(": {total} P"));
    for volume in items(pod, "/spec/volumes") {
        let claim = text(volume, "/persistentVolumeClaim/claimName");
        if claim.is_empty() {
            continue;
        }
        let Some(found) = world.get(&PERSISTENT_VOLUME_CLAIMS, namespace(pod), claim) else {
            return Some(format!(
                "0/{total} nodes are available: persistentvolumeclaim \"{claim}\" not found. not found"
            ));
        };
        if text(&found, "/status/phase") != "Bound" && text(&found, "/spec/volumeName").is_empty() {
            return Some(format!(
                "0/{total} nodes are available: pod has unbound immediate PersistentVolumeClaims. {tail}"
            ));
        }
    }
    None
}
