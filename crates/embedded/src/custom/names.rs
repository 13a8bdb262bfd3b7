//! Which definitions are served: names accepted or in conflict with others of the group, conditions that say so, and the rows
//! that they add to the registry. Called with every change of a definition.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use simulation::Resource;

use super::Version;
use crate::delete::{DeleteHow, Deleted};
use crate::object;
use crate::registry::{Info, Storage, intern};
use crate::state::State;
use crate::store::Event;

/// Definitions themselves.
pub(crate) const DEFINITIONS: Resource = Resource {
    group: "apiextensions.k8s.io",
    version: "v1",
    plural: "customresourcedefinitions",
    kind: "CustomResourceDefinition",
    namespaced: false,
};

/// What keeps a definition until its objects are gone.
pub(crate) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// A definition has been written, or is gone.
pub(crate) fn changed(state: &mut State, event: Event, old: Option<&Value>, definition: &Value) {
    if event == Event::Deleted {
        retire(state, definition);
        // The names that it had are free for others.
        let group = &definition["spec"]["group"];
        for other in state.store.list(&DEFINITIONS, None) {
            if other["spec"]["group"] == *group {
                settle(state, &other);
            }
        }
        return;
    }
    if object::is_deleting(definition) {
        if !has_objects(state, definition) {
            retire(state, definition);
        }
        return;
    }
    // A new definition comes here again with its status.
    let served = settle(state, definition);
    if served && old.is_some_and(|old| old["spec"] != definition["spec"] || !is_established(old)) {
        serve(state, definition);
    }
}

fn is_established(definition: &Value) -> bool {
    let conditions = object::list(definition, &["status", "conditions"]);
    conditions.iter().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

fn has_objects(state: &State, definition: &Value) -> bool {
    let (group, plural) = place(definition);
    state.registry.iter().any(|row| {
        row.custom
            && row.resource.group == group
            && row.resource.plural == plural
            && !state.store.list(&row.resource, None).is_empty()
    })
}

fn place(definition: &Value) -> (&str, &str) {
    (object::text(definition, &["spec", "group"]), object::text(definition, &["spec", "names", "plural"]))
}

fn retire(state: &mut State, definition: &Value) {
    let (group, plural) = place(definition);
    state.registry.remove_custom(group, plural);
}

/// Says in the status which names are accepted, and whether the definition is served.
fn settle(state: &mut State, definition: &Value) -> bool {
    let (accepted, problem) = accept(state, definition);
    let mut status = definition["status"].clone();
    let accepted_all = problem.is_none();
    let (reason, message) = problem.unwrap_or(("NoConflicts", "no conflicts found".to_owned()));
    let established = is_established(definition) || accepted_all;
    let now = format!("{:.0}", state.now());
    let mut conditions = object::list(definition, &["status", "conditions"]).to_vec();
    set(&mut conditions, "NamesAccepted", accepted_all, reason, &message, &now);
    let (reason, message) = if established {
        ("InitialNamesAccepted", "the initial names have been accepted")
    } else {
        ("NotAccepted", "not all names are accepted")
    };
    set(&mut conditions, "Established", established, reason, message, &now);
    status["acceptedNames"] = accepted;
    status["conditions"] = Value::Array(conditions);
    let mut stored = object::list(definition, &["status", "storedVersions"]).to_vec();
    for version in object::list(definition, &["spec", "versions"]).iter().filter(|version| version["storage"] == true) {
        if !stored.contains(&version["name"]) {
            stored.push(version["name"].clone());
        }
    }
    status["storedVersions"] = Value::Array(stored);
    if status != definition["status"]
        && let Some(info) = state.info(&DEFINITIONS)
    {
        let mut settled = definition.clone();
        settled["status"] = status;
        // This is a change of the definition too, which comes back here and finds nothing to say.
        state.commit(&info, Event::Modified, settled);
    }
    established
}

/// A condition, whose time moves only when it turns.
fn set(conditions: &mut Vec<Value>, kind: &str, holds: bool, reason: &str, message: &str, now: &str) {
    let status = if holds { "True" } else { "False" };
    let mut condition = json!({
        "type": kind, "status": status, "lastTransitionTime": now, "reason": reason, "message": message,
    });
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(known) => {
            if known["status"] == status {
                condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
            }
            *known = condition;
        }
        None => conditions.push(condition),
    }
}

