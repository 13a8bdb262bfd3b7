//! The rules, as the known analysers have them: each reads a snapshot and adds what it finds wrong.

mod autoscaling;
mod change;
mod containers;
mod creation;
mod nodes;
mod pods;
mod services;
mod storage;
mod workloads;

pub(crate) use change::{differences, revision, revisions};

use serde_json::Value;

use crate::finding::{Finding, Weight};
use crate::snapshot::{ObjectName, Snapshot, condition, number, text};

type Rule = fn(&Snapshot, &mut Vec<Finding>);

/// Every rule. Their order does not matter: findings are ranked afterwards.
pub(crate) const ALL: &[Rule] = &[
    pods::check,
    creation::check,
    workloads::check_deployments,
    workloads::check_jobs,
    workloads::check_scaled_away,
    storage::check,
    services::check,
    autoscaling::check,
    nodes::check,
];

/// What a rule says, without the names that follow from the object.
pub(crate) struct Diagnosis {
    pub(crate) rule: &'static str,
    pub(crate) weight: Weight,
    pub(crate) fault_type: &'static str,
    pub(crate) message: String,
    pub(crate) related: Vec<ObjectName>,
}

impl Diagnosis {
    pub(crate) fn new(
        rule: &'static str,
        weight: Weight,
        fault_type: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { rule, weight, fault_type, message: message.into(), related: Vec::new() }
    }

    pub(crate) fn with(mut self, related: impl IntoIterator<Item = ObjectName>) -> Self {
        self.related.extend(related);
        self
    }

    /// A finding on `object`, blamed on its topmost controller.
    pub(crate) fn on(self, object: &Value, snapshot: &Snapshot) -> Finding {
        Finding {
            rule: self.rule,
            weight: self.weight,
            root: snapshot.top(object),
            related: self.related,
            seen_on: ObjectName::of(object),
            fault_type: self.fault_type,
            message: self.message,
        }
    }
}

/// An object that a message of the cluster names between quotes after `word`, as in `configmap "settings" not found`.
pub(crate) fn quoted_after(message: &str, word: &str) -> Option<String> {
    let start = message.find(&format!("{word} \""))? + word.len() + 2;
    let rest = &message[start..];
    let name = rest[..rest.find('"')?].rsplit('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Whether another look may show more: pods that are not ready and not finished, rollouts under way.
pub(crate) fn unsettled(snapshot: &Snapshot) -> bool {
    let waiting = |pod: &Value| {
        !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
            && condition(pod, "Ready").is_none_or(|ready| ready["status"] != "True")
    };
    let rolling = |workload: &Value| {
        let wanted = workload.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
        number(workload, "/status/observedGeneration") < number(workload, "/metadata/generation")
            || number(workload, "/status/updatedReplicas") < wanted
            || number(workload, "/status/readyReplicas") < wanted
    };
    snapshot.all("Pod").iter().any(waiting)
        || snapshot.all("Deployment").iter().any(rolling)
        || snapshot.all("StatefulSet").iter().any(rolling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_messages() {
        assert_eq!(quoted_after(r#"configmap "settings" not found"#, "configmap").as_deref(), Some("settings"));
        assert_eq!(quoted_after("couldn't find key mode in ConfigMap ns/settings", "configmap"), None);
        assert_eq!(quoted_after(r#"secret "ns/creds" not found"#, "secret").as_deref(), Some("creds"));
    }
}
