//! What makes pods.

use serde_json::{Value, json};

use super::names::{labels, not_negative};
use super::pod::template;
use crate::error::Cause;
use crate::object;
use crate::registry::Info;
use crate::selectors::LabelSelector;

pub(super) fn check(info: &Info, object: &Value, causes: &mut Vec<Cause>) {
    let spec = &object["spec"];
    match info.resource.plural {
        "deployments" | "replicasets" | "statefulsets" | "daemonsets" => {
            causes.extend(not_negative("spec.replicas", &spec["replicas"]));
            selector(spec, causes);
            template("spec.template", &spec["template"], causes);
            only_always(spec, causes);
            if spec["strategy"]["type"] == "Recreate" && spec["strategy"].get("rollingUpdate").is_some() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                causes.push(Cause::forbidden("spec.strategy.rollingUpdate", why));
            }
            causes.extend(not_negative("spec.minReadySeconds", &spec["minReadySeconds"]));
            causes.extend(not_negative("spec.revisionHistoryLimit", &spec["revisionHistoryLimit"]));
        }
        "replicationcontrollers" => {
            causes.extend(not_negative("spec.replicas", &spec["replicas"]));
            template("spec.template", &spec["template"], causes);
        }
        "jobs" => job("spec", spec, causes),
        "cronjobs" => {
            if spec["schedule"].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::required("spec.schedule", ""));
            } else if spec["schedule"]
                .as_str()
                .is_some_and(|s| !s.starts_with('@') && s.split_whitespace().count() != 5)
            {
                let count = spec["schedule"].as_str().unwrap_or_default().split_whitespace().count();
                let why = format!("expected exactly 5 fields, found {count}: {}", spec["schedule"]);
                causes.push(Cause::invalid("spec.schedule", &spec["schedule"], &why));
            }
            job("spec.jobTemplate.spec", &spec["jobTemplate"]["spec"], causes);
        }
        _ => {}
    }
}

fn selector(spec: &Value, causes: &mut Vec<Cause>) {
    let given = &spec["selector"];
    let is_empty = given.is_null()
        || object::at(given, &["matchLabels"]).is_null() && object::list(given, &["matchExpressions"]).is_empty();
    if given.is_null() {
        causes.push(Cause::required("spec.selector", ""));
        return;
    }
    if is_empty {
        causes.push(Cause::invalid("spec.selector", given, "empty selector is invalid for deployment"));
    }
    causes.extend(labels("spec.selector.matchLabels", &given["matchLabels"]));
    let own = object::at(spec, &["template", "metadata", "labels"]);
    if let Ok(selector) = LabelSelector::from_object(given)
        && !selector.matches_labels(own)
    {
        let shown = if own.is_null() { json!({}) } else { own.clone() };
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &shown, why));
    }
}

fn only_always(spec: &Value, causes: &mut Vec<Cause>) {
    let policy = object::at(spec, &["template", "spec", "restartPolicy"]);
    if matches!(policy.as_str(), Some("OnFailure" | "Never")) {
        causes.push(Cause::unsupported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
}

fn job(path: &str, spec: &Value, causes: &mut Vec<Cause>) {
    for key in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        causes.extend(not_negative(&format!("{path}.{key}"), &spec[key]));
    }
    template(&format!("{path}.template"), &spec["template"], causes);
    let policy = object::at(spec, &["template", "spec", "restartPolicy"]);
    if policy == "Always" {
        let field = format!("{path}.template.spec.restartPolicy");
        causes.push(Cause {
            reason: "FieldValueRequired",
            message: "Required value: valid values: \"OnFailure\", \"Never\"".to_owned(),
            field,
        });
    }
}
