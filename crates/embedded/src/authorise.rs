//! Who may do what: roles and bindings (RBAC), as the API server's own authoriser reads them. The cluster's administrators
//! may do everything.

use std::sync::Arc;

use serde_json::{Value, json};
use simulation::{Resource, World};

use crate::Identity;
use crate::error::ApiError;
use crate::object;
use crate::request::Target;
use crate::state::State;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// Of what is no resource.
    pub(crate) path: Option<String>,
}

impl Attributes {
    /// `pods/log`, `pods`.
    fn qualified(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Of what a path means.
    pub(crate) fn of_target(target: &Target, verb: &str) -> Self {
        let of_namespaces = target.plural == "namespaces" && target.group.is_empty();
        let name = target.name.clone().unwrap_or_default();
        Self {
            verb: verb.to_owned(),
            group: target.group.clone(),
            resource: target.plural.clone(),
            subresource: target.subresource.clone().unwrap_or_default(),
            namespace: if of_namespaces { name.clone() } else { target.namespace.clone().unwrap_or_default() },
            name,
            path: None,
        }
    }

    /// From a review's specification.
    pub(crate) fn of_review(spec: &Value) -> Self {
        let text = |key: &str| object::text(spec, &["resourceAttributes", key]).to_owned();
        if let Some(path) = spec["nonResourceAttributes"]["path"].as_str() {
            let verb = object::text(spec, &["nonResourceAttributes", "verb"]).to_owned();
            return Self { verb, path: Some(path.to_owned()), ..Self::default() };
        }
        Self {
            verb: text("verb"),
            group: text("group"),
            resource: text("resource"),
            subresource: text("subresource"),
            name: text("name"),
            namespace: text("namespace"),
            path: None,
        }
    }

    /// The refusal, as the API server words it.
    pub(crate) fn forbidden(&self, who: &Identity, why: &str) -> ApiError {
        let user = &who.name;
        let tail = if why.is_empty() { String::new() } else { format!(": {why}") };
        if let Some(path) = &self.path {
            let text = format!("forbidden: User {user:?} cannot {} path {path:?}{tail}", self.verb);
            return ApiError::new(403, "Forbidden", text).with_details(json!({}));
        }
        let kind =
            if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) };
        let subject = if self.name.is_empty() { kind } else { format!("{kind} {:?}", self.name) };
        let scope = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", self.namespace)
        };
        let text = format!(
            "{subject} is forbidden: User {user:?} cannot {} resource {:?} in API group {:?} {scope}{tail}",
            self.verb,
            self.qualified(),
            self.group
        );
        let mut details = json!({"kind": self.resource});
        for (key, value) in [("name", &self.name), ("group", &self.group)] {
            if !value.is_empty() {
                details[key] = json!(value);
            }
        }
        ApiError::new(403, "Forbidden", text).with_details(details)
    }
}

/// Whether, and the words that tell why.
pub(crate) struct Decision {
    pub(crate) allowed: bool,
    pub(crate) reason: String,
}

const fn rbac(plural: &'static str, kind: &'static str, namespaced: bool) -> Resource {
    Resource { group: "rbac.authorization.k8s.io", version: "v1", plural, kind, namespaced }
}

const ROLES: Resource = rbac("roles", "Role", true);
pub(crate) const CLUSTER_ROLES: Resource = rbac("clusterroles", "ClusterRole", false);
const BINDINGS: Resource = rbac("rolebindings", "RoleBinding", true);
pub(crate) const CLUSTER_BINDINGS: Resource = rbac("clusterrolebindings", "ClusterRoleBinding", false);

/// A rule and what gives it.
struct Given {
    rule: Value,
    by: String,
}

impl Identity {
    /// The cluster's administrators.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }

    /// A service account.
    pub(crate) fn of_account(namespace: &str, name: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
        }
    }

    /// The name of the subject of a binding that means this identity.
    fn is_subject(&self, subject: &Value, namespace: &str) -> Option<String> {
        let name = object::text(subject, &["name"]);
        match object::text(subject, &["kind"]) {
            "User" if name == self.name => Some(format!("User {name:?}")),
            "Group" if self.groups.iter().any(|group| group == name) => Some(format!("Group {name:?}")),
            "ServiceAccount" => {
                let space = match object::text(subject, &["namespace"]) {
                    "" => namespace,
                    space => space,
                };
                let account = format!("system:serviceaccount:{space}:{name}");
                (account == self.name).then(|| format!("ServiceAccount \"{name}/{space}\""))
            }
            _ => None,
        }
    }
}