/// The names that a definition gets, and which it does not get because another of the group has them.
fn accept(state: &State, definition: &Value) -> (Value, Option<(&'static str, String)>) {
    let wanted = &definition["spec"]["names"];
    let own = &definition["status"]["acceptedNames"];
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for other in state.store.list(&DEFINITIONS, None) {
        if other["spec"]["group"] != definition["spec"]["group"] || object::name(&other) == object::name(definition) {
            continue;
        }
        let names = &other["status"]["acceptedNames"];
        let text = |key: &str| object::text(names, &[key]).to_owned();
        resources.extend([text("plural"), text("singular")]);
        resources.extend(object::list(names, &["shortNames"]).iter().filter_map(|n| n.as_str().map(str::to_owned)));
        kinds.extend([text("kind"), text("listKind")]);
    }
    let mut accepted = own.clone();
    let mut problem = None;
    for (key, reason, taken) in [
        ("plural", "PluralConflict", &resources),
        ("singular", "SingularConflict", &resources),
        ("shortNames", "ShortNamesConflict", &resources),
        ("kind", "KindConflict", &kinds),
        ("listKind", "ListKindConflict", &kinds),
    ] {
        let names: Vec<&str> = match &wanted[key] {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            name => name.as_str().into_iter().collect(),
        };
        let clashes: Vec<String> = names
            .iter()
            .filter(|name| wanted[key] != own[key] && taken.contains(**name))
            .map(|name| format!("{name:?} is already in use"))
            .collect();
        if !clashes.is_empty() {
            let all = clashes.join(", ");
            problem = Some((reason, if clashes.len() == 1 { all } else { format!("[{all}]") }));
        } else if let Some(value) = wanted.get(key) {
            accepted[key] = value.clone();
        } else if let Value::Object(map) = &mut accepted {
            map.remove(key);
        }
    }
    match (wanted.get("categories"), &mut accepted) {
        (Some(categories), accepted) => accepted["categories"] = categories.clone(),
        (None, Value::Object(map)) => {
            map.remove("categories");
        }
        _ => {}
    }
    (accepted, problem)
}

/// Adds the resources of a definition to what is served.
fn serve(state: &mut State, definition: &Value) {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let (group, plural) = place(definition);
    let (group, plural) = (intern(group), intern(plural));
    let list = |key: &str| -> Vec<&'static str> {
        object::list(names, &[key]).iter().filter_map(Value::as_str).map(intern).collect()
    };
    state.registry.remove_custom(group, plural);
    for version in object::list(spec, &["versions"]).iter().filter(|version| version["served"] == true) {
        let offered = ["status", "scale"].into_iter().filter(|part| !version["subresources"][part].is_null());
        state.registry.add_custom(Info {
            resource: Resource {
                group,
                version: intern(object::text(version, &["name"])),
                plural,
                kind: intern(object::text(names, &["kind"])),
                namespaced: spec["scope"] == "Namespaced",
            },
            singular: intern(object::text(names, &["singular"])),
            short_names: list("shortNames"),
            categories: list("categories"),
            subresources: offered.collect(),
            storage: if version["storage"] == true { Storage::Stored } else { Storage::AliasOf(group) },
            custom: true,
            definition: Some(Arc::new(Version::of(spec, version))),
        });
    }
}

impl State {
    /// A definition goes when its objects have gone.
    pub(crate) fn delete_definition(&mut self, info: &Arc<Info>, old: &Arc<Value>, how: &DeleteHow) -> Deleted {
        let mut new = (**old).clone();
        let now = format!("{:.0}", self.now());
        let metadata = object::metadata(&mut new);
        metadata.insert("deletionTimestamp".into(), json!(now));
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Value::Array(finalizers) = finalizers {
            finalizers.push(json!(CLEANUP));
        }
        let mut conditions = object::list(&new, &["status", "conditions"]).to_vec();
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        set(&mut conditions, "Terminating", true, "InstanceDeletionPending", message, &now);
        object::child(&mut new, "status").insert("conditions".into(), Value::Array(conditions));
        let marked = if how.dry_run { Arc::new(new) } else { self.commit(info, Event::Modified, new) };
        Deleted::Going(marked)
    }

    /// Whether a custom resource's definition is on its way out.
    pub(crate) fn is_terminating(&self, info: &Info) -> bool {
        info.custom
            && self
                .store
                .get(&DEFINITIONS, "", &info.qualified())
                .is_some_and(|definition| object::is_deleting(definition))
    }
}

/// The Terminating condition of a definition whose objects are being deleted.
pub(crate) fn in_progress(definition: &Value, now: &str) -> Value {
    let mut new = definition.clone();
    let mut conditions = object::list(&new, &["status", "conditions"]).to_vec();
    let message = "CustomResource deletion is in progress";
    set(&mut conditions, "Terminating", true, "InstanceDeletionInProgress", message, now);
    object::child(&mut new, "status").insert("conditions".into(), Value::Array(conditions));
    new
}
