//! Single objects: what was changed, deleted or made goes back.

use serde_json::{Value, json};

use crate::rig::*;

async fn with_namespace(rig: Rig) -> Rig {
    rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_was_patched_and_scaled_runs_as_before() {
    let rig = with_namespace(Rig::new()).await;
    rig.given(DEPLOYMENTS, deployment("web", 2)).await;
    rig.pass(30).await;
    let before = rig.dump().await;
    let path = format!("{DEPLOYMENTS}/web");
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "no.such/image:1"}]}}}});
    rig.done("PATCH", &path, image).await;
    rig.pass(20).await;
    rig.done("PUT", &format!("{path}/scale"), json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "namespace": "a"}, "spec": {"replicas": 5},
    })).await;
    rig.done("PATCH", &path, json!({"metadata": {"labels": {"x": "y"}}})).await;
    rig.pass(20).await;
    let report = rig.undo_all().await;
    assert_eq!(report.restored.len(), 1, "{report:?}");
    rig.is_as(&before, "after the undo").await;
    rig.pass(60).await;
    let status = rig.get(&path).await.unwrap()["status"].clone();
    assert_eq!(status["availableReplicas"], 2, "{status}");
    assert_eq!(status["replicas"], 2, "{status}");
    assert!(rig.undo().await.restored.is_empty(), "and stays so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_pod_comes_back_and_one_of_a_controller_does_so_by_itself() {
    let rig = with_namespace(Rig::new()).await;
    rig.given(DEPLOYMENTS, deployment("web", 1)).await;
    let mut bare = pod_template(json!({"app": "bare"}));
    for name in ["bare", "evicted"] {
        bare["metadata"]["name"] = json!(name);
        rig.given(PODS, bare.clone()).await;
    }
    rig.pass(30).await;
    let before = rig.dump().await;
    let pods = rig.get(PODS).await.unwrap();
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap().to_owned();
    for pod in pods["items"].as_array().unwrap().iter().filter(|pod| name(pod) != "evicted") {
        rig.done("DELETE", &format!("{PODS}/{}", name(pod)), Value::Null).await;
    }
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted", "namespace": "a"}});
    rig.done("POST", &format!("{PODS}/evicted/eviction"), eviction).await;
    let report = rig.undo_all().await;
    rig.is_as(&before, "after the undo").await;
    let restored: Vec<&str> = report.restored.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(restored, ["bare", "evicted"]);
    rig.pass(60).await;
    let pods = rig.get(PODS).await.unwrap();
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 3);
    assert!(pods.iter().all(|pod| pod["status"]["phase"] == "Running"), "{pods:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_keeps_its_address_unless_another_has_it() {
    let rig = with_namespace(Rig::new()).await;
    let services = "/api/v1/namespaces/a/services";
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "selector": {"app": "x"}, "ports": [{"port": 80}]}});
    let kept = rig.given(services, service("kept")).await;
    let lost = rig.given(services, service("lost")).await;
    let before = rig.dump().await;
    for name in ["kept", "lost"] {
        rig.done("DELETE", &format!("{services}/{name}"), Value::Null).await;
    }
    let mut thief = service("thief");
    thief["spec"]["clusterIP"] = lost["spec"]["clusterIP"].clone();
    let stolen = rig.call("POST", services, &thief).await.0 == 201;
    rig.undo_all().await;
    let now = rig.dump().await;
    let name = |n: &str| format!("/api/v1/services \"a\" \"{n}\"");
    assert_eq!(now[&name("kept")], before[&name("kept")]);
    assert_eq!(now[&name("kept")]["spec"]["clusterIP"], kept["spec"]["clusterIP"]);
    if stolen {
        assert_ne!(now[&name("lost")]["spec"]["clusterIP"], lost["spec"]["clusterIP"]);
    }
    assert_eq!(now[&name("lost")]["spec"]["selector"], json!({"app": "x"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_whole_cluster_shares_goes_back() {
    let rig = with_namespace(Rig::new()).await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let webhooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
    let binding = |role: &str| {
        json!({
            "metadata": {"name": "b"}, "subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        })
    };
    let webhook = |name: &str| {
        json!({"metadata": {"name": name}, "webhooks": [{
            "name": "x.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "rules": [],
        }]})
    };
    rig.given(roles, json!({"metadata": {"name": "r"}, "rules": [rule]})).await;
    rig.given(bindings, binding("r")).await;
    rig.given(webhooks, webhook("old")).await;
    let before = rig.dump().await;
    rig.done("PATCH", &format!("{roles}/r"), json!({"rules": []})).await;
    rig.done("POST", roles, json!({"metadata": {"name": "made"}, "rules": [rule]})).await;
    // The role of a binding cannot be changed: it was made again, and has to be once more.
    rig.done("DELETE", &format!("{bindings}/b"), Value::Null).await;
    rig.done("POST", bindings, binding("made")).await;
    rig.done("DELETE", &format!("{webhooks}/old"), Value::Null).await;
    rig.done("POST", webhooks, webhook("made")).await;
    rig.done(
        "POST",
        "/api/v1/namespaces/a/resourcequotas",
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}}),
    )
    .await;
    rig.undo_all().await;
    rig.is_as(&before, "after the undo").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_of_the_case_goes_with_all_that_is_in_it() {
    let rig = Rig::new();
    let before = rig.dump().await;
    rig.done("POST", DEFINITIONS, definition()).await;
    rig.done("POST", NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    rig.done("POST", WIDGETS, widget("plain")).await;
    let mut held = widget("held");
    held["metadata"]["finalizers"] = json!(["example.com/nobody"]);
    rig.done("POST", WIDGETS, held).await;
    let mut web = deployment("web", 2);
    web["spec"]["template"]["metadata"]["finalizers"] = json!(["example.com/pods"]);
    rig.done("POST", DEPLOYMENTS, web).await;
    rig.done("POST", MAPS, json!({"metadata": {"name": "m", "finalizers": ["example.com/hold"]}})).await;
    rig.pass(30).await;
    let report = rig.undo_all().await;
    rig.is_as(&before, "after the undo").await;
    assert!(report.irreversible.is_empty());
    assert!(rig.get("/api/v1/namespaces/a").await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_goes_after_its_objects() {
    let rig = with_namespace(Rig::new()).await;
    let before = rig.dump().await;
    rig.done("POST", DEFINITIONS, definition()).await;
    let mut held = widget("held");
    held["metadata"]["finalizers"] = json!(["example.com/nobody"]);
    rig.done("POST", WIDGETS, held).await;
    rig.given(WIDGETS, widget("outsider")).await;
    rig.undo_all().await;
    rig.is_as(&before, "after the undo").await;
    assert!(rig.get(&format!("{DEFINITIONS}/widgets.example.com")).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_was_deleted_comes_back_as_far_as_it_is_known() {
    let rig = with_namespace(Rig::new()).await;
    rig.given(MAPS, json!({"metadata": {"name": "known"}, "data": {"a": "1"}})).await;
    rig.given(MAPS, json!({"metadata": {"name": "unknown"}})).await;
    rig.done("PATCH", &format!("{MAPS}/known"), json!({"data": {"a": "2"}})).await;
    rig.done("DELETE", "/api/v1/namespaces/a", Value::Null).await;
    let report = rig.undo_all().await;
    assert_eq!(rig.get(&format!("{MAPS}/known")).await.unwrap()["data"], json!({"a": "1"}));
    assert!(rig.get(&format!("{MAPS}/unknown")).await.is_none());
    let lost: Vec<String> = report.irreversible.iter().map(ToString::to_string).collect();
    assert_eq!(lost, ["namespaces a"]);
}

#[tokio::test]
async fn status_goes_back_when_it_was_written_and_nobody_has_since() {
    let rig = with_namespace(Rig::still()).await;
    rig.given(DEFINITIONS, definition()).await;
    rig.given(WIDGETS, widget("w")).await;
    let path = format!("{WIDGETS}/w");
    rig.call("PATCH", &format!("{path}/status"), &json!({"status": {"ready": true}})).await;
    let before = rig.dump().await;
    rig.done("PATCH", &format!("{path}/status"), json!({"status": {"ready": false}})).await;
    rig.done("PATCH", &path, json!({"spec": {"size": 9}})).await;
    rig.undo_all().await;
    rig.is_as(&before, "after the undo").await;
    // What its owner has written since is the owner's.
    rig.done("PATCH", &format!("{path}/status"), json!({"status": {"ready": false}})).await;
    rig.call("PATCH", &format!("{path}/status"), &json!({"status": {"ready": "later"}})).await;
    rig.undo_all().await;
    assert_eq!(rig.get(&path).await.unwrap()["status"]["ready"], "later");
}
