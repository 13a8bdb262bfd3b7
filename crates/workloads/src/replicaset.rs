//! The ReplicaSet controller: as many pods as asked for, and the status that says so.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use simulation::resources::{PODS, REPLICA_SETS};
use simulation::{Change, Controller, Deletion, Occurrence, World};

use crate::fields::{
    after, at, between, condition, controller_of, is_active, is_deleting, is_ready, is_terminal, items, key, millis,
    name, namespace, number, owner_reference, put, seconds, split_key, text, time, uid,
};
use crate::index::Owned;
use crate::owned_pod::PENDING;
use crate::selector;

const NAME: &str = "replicaset-controller";
const MANAGER: &str = "kube-controller-manager";
/// First pause after a failed creation; doubles up to the second.
const RETRY: Duration = Duration::from_millis(5);
const RETRY_MOST: Duration = Duration::from_secs(1000);

/// What came of creating and deleting.
enum Managed {
    Done,
    /// The message of the first failure.
    Failed(String),
    /// An admission webhook has not answered yet.
    Pending,
}

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct ReplicaSets {
    pods: Owned,
    failures: HashMap<String, u32>,
}

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, object) | Change::Modified(r, _, object) if *r == REPLICA_SETS => {
                enqueue(world, &key(object), millis(3))
            }
            Change::Deleted(r, object) if *r == REPLICA_SETS => {
                self.failures.remove(&key(object));
            }
            Change::Added(r, pod) if *r == PODS => self.pod(world, pod, false),
            Change::Modified(r, old, pod) if *r == PODS => {
                if controller_of(old) != controller_of(pod) {
                    self.pod(world, old, true);
                }
                self.pod(world, pod, false);
            }
            Change::Deleted(r, pod) if *r == PODS => self.pod(world, pod, true),
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, set) = split_key(key);
        if let Some(set) = world.get(&REPLICA_SETS, space, set) {
            self.sync(world, &set);
        }
    }
}

fn enqueue(world: &mut dyn World, key: &str, pause: Duration) {
    let at = after(world.now(), pause);
    world.wake_at(NAME, key.to_owned(), at);
}

impl ReplicaSets {
    fn pod(&mut self, world: &mut dyn World, pod: &Arc<Value>, gone: bool) {
        if gone {
            self.pods.take(pod);
        } else {
            self.pods.put(pod);
        }
        match controller_of(pod) {
            Some(("ReplicaSet", set, _)) => enqueue(world, &format!("{}/{set}", namespace(pod)), millis(8)),
            Some(_) => {}
            None if gone => {}
            None => {
                // An orphan may belong to a set that selects it.
                let labels = at(pod, "/metadata/labels");
                for set in world.list(&REPLICA_SETS, Some(namespace(pod))) {
                    if at(&set, "/spec/selector").is_some_and(|s| selector::matches(s, labels)) {
                        enqueue(world, &key(&set), millis(8));
                    }
                }
            }
        }
    }

    fn sync(&mut self, world: &mut dyn World, set: &Arc<Value>) {
        if !is_deleting(set) {
            self.adopt(world, set);
        }
        let pods = self.pods.of(uid(set));
        let active: Vec<Arc<Value>> = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
        let failure = match if is_deleting(set) { Managed::Done } else { self.manage(world, set, &active) } {
            Managed::Done => None,
            Managed::Failed(message) => Some(message),
            Managed::Pending => return enqueue(world, &key(set), PENDING),
        };
        self.status(world, set, &pods, &active, failure.as_ref());
        match failure {
            Some(_) => {
                let tries = self.failures.entry(key(set)).or_default();
                let pause = RETRY.saturating_mul(1_u32.checked_shl(*tries).unwrap_or(u32::MAX)).min(RETRY_MOST);
                *tries = tries.saturating_add(1);
                enqueue(world, &key(set), pause);
            }
            None => {
                self.failures.remove(&key(set));
            }
        }
    }

