//! What is done to a broken case in place of an agent, with an agent's power and through the gate like an agent.

use catalog::{ObjectRef, PatchType, Resolved, Step};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::objects::{ObjectError, Objects};

/// Kinds that run something.
const WORKLOADS: &[&str] = &["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"];
/// Of these, kinds with a number of replicas.
const SCALED: &[&str] = &["Deployment", "StatefulSet", "ReplicaSet"];
/// The field manager of applied steps.
const MANAGER: &str = "kubectl";

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Nothing at all.
    Nothing,
    /// The repair that the failure names.
    ReferenceFix,
    /// The wrong one of this number.
    WrongFix(usize),
    /// Something that makes the fault disappear with what it is in.
    Escape(Escape),
}

/// Ways out that repair nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escape {
    DeletingTheWorkload,
    ScalingToZero,
    DeletingTheNamespace,
}

impl Escape {
    pub(crate) const ALL: [Self; 3] = [Self::DeletingTheWorkload, Self::ScalingToZero, Self::DeletingTheNamespace];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DeletingTheWorkload => "deleting the workload",
            Self::ScalingToZero => "scaling to zero",
            Self::DeletingTheNamespace => "deleting the namespace",
        }
    }

    fn steps(self, resolved: &Resolved) -> Vec<Step> {
        match self {
            Self::DeletingTheWorkload => workload(resolved).into_iter().map(Step::Delete).collect(),
            Self::ScalingToZero => {
                let scaled = workload(resolved).into_iter().filter(|object| SCALED.contains(&object.kind.as_str()));
                let to_zero = |target| Step::Patch {
                    target,
                    with: json!({"spec": {"replicas": 0}}),
                    patch_type: PatchType::Merge,
                };
                scaled.map(to_zero).collect()
            }
            Self::DeletingTheNamespace => vec![Step::Delete(ObjectRef {
                api_version: "v1".into(),
                kind: "Namespace".into(),
                name: resolved.namespace.clone(),
                namespace: None,
            })],
        }
    }
}

impl Deed {
    /// What is to be done in this case, in order.
    pub(crate) fn steps(self, resolved: &Resolved) -> Vec<Step> {
        match self {
            Self::Nothing => Vec::new(),
            Self::ReferenceFix => resolved.reference_fix.clone(),
            Self::WrongFix(number) => resolved.wrong_fixes.get(number).map(|fix| fix.steps.clone()).unwrap_or_default(),
            Self::Escape(escape) => escape.steps(resolved),
        }
    }
}

/// The workload that is broken: those of its objects that are at fault or that health asks for by name, else all of it.
fn workload(resolved: &Resolved) -> Vec<ObjectRef> {
    let causes = resolved.ground_truth.iter().flat_map(|truth| truth.root_causes.clone());
    let asked = resolved.health.iter().filter_map(|check| {
        let select = &check.select;
        Some(ObjectRef {
            api_version: select.api_version.clone(),
            kind: select.kind.clone(),
            name: select.name.clone()?,
            namespace: select.namespace.clone(),
        })
    });
    let made = resolved.workload.iter().filter_map(|manifest| {
        let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let namespace = text("/metadata/namespace").or_else(|| Some(resolved.namespace.clone()));
        Some(ObjectRef {
            api_version: text("/apiVersion")?,
            kind: text("/kind")?,
            name: text("/metadata/name")?,
            namespace,
        })
    });
    let runs = |object: &ObjectRef| WORKLOADS.contains(&object.kind.as_str());
    let mut guilty: Vec<ObjectRef> = Vec::new();
    for object in causes.chain(asked).filter(runs) {
        if !guilty.contains(&object) {
            guilty.push(object);
        }
    }
    if guilty.is_empty() { made.filter(runs).collect() } else { guilty }
}

/// Why a deed was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotDone {
    /// It may not be done, by gate or cluster.
    pub(crate) denied: bool,
    /// In one sentence.
    pub(crate) why: String,
}