/// All rules that an identity has in a namespace (none: those of the whole cluster), and roles that are not there.
fn rules(state: &State, who: &Identity, namespace: &str) -> (Vec<Given>, Vec<String>) {
    let mut given: Vec<Given> = Vec::new();
    let mut missing = Vec::new();
    let mut bindings: Vec<_> = state.list(&CLUSTER_BINDINGS, None);
    if !namespace.is_empty() {
        bindings.extend(state.list(&BINDINGS, Some(namespace)));
    }
    for binding in bindings {
        let space = object::namespace(&binding);
        let subjects = object::list(&binding, &["subjects"]);
        let Some(subject) = subjects.iter().find_map(|subject| who.is_subject(subject, space)) else { continue };
        let role = object::text(&binding, &["roleRef", "name"]);
        let kind = object::text(&binding, &["roleRef", "kind"]);
        let Some(found) = role_of(state, kind, space, role) else {
            missing.push(format!("{}.rbac.authorization.k8s.io {role:?} not found", kind.to_lowercase()));
            continue;
        };
        let name = object::name(&binding);
        let by = if space.is_empty() {
            format!("ClusterRoleBinding {name:?} of {kind} {role:?} to {subject}")
        } else {
            format!("RoleBinding \"{name}/{space}\" of {kind} {role:?} to {subject}")
        };
        given.extend(object::list(&found, &["rules"]).iter().map(|rule| Given { rule: rule.clone(), by: by.clone() }));
    }
    (given, missing)
}

/// The role that a binding refers to.
pub(crate) fn role_of(state: &State, kind: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
    match kind {
        "Role" => state.get(&ROLES, namespace, name),
        _ => state.get(&CLUSTER_ROLES, "", name),
    }
}

/// The rules that an identity has in a namespace.
pub(crate) fn rules_of(state: &State, who: &Identity, namespace: &str) -> Vec<Value> {
    rules(state, who, namespace).0.into_iter().map(|given| given.rule).collect()
}

fn has(rule: &Value, key: &str, is: impl Fn(&str) -> bool) -> bool {
    object::list(rule, &[key]).iter().filter_map(Value::as_str).any(|word| word == "*" || is(word))
}

fn covers(rule: &Value, asked: &Attributes) -> bool {
    if !has(rule, "verbs", |verb| verb == asked.verb) {
        return false;
    }
    if let Some(path) = &asked.path {
        return has(rule, "nonResourceURLs", |url| {
            url == path || url.strip_suffix('*').is_some_and(|start| path.starts_with(start))
        });
    }
    let qualified = asked.qualified();
    let any_of = format!("*/{}", asked.subresource);
    let names = object::list(rule, &["resourceNames"]);
    has(rule, "apiGroups", |group| group == asked.group)
        && has(rule, "resources", |resource| {
            resource == qualified || !asked.subresource.is_empty() && resource == any_of
        })
        && (names.is_empty() || names.iter().any(|name| *name == asked.name))
}

/// Whether an identity may do what is asked for.
pub(crate) fn decide(state: &State, who: &Identity, asked: &Attributes) -> Decision {
    if who.is_master() {
        return Decision { allowed: true, reason: String::new() };
    }
    let (given, missing) = rules(state, who, &asked.namespace);
    match given.into_iter().find(|given| covers(&given.rule, asked)) {
        Some(given) => Decision { allowed: true, reason: format!("RBAC: allowed by {}", given.by) },
        None if missing.is_empty() => Decision { allowed: false, reason: String::new() },
        None => Decision { allowed: false, reason: format!("RBAC: {}", missing.join(", ")) },
    }
}

/// Refuses what an identity may not do.
pub(crate) fn check(state: &State, who: &Identity, asked: &Attributes) -> Result<(), ApiError> {
    let decision = decide(state, who, asked);
    if decision.allowed { Ok(()) } else { Err(asked.forbidden(who, &decision.reason)) }
}

/// `status` of a SelfSubjectRulesReview.
pub(crate) fn listed(state: &State, who: &Identity, namespace: &str) -> Value {
    if who.is_master() {
        return json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        });
    }
    let (given, missing) = rules(state, who, namespace);
    let (paths, resources): (Vec<Value>, Vec<Value>) =
        given.into_iter().map(|given| given.rule).partition(|rule| rule.get("nonResourceURLs").is_some());
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": !missing.is_empty()});
    if !missing.is_empty() {
        status["evaluationError"] = json!(missing.join(", "));
    }
    status
}
