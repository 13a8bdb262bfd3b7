//! Pod Security admission: a namespace's labels say which level of the Pod Security Standards its pods must keep
//! (`enforce`), and from which on clients are warned (`warn`). What the levels ask for is in `checks`.

mod checks;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use simulation::resources;

use crate::error::{ApiError, Cause};
use crate::object;
use crate::registry::Info;
use crate::state::State;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a pod may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level and the version of Kubernetes whose standards are meant. The checks are those of the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Policy {
    level: Level,
    version: String,
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        write!(f, "{level}:{}", self.version)
    }
}

fn level_of(word: &str) -> Option<Level> {
    match word {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

/// The policy of a namespace for `enforce` or `warn`; none where nobody asked for one.
fn policy(namespace: &Value, mode: &str) -> Option<Policy> {
    let label = |key: &str| object::text(namespace, &["metadata", "labels", &format!("{PREFIX}{key}")]).to_owned();
    let word = label(mode);
    if word.is_empty() {
        return None;
    }
    // Words that are no level count as the strictest.
    let level = level_of(&word).unwrap_or(Level::Restricted);
    let version = label(&format!("{mode}-version"));
    Some(Policy { level, version: if version.is_empty() { "latest".to_owned() } else { version } })
}

/// What clients are warned of: `warn`, or what is enforced where that is stricter and `warn` is not set.
fn warned(namespace: &Value) -> Option<Policy> {
    policy(namespace, "warn").or_else(|| policy(namespace, "enforce"))
}

/// Reason and detail of each check that fails.
fn violations(policy: &Policy, metadata: &Value, spec: &Value) -> Vec<(String, String)> {
    if policy.level == Level::Privileged { Vec::new() } else { checks::run(policy.level, metadata, spec) }
}

fn detailed(violations: &[(String, String)]) -> String {
    let texts: Vec<String> = violations
        .iter()
        .map(|(reason, detail)| if detail.is_empty() { reason.clone() } else { format!("{reason} ({detail})") })
        .collect();
    texts.join(", ")
}

/// Where the pod's specification lies in an object of this resource.
fn template(info: &Info) -> Option<&'static str> {
    match (info.resource.group, info.resource.plural) {
        ("", "pods") => Some(""),
        ("", "podtemplates") => Some("/template"),
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => Some("/spec/template"),
        ("batch", "cronjobs") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

/// Refuses a pod that its namespace does not take; warns of one, or of a template, that breaks the level to warn of.
pub(crate) fn admit(state: &mut State, info: &Arc<Info>, old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
    let Some(pointer) = template(info) else { return Ok(()) };
    let Some(namespace) = state.store.get(&resources::NAMESPACES, "", object::namespace(new)).cloned() else {
        return Ok(());
    };
    let Some(pod) = new.pointer(pointer) else { return Ok(()) };
    let unchanged = old.and_then(|old| old.pointer(pointer)).is_some_and(|before| before["spec"] == pod["spec"]);
    if unchanged {
        return Ok(());
    }
    if pointer.is_empty()
        && let Some(enforced) = policy(&namespace, "enforce")
    {
        let found = violations(&enforced, &pod["metadata"], &pod["spec"]);
        if !found.is_empty() {
            let why = format!("violates PodSecurity \"{enforced}\": {}", detailed(&found));
            return Err(ApiError::forbidden(info, object::name(new), &why));
        }
    }
    if let Some(warned) = warned(&namespace) {
        let found = violations(&warned, &pod["metadata"], &pod["spec"]);
        if !found.is_empty() {
            state.warn(format!("would violate PodSecurity \"{warned}\": {}", detailed(&found)));
        }
    }
    Ok(())
}

/// A namespace with new labels: the words must be levels, and pods that the new level would not take are named.
pub(crate) fn relabelled(state: &mut State, info: &Info, old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
    let mut causes = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let key = format!("{PREFIX}{mode}");
        let word = object::at(new, &["metadata", "labels", &key]);
        let kept = old.is_some_and(|old| object::at(old, &["metadata", "labels", &key]) == word);
        if !kept && word.as_str().is_some_and(|word| level_of(word).is_none()) {
            let field = format!("metadata.labels[{key}]");
            causes.push(Cause::invalid(field, word, "must be one of privileged, baseline, restricted"));
        }
    }
    if !causes.is_empty() {
        return Err(ApiError::invalid(info, object::name(new), &causes));
    }
    let Some(enforced) = policy(new, "enforce") else { return Ok(()) };
    if old.is_some_and(|old| policy(old, "enforce").as_ref() == Some(&enforced)) {
        return Ok(());
    }
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in state.store.list(&resources::PODS, Some(object::name(new))) {
        let violations = violations(&enforced, &pod["metadata"], &pod["spec"]);
        if !violations.is_empty() {
            let reasons: Vec<&str> = violations.iter().map(|(reason, _)| reason.as_str()).collect();
            found.entry(reasons.join(", ")).or_default().push(object::name(&pod).to_owned());
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let name = object::name(new);
    state.warn(format!("existing pods in namespace {name:?} violate the new PodSecurity enforce level \"{enforced}\""));
    for (reasons, pods) in found {
        let others = match pods.len() {
            1 => String::new(),
            2 => " (and 1 other pod)".to_owned(),
            many => format!(" (and {} other pods)", many - 1),
        };
        state.warn(format!("{}{others}: {reasons}", pods[0]));
    }
    Ok(())
}
