//! The DaemonSet controller: one pod on each node that takes it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulation::resources::{DAEMON_SETS, NODES, PODS};
use simulation::{Change, Controller, Deletion, Occurrence, World};

use crate::fields::{
    after, at, controller_of, is_deleting, is_ready, is_terminal, items, key, millis, name, namespace, number, put,
    split_key, text, truth, uid,
};
use crate::hash;
use crate::index::Owned;
use crate::owned_pod::{MANAGER, PENDING, from_template, store_status};
use crate::scheduler::{affinity_matches, tolerates};

const NAME: &str = "daemonset-controller";
const REVISION: &str = "controller-revision-hash";

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct DaemonSets {
    pods: Owned,
}

impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, set) | Change::Modified(r, _, set) if *r == DAEMON_SETS => {
                enqueue(world, &key(set), millis(6))
            }
            Change::Added(r, pod) | Change::Modified(r, _, pod) if *r == PODS => {
                self.pods.put(pod);
                owner_changed(world, pod);
            }
            Change::Deleted(r, pod) if *r == PODS => {
                self.pods.take(pod);
                owner_changed(world, pod);
            }
            Change::Modified(r, old, node)
                if *r == NODES && ["/spec", "/metadata/labels"].iter().any(|p| at(old, p) != at(node, p)) =>
            {
                all(world);
            }
            Change::Added(r, _) | Change::Deleted(r, _) if *r == NODES => all(world),
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, set) = split_key(key);
        if let Some(set) = world.get(&DAEMON_SETS, space, set).filter(|set| !is_deleting(set)) {
            self.sync(world, &set);
        }
    }
}

fn all(world: &mut dyn World) {
    for set in world.list(&DAEMON_SETS, None) {
        enqueue(world, &key(&set), millis(10));
    }
}

fn owner_changed(world: &mut dyn World, pod: &Value) {
    if let Some(("DaemonSet", owner, _)) = controller_of(pod) {
        enqueue(world, &format!("{}/{owner}", namespace(pod)), millis(6));
    }
}

fn enqueue(world: &mut dyn World, key: &str, pause: Duration) {
    let at = after(world.now(), pause);
    world.wake_at(NAME, key.to_owned(), at);
}

fn say(world: &mut dyn World, set: &Value, warning: bool, reason: &str, message: String) {
    world.event(Occurrence { regarding: set, field_path: None, warning, reason, message, component: NAME, host: None });
}

/// The node that a daemon pod is for.
fn node_of(pod: &Value) -> &str {
    match text(pod, "/spec/nodeName") {
        "" => text(
            pod,
            "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0",
        ),
        node => node,
    }
}

