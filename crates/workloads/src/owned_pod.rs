//! Making pods from the template of what owns them.

use serde_json::{Value, json};
use simulation::{Resource, World};

use crate::fields::{name, namespace, owner_reference, put};

/// Until a write that waits for an admission webhook is tried again.
pub(crate) const PENDING: std::time::Duration = std::time::Duration::from_millis(20);

pub(crate) const MANAGER: &str = "kube-controller-manager";

/// A pod of this owner, with `generateName` of the owner's name.
pub(crate) fn from_template(resource: &Resource, owner: &Value, template: &Value) -> Value {
    let mut metadata = template.get("metadata").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    put(&mut metadata, &["generateName"], json!(format!("{}-", name(owner))));
    put(&mut metadata, &["namespace"], json!(namespace(owner)));
    put(&mut metadata, &["ownerReferences"], json!([owner_reference(resource, owner)]));
    let spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// Writes a status, if it differs from the one that is there.
pub(crate) fn store_status(world: &mut dyn World, resource: &Resource, object: &Value, status: Value) {
    let Some(current) = world.get(resource, namespace(object), name(object)) else { return };
    if crate::fields::uid(&current) != crate::fields::uid(object) || current.get("status") == Some(&status) {
        return;
    }
    let mut changed = (*current).clone();
    put(&mut changed, &["status"], status);
    // Refused only when it has gone or changed meanwhile, which comes back as a change.
    let _ = world.update_status(resource, changed, MANAGER);
}
