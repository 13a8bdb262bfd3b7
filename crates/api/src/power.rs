//! What failures may do, in words and as the lines that grant it.

use catalog::Rule;

/// A rule as a sentence: `get, patch deployments.apps named checkout in the namespace of the case`.
pub fn rule_in_words(rule: &Rule) -> String {
    let verbs = rule.verbs.join(", ");
    if !rule.non_resource_urls.is_empty() {
        return format!("{verbs} {}", rule.non_resource_urls.join(", "));
    }
    let names = match rule.resource_names.as_slice() {
        [] => String::new(),
        names => format!(" named {}", names.join(", ")),
    };
    format!("{verbs} {}{names} in {}", resources(rule).join(", "), namespaces(rule))
}

/// Each resource with its group, as kubectl writes it; the core group is left out.
fn resources(rule: &Rule) -> Vec<String> {
    let groups: Vec<&str> =
        if rule.api_groups.is_empty() { vec![""] } else { rule.api_groups.iter().map(String::as_str).collect() };
    let with_group = |resource: &String| -> Vec<String> {
        groups
            .iter()
            .map(|group| if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") })
            .collect()
    };
    rule.resources.iter().flat_map(with_group).collect()
}

fn namespaces(rule: &Rule) -> String {
    match rule.namespaces.as_slice() {
        [] => "the namespace of the case".to_owned(),
        [case] if case == "$(case)" => "the namespace of the case".to_owned(),
        [all] if all == "*" => "every namespace".to_owned(),
        some => format!("the namespaces {}", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: serde_json::Value) -> Rule {
        serde_json::from_value(json).expect("a rule")
    }

    #[test]
    fn rules_read_as_sentences() {
        let one = rule(serde_json::json!({
            "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["checkout"], "verbs": ["get", "patch"]
        }));
        assert_eq!(rule_in_words(&one), "get, patch deployments.apps named checkout in the namespace of the case");
        let two = rule(serde_json::json!({
            "apiGroups": ["", "apps"], "resources": ["pods"], "verbs": ["list"], "namespaces": ["*"]
        }));
        assert_eq!(rule_in_words(&two), "list pods, pods.apps in every namespace");
        let three = rule(serde_json::json!({"nonResourceURLs": ["/version"], "verbs": ["get"]}));
        assert_eq!(rule_in_words(&three), "get /version");
    }
}
