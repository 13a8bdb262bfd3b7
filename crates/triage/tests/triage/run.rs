//! Whole runs: from a task to an answer.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use triage::{Environment, TriageError, run};

use crate::server::{Server, Table, failure};

const PODS: &str = "/api/v1/namespaces/c-1/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/c-1/deployments";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/c-1/deployments/shop";
const SETS: &str = "/apis/apps/v1/namespaces/c-1/replicasets";

fn list(items: Value) -> (u16, Value) {
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}))
}

fn deployment(available: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1},
        "metadata": {"name": "shop", "namespace": "c-1", "uid": "d", "generation": 2},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": available,
            "availableReplicas": available}})
}

fn replica_set(name: &str, revision: &str, command: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "c-1", "uid": name,
            "annotations": {"deployment.kubernetes.io/revision": revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": "d", "controller": true}]},
        "spec": {"replicas": 1, "template": {
            "metadata": {"labels": {"app": "shop", "pod-template-hash": name}},
            "spec": {"containers": [{"name": "app", "image": "busybox", "command": [command]}]}}},
        "status": {"replicas": 1}})
}

fn pod(container: Value) -> Value {
    json!({"metadata": {"name": "shop-2-x", "namespace": "c-1", "uid": "p",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-2", "uid": "shop-2", "controller": true}]},
        "spec": {"restartPolicy": "Always", "containers": [{"name": "app", "image": "busybox"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [container]}})
}

fn crashing() -> Value {
    pod(json!({"name": "app", "ready": false, "restartCount": 3,
        "state": {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": "2026-11-21T04:00:00Z"}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 1, "finishedAt": "2026-11-21T03:59:00Z"}}}))
}

fn healthy() -> Value {
    let mut pod = pod(json!({"name": "app", "ready": true, "restartCount": 0, "state": {"running": {}}}));
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    pod
}

fn table(pod: Value, available: i64) -> Table {
    Table::from([
        (PODS.to_owned(), list(json!([pod]))),
        (DEPLOYMENTS.to_owned(), list(json!([deployment(available)]))),
        (DEPLOYMENT.to_owned(), (200, deployment(available))),
        (SETS.to_owned(), list(json!([replica_set("shop-1", "1", "serve"), replica_set("shop-2", "2", "fail")]))),
    ])
}

/// Runs the agent and returns its answer.
async fn answered(server: &Server, objective: &str, seconds: i64) -> Result<Value, TriageError> {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u, namespace: c-1}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"{}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n",
        server.address
    );
    std::fs::write(path("kubeconfig"), kubeconfig).expect("a kubeconfig");
    let deadline = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let task = json!({"schema": 1, "namespace": "c-1", "objective": objective, "deadline": deadline.to_string(),
        "fault_types": {"command": "", "none": "", "image": ""}});
    std::fs::write(path("task.json"), task.to_string()).expect("a task");
    let environment = Environment {
        kubeconfig: path("kubeconfig"),
        task: path("task.json"),
        answer: path("answer.json"),
        second_look: Duration::from_millis(20),
        poll: Duration::from_millis(5),
    };
    run(environment).await?;
    let answer = std::fs::read(path("answer.json")).expect("an answer");
    Ok(serde_json::from_slice(&answer).expect("JSON"))
}

fn nothing(_: &mut Table) {}

#[tokio::test]
async fn a_crash_is_answered_with_the_deployment_and_nothing_is_changed() {
    let mut table = table(crashing(), 0);
    table.insert(format!("{PODS}/shop-2-x/log"), (200, json!("starting\nno such table: orders\n")));
    let server = Server::start(table, nothing).await;
    let answer = answered(&server, "diagnose", 600).await.expect("an answer");
    assert_eq!(answer["fault_present"], true);
    assert_eq!(answer["root_causes"], json!([{"kind": "Deployment", "namespace": "c-1", "name": "shop"}]));
    assert_eq!(answer["fault_type"], "command", "that is what the last rollout changed");
    assert_eq!(answer["fixed"], false);
    let explanation = answer["explanation"].as_str().expect("an explanation");
    assert!(explanation.contains("no such table"), "{explanation}");
    assert!(server.asked().iter().all(|(method, ..)| method == "GET"), "a diagnosis changes nothing");
}

#[tokio::test]
async fn a_healthy_namespace_needs_one_look() {
    let server = Server::start(table(healthy(), 1), nothing).await;
    let answer = answered(&server, "both", 600).await.expect("an answer");
    assert_eq!(answer["fault_present"], false);
    assert_eq!(answer["root_causes"], json!([]));
    assert_eq!(answer["fault_type"], "none");
    let looks = server.asked().iter().filter(|(_, path, _)| path.starts_with(&format!("{PODS}?"))).count();
    assert_eq!(looks, 1);
    assert!(server.asked().iter().all(|(method, ..)| method == "GET"), "nothing to repair");
}

#[tokio::test]
async fn what_is_still_on_its_way_gets_a_second_look() {
    let starting = pod(
        json!({"name": "app", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}),
    );
    let server = Server::start(table(starting.clone(), 0), nothing).await;
    let answer = answered(&server, "diagnose", 600).await.expect("an answer");
    assert_eq!(answer["fault_present"], false);
    let looks =
        |server: &Server| server.asked().iter().filter(|(_, path, _)| path.starts_with(&format!("{PODS}?"))).count();
    assert_eq!(looks(&server), 2);
    let server = Server::start(table(starting, 0), nothing).await;
    answered(&server, "diagnose", 3).await.expect("an answer");
    assert_eq!(looks(&server), 1, "no time for another");
}

#[tokio::test]
async fn a_rollout_that_fails_is_rolled_back_and_seen_to_work() {
    let server = Server::start(table(crashing(), 0), |table| {
        table.insert(DEPLOYMENT.to_owned(), (200, deployment(1)));
    })
    .await;
    let answer = answered(&server, "both", 600).await.expect("an answer");
    assert_eq!(answer["fixed"], true);
    let changes: Vec<_> = server.asked().into_iter().filter(|(method, ..)| method != "GET").collect();
    let [(method, path, body)] = changes.as_slice() else { panic!("one change: {changes:?}") };
    assert_eq!((method.as_str(), path.as_str()), ("PATCH", DEPLOYMENT));
    let patch: Value = serde_json::from_str(body).expect("a patch");
    assert_eq!(patch[0]["path"], "/spec/template");
    assert_eq!(patch[0]["value"]["spec"]["containers"][0]["command"], json!(["serve"]));
    assert_eq!(patch[0]["value"]["metadata"]["labels"], json!({"app": "shop"}), "without the controller's label");
}

#[tokio::test]
async fn a_refused_rollback_is_no_fix_and_no_error() {
    let server = Server::start(table(crashing(), 0), |table| {
        table.insert(DEPLOYMENT.to_owned(), failure(403, "Forbidden"));
    })
    .await;
    let answer = answered(&server, "mitigate", 600).await.expect("an answer");
    assert_eq!((&answer["fault_present"], &answer["fixed"]), (&Value::Bool(true), &Value::Bool(false)));
}

#[tokio::test]
async fn without_an_earlier_revision_nothing_is_changed() {
    let mut table = table(crashing(), 0);
    table.insert(SETS.to_owned(), list(json!([replica_set("shop-2", "2", "fail")])));
    let server = Server::start(table, nothing).await;
    let answer = answered(&server, "both", 600).await.expect("an answer");
    assert_eq!(answer["fixed"], false);
    assert!(server.asked().iter().all(|(method, ..)| method == "GET"));
}

#[tokio::test]
async fn what_may_not_be_read_is_left_out_but_pods_are_needed() {
    let server = Server::start(Table::from([(PODS.to_owned(), list(json!([crashing()])))]), nothing).await;
    let answer = answered(&server, "diagnose", 600).await.expect("an answer");
    assert_eq!(answer["root_causes"][0]["name"], "shop-2", "as far as owner references tell");
    let server = Server::start(Table::from([(PODS.to_owned(), failure(403, "Forbidden"))]), nothing).await;
    let error = answered(&server, "diagnose", 600).await.expect_err("no pods");
    assert!(matches!(&error, TriageError::Request { what, .. } if what == "reading pods"), "{error}");
}

#[tokio::test]
async fn long_lists_are_read_to_their_end() {
    let mut table = table(healthy(), 1);
    table.insert(PODS.to_owned(), (200, json!({"metadata": {"continue": "a+b/c="}, "items": [healthy()]})));
    table.insert(format!("{PODS}?limit=500&continue=a%2Bb%2Fc%3D"), list(json!([crashing()])));
    let server = Server::start(table, nothing).await;
    let answer = answered(&server, "diagnose", 600).await.expect("an answer");
    assert_eq!(answer["fault_present"], true, "the crash is on the second page");
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_an_error_at_once() {
    let mut gone = Server::start(Table::new(), nothing).await;
    gone.address = "http://127.0.0.1:1".into();
    let start = Instant::now();
    let error = answered(&gone, "diagnose", 600).await.expect_err("no cluster");
    assert!(matches!(error, TriageError::Request { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30));
}
