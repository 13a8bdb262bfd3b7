//! Owners, finalizers, namespaces and pods on their way out; quotas; what admission adds.

use std::time::Duration;

use clock::run_until;
use embedded::Cluster;
use serde_json::{Value, json};

use crate::client::{Events, call, create, get, namespace, send, still};

const MAPS: &str = "/api/v1/namespaces/a/configmaps";

async fn owned(cluster: &Cluster, name: &str, owner: &Value) -> Value {
    let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
                           "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true});
    create(cluster, MAPS, json!({"metadata": {"name": name, "ownerReferences": [reference]}})).await
}

#[tokio::test]
async fn what_is_owned_goes_with_its_owner_or_is_orphaned() {
    for (policy, child_stays) in [("Background", false), ("Foreground", false), ("Orphan", true)] {
        let cluster = still();
        namespace(&cluster, "a").await;
        let owner = create(&cluster, MAPS, json!({"metadata": {"name": "owner"}})).await;
        let child = owned(&cluster, "child", &owner).await;
        owned(&cluster, "grandchild", &child).await;
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let (status, _) = call(&cluster, "DELETE", &format!("{MAPS}/owner"), options).await;
        assert_eq!(status, 200);
        assert_eq!(get(&cluster, &format!("{MAPS}/owner")).await.0, 404, "{policy}");
        let (status, child) = get(&cluster, &format!("{MAPS}/child")).await;
        assert_eq!(status == 200, child_stays, "{policy}");
        assert_eq!(get(&cluster, &format!("{MAPS}/grandchild")).await.0 == 200, child_stays, "{policy}");
        if child_stays {
            assert!(child["metadata"].get("ownerReferences").is_none());
        }
    }
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_taken_off() {
    let cluster = still();
    namespace(&cluster, "a").await;
    create(&cluster, MAPS, json!({"metadata": {"name": "x", "finalizers": ["example.com/hold"]}})).await;
    let (_, going) = call(&cluster, "DELETE", &format!("{MAPS}/x"), Value::Null).await;
    assert_eq!(going["kind"], "ConfigMap");
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/late"]}});
    let (code, refused) = call(&cluster, "PATCH", &format!("{MAPS}/x"), more).await;
    assert_eq!(code, 422, "none can be added any more: {refused}");
    call(&cluster, "PATCH", &format!("{MAPS}/x"), json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(get(&cluster, &format!("{MAPS}/x")).await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_ends_when_its_content_has_gone() {
    let cluster = still();
    namespace(&cluster, "a").await;
    create(&cluster, MAPS, json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})).await;
    let (status, going) = call(&cluster, "DELETE", "/api/v1/namespaces/a", Value::Null).await;
    assert_eq!((status, &going["status"]["phase"]), (200, &json!("Terminating")));
    let (status, refused) = call(&cluster, "POST", MAPS, json!({"metadata": {"name": "late"}})).await;
    assert_eq!((status, &refused["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")));
    let clock = cluster.clock();
    let mut events = Events::new(
        send(&cluster, "GET", "/api/v1/namespaces?watch=true&fieldSelector=metadata.name%3Da", &[], "").await,
    );
    let told = run_until(&clock, Duration::from_secs(60), async {
        loop {
            let event = events.next().await.unwrap();
            let conditions = event["object"]["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if let Some(c) =
                conditions.iter().find(|c| c["type"] == "NamespaceFinalizersRemaining" && c["status"] == "True")
            {
                return c["message"].as_str().unwrap().to_owned();
            }
        }
    })
    .await
    .unwrap();
    assert!(told.contains("example.com/hold in 1 resource instances"), "{told}");
    call(&cluster, "PATCH", &format!("{MAPS}/held"), json!({"metadata": {"finalizers": null}})).await;
    let gone = run_until(&clock, Duration::from_secs(60), async {
        while events.next().await.unwrap()["type"] != "DELETED" {}
    });
    gone.await.unwrap();
    assert_eq!(get(&cluster, "/api/v1/namespaces/a").await.0, 404);
}

#[tokio::test]
async fn a_pod_on_a_node_is_marked_and_waits_for_its_kubelet() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let pods = "/api/v1/namespaces/a/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    create(&cluster, pods, pod).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    create(&cluster, &format!("{pods}/p/binding"), binding).await;
    let (_, marked) = call(&cluster, "DELETE", &format!("{pods}/p"), Value::Null).await;
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(marked["metadata"]["generation"], 2);
    let (_, sooner) = call(&cluster, "DELETE", &format!("{pods}/p?gracePeriodSeconds=5"), Value::Null).await;
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    let (status, _) = call(&cluster, "DELETE", &format!("{pods}/p?gracePeriodSeconds=0"), Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(get(&cluster, &format!("{pods}/p")).await.0, 404);
}

#[tokio::test]
async fn a_quota_refuses_what_exceeds_it() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}});
    create(&cluster, "/api/v1/namespaces/a/resourcequotas", quota).await;
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    create(&cluster, "/api/v1/namespaces/a/pods", pod("one")).await;
    let (status, refused) = call(&cluster, "POST", "/api/v1/namespaces/a/pods", pod("two")).await;
    assert_eq!(status, 403);
    assert_eq!(
        refused["message"],
        "pods \"two\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"
    );
}

#[tokio::test]
async fn each_namespace_has_its_account_again() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let account = "/api/v1/namespaces/a/serviceaccounts/default";
    let (_, first) = get(&cluster, account).await;
    call(&cluster, "DELETE", account, Value::Null).await;
    let (status, second) = get(&cluster, account).await;
    assert_eq!(status, 200);
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "none", "containers": [{"name": "c", "image": "i"}]}});
    let (status, refused) = call(&cluster, "POST", "/api/v1/namespaces/a/pods", pod).await;
    assert_eq!(status, 403);
    assert_eq!(
        refused["message"],
        "pods \"p\" is forbidden: error looking up service account a/none: serviceaccount \"none\" not found"
    );
}
