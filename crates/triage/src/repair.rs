//! The one repair that this agent dares: when the newest template of a Deployment is what fails and there is an earlier
//! one, it goes back to that, as `kubectl rollout undo` does. It invents nothing.

use serde_json::Value;

use crate::finding::{Finding, Weight};
use crate::rules::{differences, revision, revisions};
use crate::snapshot::{ObjectName, Snapshot, number, text};

/// Back to an earlier template.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollback {
    /// The Deployment.
    pub deployment: ObjectName,
    /// The revision that it goes back to.
    pub revision: i64,
    /// Its pod template.
    pub template: Value,
}

/// The rollback that would undo what a finding shows; none when it does not follow from a rollout.
pub fn plan(snapshot: &Snapshot, finding: &Finding) -> Option<Rollback> {
    if finding.root.kind != "Deployment" || finding.weight < Weight::Symptom {
        return None;
    }
    let revisions = revisions(snapshot, &finding.root.name);
    let (newest, before) = (revisions.first()?, revisions.get(1)?);
    let seen_on = snapshot.find(&finding.seen_on.kind, &finding.seen_on.name)?;
    let concerns_newest = finding.seen_on == finding.root
        || snapshot.owners(seen_on).iter().any(|owner| *owner == ObjectName::of(newest));
    let changed = !differences(&newest["spec"]["template"]["spec"], &before["spec"]["template"]["spec"]).is_empty();
    if !concerns_newest || !changed {
        return None;
    }
    let mut template = before["spec"]["template"].clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        // The controller's own label; a template that carried it would make a set of that name for ever.
        labels.remove("pod-template-hash");
    }
    Some(Rollback { deployment: finding.root.clone(), revision: revision(before), template })
}

/// Whether a Deployment's rollout is complete and everything it wants is available.
pub(crate) fn is_available(deployment: &Value) -> bool {
    let wanted = deployment.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let status = |field: &str| number(deployment, &format!("/status/{field}"));
    status("observedGeneration") >= number(deployment, "/metadata/generation")
        && status("updatedReplicas") == wanted
        && status("replicas") == wanted
        && status("availableReplicas") == wanted
        && !text(deployment, "/metadata/name").is_empty()
}