    /// Takes pods that match and have no controller; lets those go that match no more.
    fn adopt(&mut self, world: &mut dyn World, set: &Arc<Value>) {
        let Some(wanted) = at(set, "/spec/selector") else { return };
        for pod in self.pods.of(uid(set)) {
            if is_active(&pod) && !selector::matches(wanted, at(&pod, "/metadata/labels")) {
                let mut changed = (*pod).clone();
                let owners: Vec<Value> = items(&pod, "/metadata/ownerReferences")
                    .iter()
                    .filter(|o| text(o, "/uid") != uid(set))
                    .cloned()
                    .collect();
                put(&mut changed, &["metadata", "ownerReferences"], Value::Array(owners));
                if world.update(&PODS, changed, MANAGER).is_ok() {
                    self.pods.take(&pod);
                }
            }
        }
        if self.pods.of(uid(set)).len() as i64 >= number(set, "/spec/replicas").unwrap_or(1) {
            return;
        }
        for pod in world.list(&PODS, Some(namespace(set))) {
            let labels = at(&pod, "/metadata/labels");
            if controller_of(&pod).is_none() && is_active(&pod) && labels.is_some() && selector::matches(wanted, labels)
            {
                let mut changed = (*pod).clone();
                let mut owners = items(&pod, "/metadata/ownerReferences").to_vec();
                owners.push(owner_reference(&REPLICA_SETS, set));
                put(&mut changed, &["metadata", "ownerReferences"], Value::Array(owners));
                if let Ok(pod) = world.update(&PODS, changed, MANAGER) {
                    self.pods.put(&pod);
                }
            }
        }
    }

    /// Creates or deletes.
    fn manage(&mut self, world: &mut dyn World, set: &Arc<Value>, active: &[Arc<Value>]) -> Managed {
        let wanted = number(set, "/spec/replicas").unwrap_or(1).max(0) as usize;
        if active.len() < wanted {
            return self.create(world, set, (wanted - active.len()).min(500));
        }
        let mut ranked: Vec<&Arc<Value>> = active.iter().collect();
        let related =
            |pod: &Value| active.iter().filter(|p| text(p, "/spec/nodeName") == text(pod, "/spec/nodeName")).count();
        let now = world.now();
        if active.len() > wanted {
            let ranks: HashMap<&str, usize> = ranked.iter().map(|pod| (uid(pod), related(pod))).collect();
            ranked.sort_by(|a, b| deletion_order(a, b, &ranks, now));
        }
        for pod in ranked.into_iter().take(active.len() - wanted) {
            let how = Deletion { uid: Some(uid(pod).to_owned()), ..Deletion::default() };
            if world.delete(&PODS, namespace(pod), name(pod), how).is_ok() {
                say(world, set, false, "SuccessfulDelete", format!("Deleted pod: {}", name(pod)));
            }
        }
        Managed::Done
    }

    fn create(&mut self, world: &mut dyn World, set: &Arc<Value>, count: usize) -> Managed {
        let mut metadata = at(set, "/spec/template/metadata").cloned().unwrap_or_else(|| json!({}));
        put(&mut metadata, &["generateName"], json!(format!("{}-", name(set))));
        put(&mut metadata, &["namespace"], json!(namespace(set)));
        put(&mut metadata, &["ownerReferences"], json!([owner_reference(&REPLICA_SETS, set)]));
        let spec = at(set, "/spec/template/spec").cloned().unwrap_or_else(|| json!({}));
        for _ in 0..count {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
            match world.create(&PODS, pod, MANAGER) {
                Ok(pod) => {
                    self.pods.put(&pod);
                    say(world, set, false, "SuccessfulCreate", format!("Created pod: {}", name(&pod)));
                }
                // In a namespace that ends every creation fails: nothing to say, nothing to try again.
                Err(refusal) if refusal.message.contains("being terminated") => return Managed::Done,
                Err(refusal) if refusal.is_pending() => return Managed::Pending,
                Err(refusal) => {
                    say(world, set, true, "FailedCreate", format!("Error creating: {}", refusal.message));
                    return Managed::Failed(refusal.message);
                }
            }
        }
        Managed::Done
    }

