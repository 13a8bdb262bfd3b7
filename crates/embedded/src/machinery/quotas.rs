//! What a namespace uses of its quotas, kept in their status.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::json;
use simulation::{Change, Controller, Resource, World, resources};

use crate::object;
use crate::quota;

const NAME: &str = "resourcequota";
/// From what frees something to the count that tells so.
const RECOUNT: SignedDuration = SignedDuration::from_millis(20);

/// The resource quota controller.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// Namespaces with quotas, and how many.
    known: BTreeMap<String, usize>,
}

impl Controller for Quotas {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        let (resource, object) = match change {
            Change::Added(resource, object) | Change::Modified(resource, _, object) => (resource, object),
            Change::Deleted(resource, object) => (resource, object),
        };
        let space = object::namespace(object);
        if *resource == resources::RESOURCE_QUOTAS {
            match change {
                Change::Added(..) => *self.known.entry(space.to_owned()).or_default() += 1,
                Change::Deleted(..) => {
                    let left = self.known.get(space).map_or(0, |count| count.saturating_sub(1));
                    if left == 0 {
                        self.known.remove(space);
                    } else {
                        self.known.insert(space.to_owned(), left);
                    }
                }
                Change::Modified(..) => {}
            }
        } else if !self.known.contains_key(space) || !counts(resource, change) {
            return;
        }
        // What is created is counted on its way in; what goes, a little later.
        if matches!(change, Change::Added(..)) {
            count(world, space);
        } else {
            let at = world.now().saturating_add(RECOUNT).unwrap_or(world.now());
            world.wake_at(NAME, space.to_owned(), at);
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        count(world, key);
    }
}

/// Whether the change may change what is used.
fn counts(resource: &Resource, change: &Change) -> bool {
    match change {
        Change::Modified(_, old, new) if *resource == resources::PODS => {
            old["status"]["phase"] != new["status"]["phase"] || old["spec"] != new["spec"]
        }
        Change::Modified(_, old, new) => old["spec"] != new["spec"],
        _ => *resource != resources::EVENTS,
    }
}

fn count(world: &mut dyn World, space: &str) {
    for quota in world.list(&resources::RESOURCE_QUOTAS, Some(space)) {
        let hard = quota["spec"]["hard"].clone();
        let mut used = serde_json::Map::new();
        for (name, limit) in hard.as_object().into_iter().flatten() {
            used.insert(name.clone(), json!(quota::spell(quota::used(world, &quota, name), limit)));
        }
        let status = json!({"hard": hard, "used": used});
        if quota["status"] != status {
            let mut counted = (*quota).clone();
            counted["status"] = status;
            // Refused: it has changed, and is counted again.
            let _ = world.update_status(&resources::RESOURCE_QUOTAS, counted, "kube-controller-manager");
        }
    }
}
