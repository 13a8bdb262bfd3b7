//! What a failure means for one case: parameters checked and put in, the namespace of the case put in, manifests read.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Id;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use yaml::{Diagnostics, Source};

use crate::object_ref::default_namespace;
use crate::substitute::substitute;
use crate::{
    Capabilities, Failure, GroundTruth, Health, ObjectRef, ParamProblem, Select, Step, Symptom, WrongFix,
    label_selector,
};

/// Why a failure cannot be used with these parameters.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ResolveError {
    /// The parameters are wrong.
    #[error("{}", all(.0))]
    Params(Vec<ParamProblem>),
    /// The metadata names a manifest that the package does not have.
    #[error("the package has no file `{0}`, which `workload.manifests` names")]
    NoManifest(String),
    /// A manifest cannot be read.
    #[error("{0}")]
    Manifest(Diagnostics),
    /// A value cannot stand where a parameter has put it.
    #[error("{place}: {message}")]
    Value {
        /// The part of the metadata, or the manifest.
        place: String,
        /// What is wrong.
        message: String,
    },
}

fn all(problems: &[ParamProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A failure for one case: nothing in it is left to be replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The failure.
    pub id: Id,
    /// The namespace of the case.
    pub namespace: String,
    /// Every parameter with its value.
    pub params: Value,
    /// The objects of the workload, in order.
    pub workload: Vec<Value>,
    /// What the failure asks to be allowed to do; every rule about resources names its namespaces.
    pub capabilities: Capabilities,
    /// The steps, for failures that are steps.
    pub induce: Vec<Step>,
    /// Signs that it has taken hold; label selectors are text.
    pub symptoms: Vec<Symptom>,
    /// Checks that hold before it and not during it; label selectors are text.
    pub health: Vec<Health>,
    /// The right answer; none where the failure is not judged.
    pub ground_truth: Option<GroundTruth>,
    /// A repair that must pass.
    pub reference_fix: Vec<Step>,
    /// Repairs that must not pass.
    pub wrong_fixes: Vec<WrongFix>,
    /// From `induce` until all symptoms show, in cluster time.
    #[serde(with = "crate::duration")]
    pub expected_duration: Duration,
}

impl Resolved {
    /// The same as JSON: metadata whose every `$(…)` is replaced, with `namespace` and the values of `params`.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Failure {
    /// Puts parameters and the namespace of the case in.
    ///
    /// # Errors
    /// [`ResolveError`]: wrong parameters, manifests that are missing or broken, values that do not fit their place.
    pub fn resolve(&self, params: &BTreeMap<String, Value>, namespace: &str) -> Result<Resolved, ResolveError> {
        let metadata = &self.metadata;
        let params = metadata.params.values(params).map_err(ResolveError::Params)?;
        let fill = Fill { case: namespace, params: &params };
        let mut resolved = Resolved {
            id: metadata.id.clone(),
            namespace: namespace.to_owned(),
            workload: self.workload(&fill)?,
            capabilities: fill.section("capabilities", &metadata.capabilities)?,
            induce: fill.section("induce", &metadata.induce)?,
            symptoms: fill.section("symptoms", &metadata.symptoms)?,
            health: fill.section("health", &metadata.health)?,
            ground_truth: fill.section("ground_truth", &metadata.ground_truth)?,
            reference_fix: fill.section("reference_fix", &metadata.reference_fix)?,
            wrong_fixes: fill.section("wrong_fixes", &metadata.wrong_fixes)?,
            expected_duration: metadata.expected_duration,
            params: Value::Null,
        };
        place(&mut resolved)?;
        resolved.params = params;
        Ok(resolved)
    }

    fn workload(&self, fill: &Fill<'_>) -> Result<Vec<Value>, ResolveError> {
        let mut objects = Vec::new();
        for name in &self.metadata.workload.manifests {
            let bytes = self.files.get(name).ok_or_else(|| ResolveError::NoManifest(name.clone()))?;
            let source = Source::from_bytes(name, bytes).map_err(ResolveError::Manifest)?;
            for mut object in yaml::to_json_all(&source).map_err(ResolveError::Manifest)? {
                let wrong = |message| ResolveError::Value { place: name.clone(), message };
                substitute(&mut object, fill.case, fill.params).map_err(wrong)?;
                objects.push(object);
            }
        }
        Ok(objects)
    }
}

struct Fill<'a> {
    case: &'a str,
    params: &'a Value,
}

impl Fill<'_> {
    fn section<T: Serialize + DeserializeOwned>(&self, name: &str, section: &T) -> Result<T, ResolveError> {
        let wrong = |message: String| ResolveError::Value { place: name.to_owned(), message };
        let mut value = serde_json::to_value(section).map_err(|error| wrong(error.to_string()))?;
        substitute(&mut value, self.case, self.params).map_err(wrong)?;
        serde_json::from_value(value).map_err(|error| wrong(format!("a parameter does not fit its place: {error}")))
    }
}

/// Puts in the namespaces that were left out, and makes label selectors text.
fn place(resolved: &mut Resolved) -> Result<(), ResolveError> {
    let case = resolved.namespace.clone();
    let symptoms = resolved.symptoms.iter_mut().map(|check| (&check.name, &mut check.select));
    let health = resolved.health.iter_mut().map(|check| (&check.name, &mut check.select));
    for (name, select) in symptoms.chain(health) {
        place_select(name, select, &case)?;
    }
    for rule in &mut resolved.capabilities.rules {
        if rule.namespaces.is_empty() && rule.non_resource_urls.is_empty() {
            rule.namespaces.push(case.clone());
        }
    }
    let wrong = resolved.wrong_fixes.iter_mut().flat_map(|fix| &mut fix.steps);
    for step in resolved.induce.iter_mut().chain(&mut resolved.reference_fix).chain(wrong) {
        if let Step::Patch { target, .. } | Step::Delete(target) = step {
            place_ref(target, &case);
        }
    }
    if let Some(truth) = &mut resolved.ground_truth {
        let lists = [&mut truth.root_causes, &mut truth.also_accept, &mut truth.repair_scope];
        lists.into_iter().flatten().for_each(|object| place_ref(object, &case));
    }
    Ok(())
}

fn place_ref(object: &mut ObjectRef, case: &str) {
    if object.namespace.is_none() {
        object.namespace = default_namespace(&object.kind, case);
    }
}

fn place_select(check: &str, select: &mut Select, case: &str) -> Result<(), ResolveError> {
    if select.namespace.is_none() {
        select.namespace = default_namespace(&select.kind, case);
    }
    if let Some(selector) = &select.label_selector {
        let wrong = |message| ResolveError::Value { place: format!("check `{check}`"), message };
        select.label_selector = Some(json!(label_selector::to_query(selector).map_err(wrong)?));
    }
    Ok(())
}
