//! One rule: an RBAC `PolicyRule` plus the namespaces that it holds in. Matching follows k8s.io/kubernetes
//! `pkg/apis/rbac/v1/evaluation_helpers.go`; the intersection of two rules is exact.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Attributes;

/// What stands for the namespace of the case in files.
pub const CASE: &str = "$(case)";

/// An RBAC `PolicyRule` plus namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// `""` is the core group, `*` every group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`, or `*` for every resource and subresource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Empty means every name. As in Kubernetes, a rule with names never allows a plain create.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    /// Where the rule holds; `*` is every namespace and the cluster itself. Empty means the namespace of the case, which
    /// [`Rule::in_case`] fills in; a rule that still has none allows nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Paths such as `/metrics`, or prefixes such as `/logs/*`.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

impl Rule {
    /// A rule on resources.
    pub fn resources(groups: &[&str], resources: &[&str], verbs: &[&str], namespaces: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        Self {
            api_groups: owned(groups),
            resources: owned(resources),
            verbs: owned(verbs),
            namespaces: owned(namespaces),
            ..Self::default()
        }
    }

    /// A rule on paths.
    pub fn paths(urls: &[&str], verbs: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        Self { non_resource_urls: owned(urls), verbs: owned(verbs), ..Self::default() }
    }

    /// The rule for one case: `$(case)`, or no namespace at all, becomes the namespace of the case.
    #[must_use]
    pub fn in_case(&self, namespace: &str) -> Self {
        let mut rule = self.clone();
        if rule.namespaces.is_empty() && !rule.resources.is_empty() {
            rule.namespaces.push(CASE.to_owned());
        }
        for n in rule.namespaces.iter_mut().filter(|n| *n == CASE) {
            namespace.clone_into(n);
        }
        rule
    }

    /// Whether the rule allows a request, with `verb` in place of the one in the attributes.
    pub fn allows(&self, attributes: &Attributes, verb: &str) -> bool {
        if !matches_word(&self.verbs, verb) {
            return false;
        }
        if !attributes.is_resource {
            return self.non_resource_urls.iter().any(|url| matches_url(url, &attributes.path));
        }
        matches_word(&self.api_groups, &attributes.group)
            && matches_resource(&self.resources, attributes)
            && (self.resource_names.is_empty() || self.resource_names.contains(&attributes.name))
            && matches_word(&self.namespaces, &attributes.namespace)
    }

    /// Whether the rule can hold in this namespace.
    pub fn holds_in(&self, namespace: &str) -> bool {
        matches_word(&self.namespaces, namespace)
    }

    /// What both rules allow, as one rule; none when that is nothing.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let verbs = intersect_words(&self.verbs, &other.verbs);
        if verbs.is_empty() {
            return None;
        }
        let mut both = Self {
            verbs,
            non_resource_urls: pairs(&self.non_resource_urls, &other.non_resource_urls, narrower_url),
            ..Self::default()
        };
        let api_groups = intersect_words(&self.api_groups, &other.api_groups);
        let resources = pairs(&self.resources, &other.resources, narrower_resource);
        let namespaces = intersect_words(&self.namespaces, &other.namespaces);
        let names = intersect_names(&self.resource_names, &other.resource_names);
        if let Some(names) = names.filter(|_| !(api_groups.is_empty() || resources.is_empty() || namespaces.is_empty()))
        {
            both.api_groups = api_groups;
            both.resources = resources;
            both.namespaces = namespaces;
            both.resource_names = names;
        }
        (!both.resources.is_empty() || !both.non_resource_urls.is_empty()).then_some(both)
    }

    /// The rule as one line of a YAML file.
    pub fn to_yaml(&self, case_namespace: &str) -> String {
        let word = |w: &String| match w.as_str() {
            "" => "\"\"".to_owned(),
            w if w == case_namespace && !case_namespace.is_empty() => CASE.to_owned(),
            w if w.bytes().all(|b| b.is_ascii_alphanumeric() || b"-./$()".contains(&b)) => w.to_owned(),
            w => serde_json::Value::from(w).to_string(),
        };
        let members = [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("verbs", &self.verbs),
            ("namespaces", &self.namespaces),
            ("nonResourceURLs", &self.non_resource_urls),
        ];
        let members: Vec<String> = members
            .iter()
            .filter(|(_, words)| !words.is_empty())
            .map(|(key, words)| format!("{key}: [{}]", words.iter().map(word).collect::<Vec<_>>().join(", ")))
            .collect();
        format!("- {{{}}}", members.join(", "))
    }
}

fn matches_word(words: &[String], wanted: &str) -> bool {
    words.iter().any(|w| w == "*" || w == wanted)
}

fn matches_resource(resources: &[String], attributes: &Attributes) -> bool {
    let combined = attributes.combined_resource();
    let any_with_subresource = |r: &String| {
        !attributes.subresource.is_empty() && r.strip_prefix("*/").is_some_and(|sub| sub == attributes.subresource)
    };
    resources.iter().any(|r| r == "*" || *r == combined || any_with_subresource(r))
}

fn matches_url(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

fn intersect_words(a: &[String], b: &[String]) -> Vec<String> {
    pairs(a, b, |x, y| match (x, y) {
        ("*", other) | (other, "*") => Some(other.to_owned()),
        (x, y) => (x == y).then(|| x.to_owned()),
    })
}

/// None when no name is left: an empty list would mean every name.
fn intersect_names(a: &[String], b: &[String]) -> Option<Vec<String>> {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => Some(b.to_vec()),
        (_, true) => Some(a.to_vec()),
        _ => Some(a.iter().filter(|n| b.contains(n)).cloned().collect::<Vec<_>>()).filter(|names| !names.is_empty()),
    }
}

pub(crate) fn covers_resource(wide: &str, narrow: &str) -> bool {
    wide == "*"
        || wide == narrow
        || wide.strip_prefix("*/").is_some_and(|sub| narrow.split_once('/').is_some_and(|(_, s)| s == sub))
}

pub(crate) fn covers_url(wide: &str, narrow: &str) -> bool {
    wide == narrow || wide.strip_suffix('*').is_some_and(|prefix| narrow.starts_with(prefix))
}

fn narrower_resource(a: &str, b: &str) -> Option<String> {
    if covers_resource(a, b) { Some(b.to_owned()) } else { covers_resource(b, a).then(|| a.to_owned()) }
}

fn narrower_url(a: &str, b: &str) -> Option<String> {
    if covers_url(a, b) { Some(b.to_owned()) } else { covers_url(b, a).then(|| a.to_owned()) }
}

/// Everything that `narrower` finds in common, each once, in the order of the first list.
fn pairs(a: &[String], b: &[String], narrower: impl Fn(&str, &str) -> Option<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for found in a.iter().flat_map(|x| b.iter().map(move |y| (x, y))).filter_map(|(x, y)| narrower(x, y)) {
        if !out.contains(&found) {
            out.push(found);
        }
    }
    out
}
