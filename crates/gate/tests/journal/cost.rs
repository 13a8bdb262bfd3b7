//! How many requests a write costs at the API server.

use gate::{Policy, Rule};
use serde_json::{Value, json};

use crate::server::{MAPS, PODS, SETS, Scene, map, set};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// Everything, but nothing unsafe: its patches are judged.
fn judged() -> Policy {
    Policy::new(vec![Rule::resources(&["*"], &["*"], &["*"], &["*"])])
}

#[tokio::test]
async fn a_create_costs_nothing_a_put_and_a_delete_a_look_a_patch_a_look_and_a_trial() {
    let scene = Scene::new().await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}});
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "s", "namespace": "c-1"},
                       "spec": {"replicas": 2}});
    let annotated = json!([{"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}}]);
    let (s, x, m) = (format!("{SETS}/s"), format!("{MAPS}/x?fieldManager=m"), format!("{MAPS}/m"));
    let (s_scale, s_status) = (format!("{SETS}/s/scale"), format!("{SETS}/s/status"));
    let nothing = Value::Null;
    let cases: [(&str, &str, &str, &Value, &[&str]); 14] = [
        ("POST", MAPS, JSON, &map("m", "1"), &["POST"]),
        ("POST", MAPS, JSON, &json!({"metadata": {"generateName": "g-"}}), &["POST"]),
        ("POST", SETS, JSON, &set("s"), &["POST"]),
        ("PUT", &m, JSON, &map("m", "2"), &["GET", "PUT"]),
        ("PUT", &s_scale, JSON, &scale, &["GET", "PUT"]),
        ("PATCH", &s_scale, MERGE, &json!({"spec": {"replicas": 3}}), &["GET", "PATCH"]),
        ("PATCH", &s_status, MERGE, &json!({"status": {"replicas": 3}}), &["GET", "PATCH"]),
        ("PATCH", &m, MERGE, &json!({"data": {"k": "3"}}), &["GET", "PATCH"]),
        ("PATCH", &s, JSON_PATCH, &annotated, &["GET", "PATCH"]),
        ("PATCH", &s, MERGE, &image, &["GET", "PATCH?", "PATCH"]),
        ("PATCH", &x, APPLY, &map("x", "1"), &["GET", "PATCH"]),
        ("PATCH", &x, APPLY, &map("x", "2"), &["GET", "PATCH"]),
        ("DELETE", &m, JSON, &nothing, &["GET", "DELETE"]),
        ("DELETE", &m, JSON, &nothing, &["GET"]),
    ];
    for (method, path, content_type, body, expected) in cases {
        let (status, answer) = scene.send_as(&judged(), method, path, content_type, body).await;
        let missing = expected == ["GET"];
        assert_eq!(status < 300, !missing, "{method} {path}: {answer}");
        assert_eq!(scene.methods(), expected, "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_answered_with_something_else_is_read_once_more() {
    let scene = Scene::new().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    scene.direct("POST", PODS, pod).await;
    let evict = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let (status, _) = scene.send("POST", &format!("{PODS}/p/eviction"), &evict).await;
    assert_eq!(status, 201);
    assert_eq!(scene.methods(), ["GET", "POST", "GET"]);
    let (entry, after) = scene.done().await;
    assert_eq!((entry.intent.verb.as_str(), entry.intent.subresource.as_str()), ("delete", "eviction"));
    assert_eq!(entry.intent.before.expect("a pod")["kind"], "Pod");
    assert_eq!(after, scene.get(&format!("{PODS}/p")).await);
}
