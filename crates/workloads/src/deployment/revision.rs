//! Which replica set is the new one, its making, and the revision annotations.

use std::sync::Arc;

use serde_json::{Value, json};
use simulation::World;
use simulation::resources::{DEPLOYMENTS, REPLICA_SETS};

use super::{MANAGER, Sync, size, status, template};
use crate::fields::{at, entries, name, namespace, number, owner_reference, put, text};
use crate::hash;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MOST: &str = "deployment.kubernetes.io/max-replicas";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotations of the deployment that its replica sets do not get.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MOST,
    "deprecated.deployment.rollback.to",
];

/// The revision of a replica set; 0 where it has none.
pub(super) fn of(set: &Value) -> i64 {
    annotation(set, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    at(object, "/metadata/annotations")?.get(name)?.as_str()
}

impl Sync<'_> {
    /// The oldest replica set with the deployment's template.
    pub(super) fn find_new(&self, sets: &[Arc<Value>]) -> Option<Arc<Value>> {
        sets.iter().find(|set| template::same(&self.deployment, set)).cloned()
    }

    /// The new replica set with its revision up to date, made where it is missing and `create` asks for it.
    pub(super) fn ensure_new(
        &mut self,
        world: &mut dyn World,
        sets: &[Arc<Value>],
        create: bool,
    ) -> Option<Arc<Value>> {
        let found = self.find_new(sets);
        let newest_old = sets
            .iter()
            .filter(|set| found.as_ref().is_none_or(|new| name(new) != name(set)))
            .map(|set| of(set))
            .max()
            .unwrap_or(0);
        let revision = newest_old + 1;
        let Some(set) = found else {
            return if create { self.make_new(world, sets, revision) } else { None };
        };
        let revision = revision.max(of(&set));
        let mut changed = (*set).clone();
        self.annotate(&mut changed, revision);
        let stored = if changed == *set { Some(set) } else { world.update(&REPLICA_SETS, changed, MANAGER).ok() };
        if let Some(set) = &stored {
            self.controller.sets.put(set);
            self.take_revision(world, revision);
            let deadline = at(&self.deployment, "/spec/progressDeadlineSeconds").is_some_and(|d| !d.is_null());
            if deadline && crate::fields::condition(&self.deployment, "Progressing").is_none() {
                self.progress(world, "FoundNewReplicaSet", format!("Found new replica set \"{}\"", name(set)));
            }
        }
        stored
    }

    fn make_new(&mut self, world: &mut dyn World, sets: &[Arc<Value>], revision: i64) -> Option<Arc<Value>> {
        let template = at(&self.deployment, "/spec/template")?.clone();
        let collisions = number(&self.deployment, "/status/collisionCount").unwrap_or(0);
        let hash = hash::template_hash(&template, collisions);
        let replicas = self.size_of_new(sets, 0);
        let mut labelled = template;
        put(&mut labelled, &["metadata", "labels", "pod-template-hash"], json!(hash));
        let mut selector = at(&self.deployment, "/spec/selector").cloned().unwrap_or_else(|| json!({}));
        put(&mut selector, &["matchLabels", "pod-template-hash"], json!(hash));
        let mut spec = json!({"replicas": replicas, "selector": selector, "template": labelled});
        if let Some(pause) = number(&self.deployment, "/spec/minReadySeconds").filter(|n| *n > 0) {
            put(&mut spec, &["minReadySeconds"], json!(pause));
        }
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", name(&self.deployment)), "namespace": namespace(&self.deployment),
                "labels": at(&spec, "/template/metadata/labels").cloned().unwrap_or_else(|| json!({})),
                "ownerReferences": [owner_reference(&DEPLOYMENTS, &self.deployment)],
            },
            "spec": spec,
        });
        self.annotate(&mut set, revision);
        match world.create(&REPLICA_SETS, set, MANAGER) {
            Ok(set) => {
                self.controller.sets.put(&set);
                if replicas > 0 {
                    self.say(
                        world,
                        false,
                        "ScalingReplicaSet",
                        format!("Scaled up replica set {} from 0 to {replicas}", name(&set)),
                    );
                }
                self.take_revision(world, revision);
                self.progress(world, "NewReplicaSetCreated", format!("Created new replica set \"{}\"", name(&set)));
                Some(set)
            }
            Err(refusal) if refusal.reason == "AlreadyExists" => {
                // Another object has this name: a different hash for the next try.
                let mut status = self.deployment.get("status").cloned().unwrap_or_else(|| json!({}));
                put(&mut status, &["collisionCount"], json!(collisions + 1));
                self.store_status(world, status);
                None
            }
            Err(refusal) => {
                let message = format!("Failed to create new replica set: {}", refusal.message);
                self.say(world, true, "ReplicaSetCreateError", message.clone());
                let condition = status::new_condition(
                    world.now(),
                    "Progressing",
                    "False",
                    "ReplicaSetCreateError",
                    &refusal.message,
                );
                let mut status = self.deployment.get("status").cloned().unwrap_or_else(|| json!({}));
                status::set_condition(&mut status, condition);
                self.store_status(world, status);
                None
            }
        }
    }

    fn progress(&mut self, world: &mut dyn World, reason: &str, message: String) {
        if at(&self.deployment, "/spec/progressDeadlineSeconds").is_none_or(Value::is_null) {
            return;
        }
        let condition = status::new_condition(world.now(), "Progressing", "True", reason, &message);
        let mut status = self.deployment.get("status").cloned().unwrap_or_else(|| json!({}));
        status::set_condition(&mut status, condition);
        self.store_status(world, status);
    }

    /// Notes the current revision on the deployment itself; by way of its status, which makes no new generation.
    fn take_revision(&mut self, world: &mut dyn World, revision: i64) {
        if annotation(&self.deployment, REVISION) == Some(revision.to_string().as_str()) {
            return;
        }
        let mut changed = (*self.deployment).clone();
        put(&mut changed, &["metadata", "annotations", REVISION], json!(revision.to_string()));
        if let Ok(stored) = world.update_status(&DEPLOYMENTS, changed, MANAGER) {
            self.deployment = stored;
        }
    }

    /// The deployment's own annotations, the revision and the sizes.
    fn annotate(&self, set: &mut Value, revision: i64) {
        let before = of(set);
        for (key, value) in entries(&self.deployment, "/metadata/annotations") {
            if !OWN.contains(&key.as_str()) {
                put(set, &["metadata", "annotations", key], value.clone());
            }
        }
        if before != revision {
            if before > 0 {
                let history =
                    annotation(set, HISTORY).map_or_else(|| before.to_string(), |old| format!("{old},{before}"));
                put(set, &["metadata", "annotations", HISTORY], json!(history));
            }
            put(set, &["metadata", "annotations", REVISION], json!(revision.to_string()));
        }
        self.annotate_sizes(set);
    }

    pub(super) fn annotate_sizes(&self, set: &mut Value) {
        let (surge, _) = self.bounds();
        put(set, &["metadata", "annotations", DESIRED], json!(self.replicas().to_string()));
        put(set, &["metadata", "annotations", MOST], json!((self.replicas() + surge).to_string()));
    }

    /// How large the new replica set may be now, given its size.
    pub(super) fn size_of_new(&self, sets: &[Arc<Value>], current: i64) -> i64 {
        let wanted = self.replicas();
        if text(&self.deployment, "/spec/strategy/type") == "Recreate" {
            return wanted;
        }
        let (surge, _) = self.bounds();
        let all: i64 = sets.iter().map(|set| size(set)).sum();
        let most = wanted + surge;
        if all >= most { current } else { current + (most - all).min(wanted - current) }
    }

    /// Removes the oldest of the old replica sets that are empty, beyond the history limit.
    pub(super) fn clean_up(&mut self, world: &mut dyn World, old: &[Arc<Value>]) {
        let Some(limit) = number(&self.deployment, "/spec/revisionHistoryLimit") else { return };
        let mut empty: Vec<&Arc<Value>> = old.iter().filter(|set| !crate::fields::is_deleting(set)).collect();
        let excess = empty.len() as i64 - limit;
        empty.sort_by_key(|set| of(set));
        for set in empty.into_iter().take(excess.max(0) as usize) {
            let idle = number(set, "/status/replicas").unwrap_or(0) == 0 && size(set) == 0;
            let seen = number(set, "/status/observedGeneration") >= number(set, "/metadata/generation");
            if idle && seen {
                // Gone already is as good.
                let _ = world.delete(&REPLICA_SETS, namespace(set), name(set), simulation::Deletion::default());
            }
        }
    }
}
