//! Whether a webhook is to be asked about a write: rules and selectors.

use serde_json::Value;

use super::Attempt;
use crate::object;
use crate::selectors::LabelSelector;

/// Whether rules and selectors mean a write.
pub(crate) fn matches(webhook: &Value, attempt: &Attempt<'_>, namespace: Option<&Value>, new: Option<&Value>) -> bool {
    object::list(webhook, &["rules"]).iter().any(|rule| is_meant(rule, attempt))
        && is_selected(&webhook["namespaceSelector"], namespace_of(attempt, namespace, new))
        && [new, attempt.old].into_iter().flatten().any(|object| is_selected(&webhook["objectSelector"], Some(object)))
}

/// The object whose labels the namespace selector looks at; none where there is no namespace to select.
fn namespace_of<'a>(attempt: &Attempt<'a>, namespace: Option<&'a Value>, new: Option<&'a Value>) -> Option<&'a Value> {
    let resource = &attempt.info.resource;
    if *resource == simulation::resources::NAMESPACES { new.or(attempt.old) } else { namespace }
}

/// No selector, or an empty one, selects everything.
fn is_selected(selector: &Value, object: Option<&Value>) -> bool {
    let empty = selector.as_object().is_none_or(serde_json::Map::is_empty);
    let Some(object) = object.filter(|_| !empty) else { return true };
    LabelSelector::from_object(selector).is_ok_and(|selector| selector.matches(object))
}

fn is_meant(rule: &Value, attempt: &Attempt<'_>) -> bool {
    let resource = &attempt.info.resource;
    let has = |key: &str, wanted: &str| {
        object::list(rule, &[key]).iter().filter_map(Value::as_str).any(|word| word == "*" || word == wanted)
    };
    let scope = match object::text(rule, &["scope"]) {
        "Cluster" => !resource.namespaced,
        "Namespaced" => resource.namespaced,
        _ => true,
    };
    let named = object::list(rule, &["resources"]).iter().filter_map(Value::as_str).any(|word| {
        let (plural, subresource) = word.split_once('/').unwrap_or((word, ""));
        (plural == "*" || plural == resource.plural)
            && (subresource == attempt.subresource || subresource == "*" && !word.is_empty())
    });
    scope
        && named
        && has("operations", attempt.operation.as_str())
        && has("apiGroups", resource.group)
        && has("apiVersions", resource.version)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::registry::Registry;
    use crate::webhooks::Operation;

    #[test]
    fn rules_and_selectors_select() {
        let registry = Registry::default();
        let info = Arc::clone(registry.find("", "v1", "pods").unwrap());
        let space = json!({"metadata": {"name": "a", "labels": {"team": "x"}}});
        let pod = json!({"metadata": {"name": "p", "namespace": "a", "labels": {"app": "web"}}});
        let asked = |operation, subresource, changes: Value| {
            let mut webhook = json!({"rules": [{
                "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
            }]});
            for (key, value) in changes.as_object().unwrap() {
                webhook[key] = value.clone();
            }
            let attempt = Attempt { info: &info, operation, subresource, old: None, dry_run: false };
            matches(&webhook, &attempt, Some(&space), Some(&pod))
        };
        assert!(asked(Operation::Create, "", json!({})));
        assert!(!asked(Operation::Update, "", json!({})));
        assert!(!asked(Operation::Create, "status", json!({})));
        assert!(asked(Operation::Create, "", json!({"namespaceSelector": {"matchLabels": {"team": "x"}}})));
        assert!(!asked(Operation::Create, "", json!({"namespaceSelector": {"matchLabels": {"team": "y"}}})));
        assert!(!asked(Operation::Create, "", json!({"objectSelector": {"matchLabels": {"app": "db"}}})));
        let rule = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
        assert!(asked(Operation::Update, "status", json!({"rules": rule})));
    }
}
