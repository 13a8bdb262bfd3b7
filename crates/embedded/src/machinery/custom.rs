//! Definitions of custom resources that are deleted: their objects go first, then they.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::Value;
use simulation::{Change, Controller, Deletion, Resource, World};

use crate::custom::{CLEANUP, DEFINITIONS, in_progress};
use crate::object;
use crate::registry::qualified;

const NAME: &str = "custom-resource-cleanup";
/// From the last object's end to that of the definition.
const LAST: SignedDuration = SignedDuration::from_millis(500);

/// Waits for the objects of definitions that are on their way out.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    /// By name, which is that of the resource too: `widgets.example.com`.
    ending: BTreeSet<String>,
}

fn wake_soon(world: &mut dyn World, name: &str) {
    let at = world.now().saturating_add(LAST).unwrap_or(world.now());
    world.wake_at(NAME, name.to_owned(), at);
}

/// The resource that a definition adds, while it is served.
fn resource(world: &dyn World, definition: &Value) -> Option<Resource> {
    world.resources().into_iter().find(|resource| qualified(resource) == object::name(definition))
}

impl Controller for Definitions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Modified(resource, old, new)
                if *resource == DEFINITIONS && object::is_deleting(new) && !object::is_deleting(old) =>
            {
                self.ending.insert(object::name(new).to_owned());
                empty(world, new);
                wake_soon(world, object::name(new));
            }
            Change::Deleted(resource, object) if *resource == DEFINITIONS => {
                self.ending.remove(object::name(object));
            }
            Change::Deleted(resource, _) if !self.ending.is_empty() => {
                let name = qualified(resource);
                if self.ending.contains(&name) {
                    wake_soon(world, &name);
                }
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let Some(definition) = world.get(&DEFINITIONS, "", key).filter(|one| object::is_deleting(one)) else { return };
        if resource(world, &definition).is_some_and(|resource| !world.list(&resource, None).is_empty()) {
            return;
        }
        let mut new = (*definition).clone();
        if let Some(Value::Array(finalizers)) = object::metadata(&mut new).get_mut("finalizers") {
            finalizers.retain(|finalizer| finalizer != CLEANUP);
        }
        // Another change may have come between: it wakes this again.
        let _ = world.update(&DEFINITIONS, new, "kube-apiserver");
    }
}

/// Deletes all objects of a definition. What a finalizer holds stays, and holds the definition.
fn empty(world: &mut dyn World, definition: &Value) {
    if let Some(resource) = resource(world, definition) {
        for object in world.list(&resource, None) {
            // Gone meanwhile with its owner: fine.
            let _ = world.delete(&resource, object::namespace(&object), object::name(&object), Deletion::default());
        }
    }
    let Some(current) = world.get(&DEFINITIONS, "", object::name(definition)) else { return };
    let now = format!("{:.0}", world.now());
    let _ = world.update_status(&DEFINITIONS, in_progress(&current, &now), "kube-apiserver");
}
