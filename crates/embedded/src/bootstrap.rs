//! What a cluster has from its first moment: namespaces, priority classes, its own service.

use std::sync::Arc;

use serde_json::{Value, json};
use simulation::{Resource, World, resources};

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

/// The roles that people bind to.
fn roles(state: &mut State) {
    let Some(info) = state.registry.find("rbac.authorization.k8s.io", "v1", "clusterroles").map(Arc::clone) else {
        return;
    };
    let read = json!(["get", "list", "watch"]);
    let write = json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);
    for (name, rules) in [
        (
            "cluster-admin",
            json!([
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        ),
        (
            "admin",
            json!([{"verbs": write, "apiGroups": ["", "apps", "batch", "networking.k8s.io", "policy", "autoscaling", "rbac.authorization.k8s.io"], "resources": ["*"]}]),
        ),
        (
            "edit",
            json!([{"verbs": write, "apiGroups": ["", "apps", "batch", "networking.k8s.io", "policy", "autoscaling"], "resources": ["*"]}]),
        ),
        (
            "view",
            json!([{"verbs": read, "apiGroups": ["", "apps", "batch", "networking.k8s.io", "policy", "autoscaling"], "resources": ["*"]}]),
        ),
    ] {
        let resource = info.resource;
        put(
            state,
            &resource,
            json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}, "rules": rules}),
        );
    }
}
