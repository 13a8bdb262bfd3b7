//! What others have changed since, and what holds an object up.

use serde_json::{Value, json};

use crate::rig::*;

async fn still() -> Rig {
    let rig = Rig::still();
    rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    rig
}

#[tokio::test]
async fn what_an_outsider_has_changed_since_is_told_and_left() {
    let rig = still().await;
    let secrets = "/api/v1/namespaces/a/secrets";
    rig.given(secrets, json!({"metadata": {"name": "s"}, "stringData": {"password": "first-password"}})).await;
    rig.given(MAPS, json!({"metadata": {"name": "replaced"}, "data": {"a": "1"}})).await;
    rig.done("PATCH", &format!("{secrets}/s"), json!({"stringData": {"password": "second-password"}})).await;
    rig.call("PATCH", &format!("{secrets}/s"), &json!({"stringData": {"password": "third-password"}})).await;
    rig.done("DELETE", &format!("{MAPS}/replaced"), Value::Null).await;
    rig.given(MAPS, json!({"metadata": {"name": "replaced"}, "data": {"a": "2"}})).await;
    rig.done("POST", MAPS, json!({"metadata": {"name": "made"}})).await;
    rig.done("DELETE", &format!("{MAPS}/made"), Value::Null).await;
    rig.given(MAPS, json!({"metadata": {"name": "made"}})).await;
    let (before, written) = (rig.dump().await, rig.mutations());
    let report = rig.undo().await;
    rig.is_as(&before, "after the undo").await;
    assert_eq!(rig.mutations(), written);
    let mut told: Vec<(String, Vec<Value>)> =
        report.drifted.iter().map(|d| (d.key.name.clone(), d.evidence.clone())).collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("made".to_owned(), vec![]),
        ("replaced".to_owned(), vec![json!("/data/a")]),
        ("s".to_owned(), vec![json!("/data/password")]),
    ];
    assert_eq!(told, expected);
    let text = serde_json::to_string(&report).unwrap();
    for value in ["first-password", "third-password", "Zmlyc3QtcGFzc3dvcmQ", "dGhpcmQtcGFzc3dvcmQ"] {
        assert!(!text.contains(value), "{text}");
    }
}

#[tokio::test]
async fn an_outsider_who_came_to_the_same_is_no_drift() {
    let rig = still().await;
    rig.given(MAPS, json!({"metadata": {"name": "m"}, "data": {"a": "1"}})).await;
    rig.done("PATCH", &format!("{MAPS}/m"), json!({"data": {"a": "2"}})).await;
    rig.call("PATCH", &format!("{MAPS}/m"), &json!({"data": {"a": "1"}})).await;
    let report = rig.undo_all().await;
    assert!(report.restored.is_empty());
}

#[tokio::test]
async fn finalizers_of_the_case_come_off_and_those_of_others_are_told() {
    let rig = still().await;
    rig.given(MAPS, json!({"metadata": {"name": "m"}, "data": {"a": "1"}})).await;
    rig.given(MAPS, json!({"metadata": {"name": "theirs"}, "data": {"a": "1"}})).await;
    rig.given(MAPS, json!({"metadata": {"name": "living"}})).await;
    let before = rig.dump().await;
    let hold = |name: &str| json!({"metadata": {"finalizers": [name]}});
    rig.done("PATCH", &format!("{MAPS}/living"), hold("example.com/case")).await;
    rig.done("PATCH", &format!("{MAPS}/m"), hold("example.com/case")).await;
    rig.done("DELETE", &format!("{MAPS}/m"), Value::Null).await;
    rig.done("PATCH", &format!("{MAPS}/theirs"), json!({"data": {"a": "2"}})).await;
    rig.call("PATCH", &format!("{MAPS}/theirs"), &hold("example.com/operator")).await;
    rig.done("DELETE", &format!("{MAPS}/theirs"), Value::Null).await;
    let report = rig.undo().await;
    let failed: Vec<&str> = report.failed.iter().map(|d| d.key.name.as_str()).collect();
    assert_eq!(failed, ["theirs"], "{report:#?}");
    assert_eq!(report.failed[0].evidence, [json!({"finalizer": "example.com/operator"})]);
    // Its operator comes at last.
    rig.call("PATCH", &format!("{MAPS}/theirs"), &json!({"metadata": {"finalizers": null}})).await;
    rig.undo_all().await;
    rig.is_as(&before, "after the undo").await;
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_an_error() {
    use gate::{Gate, GateConfig, UndoError, Upstream};
    let rig = still().await;
    rig.given(MAPS, json!({"metadata": {"name": "m"}})).await;
    rig.done("PATCH", &format!("{MAPS}/m"), json!({"data": {"a": "2"}})).await;
    let upstream = Upstream::new(tower::service_fn(|_| async {
        Err::<http::Response<kube::client::Body>, tower::BoxError>("connection refused".into())
    }));
    let config =
        GateConfig { journal: rig.journal.clone(), ..GateConfig::new(upstream, "a", std::sync::Arc::new(|_| ())) };
    let undone = Gate::new(config).undo(&rig.clock(), std::time::Duration::from_secs(1)).await;
    assert!(matches!(undone, Err(UndoError::Unreachable(_))), "{undone:?}");
}
