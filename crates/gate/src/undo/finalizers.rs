//! Which finalizers the case brought and may be taken off. Those that the cluster's own controllers put on and take off
//! are theirs, whoever's image shows them.

use serde_json::Value;

use super::fields::finalizers;
use crate::ObjectKey;

/// Resource and finalizer, of those that admission and controllers of Kubernetes itself put on. The garbage collector's
/// are on any resource.
const CLUSTERS_OWN: [(&str, &str); 11] = [
    ("", "foregroundDeletion"),
    ("", "orphan"),
    ("persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("persistentvolumes", "kubernetes.io/pv-protection"),
    ("persistentvolumes", "external-provisioner.volume.kubernetes.io/finalizer"),
    ("persistentvolumes", "external-attacher/"),
    ("pods", "batch.kubernetes.io/job-tracking"),
    ("services", "service.kubernetes.io/load-balancer-cleanup"),
    ("customresourcedefinitions", "customresourcecleanup.apiextensions.k8s.io"),
    ("volumeattachments", "external-attacher/"),
    ("resourceclaims", "resource.kubernetes.io/delete-protection"),
];

/// Whether a controller of the cluster takes this finalizer off by itself.
pub(crate) fn is_clusters_own(key: &ObjectKey, finalizer: &str) -> bool {
    CLUSTERS_OWN.iter().any(|(resource, own)| {
        let same = if own.ends_with('/') { finalizer.starts_with(own) } else { finalizer == *own };
        same && (resource.is_empty() || *resource == key.resource)
    })
}

/// Finalizers of the image that were not there before and are not the cluster's own.
pub(crate) fn brought(key: &ObjectKey, original: Option<&Value>, image: &Value) -> Vec<String> {
    let before = original.map(finalizers).unwrap_or_default();
    let mut new = finalizers(image);
    new.retain(|finalizer| !before.contains(finalizer) && !is_clusters_own(key, finalizer));
    new
}

/// Finalizers in the templates of the image that are in none of the original.
pub(crate) fn templated(original: Option<&Value>, image: &Value) -> Vec<String> {
    let before = original.map(in_templates).unwrap_or_default();
    let mut new = in_templates(image);
    new.retain(|finalizer| !before.contains(finalizer));
    new
}

fn in_templates(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(members) = object.as_object() {
        members.iter().filter(|(name, _)| *name != "metadata" && *name != "status").for_each(|(_, member)| {
            visit(member, &mut found);
        });
    }
    found
}

fn visit(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if members.get("metadata").is_some_and(Value::is_object) {
                found.extend(finalizers(value));
            }
            members.values().for_each(|member| visit(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, found)),
        _ => {}
    }
}

/// Of the finalizers on an object, those that are to be taken off.
pub(crate) fn to_take_off(
    object: &Value,
    brought: &std::collections::BTreeSet<String>,
    original: Option<&Value>,
) -> Vec<String> {
    let before = original.map(finalizers).unwrap_or_default();
    let mut off = finalizers(object);
    off.retain(|finalizer| brought.contains(finalizer) && !before.contains(finalizer));
    off
}

/// The object without these finalizers, as it is written back.
pub(crate) fn without(object: &Value, off: &[String]) -> Value {
    let mut lighter = object.clone();
    let metadata = super::fields::metadata(&mut lighter);
    metadata.remove("managedFields");
    if let Some(Value::Array(list)) = metadata.get_mut("finalizers") {
        list.retain(|finalizer| !finalizer.as_str().is_some_and(|name| off.iter().any(|o| o == name)));
    }
    lighter
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(resource: &str) -> ObjectKey {
        let word = |w: &str| w.to_owned();
        ObjectKey {
            group: String::new(),
            version: word("v1"),
            resource: word(resource),
            namespace: word("a"),
            name: word("x"),
        }
    }

    #[test]
    fn the_clusters_own_finalizers_are_not_the_cases() {
        let image = json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection", "example.com/hold", "orphan"]}});
        assert_eq!(brought(&key("persistentvolumeclaims"), None, &image), ["example.com/hold"]);
        // On another resource nobody would ever take it off.
        let on_map = brought(&key("configmaps"), None, &image);
        assert_eq!(on_map, ["kubernetes.io/pvc-protection", "example.com/hold"]);
        assert!(brought(&key("persistentvolumeclaims"), Some(&image), &image).is_empty());
    }

    #[test]
    fn finalizers_of_templates_are_found_wherever_they_lie() {
        let template = json!({"metadata": {"finalizers": ["example.com/t"]}, "spec": {}});
        let cron = json!({"spec": {"jobTemplate": {"spec": {"template": template}}}});
        assert_eq!(templated(None, &cron), ["example.com/t"]);
        let namespace = json!({"metadata": {"finalizers": ["x"]}, "spec": {"finalizers": ["kubernetes"]}});
        assert!(templated(None, &namespace).is_empty());
    }
}
