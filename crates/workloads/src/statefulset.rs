//! The StatefulSet controller: pods with ordinals, one after the other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulation::resources::{PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS};
use simulation::{Change, Controller, Deletion, Occurrence, Resource, World};

use crate::fields::{
    after, at, controller_of, is_deleting, is_ready, is_terminal, items, key, millis, name, namespace, number,
    owner_reference, put, split_key, text, uid,
};
use crate::hash;
use crate::index::Owned;
use crate::owned_pod::{MANAGER, PENDING, from_template, store_status};

const NAME: &str = "statefulset-controller";
const REVISION: &str = "controller-revision-hash";

/// Kept templates of StatefulSets and DaemonSets.
pub(crate) const CONTROLLER_REVISIONS: Resource = Resource {
    group: "apps",
    version: "v1",
    plural: "controllerrevisions",
    kind: "ControllerRevision",
    namespaced: true,
};

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct StatefulSets {
    pods: Owned,
}

impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, set) | Change::Modified(r, _, set) if *r == STATEFUL_SETS => {
                enqueue(world, &key(set), millis(6))
            }
            Change::Deleted(r, set) if *r == STATEFUL_SETS => world.cancel_wake(NAME, &key(set)),
            Change::Added(r, pod) | Change::Modified(r, _, pod) if *r == PODS => {
                self.pods.put(pod);
                owner_changed(world, pod);
            }
            Change::Deleted(r, pod) if *r == PODS => {
                self.pods.take(pod);
                owner_changed(world, pod);
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, set) = split_key(key);
        if let Some(set) = world.get(&STATEFUL_SETS, space, set).filter(|set| !is_deleting(set)) {
            self.sync(world, &set);
        }
    }
}

fn owner_changed(world: &mut dyn World, pod: &Value) {
    if let Some(("StatefulSet", owner, _)) = controller_of(pod) {
        enqueue(world, &format!("{}/{owner}", namespace(pod)), millis(6));
    }
}

fn enqueue(world: &mut dyn World, key: &str, pause: Duration) {
    let at = after(world.now(), pause);
    world.wake_at(NAME, key.to_owned(), at);
}

/// The name of the revision of a template.
pub(crate) fn revision_name(owner: &Value) -> String {
    let template = at(owner, "/spec/template").cloned().unwrap_or(Value::Null);
    format!("{}-{}", name(owner), hash::template_hash(&template, 0))
}

/// Keeps the template of an owner as a ControllerRevision.
pub(crate) fn keep_revision(world: &mut dyn World, resource: &Resource, owner: &Value, label: &str) {
    let revision = revision_name(owner);
    if world.get(&CONTROLLER_REVISIONS, namespace(owner), &revision).is_some() {
        return;
    }
    let number = world
        .list(&CONTROLLER_REVISIONS, Some(namespace(owner)))
        .iter()
        .filter(|r| controller_of(r).is_some_and(|(_, _, owner_uid)| owner_uid == uid(owner)))
        .filter_map(|r| number(r, "/revision"))
        .max()
        .unwrap_or(0);
    let mut labels =
        at(owner, "/spec/template/metadata/labels").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    put(&mut labels, &[REVISION], json!(label));
    let mut template = at(owner, "/spec/template").cloned().unwrap_or(Value::Null);
    put(&mut template, &["$patch"], json!("replace"));
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": revision, "namespace": namespace(owner), "labels": labels, "ownerReferences": [owner_reference(resource, owner)],
        },
        "data": {"spec": {"template": template}}, "revision": number + 1,
    });
    // Only rolling back needs it.
    let _ = world.create(&CONTROLLER_REVISIONS, object, MANAGER);
}

fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    name(pod).strip_prefix(name(set))?.strip_prefix('-')?.parse().ok()
}

fn is_healthy(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Running" && is_ready(pod) && !is_deleting(pod)
}

fn revision_of(pod: &Value) -> &str {
    at(pod, "/metadata/labels").and_then(|l| l.get(REVISION)).and_then(Value::as_str).unwrap_or_default()
}

fn say(world: &mut dyn World, set: &Value, warning: bool, reason: &str, message: String) {
    world.event(Occurrence { regarding: set, field_path: None, warning, reason, message, component: NAME, host: None });
}

