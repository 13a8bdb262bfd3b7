//! Whether capabilities are as narrow as they can be: what was declared and never used, from the gate's own records.

use catalog::Capabilities;
use gate::{Attributes, Rule};
use model::{DeniedRequest, GateRecord, Party};

/// A part of a rule that was never used, or that says more than it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// Number of the rule.
    pub(crate) rule: usize,
    /// What is too much.
    pub(crate) what: String,
    /// What to write instead.
    pub(crate) instruction: String,
}

impl Excess {
    /// Whether another case found the same, whatever it would write instead.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.rule == other.rule && self.what == other.what
    }
}

/// Everything in the declared rules that no request needed.
pub(crate) fn excess(declared: &Capabilities, used: &[GateRecord]) -> Vec<Excess> {
    let asked: Vec<Attributes> = used.iter().map(attributes).collect();
    let rules = declared.rules.iter().map(Rule::from).enumerate();
    rules.flat_map(|(number, rule)| of_rule(number, &rule, &asked)).collect()
}

fn of_rule(number: usize, rule: &Rule, asked: &[Attributes]) -> Vec<Excess> {
    let uses: Vec<&Attributes> = asked.iter().filter(|attributes| rule.allows(attributes, verb(attributes))).collect();
    let found = |what: String, instruction: String| Excess { rule: number, what, instruction };
    if uses.is_empty() {
        return vec![found("the rule was never used".into(), "remove the rule".into())];
    }
    let mut all = Vec::new();
    let words = |words: Vec<String>| {
        let mut words = words;
        words.sort();
        words.dedup();
        words.join(", ")
    };
    let wide = |list: &[String]| list.iter().any(|word| word == "*");
    let verbs = words(uses.iter().map(|attributes| verb(attributes).to_owned()).collect());
    let resources = words(uses.iter().map(|attributes| attributes.combined_resource()).collect());
    if wide(&rule.verbs) {
        all.push(found("verbs are `*`".into(), format!("write `verbs: [{verbs}]`")));
    }
    if wide(&rule.resources) {
        all.push(found("resources are `*`".into(), format!("write `resources: [{resources}]`")));
    }
    let plain = |list: &[String]| list.iter().filter(|word| *word != "*").cloned().collect::<Vec<_>>();
    for unused in plain(&rule.verbs).iter().filter(|word| !uses.iter().any(|one| verb(one) == word.as_str())) {
        all.push(found(format!("the verb `{unused}` was never used"), format!("write `verbs: [{verbs}]`")));
    }
    for unused in plain(&rule.resources) {
        let narrow = Rule { resources: vec![unused.clone()], ..rule.clone() };
        if !uses.iter().any(|attributes| narrow.allows(attributes, verb(attributes))) {
            let instruction = format!("write `resources: [{resources}]`");
            all.push(found(format!("the resource `{unused}` was never used"), instruction));
        }
    }
    for unused in rule.resource_names.iter().filter(|name| !uses.iter().any(|one| one.name == **name)) {
        all.push(found(format!("the name `{unused}` was never used"), "remove that name from `resourceNames`".into()));
    }
    all
}

/// As the gate compares it: what runs something needs `create`, whatever the method.
fn verb(attributes: &Attributes) -> &str {
    let runs = matches!(attributes.subresource.as_str(), "exec" | "attach" | "portforward");
    if runs && attributes.resource == "pods" { "create" } else { &attributes.verb }
}

fn attributes(record: &GateRecord) -> Attributes {
    Attributes {
        verb: record.verb.clone(),
        group: record.group.clone(),
        version: record.version.clone(),
        resource: record.resource.clone(),
        subresource: record.subresource.clone(),
        namespace: record.namespace.clone(),
        name: record.name.clone(),
        path: record.path.clone(),
        query: Vec::new(),
        is_resource: !record.resource.is_empty(),
    }
}

/// What the failure asked and was denied, a sentence each, with what to add.
pub(crate) fn missing(denied: &[DeniedRequest]) -> Vec<(String, String)> {
    let failures = denied.iter().filter(|one| matches!(one.party, Party::Plugin | Party::Script));
    let mut all: Vec<(String, String)> = Vec::new();
    for one in failures {
        let name = if one.name.is_empty() { String::new() } else { format!(" {}", one.name) };
        let what = format!("{} {}{name} was denied: {}", one.verb, one.resource, one.because);
        let (resource, group) = one.resource.split_once('.').map_or((one.resource.as_str(), ""), |(resource, rest)| {
            let (group, subresource) = rest.rsplit_once('/').unwrap_or((rest, ""));
            if subresource.is_empty() { (resource, group) } else { (one.resource.as_str(), group) }
        });
        let group = if group.is_empty() { "\"\"" } else { group };
        let instruction = match one.allow_with.is_empty() {
            true => format!("declare it: `- {{apiGroups: [{group}], resources: [{resource}], verbs: [{}]}}`", one.verb),
            false => one.allow_with.clone(),
        };
        if !all.iter().any(|(known, _)| *known == what) {
            all.push((what, instruction));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use model::Decision;
    use serde_json::json;

    use super::*;

    fn used(verb: &str, resource: &str, name: &str) -> GateRecord {
        GateRecord {
            at: Timestamp::now(),
            party: Party::Plugin,
            verb: verb.into(),
            group: "apps".into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: String::new(),
            namespace: "c-1".into(),
            name: name.into(),
            path: String::new(),
            mutation: verb != "get",
            decision: Decision::Allowed,
            because: String::new(),
            allow_with: String::new(),
            status: 200,
            duration_ms: 1,
        }
    }

    fn declared(rule: serde_json::Value) -> Capabilities {
        serde_json::from_value(json!({"rules": [rule]})).expect("capabilities")
    }

    #[test]
    fn what_is_used_whole_is_narrow() {
        let rule = json!({"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["web"],
                          "verbs": ["get", "patch"], "namespaces": ["c-1"]});
        let records = [used("get", "deployments", "web"), used("patch", "deployments", "web")];
        assert_eq!(excess(&declared(rule.clone()), &records), []);
        let unused = excess(&declared(rule.clone()), &records[..1]);
        assert_eq!(unused.len(), 1, "{unused:?}");
        assert!(unused[0].what.contains("`patch`") && unused[0].instruction.contains("[get]"), "{unused:?}");
        assert!(excess(&declared(rule), &[used("get", "deployments", "other")])[0].what.contains("never used"));
    }

    #[test]
    fn stars_and_names_that_nobody_needs_are_named() {
        let rule = json!({"apiGroups": ["apps"], "resources": ["deployments", "replicasets"],
                          "resourceNames": ["web", "shop"], "verbs": ["*"], "namespaces": ["c-1"]});
        let found = excess(&declared(rule), &[used("get", "deployments", "web")]);
        let all = format!("{found:?}");
        for expected in ["verbs are `*`", "`replicasets`", "`shop`", "verbs: [get]"] {
            assert!(all.contains(expected), "{expected}: {all}");
        }
    }
}
