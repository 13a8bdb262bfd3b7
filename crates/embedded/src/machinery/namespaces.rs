//! Namespaces that end: their content goes (pods first), then they.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};
use simulation::{Change, Controller, Deletion, World, resources};

use crate::object;

/// From the DELETE to the first look at the content.
const FIRST: SignedDuration = SignedDuration::from_millis(5_200);
/// From a change in the content to the next look.
const NEXT: SignedDuration = SignedDuration::from_millis(400);
/// Between looks while nothing changes.
const RETRY: SignedDuration = SignedDuration::from_millis(3_400);

/// The namespace controller.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// Those that have been looked at once.
    ending: BTreeSet<String>,
}

const NAME: &str = "namespace";

fn wake_in(world: &mut dyn World, namespace: &str, after: SignedDuration) {
    let at = world.now().saturating_add(after).unwrap_or(world.now());
    world.wake_at(NAME, namespace.to_owned(), at);
}

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Modified(resource, old, new)
                if *resource == resources::NAMESPACES && object::is_deleting(new) && !object::is_deleting(old) =>
            {
                wake_in(world, object::name(new), FIRST);
            }
            Change::Deleted(resource, object) if *resource == resources::NAMESPACES => {
                self.ending.remove(object::name(object));
            }
            Change::Deleted(resource, object)
                if resource.namespaced && self.ending.contains(object::namespace(object)) =>
            {
                wake_in(world, object::namespace(object), NEXT);
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let Some(namespace) = world.get(&resources::NAMESPACES, "", key) else { return };
        if !object::is_deleting(&namespace) {
            return;
        }
        self.ending.insert(key.to_owned());
        let remaining = empty(world, key);
        if remaining.is_empty() {
            if object::at(&namespace, &["status", "conditions"]).is_array() {
                report(world, &namespace, &remaining);
            }
            finalize(world, key);
        } else {
            report(world, &namespace, &remaining);
            wake_in(world, key, RETRY);
        }
    }
}

/// What is still there after everything has been told to go.
struct Remaining {
    /// `pods.`, `deployments.apps`.
    resource: String,
    plural: &'static str,
    version: String,
    count: usize,
    finalizers: Vec<String>,
}

fn empty(world: &mut dyn World, namespace: &str) -> Vec<Remaining> {
    let pods = empty_of(world, namespace, |plural| plural == "pods");
    // Nothing else goes while pods may still need it.
    if pods.is_empty() { empty_of(world, namespace, |plural| plural != "pods") } else { pods }
}

fn empty_of(world: &mut dyn World, namespace: &str, select: impl Fn(&str) -> bool) -> Vec<Remaining> {
    let mut remaining = Vec::new();
    for resource in world.resources() {
        if !resource.namespaced || !select(resource.plural) {
            continue;
        }
        for object in world.list(&resource, Some(namespace)) {
            // Those that others delete meanwhile are gone: fine.
            let _ = world.delete(&resource, namespace, object::name(&object), Deletion::default());
        }
        let left = world.list(&resource, Some(namespace));
        if !left.is_empty() {
            let finalizers = left
                .iter()
                .flat_map(|object| object::list(object, &["metadata", "finalizers"]))
                .filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
                .collect();
            remaining.push(Remaining {
                resource: format!("{}.{}", resource.plural, resource.group),
                plural: resource.plural,
                version: format!("{}/{}", resource.group, resource.version),
                count: left.len(),
                finalizers,
            });
        }
    }
    remaining
}

fn report(world: &mut dyn World, namespace: &Value, remaining: &[Remaining]) {
    let failed: Vec<&Remaining> = remaining.iter().filter(|r| r.plural == "pods").collect();
    let content = match failed.first() {
        Some(pods) => (
            "True",
            "ContentDeletionFailed",
            format!(
                "Failed to delete all resource types, 1 remaining: unexpected items still remain in namespace: {} for gvr: {}, Resource=pods",
                object::name(namespace),
                pods.version
            ),
        ),
        None => {
            ("False", "ContentDeleted", "All content successfully deleted, may be waiting on finalization".to_owned())
        }
    };
    let left: Vec<&Remaining> = remaining.iter().filter(|r| r.plural != "pods").collect();
    let counted: Vec<String> =
        left.iter().map(|r| format!("{} has {} resource instances", r.resource, r.count)).collect();
    let mut finalizers: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for finalizer in left.iter().flat_map(|r| &r.finalizers) {
        *finalizers.entry(finalizer).or_default() += 1;
    }
    let held: Vec<String> =
        finalizers.iter().map(|(finalizer, count)| format!("{finalizer} in {count} resource instances")).collect();
    let remain = if counted.is_empty() {
        ("False", "ContentRemoved", "All content successfully removed".to_owned())
    } else {
        ("True", "SomeResourcesRemain", format!("Some resources are remaining: {}", counted.join(", ")))
    };
    let finalizing = if held.is_empty() {
        ("False", "ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
    } else {
        let text = format!("Some content in the namespace has finalizers remaining: {}", held.join(", "));
        ("True", "SomeFinalizersRemain", text)
    };
    let conditions = [
        (
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        ("NamespaceDeletionContentFailure", content.0, content.1, content.2),
        ("NamespaceContentRemaining", remain.0, remain.1, remain.2),
        ("NamespaceFinalizersRemaining", finalizing.0, finalizing.1, finalizing.2),
    ];
    let now = format!("{:.0}", world.now());
    let old = object::list(namespace, &["status", "conditions"]);
    let conditions: Vec<Value> = conditions
        .into_iter()
        .map(|(kind, status, reason, message)| {
            let before = old.iter().find(|c| c["type"] == kind && c["status"] == status);
            let since = before.map_or_else(|| json!(now), |c| c["lastTransitionTime"].clone());
            json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
        })
        .collect();
    let mut new = namespace.clone();
    object::child(&mut new, "status").insert("conditions".into(), Value::Array(conditions));
    // Gone meanwhile: nothing left to report on.
    let _ = world.update_status(&resources::NAMESPACES, new, "kube-controller-manager");
}

fn finalize(world: &mut dyn World, name: &str) {
    let Some(namespace) = world.get(&resources::NAMESPACES, "", name) else { return };
    let mut new = (*namespace).clone();
    if let Some(Value::Array(finalizers)) = new["spec"].get_mut("finalizers") {
        finalizers.retain(|finalizer| finalizer != "kubernetes");
    }
    let _ = world.update(&resources::NAMESPACES, new, "kube-controller-manager");
}