    fn status(
        &mut self,
        world: &mut dyn World,
        set: &Arc<Value>,
        pods: &[Arc<Value>],
        active: &[Arc<Value>],
        failure: Option<&String>,
    ) {
        // Read again: the deployment controller may have written meanwhile.
        let Some(current) = world.get(&REPLICA_SETS, namespace(set), name(set)) else { return };
        if uid(&current) != uid(set) {
            return;
        }
        let now = world.now();
        let wanted = at(&current, "/spec/template/metadata/labels").cloned().unwrap_or_else(|| json!({}));
        let labelled = active.iter().filter(|pod| selector::map_matches(&wanted, at(pod, "/metadata/labels"))).count();
        let ready = active.iter().filter(|pod| is_ready(pod)).count();
        let pause = Duration::from_secs(number(&current, "/spec/minReadySeconds").unwrap_or(0).max(0) as u64);
        let mut available = 0;
        for pod in active.iter().filter(|pod| is_ready(pod)) {
            let since = condition(pod, "Ready").map_or(now, |c| time(c, "/lastTransitionTime"));
            if pause.is_zero() || between(since, now) >= pause {
                available += 1;
            } else {
                enqueue(world, &key(set), pause - between(since, now));
            }
        }
        let terminating = pods.iter().filter(|pod| is_deleting(pod) && !is_terminal(pod)).count();
        let mut status = json!({
            "replicas": active.len(), "terminatingReplicas": terminating, "observedGeneration": number(set, "/metadata/generation").unwrap_or(1),
        });
        for (field, value) in
            [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", available)]
        {
            if value > 0 {
                put(&mut status, &[field], json!(value));
            }
        }
        if let Some(message) = failure {
            // Only the first failure is told: each names another pod, and every change of status is a reason to try again.
            let failed = condition(&current, "ReplicaFailure").cloned().unwrap_or_else(|| {
                json!({
                    "type": "ReplicaFailure", "status": "True", "lastTransitionTime": seconds(now),
                    "reason": "FailedCreate", "message": message,
                })
            });
            put(&mut status, &["conditions"], json!([failed]));
        }
        if current.get("status") != Some(&status) {
            let mut changed = (*current).clone();
            put(&mut changed, &["status"], status);
            // A refusal means that it is gone or changed; the change wakes this controller again.
            let _ = world.update_status(&REPLICA_SETS, changed, MANAGER);
        }
    }
}

fn say(world: &mut dyn World, set: &Value, warning: bool, reason: &str, message: String) {
    world.event(Occurrence { regarding: set, field_path: None, warning, reason, message, component: NAME, host: None });
}

/// Which pod goes first when there are too many (`ActivePodsWithRanks`).
fn deletion_order(a: &Value, b: &Value, ranks: &HashMap<&str, usize>, now: Timestamp) -> Ordering {
    let assigned = |pod: &Value| !text(pod, "/spec/nodeName").is_empty();
    let phase = |pod: &Value| match text(pod, "/status/phase") {
        "Pending" | "" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = |pod: &Value| {
        text(pod, "/metadata/annotations/controller.kubernetes.io~1pod-deletion-cost").parse::<i64>().unwrap_or(0)
    };
    let rank = |pod: &Value| ranks.get(uid(pod)).copied().unwrap_or(0);
    let restarts = |pod: &Value| {
        items(pod, "/status/containerStatuses").iter().filter_map(|s| number(s, "/restartCount")).max().unwrap_or(0)
    };
    // Ages are compared by their logarithm, so that a second more or less does not decide.
    let bucket = |at: Timestamp| between(at, now).as_secs().checked_ilog2().unwrap_or(0);
    let ready_since = |pod: &Value| condition(pod, "Ready").map_or(now, |c| time(c, "/lastTransitionTime"));
    assigned(a)
        .cmp(&assigned(b))
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| rank(b).cmp(&rank(a)))
        .then_with(|| if is_ready(a) { bucket(ready_since(a)).cmp(&bucket(ready_since(b))) } else { Ordering::Equal })
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| {
            bucket(time(a, "/metadata/creationTimestamp")).cmp(&bucket(time(b, "/metadata/creationTimestamp")))
        })
        .then_with(|| uid(a).cmp(uid(b)))
}
