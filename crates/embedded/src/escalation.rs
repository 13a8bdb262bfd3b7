//! Roles and bindings give nobody more than who writes them has: the check of the API server on roles, bindings and what
//! they refer to, with its two exceptions, the verbs `escalate` and `bind`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Identity;
use crate::authorise::{self, Attributes};
use crate::error::ApiError;
use crate::object;
use crate::registry::Info;
use crate::state::State;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses a role or binding that gives more than its writer has. Controllers write none.
pub(crate) fn check(state: &State, info: &Info, old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
    if info.resource.group != GROUP {
        return Ok(());
    }
    let Some(who) = state.webhooks.client.clone().filter(|who| !who.is_master()) else { return Ok(()) };
    match info.resource.plural {
        "roles" | "clusterroles" => role(state, info, &who, old, new),
        _ => binding(state, info, &who, old, new),
    }
}

fn may(state: &State, who: &Identity, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let asked = Attributes {
        verb: verb.to_owned(),
        group: GROUP.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    authorise::decide(state, who, &asked).allowed
}

fn role(state: &State, info: &Info, who: &Identity, old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
    let same = |key: &str| old.is_some_and(|old| old[key] == new[key]);
    if same("rules") && same("aggregationRule") {
        return Ok(());
    }
    let (namespace, name) = (object::namespace(new), object::name(new));
    if may(state, who, "escalate", info.resource.plural, namespace, name) {
        return Ok(());
    }
    let mut wanted = object::list(new, &["rules"]).to_vec();
    if new["aggregationRule"].is_object() {
        // Whatever other roles may come to hold.
        wanted.push(serde_json::json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        wanted.push(serde_json::json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    held(state, info, who, namespace, name, &wanted)
}

fn binding(state: &State, info: &Info, who: &Identity, old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
    let same = |key: &str| old.is_some_and(|old| old[key] == new[key]);
    if same("roleRef") && same("subjects") {
        return Ok(());
    }
    let (namespace, name) = (object::namespace(new), object::name(new));
    let kind = object::text(new, &["roleRef", "kind"]);
    let role = object::text(new, &["roleRef", "name"]);
    let plural = if kind == "Role" { "roles" } else { "clusterroles" };
    if may(state, who, "bind", plural, namespace, role) {
        return Ok(());
    }
    let found = authorise::role_of(state, kind, namespace, role);
    let Some(found) = found else {
        let text = format!("{plural}.{GROUP} {role:?} not found");
        return Err(ApiError::new(404, "NotFound", text)
            .with_details(serde_json::json!({"name": role, "group": GROUP, "kind": plural})));
    };
    held(state, info, who, namespace, name, object::list(&found, &["rules"]))
}

fn words<'a>(rule: &'a Value, key: &str) -> Vec<&'a str> {
    object::list(rule, &[key]).iter().filter_map(Value::as_str).collect()
}

fn held(
    state: &State,
    info: &Info,
    who: &Identity,
    namespace: &str,
    name: &str,
    wanted: &[Value],
) -> Result<(), ApiError> {
    let own = authorise::rules_of(state, who, namespace);
    let missing: Vec<Right> =
        wanted.iter().flat_map(Right::of_rule).filter(|right| !own.iter().any(|rule| right.is_in(rule))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let groups: Vec<&str> = who.groups.iter().map(String::as_str).collect();
    let why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        who.name,
        quoted(&groups),
        described(&missing)
    );
    Err(ApiError::forbidden(info, name, &why))
}

/// `["get" "list"]`, as Go prints lists.
fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}

/// One verb on one thing.
struct Right<'a> {
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    /// Empty: all of them.
    name: &'a str,
    path: Option<&'a str>,
}

impl<'a> Right<'a> {
    fn of_rule(rule: &'a Value) -> Vec<Self> {
        let mut rights = Vec::new();
        let names = words(rule, "resourceNames");
        let names = if names.is_empty() { vec![""] } else { names };
        for verb in words(rule, "verbs") {
            for group in words(rule, "apiGroups") {
                for resource in words(rule, "resources") {
                    rights.extend(names.iter().map(|name| Self { verb, group, resource, name, path: None }));
                }
            }
            for path in words(rule, "nonResourceURLs") {
                rights.push(Self { verb, group: "", resource: "", name: "", path: Some(path) });
            }
        }
        rights
    }

    fn is_in(&self, rule: &Value) -> bool {
        let has = |key: &str, wanted: &str| words(rule, key).iter().any(|word| *word == "*" || *word == wanted);
        if !has("verbs", self.verb) {
            return false;
        }
        if let Some(path) = self.path {
            let covers = |url: &str| url == path || url.strip_suffix('*').is_some_and(|start| path.starts_with(start));
            return words(rule, "nonResourceURLs").into_iter().any(covers);
        }
        let any_of = self.resource.split_once('/').map(|(_, part)| format!("*/{part}"));
        let names = words(rule, "resourceNames");
        has("apiGroups", self.group)
            && (has("resources", self.resource)
                || any_of.is_some_and(|all| words(rule, "resources").contains(&all.as_str())))
            && (names.is_empty() || !self.name.is_empty() && names.contains(&self.name))
    }
}

/// What is missing, a line for each thing, with its verbs.
fn described(missing: &[Right<'_>]) -> String {
    let mut things: BTreeMap<String, (String, Vec<&str>)> = BTreeMap::new();
    for right in missing {
        let start = match right.path {
            Some(path) => format!("NonResourceURLs:{}", quoted(&[path])),
            None => {
                let thing = format!("APIGroups:{}, Resources:{}", quoted(&[right.group]), quoted(&[right.resource]));
                if right.name.is_empty() { thing } else { format!("{thing}, ResourceNames:{}", quoted(&[right.name])) }
            }
        };
        let (_, verbs) = things.entry(start.clone()).or_insert_with(|| (start, Vec::new()));
        if !verbs.contains(&right.verb) {
            verbs.push(right.verb);
        }
    }
    let lines: BTreeSet<String> =
        things.into_values().map(|(start, verbs)| format!("{{{start}, Verbs:{}}}", quoted(&verbs))).collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}
