//! The garbage collector: what is owned goes with its owners, in the background, in the foreground, or stays orphaned.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::Value;
use simulation::{Change, Controller, Deletion, Resource, World};

use crate::object;

const NAME: &str = "garbage-collector";
/// How long an object may name an owner that does not exist before it goes.
const ABSENT: SignedDuration = SignedDuration::from_millis(500);

type Place = (Resource, String, String);

/// Who owns whom, by uid.
#[derive(Debug, Default)]
pub(super) struct GarbageCollector {
    objects: HashMap<String, Place>,
    owned: BTreeMap<String, BTreeSet<Place>>,
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object::list(object, &["metadata", "ownerReferences"]).iter()
}

fn place(resource: &Resource, object: &Value) -> Place {
    (*resource, object::namespace(object).to_owned(), object::name(object).to_owned())
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object::list(object, &["metadata", "finalizers"]).iter().any(|f| f == finalizer)
}

impl GarbageCollector {
    fn remember(&mut self, resource: &Resource, object: &Value) {
        let place = place(resource, object);
        self.objects.insert(object::uid(object).to_owned(), place.clone());
        for owner in owners(object) {
            self.owned.entry(object::text(owner, &["uid"]).to_owned()).or_default().insert(place.clone());
        }
    }

    fn forget(&mut self, resource: &Resource, object: &Value) {
        let place = place(resource, object);
        for owner in owners(object) {
            let uid = object::text(owner, &["uid"]);
            if let Some(places) = self.owned.get_mut(uid) {
                places.remove(&place);
                if places.is_empty() {
                    self.owned.remove(uid);
                }
            }
        }
    }

    fn dependents(&self, world: &dyn World, uid: &str) -> Vec<(Resource, Arc<Value>)> {
        let places = self.owned.get(uid).into_iter().flatten();
        places
            .filter_map(|(resource, namespace, name)| Some((*resource, world.get(resource, namespace, name)?)))
            .filter(|(_, object)| owners(object).any(|owner| owner["uid"] == uid))
            .collect()
    }

    /// Deletes what has no owner left, and drops references to owners that are gone.
    fn collect(&self, world: &mut dyn World, resource: &Resource, object: &Value) {
        let (living, gone): (Vec<&Value>, Vec<&Value>) =
            owners(object).partition(|owner| self.objects.contains_key(object::text(owner, &["uid"])));
        if gone.is_empty() {
            return;
        }
        if living.is_empty() {
            let how = Deletion {
                uid: Some(object::uid(object).to_owned()),
                propagation: Some("Background"),
                ..Deletion::default()
            };
            // It may be gone or another one by now.
            let _ = world.delete(resource, object::namespace(object), object::name(object), how);
            return;
        }
        let living: Vec<Value> = living.into_iter().cloned().collect();
        self.set_owners(world, resource, object, living);
    }

    fn set_owners(&self, world: &mut dyn World, resource: &Resource, object: &Value, owners: Vec<Value>) {
        let mut new = object.clone();
        let metadata = object::metadata(&mut new);
        metadata.remove("resourceVersion");
        if owners.is_empty() {
            metadata.remove("ownerReferences");
        } else {
            metadata.insert("ownerReferences".into(), Value::Array(owners));
        }
        let _ = world.update(resource, new, "kube-controller-manager");
    }

    fn remove_finalizer(world: &mut dyn World, resource: &Resource, object: &Value, finalizer: &str) {
        let Some(current) = world.get(resource, object::namespace(object), object::name(object)) else { return };
        let mut new = (*current).clone();
        if let Some(Value::Array(list)) = object::metadata(&mut new).get_mut("finalizers") {
            list.retain(|f| f != finalizer);
        }
        let _ = world.update(resource, new, "kube-controller-manager");
    }

    /// An owner that is on its way out and waits for the collector.
    fn process(&self, world: &mut dyn World, resource: &Resource, owner: &Value) {
        let uid = object::uid(owner).to_owned();
        if has_finalizer(owner, "orphan") {
            for (resource, object) in self.dependents(world, &uid) {
                let others = owners(&object).filter(|o| o["uid"] != *uid).cloned().collect();
                self.set_owners(world, &resource, &object, others);
            }
            Self::remove_finalizer(world, resource, owner, "orphan");
        } else if has_finalizer(owner, "foregroundDeletion") {
            let dependents = self.dependents(world, &uid);
            for (resource, object) in dependents.iter().filter(|(_, object)| !object::is_deleting(object)) {
                let how = Deletion { propagation: Some("Foreground"), ..Deletion::default() };
                let _ = world.delete(resource, object::namespace(object), object::name(object), how);
            }
            let blocking = self
                .dependents(world, &uid)
                .iter()
                .any(|(_, o)| owners(o).any(|owner| owner["uid"] == *uid && owner["blockOwnerDeletion"] == true));
            if !blocking {
                Self::remove_finalizer(world, resource, owner, "foregroundDeletion");
            }
        }
    }
}

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(resource, object) => {
                self.remember(resource, object);
                if owners(object).any(|owner| !self.objects.contains_key(object::text(owner, &["uid"]))) {
                    let at = world.now().saturating_add(ABSENT).unwrap_or(world.now());
                    world.wake_at(NAME, object::uid(object).to_owned(), at);
                }
            }
            Change::Modified(resource, old, new) => {
                if old["metadata"]["ownerReferences"] != new["metadata"]["ownerReferences"] {
                    self.forget(resource, old);
                    self.remember(resource, new);
                }
                if object::is_deleting(new) && !object::is_deleting(old) {
                    self.process(world, resource, new);
                }
            }
            Change::Deleted(resource, object) => {
                self.forget(resource, object);
                let uid = object::uid(object);
                self.objects.remove(uid);
                for (resource, dependent) in self.dependents(world, uid) {
                    self.collect(world, &resource, &dependent);
                }
                // Owners that wait for this one in the foreground.
                for owner in owners(object) {
                    let Some((resource, namespace, name)) = self.objects.get(object::text(owner, &["uid"])).cloned()
                    else {
                        continue;
                    };
                    if let Some(owner) = world.get(&resource, &namespace, &name).filter(|o| object::is_deleting(o)) {
                        self.process(world, &resource, &owner);
                    }
                }
            }
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let Some((resource, namespace, name)) = self.objects.get(key).cloned() else { return };
        if let Some(object) = world.get(&resource, &namespace, &name) {
            self.collect(world, &resource, &object);
        }
    }
}
