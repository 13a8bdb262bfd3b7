//! From a kind, as failures name it, to the path that the API server has it under.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Where the objects of one kind live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

/// Kinds of Kubernetes itself whose plural is asked for so often that the API server need not be: API group, kind, plural, namespaced.
const KNOWN: &[(&str, &str, &str, bool)] = &[
    ("", "Pod", "pods", true),
    ("", "Service", "services", true),
    ("", "ConfigMap", "configmaps", true),
    ("", "Secret", "secrets", true),
    ("", "ServiceAccount", "serviceaccounts", true),
    ("", "PersistentVolumeClaim", "persistentvolumeclaims", true),
    ("", "PersistentVolume", "persistentvolumes", false),
    ("", "ResourceQuota", "resourcequotas", true),
    ("", "LimitRange", "limitranges", true),
    ("", "Endpoints", "endpoints", true),
    ("", "Event", "events", true),
    ("", "Namespace", "namespaces", false),
    ("", "Node", "nodes", false),
    ("apps", "Deployment", "deployments", true),
    ("apps", "ReplicaSet", "replicasets", true),
    ("apps", "StatefulSet", "statefulsets", true),
    ("apps", "DaemonSet", "daemonsets", true),
    ("batch", "Job", "jobs", true),
    ("batch", "CronJob", "cronjobs", true),
    ("networking.k8s.io", "NetworkPolicy", "networkpolicies", true),
    ("networking.k8s.io", "Ingress", "ingresses", true),
    ("policy", "PodDisruptionBudget", "poddisruptionbudgets", true),
    ("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true),
    ("rbac.authorization.k8s.io", "Role", "roles", true),
    ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings", true),
    ("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", false),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", false),
];

/// The resource of a kind of Kubernetes itself; others have to be asked for.
pub(crate) fn known(api_version: &str, kind: &str) -> Option<Resource> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let found = KNOWN.iter().find(|(g, k, _, _)| *g == group && *k == kind)?;
    Some(Resource { plural: found.2.to_owned(), namespaced: found.3 })
}

/// `/api/v1` or `/apis/<group>/<version>`; none when it is neither.
pub(crate) fn group_path(api_version: &str) -> Option<String> {
    let plain =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    match api_version.split_once('/') {
        None if plain(api_version) => Some(format!("/api/{api_version}")),
        Some((group, version)) if plain(group) && plain(version) => Some(format!("/apis/{group}/{version}")),
        _ => None,
    }
}

/// The path of a collection, or of one object in it.
pub(crate) fn path(group: &str, resource: &Resource, namespace: &str, name: Option<&str>) -> String {
    let mut path = group.to_owned();
    if resource.namespaced {
        path.push_str("/namespaces/");
        path.push_str(&segment(namespace));
    }
    path.push('/');
    path.push_str(&segment(&resource.plural));
    if let Some(name) = name {
        path.push('/');
        path.push_str(&segment(name));
    }
    path
}

/// A name is one segment of the path, whatever it holds: a failure must not reach another resource by a clever name.
fn segment(text: &str) -> String {
    const SET: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'/')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}')
        .add(b'&')
        .add(b'=')
        .add(b'+')
        .add(b';');
    match text {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(text, SET).to_string(),
    }
}
