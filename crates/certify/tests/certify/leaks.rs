use std::time::Instant;

use certify::Baseline;
use serde_json::{Value, json};

use crate::world::{CASE, LABEL, World, config_map, deployment, told};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_came_and_went_leaves_a_clean_cluster() {
    let mut world = World::start();
    let baseline = world.baseline().await;
    world.deployment("web", 2).await;
    world.touch("apps", "deployments", "default", "web");
    let there = world.compare(&baseline).await;
    let objects: Vec<_> = there.leaks.iter().map(|leak| leak.object.split('-').next().unwrap()).collect();
    // What a controller has made is told by the controller.
    assert_eq!(objects, ["apps/v1 Deployment default/web", "apps/v1 ReplicaSet default/web"]);
    assert!(there.foreign.is_empty(), "{:?}", told(&there.foreign));
    world.delete(WEB).await;
    let gone = world.settle(&baseline).await.unwrap();
    assert_eq!((told(&gone.leaks), told(&gone.foreign)), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_over_is_a_leak_by_touch_label_and_namespace() {
    let mut world = World::start();
    let baseline = world.baseline().await;
    world.create(MAPS, config_map("touched")).await;
    world.touch("", "configmaps", "default", "touched");
    let mut labelled = config_map("labelled");
    labelled["metadata"]["labels"] = json!({gate::LABEL: LABEL});
    world.create(MAPS, labelled).await;
    world.create(MAPS, config_map("others")).await;
    world.create("/api/v1/namespaces", json!({"metadata": {"name": CASE}})).await;
    world.create(&format!("/api/v1/namespaces/{CASE}/configmaps"), config_map("inside")).await;
    let differences = world.compare(&baseline).await;
    assert_eq!(
        told(&differences.leaks),
        [
            (format!("v1 ConfigMap {CASE}/inside").as_str(), "left_over"),
            ("v1 ConfigMap default/labelled", "left_over"),
            ("v1 ConfigMap default/touched", "left_over"),
            (format!("v1 Namespace {CASE}").as_str(), "left_over"),
        ]
    );
    assert_eq!(told(&differences.foreign), [("v1 ConfigMap default/others", "left_over")]);
    assert!(!differences.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_was_changed_and_put_back_is_as_it_was() {
    let mut world = World::start();
    world.deployment("web", 3).await;
    let baseline = world.baseline().await;
    world.touch("apps", "deployments", "default", "web");
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image, "command": ["sleep", "100000"]}]}}}});
    world.patch(WEB, image("busybox:latest")).await;
    world.pass(std::time::Duration::from_secs(60)).await;
    let changed = world.compare(&baseline).await;
    assert!(
        told(&changed.leaks).contains(&("apps/v1 Deployment default/web", "changed")),
        "{:?}",
        told(&changed.leaks)
    );
    world.patch(WEB, image("busybox:1.36")).await;
    let back = world.settle(&baseline).await.unwrap();
    assert_eq!((told(&back.leaks), told(&back.foreign)), (vec![], vec![]));
    let sets = world.call("GET", "/apis/apps/v1/replicasets", Value::Null).await;
    assert_eq!(sets["items"].as_array().unwrap().len(), 2, "an old empty ReplicaSet stays: {sets}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_was_deleted_and_made_anew_is_as_it_was() {
    let mut world = World::start();
    world.deployment("web", 2).await;
    let baseline = world.baseline().await;
    world.touch("apps", "deployments", "default", "web");
    world.delete(WEB).await;
    world.pass(std::time::Duration::from_secs(60)).await;
    let gone = world.compare(&baseline).await;
    assert_eq!(
        told(&gone.leaks)
            .into_iter()
            .map(|(object, what)| (object.split('-').next().unwrap(), what))
            .collect::<Vec<_>>(),
        [("apps/v1 Deployment default/web", "missing"), ("apps/v1 ReplicaSet default/web", "missing")]
    );
    world.create("/apis/apps/v1/namespaces/default/deployments", deployment("web", 2)).await;
    let back = world.settle(&baseline).await.unwrap();
    assert_eq!((told(&back.leaks), told(&back.foreign)), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_not_clean_before_it_has_recovered() {
    let mut world = World::start();
    world.deployment("web", 1).await;
    let baseline = world.baseline().await;
    world.touch("apps", "deployments", "default", "web");
    world.patch(WEB, json!({"spec": {"replicas": 0}})).await;
    world.pass(std::time::Duration::from_secs(60)).await;
    world.patch(WEB, json!({"spec": {"replicas": 1}})).await;
    let soon = world.compare(&baseline).await;
    let web = soon.leaks.iter().find(|leak| leak.object.ends_with("Deployment default/web")).unwrap();
    assert!(web.evidence.contains(&json!("status.readyReplicas is 0, was 1")), "{web:?}");
    assert!(world.settle(&baseline).await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_changed_in_place_is_named_with_what_changed() {
    let mut world = World::start();
    world.deployment("web", 2).await;
    let baseline = world.baseline().await;
    let pods = world.call("GET", "/api/v1/namespaces/default/pods", Value::Null).await;
    let name = pods["items"][0]["metadata"]["name"].as_str().unwrap();
    world.touch("", "pods", "default", name);
    let image =
        json!({"spec": {"containers": [{"name": "main", "image": "busybox:latest", "command": ["sleep", "100000"]}]}});
    let patch = http::Request::patch(format!("/api/v1/namespaces/default/pods/{name}"))
        .header("content-type", "application/strategic-merge-patch+json")
        .body(image.to_string().into_bytes())
        .unwrap();
    world.client.request::<Value>(patch).await.unwrap();
    let differences = world.compare(&baseline).await;
    assert_eq!(told(&differences.leaks), [(format!("v1 Pod default/{name}").as_str(), "changed")]);
    assert_eq!(differences.leaks[0].evidence[0], "spec.containers differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_deleted_is_replaced_by_its_like() {
    let mut world = World::start();
    world.deployment("web", 3).await;
    let baseline = world.baseline().await;
    let pods = world.call("GET", "/api/v1/namespaces/default/pods", Value::Null).await;
    let name = pods["items"][0]["metadata"]["name"].as_str().unwrap();
    world.touch("", "pods", "default", name);
    world.delete(&format!("/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0")).await;
    let back = world.settle(&baseline).await.unwrap();
    assert_eq!((told(&back.leaks), told(&back.foreign)), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_named_and_their_values_nowhere() {
    let mut world = World::start();
    let secrets = "/api/v1/namespaces/default/secrets";
    world
        .create(secrets, json!({"metadata": {"name": "db"}, "stringData": {"user": "app", "password": "hunter2-old"}}))
        .await;
    let baseline = world.baseline().await;
    world.touch("", "secrets", "default", "db");
    world.patch(&format!("{secrets}/db"), json!({"stringData": {"password": "hunter2-new"}})).await;
    let differences = world.compare(&baseline).await;
    assert_eq!(told(&differences.leaks), [("v1 Secret default/db", "changed")]);
    assert_eq!(differences.leaks[0].evidence, [json!("data.password differs"), json!("touched through the gate")]);
    let saved = serde_json::to_string(&baseline).unwrap();
    for secret in ["hunter2", "aHVudGVyMi1vbGQ", "aHVudGVyMi1uZXc"] {
        assert!(!saved.contains(secret) && !format!("{differences:?}").contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baseline_can_be_compared_with_by_another_process() {
    let mut world = World::start();
    world.deployment("web", 1).await;
    let saved = serde_json::to_vec(&world.baseline().await).unwrap();
    println!("a baseline of an embedded cluster with one Deployment: {} bytes", saved.len());
    let baseline: Baseline = serde_json::from_slice(&saved).unwrap();
    assert!(world.compare(&baseline).await.is_clean());
    world.create(MAPS, config_map("left")).await;
    world.touch("", "configmaps", "default", "left");
    assert_eq!(world.compare(&baseline).await.leaks.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_custom_resources_are_seen() {
    let mut world = World::start();
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = |plural: &str, kind: &str| {
        json!({
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
                "versions": [{"name": "v1", "served": true, "storage": true,
                              "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
            },
        })
    };
    let widget = |name: &str, size: u32| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}});
    world.create(definitions, definition("widgets", "Widget")).await;
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    world.create(widgets, widget("a", 1)).await;
    let baseline = world.baseline().await;
    world.patch(&format!("{widgets}/a"), json!({"spec": {"size": 2}})).await;
    world.touch("example.com", "widgets", "default", "a");
    // A kind that came with the case, and an object of it that never went through the gate.
    world.create(definitions, definition("gadgets", "Gadget")).await;
    world.touch("apiextensions.k8s.io", "customresourcedefinitions", "", "gadgets.example.com");
    let gadget = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {}});
    world.create("/apis/example.com/v1/namespaces/default/gadgets", gadget).await;
    let differences = world.compare(&baseline).await;
    assert_eq!(
        told(&differences.leaks),
        [
            ("apiextensions.k8s.io/v1 CustomResourceDefinition gadgets.example.com", "left_over"),
            ("example.com/v1 Gadget default/g", "left_over"),
            ("example.com/v1 Widget default/a", "changed"),
        ]
    );
    assert_eq!(differences.leaks[2].evidence[0], "spec.size differs");
    assert!(differences.foreign.is_empty(), "{:?}", told(&differences.foreign));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_object_of_the_case_owns_is_the_cases() {
    let mut world = World::start();
    world.create(MAPS, config_map("owner")).await;
    let owner = world.call("GET", &format!("{MAPS}/owner"), Value::Null).await;
    let baseline = world.baseline().await;
    world.touch("", "configmaps", "default", "owner");
    let mut owned = config_map("owned");
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}]);
    world.create(MAPS, owned).await;
    let differences = world.compare(&baseline).await;
    assert_eq!(told(&differences.leaks), [("v1 ConfigMap default/owned", "left_over")]);
    assert_eq!(differences.leaks[0].evidence, ["belongs to configmaps owner, which was touched through the gate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_at_work_are_a_warning() {
    let world = World::start();
    world.create(MAPS, config_map("theirs")).await;
    let baseline = world.baseline().await;
    world.patch(&format!("{MAPS}/theirs"), json!({"data": {"k": "w"}})).await;
    world.create(MAPS, config_map("more")).await;
    world.deployment("also", 1).await;
    let differences = world.settle(&baseline).await.unwrap();
    assert!(differences.is_clean(), "{:?}", told(&differences.leaks));
    let foreign = told(&differences.foreign);
    for expected in [
        ("v1 ConfigMap default/theirs", "changed"),
        ("v1 ConfigMap default/more", "left_over"),
        ("apps/v1 Deployment default/also", "left_over"),
    ] {
        assert!(foreign.contains(&expected), "{foreign:?}");
    }
}

/// Printed, not asserted but for being far from a hang: each case does this twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_takes_milliseconds() {
    let world = World::start();
    world.deployment("web", 3).await;
    let baseline = world.baseline().await;
    let mut times = Vec::new();
    for _ in 0..20 {
        let started = Instant::now();
        let taken = world.baseline().await;
        let first = started.elapsed();
        assert_eq!(taken.objects(), baseline.objects());
        let started = Instant::now();
        assert!(world.compare(&baseline).await.is_clean());
        times.push((first, started.elapsed()));
    }
    times.sort();
    let (take, compare) = times[times.len() / 2];
    println!("{} objects: a baseline in {take:?}, a comparison in {compare:?} (median of 20)", baseline.objects());
    assert!(take.as_secs() < 5 && compare.as_secs() < 5);
}
