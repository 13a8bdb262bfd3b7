//! Objects that own others, and those whose fields controllers write.

use serde_json::{Value, json};

use crate::rig::*;

fn owned_by(owner: &Value, kind: &str) -> Value {
    let [name, uid] = ["name", "uid"].map(|member| owner["metadata"][member].clone());
    let api_version = if kind == "Deployment" { "apps/v1" } else { "v1" };
    json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid}])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_owned_is_owned_by_the_new_owner() {
    let rig = Rig::new();
    rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    let web = rig.given(DEPLOYMENTS, deployment("web", 1)).await;
    let owner = owned_by(&web, "Deployment");
    let child = rig.given(MAPS, json!({"metadata": {"name": "a-child", "ownerReferences": owner}})).await;
    let owner = owned_by(&child, "ConfigMap");
    rig.given(MAPS, json!({"metadata": {"name": "a-grandchild", "ownerReferences": owner}})).await;
    rig.pass(20).await;
    let before = rig.dump().await;
    // In this order the owners come last in the journal.
    for path in [format!("{MAPS}/a-grandchild"), format!("{MAPS}/a-child"), format!("{DEPLOYMENTS}/web")] {
        rig.done("DELETE", &path, Value::Null).await;
    }
    rig.pass(60).await;
    assert_eq!(rig.get(PODS).await.unwrap()["items"], json!([]), "the pods went with the deployment");
    rig.undo_all().await;
    rig.pass(60).await;
    rig.is_as(&before, "nothing was collected since").await;
    let uid = |object: Option<Value>| object.unwrap()["metadata"]["uid"].clone();
    let owner = |object: Option<Value>| object.unwrap()["metadata"]["ownerReferences"][0]["uid"].clone();
    let (web, child) = (rig.get(&format!("{DEPLOYMENTS}/web")).await, rig.get(&format!("{MAPS}/a-child")).await);
    assert_eq!(owner(child.clone()), uid(web.clone()));
    assert_eq!(owner(rig.get(&format!("{MAPS}/a-grandchild")).await), uid(child));
    assert_eq!(web.unwrap()["status"]["availableReplicas"], 1);
    let pods = rig.get(PODS).await.unwrap();
    assert_eq!(pods["items"].as_array().unwrap().len(), 1, "made by the controllers, not by hand");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_touched_object_whose_owner_was_deleted_comes_back_with_it() {
    let rig = Rig::new();
    rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    let web = rig.given(DEPLOYMENTS, deployment("web", 0)).await;
    let owner = owned_by(&web, "Deployment");
    rig.given(MAPS, json!({"metadata": {"name": "m", "ownerReferences": owner}, "data": {"a": "1"}})).await;
    let before = rig.dump().await;
    rig.done("PATCH", &format!("{MAPS}/m"), json!({"data": {"a": "2"}})).await;
    rig.done("DELETE", &format!("{DEPLOYMENTS}/web"), Value::Null).await;
    rig.undo_all().await;
    rig.pass(30).await;
    rig.is_as(&before, "after the undo").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_set_that_was_scaled_or_deleted_is_its_deployments() {
    let rig = Rig::new();
    rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    rig.given(DEPLOYMENTS, deployment("web", 2)).await;
    rig.pass(30).await;
    let before = rig.dump().await;
    let sets = "/apis/apps/v1/namespaces/a/replicasets";
    let name = rig.get(sets).await.unwrap()["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    rig.done("PATCH", &format!("{sets}/{name}"), json!({"spec": {"replicas": 0}})).await;
    rig.pass(30).await;
    rig.done("DELETE", &format!("{sets}/{name}"), Value::Null).await;
    rig.pass(30).await;
    let report = rig.undo_all().await;
    assert!(report.restored.is_empty(), "the controller has done it: {report:?}");
    rig.is_as(&before, "after the undo").await;
    assert_eq!(rig.get(sets).await.unwrap()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_controller_has_decided_since_stays() {
    let rig = Rig::still();
    rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    rig.given(DEPLOYMENTS, deployment("web", 1)).await;
    let path = format!("{DEPLOYMENTS}/web");
    rig.done("PATCH", &path, json!({"spec": {"paused": true}})).await;
    // As an autoscaler does it.
    let by_controller = format!("{path}?fieldManager=kube-controller-manager");
    rig.call("PATCH", &by_controller, &json!({"spec": {"replicas": 4}})).await;
    rig.undo_all().await;
    let spec = rig.get(&path).await.unwrap()["spec"].clone();
    assert_eq!((&spec["replicas"], spec.get("paused")), (&json!(4), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_made_again() {
    let rig = Rig::new();
    rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    let jobs = "/apis/batch/v1/namespaces/a/jobs";
    let mut template = pod_template(json!({"app": "j"}));
    template["spec"]["restartPolicy"] = json!("Never");
    rig.given(jobs, json!({"metadata": {"name": "j"}, "spec": {"template": template}})).await;
    rig.pass(10).await;
    rig.done("DELETE", &format!("{jobs}/j?propagationPolicy=Background"), Value::Null).await;
    let report = rig.undo_all().await;
    assert_eq!(report.restored.len(), 1);
    let job = rig.get(&format!("{jobs}/j")).await.unwrap();
    assert_eq!(job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], job["metadata"]["uid"]);
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["app"], "j");
}
