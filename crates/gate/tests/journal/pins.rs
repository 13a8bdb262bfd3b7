//! What is sent is tied to what was read; who comes first wins, and the other reads again.

use gate::{Policy, State};
use serde_json::{Value, json};

use crate::server::{Fault, MAPS, PODS, SETS, Scene, map, set, version};

#[tokio::test]
async fn every_form_of_a_change_carries_the_version_that_was_read() {
    let scene = Scene::new().await;
    scene.direct("POST", SETS, set("s")).await;
    let path = format!("{SETS}/s");
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "s", "namespace": "c-1"},
                       "spec": {"replicas": 2}});
    let cases = [
        ("PUT", "", "application/json", set("s")),
        ("PATCH", "", "application/merge-patch+json", json!({"metadata": {"labels": {"x": "1"}}})),
        ("PATCH", "", "application/strategic-merge-patch+json", json!({"metadata": {"labels": {"x": "2"}}})),
        ("PATCH", "?fieldManager=m&force=true", "application/apply-patch+yaml", {
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "s", "labels": {"x": "3"}}})
        }),
        ("PUT", "/scale", "application/json", scale),
        ("PATCH", "/scale", "application/merge-patch+json", json!({"spec": {"replicas": 3}})),
        ("PATCH", "/status", "application/merge-patch+json", json!({"status": {"replicas": 3}})),
    ];
    for (method, rest, content_type, body) in cases {
        let before = scene.get(&path).await.expect("a set");
        let target = format!("{path}{rest}");
        let (status, said) = scene.send_as(&Policy::everything(), method, &target, content_type, &body).await;
        assert_eq!(status, 200, "{method} {target}: {said}");
        let sent = scene.arrived().pop().expect("a request").body;
        assert_eq!(version(&sent), version(&before), "{method} {target} {content_type}");
        let entry = scene.entries().await.pop().expect("an entry");
        assert_eq!(entry.intent.before.as_ref(), Some(&before));
        let mut after = scene.get(&path).await.expect("a set");
        let State::Done { after: Some(mut noted) } = entry.state else { panic!("{:?}", entry.state) };
        if rest == "/scale" {
            // Managed fields are not in a Scale.
            for object in [&mut after, &mut noted] {
                object["metadata"]["managedFields"] = Value::Null;
            }
        }
        assert_eq!(noted, after, "{method} {target}");
    }
    let pin = json!([{"op": "replace", "path": "/spec/replicas", "value": 1}]);
    scene.send_as(&Policy::everything(), "PATCH", &path, "application/json-patch+json", &pin).await;
    let last = scene.arrived().pop().expect("a request").body;
    assert_eq!(last[1]["path"], "/metadata/resourceVersion");

    let before = scene.get(&path).await.expect("a set");
    scene.send("DELETE", &path, &Value::Null).await;
    let sent = scene.arrived().pop().expect("a request").body;
    let expected = json!({"uid": before["metadata"]["uid"], "resourceVersion": version(&before)});
    assert_eq!(sent["preconditions"], expected);
}

#[tokio::test]
async fn who_comes_second_reads_again() {
    for (method, content_type, body) in [
        ("PUT", "application/json", map("m", "mine")),
        ("PATCH", "application/merge-patch+json", json!({"data": {"k": "mine"}})),
        ("PATCH", "application/json-patch+json", json!([{"op": "replace", "path": "/data/k", "value": "mine"}])),
        ("PATCH", "application/apply-patch+yaml", map("m", "mine")),
        ("DELETE", "application/json", Value::Null),
    ] {
        let scene = Scene::new().await;
        scene.direct("POST", MAPS, map("m", "1")).await;
        let path = format!("{MAPS}/m");
        let rival = |value: &str| Fault::Rival(path.clone(), json!({"metadata": {"labels": {"theirs": value}}}));
        scene.fail_writes([rival("1"), rival("2")]);
        let query = if content_type.contains("apply") { "?fieldManager=m&force=true" } else { "" };
        let target = format!("{path}{query}");
        let (status, said) = scene.send_as(&Policy::everything(), method, &target, content_type, &body).await;
        assert_eq!(status, 200, "{method} {content_type}: {said}");
        let (entry, after) = scene.done().await;
        assert_eq!(scene.entries().await.len(), 3, "two were refused");
        let before = entry.intent.before.expect("an object");
        assert_eq!(before["metadata"]["labels"]["theirs"], "2", "what was there before it took effect");
        assert_eq!(after, scene.get(&path).await, "{method} {content_type}");
        assert_eq!(after.is_none(), method == "DELETE");
    }
}

