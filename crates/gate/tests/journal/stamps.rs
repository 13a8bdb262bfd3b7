//! What the gate writes into the objects that are made through it.

use gate::{LABEL, NONCE, Policy, State};
use serde_json::{Value, json};

use crate::server::{Fault, LABEL_VALUE, MAPS, Scene, map};

fn is_stamped(object: &Value) -> bool {
    let label = &object["metadata"]["labels"][LABEL];
    let nonce = object["metadata"]["labels"][NONCE].as_str();
    assert_eq!(label == LABEL_VALUE, nonce.is_some_and(|nonce| nonce.len() == 16), "{object}");
    nonce.is_some()
}

#[tokio::test]
async fn what_is_made_is_stamped_however_it_is_made() {
    let scene = Scene::new().await;
    let apply = "application/apply-patch+yaml";
    let all = Policy::everything();
    scene.send("POST", MAPS, &map("a", "1")).await;
    scene.send_as(&all, "PATCH", &format!("{MAPS}/b?fieldManager=m"), apply, &map("b", "1")).await;
    // What `kubectl create configmap cfg --from-literal=a=b` sends.
    let protobuf = "6b3873000a0f0a0276311209436f6e6669674d6170121d0a130a0363666712001a0022002a003200380042001206\
                    0a01611201621a002200";
    let bytes = hex::decode(protobuf).expect("hex");
    let (status, said) = scene.send_bytes(&all, "POST", MAPS, "application/vnd.kubernetes.protobuf", bytes).await;
    assert_eq!(status, 201, "{said}");
    for name in ["a", "b", "cfg"] {
        let object = scene.get(&format!("{MAPS}/{name}")).await.expect("a map");
        assert!(is_stamped(&object), "{object}");
        let entry = scene.entries().await.into_iter().find(|entry| entry.intent.key.name == name).expect("an entry");
        assert_eq!(entry.intent.nonce.as_deref(), object["metadata"]["labels"][NONCE].as_str());
        assert_eq!((entry.intent.verb.as_str(), entry.intent.before), ("create", None));
        assert_eq!(entry.state, State::Done { after: Some(object) });
    }
    // What was there before is not made.
    scene.direct("POST", MAPS, map("old", "1")).await;
    scene.send_as(&all, "PATCH", &format!("{MAPS}/old?fieldManager=m&force=true"), apply, &map("old", "2")).await;
    scene.send("PUT", &format!("{MAPS}/old"), &map("old", "3")).await;
    assert!(!is_stamped(&scene.get(&format!("{MAPS}/old")).await.expect("a map")));
    // And a namespace is made like anything else.
    scene.send("POST", "/api/v1/namespaces", &json!({"metadata": {"name": "other"}})).await;
    assert!(is_stamped(&scene.get("/api/v1/namespaces/other").await.expect("a namespace")));
    assert_eq!(scene.entries().await.pop().expect("an entry").intent.key.path(), "/api/v1/namespaces/other");
}

#[tokio::test]
async fn what_is_not_stored_is_neither_stamped_nor_written_down() {
    let scene = Scene::new().await;
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                        "spec": {"user": "u", "nonResourceAttributes": {"verb": "get", "path": "/"}}});
    let (status, said) = scene.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await;
    assert_eq!(status, 201, "{said}");
    scene.send("POST", &format!("{MAPS}?dryRun=All"), &map("a", "1")).await;
    assert!(scene.entries().await.is_empty());
    assert!(scene.arrived().iter().all(|request| !request.body.to_string().contains(NONCE)));
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "c-1"}});
    let (status, said) = scene.send("POST", "/api/v1/namespaces/c-1/events", &event).await;
    assert_eq!(status, 201, "{said}");
    assert!(!is_stamped(&said));
}

#[tokio::test]
async fn names_are_made_here_and_made_again_when_they_are_taken() {
    let scene = Scene::new().await;
    let taken = json!({"kind": "Status", "code": 409, "reason": "AlreadyExists"});
    scene.fail_writes([Fault::Status(taken.clone()), Fault::Status(taken.clone())]);
    let body = json!({"metadata": {"generateName": "g-"}});
    let (status, said) = scene.send("POST", MAPS, &body).await;
    assert_eq!(status, 201, "{said}");
    let sent = scene.arrived();
    let names: Vec<&str> = sent.iter().filter_map(|request| request.body["metadata"]["name"].as_str()).collect();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| name.len() == 7 && name.starts_with("g-")), "{names:?}");
    assert_eq!((&said["metadata"]["name"], &said["metadata"]["generateName"]), (&json!(names[2]), &json!("g-")));
    let (entry, _) = scene.done().await;
    assert_eq!(entry.intent.key.name, names[2]);
    assert_eq!(scene.records.lock().expect("lock").pop().expect("a record").name, names[2]);
    // Not for ever.
    scene.fail_writes(vec![Fault::Status(taken); 50]);
    assert_eq!(scene.send("POST", MAPS, &body).await.0, 409);
    assert_eq!(scene.methods().len(), 8);
    scene.fail_writes([]);
    let nameless = scene.send("POST", MAPS, &json!({"metadata": {}})).await;
    assert_eq!(nameless.0, 422, "the server says what is missing: {}", nameless.1);
}

#[tokio::test]
async fn values_of_secrets_are_in_the_journal_alone() {
    let scene = Scene::new().await;
    let secret =
        json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2-plain"}, "data": {"k": "aHVudGVyMg=="}});
    scene.send("POST", "/api/v1/namespaces/c-1/secrets", &secret).await;
    scene.send("DELETE", "/api/v1/namespaces/c-1/secrets/s", &Value::Null).await;
    let before = scene.entries().await.pop().expect("an entry").intent.before.expect("a secret");
    assert_eq!(before["data"]["k"], "aHVudGVyMg==", "or it could not be put back");
    let records = scene.records.lock().expect("lock").clone();
    let text = serde_json::to_string(&records).expect("JSON");
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
}