/// Does steps, in order, until the first that cannot be done.
pub(crate) async fn perform(objects: &Objects, steps: &[Step], namespace: &str) -> Result<(), NotDone> {
    for step in steps {
        one(objects, step, namespace).await.map_err(|error| {
            let denied = matches!(&error, ObjectError::Request { source, .. } if code(source) == Some(403));
            NotDone { denied, why: error.to_string() }
        })?;
    }
    Ok(())
}

async fn one(objects: &Objects, step: &Step, namespace: &str) -> Result<(), ObjectError> {
    match step {
        Step::Create(manifest) => objects.create(manifest, namespace).await,
        Step::Apply(manifest) => {
            let object: DynamicObject =
                serde_json::from_value(manifest.clone()).map_err(|error| ObjectError::Manifest(error.to_string()))?;
            let types = object.types.clone().ok_or_else(|| ObjectError::Manifest("no apiVersion and kind".into()))?;
            let name = object.metadata.name.clone().unwrap_or_default();
            let namespace = object.metadata.namespace.clone().unwrap_or_else(|| namespace.to_owned());
            let api = objects.api(&types.api_version, &types.kind, Some(&namespace)).await?;
            let params = PatchParams::apply(MANAGER).force();
            let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
            applied.map(drop).map_err(|source| request("applying", &types.kind, &name, source))
        }
        Step::Delete(target) => {
            let api = objects.api(&target.api_version, &target.kind, target.namespace.as_deref()).await?;
            let deleted = api.delete(&target.name, &DeleteParams::default()).await;
            deleted.map(drop).map_err(|source| request("deleting", &target.kind, &target.name, source))
        }
        Step::Patch { target, with, patch_type } => {
            let api = objects.api(&target.api_version, &target.kind, target.namespace.as_deref()).await?;
            let params = PatchParams::default();
            let patched = match patch_type {
                PatchType::Strategic => api.patch(&target.name, &params, &Patch::Strategic(with)).await,
                PatchType::Merge => api.patch(&target.name, &params, &Patch::Merge(with)).await,
                PatchType::Json => {
                    let operations = serde_json::from_value(with.clone())
                        .map_err(|error| ObjectError::Manifest(format!("a JSON patch cannot be read: {error}")))?;
                    api.patch(&target.name, &params, &Patch::Json::<()>(operations)).await
                }
            };
            patched.map(drop).map_err(|source| request("patching", &target.kind, &target.name, source))
        }
    }
}

fn request(verb: &str, kind: &str, name: &str, source: kube::Error) -> ObjectError {
    ObjectError::Request { what: format!("{verb} {kind} {name}"), source: Box::new(source) }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn resolved(id: &str) -> Resolved {
        let failure = builtin::failures().into_iter().find(|failure| failure.id().as_str() == id).expect("built in");
        failure.resolve(&BTreeMap::new(), "c-1").expect("defaults")
    }

    fn deleted(resolved: &Resolved) -> Vec<String> {
        let steps = Deed::Escape(Escape::DeletingTheWorkload).steps(resolved);
        steps
            .iter()
            .map(|step| if let Step::Delete(target) = step { target.to_string() } else { String::new() })
            .collect()
    }

    #[test]
    fn the_workload_is_what_is_at_fault_else_all_of_it() {
        let broken = resolved("oom-killed");
        let app = broken.params["app"].as_str().expect("a parameter");
        assert_eq!(deleted(&broken), [format!("Deployment/{app}")]);
        let all = deleted(&resolved("no-fault"));
        assert!(all.len() >= 2 && all.iter().all(|object| object.starts_with("Deployment/")), "{all:?}");
    }

    #[test]
    fn the_namespace_is_that_of_the_case() {
        let steps = Deed::Escape(Escape::DeletingTheNamespace).steps(&resolved("oom-killed"));
        assert!(matches!(&*steps, [Step::Delete(target)] if target.name == "c-1" && target.namespace.is_none()));
    }
}