#[tokio::test]
async fn the_clients_own_pin_is_kept_and_its_conflict_is_its_own() {
    let scene = Scene::new().await;
    let (_, made) = scene.direct("POST", MAPS, map("m", "1")).await;
    let path = format!("{MAPS}/m");
    let old = version(&made).to_owned();
    scene.direct("PATCH", &path, json!({"data": {"k": "2"}})).await;
    let pinned = json!({"metadata": {"name": "m", "resourceVersion": old}, "data": {"k": "mine"}});
    let operations = json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": old},
                            {"op": "replace", "path": "/data/k", "value": "mine"}]);
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"resourceVersion": old}});
    let other = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    for (method, content_type, body) in [
        ("PUT", "application/json", &pinned),
        ("PATCH", "application/merge-patch+json", &pinned),
        ("PATCH", "application/json-patch+json", &operations),
        ("DELETE", "application/json", &options),
        ("DELETE", "application/json", &other),
    ] {
        let (status, said) = scene.send_as(&Policy::everything(), method, &path, content_type, body).await;
        assert_eq!(status, 409, "{method} {said}");
    }
    let states: Vec<State> = scene.entries().await.into_iter().map(|entry| entry.state).collect();
    assert_eq!(states, vec![State::Refused; 5]);
    assert_eq!(scene.get(&path).await.expect("a map")["data"]["k"], "2");
}

#[tokio::test]
async fn a_conflict_of_field_managers_is_not_tried_again() {
    let scene = Scene::new().await;
    scene.direct("POST", MAPS, map("m", "1")).await;
    let path = format!("{MAPS}/m?fieldManager=other");
    let apply = "application/apply-patch+yaml";
    let (status, said) = scene.send_as(&Policy::everything(), "PATCH", &path, apply, &map("m", "2")).await;
    assert_eq!(status, 409, "{said}");
    assert_eq!(scene.methods(), ["GET", "PATCH"]);
}

#[tokio::test]
async fn binding_and_tokens_are_written_down_as_what_they_do() {
    let scene = Scene::new().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    scene.direct("POST", PODS, pod).await;
    let bind = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
                      "target": {"kind": "Node", "name": "n-1"}});
    let (status, said) = scene.send("POST", &format!("{PODS}/p/binding"), &bind).await;
    assert_eq!(status, 201, "{said}");
    let (entry, after) = scene.done().await;
    assert_eq!((entry.intent.verb.as_str(), entry.intent.key.resource.as_str()), ("update", "pods"));
    assert_eq!(after, scene.get(&format!("{PODS}/p")).await);

    let account = json!({"metadata": {"name": "robot"}});
    scene.direct("POST", "/api/v1/namespaces/c-1/serviceaccounts", account).await;
    let ask = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let (status, said) = scene.send("POST", "/api/v1/namespaces/c-1/serviceaccounts/robot/token", &ask).await;
    assert_eq!(status, 201, "{said}");
    let entry = scene.entries().await.pop().expect("an entry");
    assert!(entry.intent.irreversible && entry.intent.before.is_some(), "{entry:?}");
    let token = said["status"]["token"].as_str().expect("a token");
    assert!(!format!("{entry:?}").contains(token), "a token is not kept");
}
