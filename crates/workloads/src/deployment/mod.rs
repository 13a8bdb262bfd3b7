//! The Deployment controller: which replica sets there are, and how large each is.

mod revision;
mod rollout;
mod scale;
mod status;
mod template;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use simulation::resources::{DEPLOYMENTS, REPLICA_SETS};
use simulation::{Change, Controller, Occurrence, World};

use crate::fields::{
    after, at, controller_of, is_deleting, items, key, millis, name, namespace, number, owner_reference, put,
    split_key, text, truth, uid,
};
use crate::index::Owned;
use crate::selector;

const NAME: &str = "deployment-controller";
const MANAGER: &str = "kube-controller-manager";

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct Deployments {
    sets: Owned,
}

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, object) if *r == DEPLOYMENTS => enqueue(world, &key(object), millis(2)),
            Change::Modified(r, _, object) if *r == DEPLOYMENTS => enqueue(world, &key(object), millis(4)),
            Change::Deleted(r, object) if *r == DEPLOYMENTS => world.cancel_wake(NAME, &key(object)),
            Change::Added(r, set) | Change::Modified(r, _, set) if *r == REPLICA_SETS => {
                self.sets.put(set);
                owner_changed(world, set);
            }
            Change::Deleted(r, set) if *r == REPLICA_SETS => {
                self.sets.take(set);
                owner_changed(world, set);
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, deployment) = split_key(key);
        if let Some(deployment) = world.get(&DEPLOYMENTS, space, deployment) {
            Sync { controller: self, deployment }.run(world);
        }
    }
}

fn owner_changed(world: &mut dyn World, set: &Value) {
    if let Some(("Deployment", owner, _)) = controller_of(set) {
        enqueue(world, &format!("{}/{owner}", namespace(set)), millis(5));
    }
}

fn enqueue(world: &mut dyn World, key: &str, pause: Duration) {
    let at = after(world.now(), pause);
    world.wake_at(NAME, key.to_owned(), at);
}

/// One pass over one deployment.
struct Sync<'a> {
    controller: &'a mut Deployments,
    deployment: Arc<Value>,
}

impl Sync<'_> {
    fn run(&mut self, world: &mut dyn World) {
        self.adopt(world);
        let sets = self.sets();
        if is_deleting(&self.deployment) {
            let new = self.find_new(&sets);
            self.write_status(world, &sets, new.as_ref());
            return;
        }
        self.pause_condition(world);
        let (rollout, recreate) =
            (!truth(&self.deployment, "/spec/paused"), text(&self.deployment, "/spec/strategy/type") == "Recreate");
        if !rollout || self.is_scaling(&sets) {
            self.scale(world, sets);
        } else if recreate {
            self.recreate(world, sets);
        } else {
            self.roll(world, sets);
        }
    }

    /// Its replica sets, oldest first.
    fn sets(&self) -> Vec<Arc<Value>> {
        let mut sets = self.controller.sets.of(uid(&self.deployment));
        sets.sort_by(|a, b| {
            text(a, "/metadata/creationTimestamp")
                .cmp(text(b, "/metadata/creationTimestamp"))
                .then_with(|| revision::of(a).cmp(&revision::of(b)))
                .then_with(|| name(a).cmp(name(b)))
        });
        sets
    }

    /// Replica sets that match and have no controller become its own.
    fn adopt(&mut self, world: &mut dyn World) {
        let Some(wanted) = at(&self.deployment, "/spec/selector").cloned() else { return };
        for set in world.list(&REPLICA_SETS, Some(namespace(&self.deployment))) {
            let labels = at(&set, "/metadata/labels");
            if controller_of(&set).is_none()
                && !is_deleting(&set)
                && labels.is_some()
                && selector::matches(&wanted, labels)
            {
                let mut changed = (*set).clone();
                let mut owners = items(&set, "/metadata/ownerReferences").to_vec();
                owners.push(owner_reference(&DEPLOYMENTS, &self.deployment));
                put(&mut changed, &["metadata", "ownerReferences"], Value::Array(owners));
                if let Ok(set) = world.update(&REPLICA_SETS, changed, MANAGER) {
                    self.controller.sets.put(&set);
                }
            }
        }
    }

    fn replicas(&self) -> i64 {
        number(&self.deployment, "/spec/replicas").unwrap_or(1)
    }

    /// maxSurge and maxUnavailable in pods: the first rounded up, the second down, never both zero.
    fn bounds(&self) -> (i64, i64) {
        if text(&self.deployment, "/spec/strategy/type") == "Recreate" {
            return (0, 0);
        }
        let part = |field: &str, up: bool| {
            let value = at(&self.deployment, &format!("/spec/strategy/rollingUpdate/{field}"));
            let percent = |text: &str| text.strip_suffix('%').and_then(|p| p.parse::<i64>().ok());
            match value {
                Some(Value::Number(n)) => n.as_i64().unwrap_or(0),
                Some(Value::String(text)) => match percent(text) {
                    Some(p) if up => (p * self.replicas() + 99).div_euclid(100),
                    Some(p) => (p * self.replicas()).div_euclid(100),
                    None => text.parse().unwrap_or(0),
                },
                _ if up => (25 * self.replicas() + 99).div_euclid(100),
                _ => (25 * self.replicas()).div_euclid(100),
            }
        };
        let (surge, unavailable) = (part("maxSurge", true), part("maxUnavailable", false));
        (surge, if surge == 0 && unavailable == 0 { 1 } else { unavailable.min(self.replicas()) })
    }

    fn say(&self, world: &mut dyn World, warning: bool, reason: &str, message: String) {
        let regarding = &*self.deployment;
        world.event(Occurrence { regarding, field_path: None, warning, reason, message, component: NAME, host: None });
    }

    /// Says in the Progressing condition that it is paused, or goes on.
    fn pause_condition(&mut self, world: &mut dyn World) {
        if at(&self.deployment, "/spec/progressDeadlineSeconds").is_none_or(Value::is_null) {
            return;
        }
        let paused = truth(&self.deployment, "/spec/paused");
        let current = crate::fields::condition(&self.deployment, "Progressing");
        let reason = current.map_or("", |c| text(c, "/reason"));
        let (reason, message) = match (paused, reason) {
            (_, "ProgressDeadlineExceeded") => return,
            (true, reason) if reason != "DeploymentPaused" => ("DeploymentPaused", "Deployment is paused"),
            (false, "DeploymentPaused") => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        let condition = status::new_condition(world.now(), "Progressing", "Unknown", reason, message);
        let mut status = self.deployment.get("status").cloned().unwrap_or_else(|| json!({}));
        status::set_condition(&mut status, condition);
        self.store_status(world, status);
    }

    fn store_status(&mut self, world: &mut dyn World, status: Value) {
        if self.deployment.get("status") == Some(&status) {
            return;
        }
        let mut changed = (*self.deployment).clone();
        put(&mut changed, &["status"], status);
        if let Ok(stored) = world.update_status(&DEPLOYMENTS, changed, MANAGER) {
            self.deployment = stored;
        } else if let Some(fresh) = world.get(&DEPLOYMENTS, namespace(&self.deployment), name(&self.deployment)) {
            enqueue(world, &key(&fresh), millis(5));
        }
    }
}

fn size(set: &Value) -> i64 {
    number(set, "/spec/replicas").unwrap_or(1)
}

fn available(set: &Value) -> i64 {
    number(set, "/status/availableReplicas").unwrap_or(0)
}
