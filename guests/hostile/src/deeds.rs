//! What a failure must not do to a cluster, by name. Each is one request that must not get through.

use failure_sdk::{Error, Result, Selection, Target, Value, apply, create, json};

/// Tries it; what comes back says why it did not work.
pub(crate) fn attempt(deed: &str) -> Result<()> {
    let victim = Target::deployment("victim");
    let done = match deed {
        "secrets" => Selection::new("v1", "Secret").namespace("kube-system").list().map(Value::from),
        "secret" => Target::new("v1", "Secret", "any").namespace("kube-system").get(),
        "outside" => create(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default"},
        })),
        "privileged-pod" => create(&pod(&privileged())),
        "host-path-pod" => create(&pod(&host_path())),
        "privileged-deployment" => create(&deployment("bad", &privileged())),
        "host-path-deployment" => create(&deployment("bad", &host_path())),
        "privileged-patch" => victim.patch(&json!({"spec": {"template": {"spec": privileged()}}})),
        "host-path-patch" => victim.patch(&json!({"spec": {"template": {"spec": host_path()}}})),
        "privileged-json-patch" => victim.json_patch(&json!([{
            "op": "add", "path": "/spec/template/spec/containers/0/securityContext", "value": {"privileged": true},
        }])),
        "privileged-apply" => apply(&deployment("victim", &privileged())),
        "host-path-apply" => apply(&pod(&host_path())),
        "cluster-role-binding" => create(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "x"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:authenticated"}],
        })),
        "webhook" => create(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "x"}, "webhooks": [],
        })),
        "namespace" => Target::new("v1", "Namespace", "kube-system").delete().map(|()| Value::Null),
        "name-up" => Target::config_map("../secrets/x").get(),
        "name-dots" => Target::config_map("..").get(),
        "name-slash" => Target::config_map("a/b").get(),
        "name-encoded" => Target::config_map("%2e%2e%2fsecrets").get(),
        "name-query" => Target::config_map("victim?watch=1").get(),
        "name-unicode" => create(&config_map("v\u{456}ctim\u{202e}")),
        "name-empty" => Target::config_map("").delete().map(|()| Value::Null),
        "name-long" => create(&config_map(&"x".repeat(100_000))),
        "namespace-up" => Target::config_map("x").namespace("../kube-system").get(),
        other => return Err(other.into()),
    };
    match done {
        Ok(_) => Err(Error::Other(format!("{deed} was not stopped"))),
        Err(error) => Err(error),
    }
}

fn privileged() -> Value {
    json!({"containers": [{"name": "app", "image": "busybox:1.36", "securityContext": {"privileged": true}}]})
}

fn host_path() -> Value {
    json!({
        "containers": [{"name": "app", "image": "busybox:1.36"}],
        "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
    })
}

fn pod(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": spec})
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

/// A Deployment whose pods have this spec; harmless when it is empty.
pub(crate) fn deployment(name: &str, spec: &Value) -> Value {
    let mut pod = json!({"containers": [{"name": "app", "image": "busybox:1.36", "command": ["sleep", "600"]}]});
    if let (Some(pod), Some(spec)) = (pod.as_object_mut(), spec.as_object()) {
        pod.extend(spec.clone());
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    })
}
