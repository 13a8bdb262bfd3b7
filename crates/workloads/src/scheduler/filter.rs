//! Whether a node can take a pod: the scheduler's filters, in its order, in its words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::Scheduler;
use crate::fields::{at, entries, is_deleting, items, name, namespace, number, text, truth};
use crate::{quantity, selector};

pub(super) struct NodeRefusal {
    pub(super) text: String,
    /// Other pods are in the way, so that it may help to take them away.
    pub(super) by_pods: bool,
}

/// Why this node cannot take the pod, in the order of the scheduler's plugins; the first plugin that refuses decides.
pub(super) fn refusals(pod: &Value, node: &Value, pods: &[Arc<Value>], scheduler: &Scheduler) -> Vec<NodeRefusal> {
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
    match spread(pod, node, scheduler) {
        Spread::Fits => {}
        Spread::Skewed => return one("node(s) didn't match pod topology spread constraints", true),
        Spread::NoLabel => {
            return one("node(s) didn't match pod topology spread constraints (missing required label)", false);
        }
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
    let labels = at(node, "/metadata/labels");
    if let Some(wanted) = at(pod, "/spec/nodeSelector").filter(|s| s.is_object())
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

fn ports_clash(pod: &Value, pods: &[Arc<Value>]) -> bool {
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
fn request(pod: &Value, resource: &str) -> i128 {
    let of = |container: &Value| {
        let field = container
            .pointer("/resources/requests")
            .or_else(|| at(container, "/resources/limits"))
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
    sum.max(most) + at(pod, "/spec/overhead").and_then(|o| o.get(resource)).and_then(quantity::milli).unwrap_or(0)
}

fn resources(pod: &Value, node: &Value, pods: &[Arc<Value>]) -> Vec<NodeRefusal> {
    let mut lacking = Vec::new();
    let allocatable = |resource: &str| {
        at(node, "/status/allocatable").and_then(|a| a.get(resource)).and_then(quantity::milli).unwrap_or(0)
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
pub(super) fn score(node: &Value, pods: &[Arc<Value>]) -> i128 {
    let total = at(node, "/status/allocatable/cpu").and_then(quantity::milli).unwrap_or(0);
    total - pods.iter().map(|p| request(p, "cpu")).sum::<i128>() - pods.len() as i128
}

/// Required affinity and anti-affinity to other pods, and theirs to this one.
fn inter_pod(pod: &Value, node: &Value, scheduler: &Scheduler) -> Option<&'static str> {
    const ANTI: &str = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    const WITH: &str = "/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let domain = |node: &Value, term: &Value| {
        at(node, "/metadata/labels").and_then(|l| l.get(text(term, "/topologyKey"))).cloned()
    };
    let selected = |term: &Value, owner: &Value, other: &Value| {
        let spaces = items(term, "/namespaces");
        let space = if spaces.is_empty() {
            namespace(owner) == namespace(other)
        } else {
            spaces.iter().any(|s| s == namespace(other))
        };
        space && at(term, "/labelSelector").is_some_and(|s| selector::matches(s, at(other, "/metadata/labels")))
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

/// How a node stands to the pod's topology spread constraints.
enum Spread {
    Fits,
    Skewed,
    NoLabel,
}

fn spread(pod: &Value, node: &Value, scheduler: &Scheduler) -> Spread {
    let constraints = items(pod, "/spec/topologySpreadConstraints");
    let mut hard = constraints.iter().filter(|c| text(c, "/whenUnsatisfiable") == "DoNotSchedule");
    let label = |node: &Value, key: &str| {
        at(node, "/metadata/labels").and_then(|l| l.get(key)).and_then(Value::as_str).map(str::to_owned)
    };
    if hard.clone().any(|constraint| label(node, text(constraint, "/topologyKey")).is_none()) {
        return Spread::NoLabel;
    }
    let skewed = hard.any(|constraint| {
        let domain = |node: &Value| label(node, text(constraint, "/topologyKey"));
        let Some(own) = domain(node) else { return true };
        let mut counts: BTreeMap<String, i64> =
            scheduler.nodes.values().filter_map(|n| domain(n)).map(|d| (d, 0)).collect();
        for other in scheduler.placed.values().filter(|o| namespace(o) == namespace(pod) && !is_deleting(o)) {
            let selected = constraint
                .pointer("/labelSelector")
                .is_some_and(|s| selector::matches(s, at(other, "/metadata/labels")));
            let place = scheduler.nodes.get(text(other, "/spec/nodeName")).and_then(|n| domain(n));
            if let Some(count) = place.filter(|_| selected).and_then(|d| counts.get_mut(&d)) {
                *count += 1;
            }
        }
        let least = counts.values().min().copied().unwrap_or(0);
        let wanted = number(constraint, "/minDomains").unwrap_or(1);
        let least = if (counts.len() as i64) < wanted { 0 } else { least };
        counts.get(&own).copied().unwrap_or(0) + 1 - least > number(constraint, "/maxSkew").unwrap_or(1)
    });
    if skewed { Spread::Skewed } else { Spread::Fits }
}
