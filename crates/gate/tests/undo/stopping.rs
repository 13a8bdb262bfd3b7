//! An undo that is ended in the middle, at every write, before and after it took effect: another one ends it. And one that
//! is not ended, only badly served.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::*;

/// A case with something of everything; the state before it.
async fn case() -> (Rig, Dump) {
    let rig = Rig::new();
    rig.given(NAMESPACES, json!({"metadata": {"name": "a"}})).await;
    let web = rig.given(DEPLOYMENTS, deployment("web", 1)).await;
    rig.given(DEPLOYMENTS, deployment("scaled", 1)).await;
    let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": web["metadata"]["uid"]}]);
    rig.given(MAPS, json!({"metadata": {"name": "owned", "ownerReferences": owner}})).await;
    rig.given(MAPS, json!({"metadata": {"name": "held"}, "data": {"a": "1"}})).await;
    let mut bare = pod_template(json!({"app": "bare"}));
    bare["metadata"]["name"] = json!("bare");
    rig.given(PODS, bare).await;
    rig.pass(20).await;
    let before = rig.dump().await;
    rig.done("POST", NAMESPACES, json!({"metadata": {"name": "b"}})).await;
    let held = json!({"metadata": {"name": "m", "finalizers": ["example.com/case"]}});
    rig.done("POST", "/api/v1/namespaces/b/configmaps", held).await;
    rig.done("POST", DEFINITIONS, definition()).await;
    rig.done("POST", WIDGETS, widget("w")).await;
    rig.done("POST", DEPLOYMENTS, deployment("made", 1)).await;
    rig.done("PATCH", &format!("{DEPLOYMENTS}/scaled"), json!({"spec": {"replicas": 3}})).await;
    rig.done("PATCH", &format!("{MAPS}/held"), json!({"metadata": {"finalizers": ["example.com/case"]}})).await;
    for path in [format!("{MAPS}/held"), format!("{MAPS}/owned"), format!("{DEPLOYMENTS}/web"), format!("{PODS}/bare")]
    {
        rig.done("DELETE", &path, Value::Null).await;
    }
    (rig, before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_that_was_ended_anywhere_is_ended_by_the_next() {
    let mut cuts = 0;
    for n in 0.. {
        let mut ended = false;
        for cut in [Cut::Before, Cut::After] {
            let (rig, before) = case().await;
            rig.cut(n, cut);
            let clock = rig.clock();
            ended = tokio::select! {
                () = rig.ended.notified() => false,
                report = rig.gate.undo(&clock, Duration::from_secs(120)) => {
                    assert!(report.unwrap().is_complete());
                    true
                }
            };
            rig.undo_all().await;
            rig.is_as(&before, &format!("cut {cut:?} write {n}")).await;
            if ended {
                break;
            }
            cuts += 1;
        }
        if ended {
            break;
        }
    }
    println!("undo was ended at {cuts} places");
    assert!(cuts >= 20, "{cuts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_under_the_undo_cost_time_only() {
    let (rig, before) = case().await;
    rig.faulty.store(true, std::sync::atomic::Ordering::SeqCst);
    rig.undo_all().await;
    rig.is_as(&before, "after the undo").await;
}
