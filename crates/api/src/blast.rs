//! The blast radius of a failure: the most that it can touch, told before anything is run and without running any of it.

use std::collections::{BTreeMap, BTreeSet};

use catalog::{Failure, Implementation, ObjectRef, Origin, Prerequisite, Resolved, Step};
use gate::{Grants, Hazard, Package, Power, Site};
use serde::Serialize;
use serde_json::Value;

use crate::rule_in_words;

/// The most that a failure can touch. What stands in the namespace of a case is written with `$(case)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlastRadius {
    /// What it declares that it may ask of a cluster, a sentence a rule: verbs, resources, names, namespaces.
    pub may: Vec<String>,
    /// How it may reach further than its rules say.
    #[serde(rename = "unsafe")]
    pub hazards: Vec<String>,
    /// What the host makes for it, and what its steps change.
    pub objects: Vec<String>,
    /// Images of these.
    pub images: Vec<String>,
    /// Whether objects and images are all there are: what code and scripts make is told by no file.
    pub complete: bool,
    /// Parameters that the seed of each case chooses, with what it chooses from; elsewhere their defaults stand.
    pub from_seed: Vec<String>,
    /// Scripts and programs that run on this machine.
    pub on_this_machine: Vec<String>,
    /// It changes the cluster for everybody on it.
    pub exclusive: bool,
}

/// What a failure declares and nobody has granted, on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotGranted {
    /// The cluster, as grants know it.
    pub cluster: String,
    /// Where which lines are to be added.
    pub lines: String,
}

impl BlastRadius {
    /// That of a failure with these parameters; none where they do not fit it.
    pub(crate) fn of(failure: &Failure, params: &BTreeMap<String, Value>) -> Self {
        let metadata = &failure.metadata;
        let resolved = failure.resolve(params, gate::CASE).ok();
        let capabilities = resolved.as_ref().map_or(&metadata.capabilities, |resolved| &resolved.capabilities);
        let (mut objects, mut images) = (Vec::new(), BTreeSet::new());
        if let Some(Resolved { workload, induce, .. }) = &resolved {
            for manifest in workload {
                objects.push(format!("workload: create {}", manifest_in_words(manifest)));
                images_of(manifest, &mut images);
            }
            for step in induce {
                objects.push(format!("induce: {}", step_in_words(step)));
                match step {
                    Step::Patch { with: value, .. } | Step::Apply(value) | Step::Create(value) => {
                        images_of(value, &mut images);
                    }
                    Step::Delete(_) => {}
                }
            }
        }
        Self {
            may: capabilities.rules.iter().map(rule_in_words).collect(),
            hazards: needed(failure).hazards.iter().map(|hazard| hazard.as_str().to_owned()).collect(),
            objects,
            images: images.into_iter().collect(),
            complete: matches!(failure.implementation, Implementation::Steps) && resolved.is_some(),
            from_seed: from_seed(failure, params),
            on_this_machine: on_this_machine(failure),
            exclusive: metadata.exclusive,
        }
    }
}

/// `app: checkout, billing, orders` for each parameter that is not given.
fn from_seed(failure: &Failure, params: &BTreeMap<String, Value>) -> Vec<String> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let choices = failure.metadata.params.choices().filter(|(name, _)| !params.contains_key(*name));
    choices
        .map(|(name, values)| format!("{name}: {}", values.iter().map(word).collect::<Vec<_>>().join(", ")))
        .collect()
}

/// What a failure needs to be granted: what it declares, and the word for a script that came from somebody else.
fn needed(failure: &Failure) -> Power {
    let mut power = Power::from(&failure.metadata.capabilities);
    if matches!((&failure.implementation, &failure.origin), (Implementation::Script, Origin::Wasm(_))) {
        power.hazards.insert(Hazard::HostScript);
    }
    power
}

/// What of it is not granted on a cluster.
pub(crate) fn not_granted(grants: &Grants, failure: &Failure, site: Site<'_>) -> Option<NotGranted> {
    let lines = grants.failure(Package::from(failure), site).lines_for(&needed(failure))?;
    Some(NotGranted { cluster: site.name.to_owned(), lines })
}

fn on_this_machine(failure: &Failure) -> Vec<String> {
    let mut all = Vec::new();
    if matches!(failure.implementation, Implementation::Script) {
        let size = failure.files.get("induce.sh").map_or(0, |bytes| bytes.len());
        all.push(format!("induce.sh of the package ({size} bytes)"));
    }
    for prerequisite in &failure.metadata.prerequisites {
        if let Prerequisite::Program(program) = prerequisite {
            all.push(format!("{program}, found on PATH"));
        }
    }
    all
}

fn manifest_in_words(manifest: &Value) -> String {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    let name = text("/metadata/name").or_else(|| text("/metadata/generateName")).unwrap_or("of a made-up name");
    let kind = text("/kind").unwrap_or("an object without a kind");
    match text("/metadata/namespace") {
        Some(namespace) if namespace != gate::CASE => format!("{kind} {name} in namespace {namespace}"),
        _ => format!("{kind} {name}"),
    }
}

fn step_in_words(step: &Step) -> String {
    let object = |target: &ObjectRef| match target.namespace.as_deref() {
        Some(namespace) if namespace != gate::CASE => {
            format!("{} {} in namespace {namespace}", target.kind, target.name)
        }
        _ => format!("{} {}", target.kind, target.name),
    };
    match step {
        Step::Patch { target, .. } => format!("patch {}", object(target)),
        Step::Delete(target) => format!("delete {}", object(target)),
        Step::Apply(manifest) => format!("apply {}", manifest_in_words(manifest)),
        Step::Create(manifest) => format!("create {}", manifest_in_words(manifest)),
    }
}

/// Every `image` in it: pod templates lie at many depths.
fn images_of(value: &Value, images: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(image) if key == "image" => drop(images.insert(image.clone())),
                    other => images_of(other, images),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| images_of(item, images)),
        _ => {}
    }
}
