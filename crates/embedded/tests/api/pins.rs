//! Writes that are tied to an object or to a version of it: each form of them, and that the others are not.

use embedded::Cluster;
use serde_json::{Value, json};

use crate::client::{call, create, get, namespace, send, still};

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

/// The answer's code to a patch of this type.
async fn patch(cluster: &Cluster, path: &str, kind: &str, body: &Value) -> u16 {
    let content_type = format!("application/{kind}");
    send(cluster, "PATCH", path, &[("content-type", &content_type)], &body.to_string()).await.status().as_u16()
}

/// A map that has been changed, and its version from before.
async fn changed(cluster: &Cluster) -> (Value, String) {
    namespace(cluster, "a").await;
    let made = create(cluster, MAPS, json!({"metadata": {"name": "x"}, "data": {"k": "1"}})).await;
    let (_, now) = call(cluster, "PATCH", &format!("{MAPS}/x"), json!({"data": {"k": "2"}})).await;
    (now, made["metadata"]["resourceVersion"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn every_kind_of_patch_can_name_a_version() {
    let cluster = still();
    let (now, old) = changed(&cluster).await;
    let path = format!("{MAPS}/x?fieldManager=m");
    let current = now["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    for (version, code) in [(old.as_str(), 409), (current.as_str(), 200)] {
        // Each changes nothing but what is asked of the version, so that all of them meet the same one.
        let pin = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version});
        assert_eq!(patch(&cluster, &path, "json-patch+json", &json!([pin])).await, code, "JSON patch");
        let pin = json!({"op": "add", "path": "/metadata/resourceVersion", "value": version});
        assert_eq!(patch(&cluster, &path, "json-patch+json", &json!([pin])).await, code, "JSON patch, added");
        let body = json!({"metadata": {"resourceVersion": version}});
        assert_eq!(patch(&cluster, &path, "merge-patch+json", &body).await, code, "merge patch");
        assert_eq!(patch(&cluster, &path, "strategic-merge-patch+json", &body).await, code, "strategic merge patch");
        let test = json!([{"op": "test", "path": "/metadata/resourceVersion", "value": version}]);
        let code = if code == 409 { 422 } else { 200 };
        assert_eq!(patch(&cluster, &path, "json-patch+json", &test).await, code, "JSON patch, tested");
    }
    let body = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let apply = "apply-patch+yaml";
    assert_eq!(patch(&cluster, &path, apply, &body(json!({"resourceVersion": old}))).await, 409);
    assert_eq!(patch(&cluster, &path, apply, &body(json!({"resourceVersion": current}))).await, 200);
}

#[tokio::test]
async fn an_apply_that_names_a_uid_makes_no_second_object() {
    let cluster = still();
    let (now, _) = changed(&cluster).await;
    let metadata = json!({"uid": now["metadata"]["uid"], "resourceVersion": now["metadata"]["resourceVersion"]});
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let path = format!("{MAPS}/x?fieldManager=m");
    assert_eq!(patch(&cluster, &path, "apply-patch+yaml", &body).await, 200);
    call(&cluster, "DELETE", &format!("{MAPS}/x"), Value::Null).await;
    assert_eq!(patch(&cluster, &path, "apply-patch+yaml", &body).await, 409);
    assert_eq!(get(&cluster, &format!("{MAPS}/x")).await.0, 404);
}

#[tokio::test]
async fn a_scale_has_the_version_of_its_object() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let sets = "/apis/apps/v1/namespaces/a/replicasets";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    let made = create(&cluster, sets, json!({"metadata": {"name": "x"}, "spec": spec})).await;
    let path = format!("{sets}/x/scale");
    let body = |version: &Value, replicas: u32| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "x", "namespace": "a",
               "resourceVersion": version}, "spec": {"replicas": replicas}})
    };
    let (code, scale) = call(&cluster, "PUT", &path, body(&made["metadata"]["resourceVersion"], 2)).await;
    assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(2)));
    for replicas in [2, 3] {
        let old = body(&made["metadata"]["resourceVersion"], replicas);
        assert_eq!(call(&cluster, "PUT", &path, old.clone()).await.0, 409);
        assert_eq!(patch(&cluster, &path, "merge-patch+json", &old).await, 409);
    }
    let new = body(&scale["metadata"]["resourceVersion"], 3);
    assert_eq!(patch(&cluster, &path, "merge-patch+json", &new).await, 200);
}

#[tokio::test]
async fn deletions_and_evictions_have_preconditions() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let pods = "/api/v1/namespaces/a/pods";
    let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    create(&cluster, pods, pod).await;
    let (_, now) = get(&cluster, &format!("{pods}/x")).await;
    for wrong in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": wrong});
        assert_eq!(call(&cluster, "DELETE", &format!("{pods}/x"), options.clone()).await.0, 409, "{wrong}");
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "x"},
                              "deleteOptions": options});
        assert_eq!(call(&cluster, "POST", &format!("{pods}/x/eviction"), eviction).await.0, 409, "{wrong}");
    }
    let right = json!({"uid": now["metadata"]["uid"], "resourceVersion": now["metadata"]["resourceVersion"]});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "x"},
                          "deleteOptions": {"preconditions": right}});
    assert_eq!(call(&cluster, "POST", &format!("{pods}/x/eviction"), eviction).await.0, 201);
}

#[tokio::test]
async fn options_of_a_delete_are_those_of_the_body_or_of_the_query_never_both() {
    let cluster = still();
    changed(&cluster).await;
    let path = format!("{MAPS}/x?dryRun=All");
    assert_eq!(call(&cluster, "DELETE", &path, Value::Null).await.0, 200);
    assert_eq!(get(&cluster, &format!("{MAPS}/x")).await.0, 200, "a dry run");
    call(&cluster, "DELETE", &path, json!({"kind": "DeleteOptions", "apiVersion": "v1"})).await;
    assert_eq!(get(&cluster, &format!("{MAPS}/x")).await.0, 404, "with a body the query is not asked");
}
