//! Which patches must be tried first: those whose result could hold a pod template, and those that touch finalizers.
//! A patch does not show what the object will be; its dry run does.

use serde_json::Value;

use crate::Attributes;

/// Built-in resources that hold no pod template anywhere.
const PLAIN: &[(&str, &str)] = &[
    ("", "configmaps"),
    ("", "secrets"),
    ("", "services"),
    ("", "endpoints"),
    ("", "events"),
    ("", "serviceaccounts"),
    ("", "resourcequotas"),
    ("", "limitranges"),
    ("", "persistentvolumeclaims"),
    ("", "namespaces"),
    ("", "nodes"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("policy", "poddisruptionbudgets"),
    ("networking.k8s.io", "networkpolicies"),
    ("networking.k8s.io", "ingresses"),
    ("discovery.k8s.io", "endpointslices"),
    ("events.k8s.io", "events"),
    ("coordination.k8s.io", "leases"),
];

/// Members of a spec that never hold a pod template.
const PLAIN_MEMBERS: &[&str] = &["replicas", "paused", "suspend", "progressDeadlineSeconds", "strategy", "selector"];

/// Whether the result of the patch may hold a pod template that the patch changes.
pub(crate) fn touches_pod_template(attributes: &Attributes, patch: &Value) -> bool {
    if PLAIN.contains(&(attributes.group.as_str(), attributes.resource.as_str()))
        || matches!(attributes.subresource.as_str(), "scale" | "status")
    {
        return false;
    }
    match patch {
        Value::Array(operations) => operations.iter().any(|o| !is_plain_operation(o)),
        Value::Object(members) => members.iter().any(|(key, value)| match (key.as_str(), value) {
            ("apiVersion" | "kind" | "metadata" | "status", _) => false,
            ("spec", Value::Object(spec)) => spec.keys().any(|k| !PLAIN_MEMBERS.contains(&k.as_str())),
            _ => true,
        }),
        _ => true,
    }
}

fn is_plain_operation(operation: &Value) -> bool {
    let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("metadata" | "status"), _) => true,
        (Some("spec"), Some(member)) => PLAIN_MEMBERS.contains(&member),
        _ => operation.get("op").and_then(Value::as_str) == Some("test"),
    }
}

/// Whether the patch names finalizers.
pub(crate) fn touches_finalizers(patch: &Value) -> bool {
    match patch {
        Value::Array(operations) => operations.iter().any(|operation| {
            let path = operation.get("path").and_then(Value::as_str).unwrap_or_default();
            let whole = matches!(path, "" | "/" | "/metadata");
            let test = operation.get("op").and_then(Value::as_str) == Some("test");
            !test && (whole || path.starts_with("/metadata/finalizers") || path.starts_with("/spec/finalizers"))
        }),
        Value::Object(members) => members
            .get("metadata")
            .and_then(Value::as_object)
            .is_some_and(|m| m.keys().any(|k| k == "finalizers" || k.ends_with("/finalizers"))),
        _ => false,
    }
}