impl StatefulSets {
    fn sync(&mut self, world: &mut dyn World, set: &Arc<Value>) {
        let update = revision_name(set);
        keep_revision(world, &STATEFUL_SETS, set, &update);
        let current = match text(set, "/status/currentRevision") {
            "" => update.clone(),
            current => current.to_owned(),
        };
        let first = number(set, "/spec/ordinals/start").unwrap_or(0);
        let wanted = number(set, "/spec/replicas").unwrap_or(1).max(0);
        let mut pods: Vec<(i64, Arc<Value>)> =
            self.pods.of(uid(set)).into_iter().filter_map(|pod| Some((ordinal(set, &pod)?, pod))).collect();
        pods.sort_by_key(|(ordinal, _)| *ordinal);
        // The status of before; what is done now shows in the next pass.
        let (replicas, condemned): (Vec<_>, Vec<_>) =
            pods.into_iter().partition(|(n, _)| (first..first + wanted).contains(n));
        let settled = self.arrange(world, set, &replicas, &condemned, (&current, &update));
        if settled {
            self.roll(world, set, &replicas, &update);
        }
        self.status(world, set, &current, &update);
    }

    /// Creates what is missing and removes what is too much. True when nothing is left to do or to wait for.
    fn arrange(
        &mut self,
        world: &mut dyn World,
        set: &Arc<Value>,
        replicas: &[(i64, Arc<Value>)],
        condemned: &[(i64, Arc<Value>)],
        revisions: (&str, &str),
    ) -> bool {
        let in_order = text(set, "/spec/podManagementPolicy") != "Parallel";
        let first = number(set, "/spec/ordinals/start").unwrap_or(0);
        let wanted = number(set, "/spec/replicas").unwrap_or(1).max(0);
        for n in first..first + wanted {
            let pod = replicas.iter().find(|(ordinal, _)| *ordinal == n).map(|(_, pod)| pod);
            match pod {
                None => {
                    if !self.create(world, set, n, revisions) || in_order {
                        return false;
                    }
                }
                Some(pod) if is_terminal(pod) && !is_deleting(pod) => {
                    let reason = format!(
                        "StatefulSet {}/{} is recreating terminated Pod {}",
                        namespace(set),
                        name(set),
                        name(pod)
                    );
                    say(world, set, true, "RecreatingTerminatedPod", reason);
                    self.delete(world, set, pod);
                    return false;
                }
                Some(pod) if in_order && (is_deleting(pod) || !is_healthy(pod)) => return false,
                Some(_) => {}
            }
        }
        for (_, pod) in condemned.iter().rev() {
            if is_deleting(pod) {
                if in_order {
                    return false;
                }
                continue;
            }
            self.delete(world, set, pod);
            if in_order {
                return false;
            }
        }
        true
    }

    /// Replaces pods of old revisions, from the last to the partition, one at a time.
    fn roll(&mut self, world: &mut dyn World, set: &Arc<Value>, replicas: &[(i64, Arc<Value>)], update: &str) {
        if text(set, "/spec/updateStrategy/type") == "OnDelete" {
            return;
        }
        let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        for (n, pod) in replicas.iter().rev() {
            if *n < partition {
                return;
            }
            if revision_of(pod) != update && !is_deleting(pod) {
                self.delete(world, set, pod);
                return;
            }
            if !is_healthy(pod) {
                return;
            }
        }
    }

    fn delete(&mut self, world: &mut dyn World, set: &Value, pod: &Value) {
        if world.delete(&PODS, namespace(pod), name(pod), Deletion::default()).is_ok() {
            say(
                world,
                set,
                false,
                "SuccessfulDelete",
                format!("Delete Pod {} in StatefulSet {} successful", name(pod), name(set)),
            );
        }
    }