/// What the controller adds to every pod's tolerations.
fn tolerations(template: &Value) -> Vec<Value> {
    let mut list = items(template, "/spec/tolerations").to_vec();
    for (key, effect) in [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ] {
        list.push(json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": effect}));
    }
    if truth(template, "/spec/hostNetwork") {
        list.push(
            json!({"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"}),
        );
    }
    list
}

impl DaemonSets {
    fn sync(&mut self, world: &mut dyn World, set: &Arc<Value>) {
        let template = at(set, "/spec/template").cloned().unwrap_or_else(|| json!({}));
        let revision = hash::template_hash(&template, 0);
        crate::statefulset::keep_revision(world, &DAEMON_SETS, set, &revision);
        let mut shaped = template;
        let tolerated = tolerations(&shaped);
        put(&mut shaped, &["spec", "tolerations"], Value::Array(tolerated));
        let pods = self.pods.of(uid(set));
        let nodes = world.list(&NODES, None);
        let mut counts = Counts::default();
        for node in &nodes {
            let fits = affinity_matches(&shaped, node);
            let taints = |effect: &[&str]| {
                items(node, "/spec/taints")
                    .iter()
                    .filter(|t| effect.contains(&text(t, "/effect")))
                    .all(|taint| items(&shaped, "/spec/tolerations").iter().any(|t| tolerates(t, taint)))
            };
            let should_run = fits && taints(&["NoSchedule", "NoExecute"]);
            let may_stay = fits && taints(&["NoExecute"]);
            let here: Vec<&Arc<Value>> = pods.iter().filter(|pod| node_of(pod) == name(node)).collect();
            let live: Vec<&Arc<Value>> = here.iter().filter(|pod| !is_deleting(pod)).copied().collect();
            counts.add(should_run, &here, &revision);
            for pod in &live {
                if !may_stay && !should_run {
                    self.delete(world, set, pod);
                } else if is_terminal(pod) {
                    let message = format!(
                        "Found failed daemon pod {}/{} on node {}, will try to kill it",
                        namespace(pod),
                        name(pod),
                        name(node)
                    );
                    say(world, set, true, "FailedDaemonPod", message);
                    self.delete(world, set, pod);
                }
            }
            if should_run && here.is_empty() {
                self.create(world, set, &shaped, name(node), &revision);
            }
        }
        self.roll(world, set, &pods, &revision, counts.desired);
        let status = counts.status(set);
        store_status(world, &DAEMON_SETS, set, status);
    }

    fn delete(&self, world: &mut dyn World, set: &Value, pod: &Value) {
        if world.delete(&PODS, namespace(pod), name(pod), Deletion::default()).is_ok() {
            say(world, set, false, "SuccessfulDelete", format!("Deleted pod: {}", name(pod)));
        }
    }

    fn create(&mut self, world: &mut dyn World, set: &Value, template: &Value, node: &str, revision: &str) {
        let mut pod = from_template(&DAEMON_SETS, set, template);
        put(&mut pod, &["metadata", "labels", REVISION], json!(revision));
        let generation = number(set, "/metadata/generation").unwrap_or(1);
        put(&mut pod, &["metadata", "labels", "pod-template-generation"], json!(generation.to_string()));
        let terms = json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]);
        put(
            &mut pod,
            &["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"],
            json!({"nodeSelectorTerms": terms}),
        );
        match world.create(&PODS, pod, MANAGER) {
            Ok(pod) => {
                self.pods.put(&pod);
                say(world, set, false, "SuccessfulCreate", format!("Created pod: {}", name(&pod)));
            }
            Err(refusal) if refusal.is_pending() => enqueue(world, &key(set), PENDING),
            Err(refusal) => {
                say(world, set, true, "FailedCreate", format!("Error creating: {}", refusal.message));
                enqueue(world, &key(set), Duration::from_secs(5));
            }
        }
    }

    /// Replaces pods of old templates, as many at a time as may be unavailable.
    fn roll(&self, world: &mut dyn World, set: &Value, pods: &[Arc<Value>], revision: &str, desired: i64) {
        if text(set, "/spec/updateStrategy/type") == "OnDelete" {
            return;
        }
        let most = match at(set, "/spec/updateStrategy/rollingUpdate/maxUnavailable") {
            Some(Value::Number(n)) => n.as_i64().unwrap_or(1),
            Some(Value::String(text)) => {
                let percent = text.trim_end_matches('%').parse::<i64>().unwrap_or(0);
                (percent * desired + 99) / 100
            }
            _ => 1,
        };
        let mut room = most.max(1) - pods.iter().filter(|pod| is_deleting(pod) || !is_ready(pod)).count() as i64;
        let old =
            |pod: &&Arc<Value>| text(pod, &format!("/metadata/labels/{REVISION}")) != revision && !is_deleting(pod);
        // What does not run anyway costs nothing.
        for pod in pods.iter().filter(old) {
            if !is_ready(pod) {
                self.delete(world, set, pod);
            } else if room > 0 {
                room -= 1;
                self.delete(world, set, pod);
            }
        }
    }
}

#[derive(Default)]
struct Counts {
    desired: i64,
    scheduled: i64,
    misscheduled: i64,
    updated: i64,
    ready: i64,
}

impl Counts {
    fn add(&mut self, should_run: bool, here: &[&Arc<Value>], revision: &str) {
        if !should_run {
            self.misscheduled += i64::from(!here.is_empty());
            return;
        }
        self.desired += 1;
        let live = here.iter().find(|pod| !is_deleting(pod));
        if let Some(pod) = live.or(here.first()) {
            self.scheduled += 1;
            self.ready += i64::from(is_ready(pod));
            self.updated += i64::from(text(pod, &format!("/metadata/labels/{REVISION}")) == revision);
        }
    }

    fn status(&self, set: &Value) -> Value {
        let mut status = json!({
            "currentNumberScheduled": self.scheduled, "numberMisscheduled": self.misscheduled, "desiredNumberScheduled": self.desired,
            "numberReady": self.ready, "observedGeneration": number(set, "/metadata/generation").unwrap_or(1),
        });
        for (field, value) in [
            ("updatedNumberScheduled", self.updated),
            ("numberAvailable", self.ready),
            ("numberUnavailable", self.desired - self.ready),
        ] {
            if value > 0 {
                put(&mut status, &[field], json!(value));
            }
        }
        status
    }
}
