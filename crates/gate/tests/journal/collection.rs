//! deletecollection, object by object.

use gate::State;
use serde_json::{Value, json};

use crate::server::{Fault, MAPS, Scene, map};

async fn labelled(scene: &Scene, name: &str, label: &str) {
    let mut object = map(name, "1");
    object["metadata"]["labels"] = json!({"l": label});
    scene.direct("POST", MAPS, object).await;
}

#[tokio::test]
async fn what_is_selected_is_deleted_one_by_one() {
    let scene = Scene::new().await;
    for index in 0..130 {
        labelled(&scene, &format!("a-{index}"), "yes").await;
    }
    labelled(&scene, "b", "no").await;
    let (status, said) = scene.send("DELETE", &format!("{MAPS}?labelSelector=l%3Dyes"), &Value::Null).await;
    assert_eq!((status, &said["kind"]), (200, &json!("ConfigMapList")), "{said}");
    assert_eq!(said["items"].as_array().expect("items").len(), 130);
    assert!(said["metadata"].get("continue").is_none());
    let methods = scene.methods();
    assert_eq!(methods[..3], ["DELETE?", "GET", "GET"], "asked first, listed in pages");
    assert_eq!(methods.len(), 133, "the list is the before-image");
    let entries = scene.entries().await;
    assert_eq!(entries.len(), 130);
    for entry in &entries {
        assert_eq!((entry.intent.verb.as_str(), &entry.state), ("delete", &State::Done { after: None }));
        let before = entry.intent.before.as_ref().expect("an object");
        assert_eq!((&before["kind"], &before["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
        assert_eq!(before["metadata"]["name"], entry.intent.key.name.as_str());
    }
    assert!(scene.get(&format!("{MAPS}/b")).await.is_some());
    assert!(scene.get(&format!("{MAPS}/a-7")).await.is_none());
    assert_eq!(scene.records.lock().expect("lock").len(), 1, "one request of one party");
}

#[tokio::test]
async fn what_the_server_does_not_serve_is_refused_before_anything_is_deleted() {
    let scene = Scene::new().await;
    labelled(&scene, "a", "yes").await;
    let everywhere = scene.send("DELETE", "/api/v1/configmaps", &Value::Null).await;
    assert_eq!(everywhere.0, 405, "{}", everywhere.1);
    assert_eq!(scene.send("DELETE", "/api/v1/namespaces", &Value::Null).await.0, 405);
    let wrong = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Sideways"});
    assert_eq!(scene.send("DELETE", MAPS, &wrong).await.0, 422);
    assert!(scene.entries().await.is_empty());
    assert!(scene.get(&format!("{MAPS}/a")).await.is_some());
    assert_eq!(scene.send("DELETE", &format!("{MAPS}?dryRun=All"), &Value::Null).await.0, 200);
    assert!(scene.get(&format!("{MAPS}/a")).await.is_some());
}

#[tokio::test]
async fn faults_in_the_middle_leave_nothing_out() {
    let scene = Scene::new().await;
    for name in ["a", "b", "c", "d"] {
        labelled(&scene, name, "yes").await;
    }
    let rival = Fault::Rival(format!("{MAPS}/d"), json!({"data": {"k": "theirs"}}));
    scene.fail_writes([Fault::LostAfter, Fault::LostBefore, Fault::CodeAfter(504), rival]);
    let (status, said) = scene.send("DELETE", &format!("{MAPS}?labelSelector=l"), &Value::Null).await;
    assert_eq!(status, 200, "{said}");
    let entries = scene.entries().await;
    let done = entries.iter().filter(|entry| entry.state == State::Done { after: None });
    let mut done: Vec<&str> = done.map(|entry| entry.intent.key.name.as_str()).collect();
    done.sort_unstable();
    assert_eq!(done, ["a", "b", "c", "d"]);
    assert!(entries.iter().all(|e| matches!(e.state, State::Done { .. } | State::Refused)));
}
