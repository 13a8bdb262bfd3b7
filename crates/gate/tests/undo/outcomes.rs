//! Ways of writing, and writes of which the answer was lost.

use gate::{Journal, State};
use serde_json::{Value, json};

use crate::rig::*;

async fn still() -> Rig {
    let rig = Rig::still();
    rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    for name in ["patched", "deleted"] {
        rig.given(MAPS, json!({"metadata": {"name": name}, "data": {"a": "1"}})).await;
    }
    rig
}

async fn states(rig: &Rig) -> Vec<&'static str> {
    let entries = rig.journal.entries().await.unwrap();
    let word = |state: &State| match state {
        State::Intended => "intended",
        State::Done { after: Some(_) } => "there",
        State::Done { after: None } => "gone",
        State::Refused => "refused",
        State::Unknown => "unknown",
    };
    entries.iter().map(|entry| word(&entry.state)).collect()
}

/// Every verb.
async fn lost(rig: &Rig, cut: Cut) {
    let writes = [
        ("POST", MAPS.to_owned(), json!({"metadata": {"name": "named"}})),
        ("POST", MAPS.to_owned(), json!({"metadata": {"generateName": "made-"}})),
        ("PATCH", format!("{MAPS}/patched"), json!({"data": {"a": "2"}})),
        ("DELETE", format!("{MAPS}/deleted"), Value::Null),
    ];
    for (method, path, body) in writes {
        rig.lose(method, &path, body, cut).await;
    }
}

#[tokio::test]
async fn writes_that_took_effect_are_found_and_undone() {
    let rig = still().await;
    let before = rig.dump().await;
    lost(&rig, Cut::After).await;
    assert_ne!(rig.dump().await, before);
    rig.undo_all().await;
    rig.is_as(&before, "after the undo").await;
    assert_eq!(states(&rig).await, ["there", "there", "unknown", "gone"]);
}

#[tokio::test]
async fn writes_that_never_arrived_are_found_out() {
    let rig = still().await;
    let before = rig.dump().await;
    lost(&rig, Cut::Before).await;
    let report = rig.undo_all().await;
    assert!(report.restored.is_empty());
    rig.is_as(&before, "after the undo").await;
    assert_eq!(states(&rig).await, ["refused"; 4]);
}

#[tokio::test]
async fn another_with_the_same_name_is_not_taken_for_a_lost_create() {
    let rig = still().await;
    rig.lose("POST", MAPS, json!({"metadata": {"name": "named"}}), Cut::Before).await;
    rig.given(MAPS, json!({"metadata": {"name": "named"}})).await;
    let before = rig.dump().await;
    rig.undo_all().await;
    rig.is_as(&before, "after the undo").await;
}

#[tokio::test]
async fn objects_with_made_up_names_go() {
    let rig = still().await;
    let before = rig.dump().await;
    for _ in 0..3 {
        rig.done("POST", MAPS, json!({"metadata": {"generateName": "made-"}})).await;
    }
    let report = rig.undo_all().await;
    assert_eq!(report.restored.len(), 3);
    rig.is_as(&before, "after the undo").await;
}

#[tokio::test]
async fn every_way_of_writing_is_undone() {
    let rig = still().await;
    for name in ["selected-1", "selected-2", "put", "json", "applied"] {
        let labels = json!({"group": name.split('-').next()});
        rig.given(MAPS, json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "1", "b": "1"}})).await;
    }
    let before = rig.dump().await;
    rig.done("DELETE", &format!("{MAPS}?labelSelector=group%3Dselected"), Value::Null).await;
    rig.done("PUT", &format!("{MAPS}/put"), json!({"metadata": {"name": "put"}, "data": {"c": "1"}})).await;
    let patch = json!([{"op": "remove", "path": "/data/a"}, {"op": "add", "path": "/metadata/labels/x", "value": "y"}]);
    rig.done("PATCH", &format!("{MAPS}/json"), patch).await;
    for name in ["applied", "made-by-apply"] {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "2"}});
        rig.done("PATCH", &format!("{MAPS}/{name}?fieldManager=me&force=true"), object).await;
    }
    let now = rig.dump().await;
    assert_eq!(now.len(), before.len() - 1, "two deleted, one made");
    let report = rig.undo_all().await;
    assert_eq!(report.restored.len(), 6);
    rig.is_as(&before, "after the undo").await;
}