    fn create(&mut self, world: &mut dyn World, set: &Arc<Value>, n: i64, (current, update): (&str, &str)) -> bool {
        let first = number(set, "/spec/ordinals/start").unwrap_or(0);
        let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        let still_current = number(set, "/status/currentReplicas").unwrap_or(0);
        let old = current != update && (n < first + still_current || n < partition);
        let kept = world.get(&CONTROLLER_REVISIONS, namespace(set), current).filter(|_| old);
        let (revision, mut template) = match kept.as_ref().and_then(|r| at(r, "/data/spec/template")) {
            Some(template) => (current, template.clone()),
            None => (update, at(set, "/spec/template").cloned().unwrap_or_else(|| json!({}))),
        };
        crate::fields::remove(&mut template, &["$patch"]);
        let pod_name = format!("{}-{n}", name(set));
        if !self.claims(world, set, &pod_name, &mut template) {
            return false;
        }
        let mut pod = from_template(&STATEFUL_SETS, set, &template);
        put(&mut pod, &["metadata", "name"], json!(pod_name));
        for (label, value) in [
            ("apps.kubernetes.io/pod-index", n.to_string()),
            (REVISION, revision.to_owned()),
            ("statefulset.kubernetes.io/pod-name", pod_name.clone()),
        ] {
            put(&mut pod, &["metadata", "labels", label], json!(value));
        }
        put(&mut pod, &["spec", "hostname"], json!(pod_name));
        if !text(set, "/spec/serviceName").is_empty() {
            put(&mut pod, &["spec", "subdomain"], json!(text(set, "/spec/serviceName")));
        }
        match world.create(&PODS, pod, MANAGER) {
            Ok(pod) => {
                self.pods.put(&pod);
                say(
                    world,
                    set,
                    false,
                    "SuccessfulCreate",
                    format!("Create Pod {pod_name} in StatefulSet {} successful", name(set)),
                );
                true
            }
            Err(refusal) if refusal.is_pending() => {
                enqueue(world, &key(set), PENDING);
                false
            }
            Err(refusal) => {
                let message =
                    format!("create Pod {pod_name} in StatefulSet {} failed error: {}", name(set), refusal.message);
                say(world, set, true, "FailedCreate", message);
                enqueue(world, &key(set), Duration::from_secs(5));
                false
            }
        }
    }

    /// The claims of a pod, made where they are missing; the pod's volumes name them.
    fn claims(&self, world: &mut dyn World, set: &Value, pod_name: &str, template: &mut Value) -> bool {
        for claim in items(set, "/spec/volumeClaimTemplates") {
            let claim_name = format!("{}-{pod_name}", name(claim));
            if world.get(&PERSISTENT_VOLUME_CLAIMS, namespace(set), &claim_name).is_none() {
                let mut object = claim.clone();
                put(&mut object, &["apiVersion"], json!("v1"));
                put(&mut object, &["kind"], json!("PersistentVolumeClaim"));
                put(&mut object, &["metadata", "name"], json!(claim_name));
                put(&mut object, &["metadata", "namespace"], json!(namespace(set)));
                crate::fields::remove(&mut object, &["status"]);
                for (label, value) in crate::fields::entries(set, "/spec/selector/matchLabels") {
                    put(&mut object, &["metadata", "labels", label], value.clone());
                }
                if let Err(refusal) = world.create(&PERSISTENT_VOLUME_CLAIMS, object, MANAGER) {
                    let message = format!(
                        "create Claim {claim_name} for Pod {pod_name} in StatefulSet {} failed error: {}",
                        name(set),
                        refusal.message
                    );
                    say(world, set, true, "FailedCreate", message);
                    enqueue(world, &key(set), Duration::from_secs(5));
                    return false;
                }
                let message = format!("create Claim {claim_name} Pod {pod_name} in StatefulSet {} success", name(set));
                say(world, set, false, "SuccessfulCreate", message);
            }
            let mut volumes: Vec<Value> =
                items(template, "/spec/volumes").iter().filter(|v| text(v, "/name") != name(claim)).cloned().collect();
            volumes.push(json!({"name": name(claim), "persistentVolumeClaim": {"claimName": claim_name}}));
            put(template, &["spec", "volumes"], Value::Array(volumes));
        }
        true
    }

    fn status(&self, world: &mut dyn World, set: &Arc<Value>, current: &str, update: &str) {
        let pods: Vec<Arc<Value>> = self.pods.of(uid(set));
        let count = |wanted: &dyn Fn(&Value) -> bool| pods.iter().filter(|pod| wanted(pod)).count() as i64;
        let ready = count(&|pod| text(pod, "/status/phase") == "Running" && is_ready(pod));
        let made = count(&|pod| !text(pod, "/status/phase").is_empty());
        let mut of_current = count(&|pod| revision_of(pod) == current && !is_deleting(pod));
        let of_update = count(&|pod| revision_of(pod) == update && !is_deleting(pod));
        let wanted = number(set, "/spec/replicas").unwrap_or(1);
        let mut current = current;
        if current != update && of_update == wanted && ready == wanted && made == wanted {
            current = update;
            of_current = of_update;
        }
        let mut status = json!({
            "observedGeneration": number(set, "/metadata/generation").unwrap_or(1), "replicas": made, "availableReplicas": ready,
            "currentRevision": current, "updateRevision": update, "collisionCount": 0,
        });
        for (field, value) in
            [("readyReplicas", ready), ("currentReplicas", of_current), ("updatedReplicas", of_update)]
        {
            if value > 0 {
                put(&mut status, &[field], json!(value));
            }
        }
        store_status(world, &STATEFUL_SETS, set, status);
    }
}
