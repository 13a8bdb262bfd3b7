//! What a cluster has from its first moment: namespaces, priority classes, its own service, roles.

use serde_json::{Value, json};
use simulation::{Resource, World, resources};

use crate::authorise::{CLUSTER_BINDINGS, CLUSTER_ROLES};
use crate::random::Random;
use crate::state::State;

fn put(state: &mut State, resource: &Resource, object: Value) {
    if let Err(error) = state.create(resource, object, "kube-apiserver") {
        tracing::error!(%error, "an object of the cluster itself was refused");
    }
}

/// Fills a new cluster.
pub(crate) fn fill(state: &mut State) {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        put(state, &resources::NAMESPACES, json!({"metadata": {"name": name}}));
    }
    for (name, value, text) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ] {
        put(
            state,
            &resources::PRIORITY_CLASSES,
            json!({"metadata": {"name": name}, "value": value, "description": text}),
        );
    }
    let service = json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
                     "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": "10.96.0.1", "type": "ClusterIP",
                 "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}]},
    });
    put(state, &resources::SERVICES, service);
    roles(state);
}

const READ: &str = "get list watch";
const WRITE: &str = "create delete deletecollection patch update";

/// Who has which of the roles from the beginning.
const BINDINGS: [(&str, &[&str]); 6] = [
    ("cluster-admin", &["system:masters"]),
    ("system:basic-user", &["system:authenticated"]),
    ("system:discovery", &["system:authenticated"]),
    ("system:monitoring", &["system:monitoring"]),
    ("system:public-info-viewer", &["system:authenticated", "system:unauthenticated"]),
    ("system:service-account-issuer-discovery", &["system:serviceaccounts"]),
];

/// The rules of each role.
fn rules() -> Vec<(&'static str, Vec<Value>)> {
    let mut roles: Vec<(&str, Vec<Value>)> = Vec::new();
    for line in include_str!("roles.txt").lines().filter(|line| !line.starts_with('#')) {
        if let Some((role, other)) = line.strip_prefix('+').and_then(|line| line.split_once(' ')) {
            let inner = roles.iter().find(|(name, _)| *name == other).map(|(_, rules)| rules.clone());
            if let (Some(inner), Some((_, rules))) = (inner, roles.iter_mut().find(|(name, _)| *name == role)) {
                rules.extend(inner);
            }
            continue;
        }
        let parts: Vec<&str> = line.split(" | ").collect();
        let [role, verbs, group, things] = parts[..] else { continue };
        let words = |text: &str| -> Value { text.split(' ').collect() };
        let verbs = match verbs {
            "read" => words(READ),
            "write" => words(WRITE),
            "all" => words("create delete deletecollection get list patch update watch"),
            verbs => words(verbs),
        };
        let rule = match group {
            "-" => json!({"verbs": verbs, "nonResourceURLs": words(things)}),
            "core" => json!({"verbs": verbs, "apiGroups": [""], "resources": words(things)}),
            group => json!({"verbs": verbs, "apiGroups": [group], "resources": words(things)}),
        };
        match roles.iter_mut().find(|(name, _)| *name == role) {
            Some((_, rules)) => rules.push(rule),
            None => roles.push((role, vec![rule])),
        }
    }
    roles
}

/// The seed of the roles' own uids: far from what clusters are given.
const ROLES: u64 = 0x726f_6c65_7320_6f66;

/// The roles that every cluster has, and who has them.
fn roles(state: &mut State) {
    let metadata = |name: &str| {
        json!({
            "name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
            "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
        })
    };
    // They draw from a stream of their own, so that what comes later does not depend on how many there are.
    let own = std::mem::replace(&mut state.random, Random::new(ROLES));
    for (name, rules) in rules() {
        put(state, &CLUSTER_ROLES, json!({"metadata": metadata(name), "rules": rules}));
    }
    for (name, groups) in BINDINGS {
        let subject = |group: &&str| json!({"kind": "Group", "apiGroup": CLUSTER_ROLES.group, "name": group});
        let role = json!({"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": name});
        let subjects: Vec<Value> = groups.iter().map(subject).collect();
        put(state, &CLUSTER_BINDINGS, json!({"metadata": metadata(name), "roleRef": role, "subjects": subjects}));
    }
    state.random = own;
}
