//! Admission by what a namespace or cluster lays down: limit ranges, match conditions of webhooks, admission policies.

use serde_json::{Value, json};

use crate::client::{call, create, namespace, send, still, text};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

async fn refusal(cluster: &embedded::Cluster, path: &str, body: Value) -> (u16, String) {
    let (code, status) = call(cluster, "POST", path, body).await;
    (code, status["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn limit_ranges_bound_pods_and_claims() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let limits = json!([
        {"type": "Pod", "max": {"cpu": "1"}, "min": {"memory": "64Mi"}},
        {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}},
    ]);
    create(
        &cluster,
        "/api/v1/namespaces/a/limitranges",
        json!({"metadata": {"name": "l"}, "spec": {"limits": limits}}),
    )
    .await;
    let pod = |request: &str, limit: &str, memory: &str| {
        let container = |name: &str| {
            json!({"name": name, "image": "busybox", "resources": {
            "requests": {"cpu": request, "memory": memory}, "limits": {"cpu": limit, "memory": memory}}})
        };
        json!({"metadata": {"name": "p"}, "spec": {"containers": [container("c"), container("d")]}})
    };
    let pods = "/api/v1/namespaces/a/pods";
    for (object, why) in [
        (pod("400m", "600m", "64Mi"), "maximum cpu usage per Pod is 1, but limit is 1200m"),
        (pod("400m", "500m", "16Mi"), "minimum memory usage per Pod is 64Mi, but request is 32Mi"),
        (
            pod("100m", "400m", "64Mi"),
            "[cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000, cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000]",
        ),
    ] {
        assert_eq!(refusal(&cluster, pods, object).await, (403, format!("pods \"p\" is forbidden: {why}")));
    }
    create(&cluster, pods, pod("400m", "500m", "32Mi")).await;
    let claim = |size: &str| json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}});
    let claims = "/api/v1/namespaces/a/persistentvolumeclaims";
    for (size, why) in [
        ("500Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
        ("10Gi", "maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 10Gi"),
    ] {
        let message = format!("persistentvolumeclaims \"c\" is forbidden: {why}");
        assert_eq!(refusal(&cluster, claims, claim(size)).await, (403, message));
    }
    create(&cluster, claims, claim("2Gi")).await;
}

#[tokio::test]
async fn conditions_decide_whether_a_webhook_is_asked() {
    let cluster = still();
    namespace(&cluster, "a").await;
    // Nobody listens there: whoever is asked about fails.
    let hook = |expression: &str| {
        json!({"metadata": {"name": "h"}, "webhooks": [{
            "name": "h.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"service": {"name": "none", "namespace": "a"}},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "matchConditions": [{"name": "c", "expression": expression}],
        }]})
    };
    let hooks = format!("{ADMISSION}/validatingwebhookconfigurations");
    let (code, message) = refusal(&cluster, &hooks, hook("object.metadata.name ==")).await;
    assert!(code == 422 && message.contains("webhooks[0].matchConditions[0].expression: Invalid value"), "{message}");
    create(&cluster, &hooks, hook("object.metadata.name.startsWith('asked') && request.userInfo.username != 'nobody'"))
        .await;
    let maps = "/api/v1/namespaces/a/configmaps";
    create(&cluster, maps, json!({"metadata": {"name": "free"}})).await;
    let (code, message) = refusal(&cluster, maps, json!({"metadata": {"name": "asked-for"}})).await;
    assert!(code == 500 && message.contains("failed calling webhook \"h.example.com\""), "{message}");
    let change = json!({"webhooks": hook("object.data.there == 'x'")["webhooks"]});
    assert_eq!(call(&cluster, "PATCH", &format!("{hooks}/h"), change).await.0, 200);
    let (code, message) = refusal(&cluster, maps, json!({"metadata": {"name": "odd"}})).await;
    assert!(code == 403 && message.contains("expression 'object.data.there == 'x'' resulted in error"), "{message}");
}

#[tokio::test]
async fn bound_policies_refuse_and_warn() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]},
        "matchConditions": [{"name": "not-system", "expression": "!object.metadata.name.startsWith('kube-')"}],
        "variables": [{"name": "size", "expression": "has(object.data) ? size(object.data) : 0"}],
        "validations": [
            {"expression": "variables.size <= 2", "messageExpression": "'at most 2 keys, not ' + string(variables.size)"},
            {"expression": "object.metadata.name != 'admin'", "reason": "Forbidden"},
        ],
    }});
    let policies = format!("{ADMISSION}/validatingadmissionpolicies");
    let bindings = format!("{ADMISSION}/validatingadmissionpolicybindings");
    create(&cluster, &policies, policy.clone()).await;
    let maps = "/api/v1/namespaces/a/configmaps";
    let big = |name: &str| json!({"metadata": {"name": name}, "data": {"a": "", "b": "", "c": ""}});
    create(&cluster, maps, big("unbound")).await;
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    create(&cluster, &bindings, binding).await;
    let start = "is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request:";
    let (code, message) = refusal(&cluster, maps, big("x")).await;
    assert_eq!((code, message), (422, format!("configmaps \"x\" {start} at most 2 keys, not 3")));
    let (code, message) = refusal(&cluster, maps, json!({"metadata": {"name": "admin"}})).await;
    let why = "failed expression: object.metadata.name != 'admin'";
    assert_eq!((code, message), (403, format!("configmaps \"admin\" {start} {why}")));
    create(&cluster, maps, big("kube-x")).await;
    let path = format!("{bindings}/b");
    assert_eq!(call(&cluster, "PATCH", &path, json!({"spec": {"validationActions": ["Warn"]}})).await.0, 200);
    let headers = [("content-type", "application/json")];
    let answer = send(&cluster, "POST", maps, &headers, &big("y").to_string()).await;
    let warning = answer.headers().get("warning").unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        warning,
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': at most 2 keys, not 3\""
    );
    assert_eq!(text(answer).await.0, 201);
    let mut wrong = policy;
    wrong["metadata"]["name"] = json!("wrong");
    wrong["spec"]["validations"][0]["expression"] = json!("object.");
    let (code, message) = refusal(&cluster, &policies, wrong).await;
    assert!(code == 422 && message.contains("spec.validations[0].expression: Invalid value"), "{message}");
}
