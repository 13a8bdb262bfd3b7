//! The commands that people type first, against `cluster up`.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use e2e::{Cluster, Kubectl, Running, wait_until};

#[test]
fn logs_of_a_pod_that_ends() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("logs") else { return };
    let script = "echo hello; sleep 1; echo bye";
    kubectl.ok(&["run", "talk", "--image=busybox", "--restart=Never", "--", "/bin/sh", "-c", script]);
    kubectl.ok(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/talk", "--timeout=30s"]);
    assert_eq!(kubectl.ok(&["logs", "talk"]), "hello\nbye");
    assert_eq!(kubectl.ok(&["logs", "talk", "--tail=1"]), "bye");
    let row = kubectl.ok(&["get", "pods", "--no-headers"]);
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["talk", "0/1", "Completed", "0"], "{row}");
    cluster.interrupt();
}

#[test]
fn create_writes_protobuf_and_is_understood() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("create") else { return };
    assert_eq!(kubectl.ok(&["create", "namespace", "shop"]), "namespace/shop created");
    let create = ["create", "deployment", "web", "--image=nginx", "--replicas=2", "-n", "shop"];
    assert_eq!(kubectl.ok(&create), "deployment.apps/web created");
    let again = kubectl.run(&create);
    assert!(again.code != 0 && again.stderr.contains("already exists"), "{again:?}");
    kubectl.ok(&["rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s"]);
    let row = kubectl.ok(&["get", "deployment", "web", "-n", "shop", "--no-headers"]);
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["web", "2/2", "2", "2"], "{row}");
    kubectl.ok(&["create", "configmap", "settings", "--from-literal=colour=blue", "-n", "shop"]);
    assert_eq!(kubectl.ok(&["get", "configmap", "settings", "-n", "shop", "-o", "jsonpath={.data.colour}"]), "blue");
    kubectl.ok(&["create", "secret", "generic", "key", "--from-literal=a=b", "-n", "shop"]);
    kubectl.ok(&["delete", "namespace", "shop", "--wait", "--timeout=90s"]);
    assert!(!kubectl.ok(&["get", "namespaces"]).contains("shop"), "the namespace is gone with all that was in it");
    cluster.interrupt();
}

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: app, image: nginx, resources: {requests: {memory: 32Mi}}}
";

fn revisions(kubectl: &Kubectl) -> usize {
    kubectl.json(&["get", "replicasets", "-l", "app=web"])["items"].as_array().map_or(0, Vec::len)
}

#[test]
fn apply_patch_and_wait_roll_a_deployment() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("apply") else { return };
    let file = cluster.sandbox().write("web.yaml", WEB).display().to_string();
    assert_eq!(kubectl.ok(&["apply", "-f", &file]), "deployment.apps/web created");
    assert_eq!(kubectl.ok(&["apply", "-f", &file]), "deployment.apps/web unchanged");
    kubectl.ok(&["wait", "--for=condition=Available", "deployment/web", "--timeout=60s"]);
    fs::write(&file, WEB.replace("32Mi", "64Mi")).unwrap();
    assert_eq!(kubectl.ok(&["apply", "-f", &file]), "deployment.apps/web configured");
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert_eq!(revisions(&kubectl), 2, "the old replica set stays for rolling back");

    let patch = r#"{"spec":{"replicas":3}}"#;
    kubectl.ok(&["patch", "deployment", "web", "-p", patch]);
    wait_until("three pods", Duration::from_secs(30), || {
        kubectl.ok(&["get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"]) == "3"
    });
    assert_eq!(revisions(&kubectl), 2, "scaling makes no new revision");
    kubectl.ok(&["set", "image", "deployment/web", "app=nginx:does-not-exist"]);
    wait_until("the pull to fail", Duration::from_secs(30), || {
        let rows = kubectl.ok(&["get", "pods", "--no-headers"]);
        rows.contains("ErrImagePull") || rows.contains("ImagePullBackOff")
    });
    kubectl.ok(&["rollout", "undo", "deployment/web"]);
    kubectl.ok(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    kubectl.ok(&["delete", "deployment", "web", "--wait", "--timeout=60s"]);
    wait_until("its pods to go", Duration::from_secs(60), || kubectl.ok(&["get", "pods", "-o", "name"]).is_empty());
    cluster.interrupt();
}

#[test]
fn a_watch_shows_a_pod_come_and_go() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("a watch") else { return };
    let seen = cluster.sandbox().path().join("watch.txt");
    let mut command = kubectl.command();
    command.args(["get", "pods", "--watch", "--output-watch-events"]).stderr(Stdio::null());
    command.stdout(fs::File::create(&seen).expect("a file"));
    let mut watch = Running::start(&mut command);
    let wait_for = |words: [&str; 2]| {
        wait_until(&format!("{words:?} in the watch"), Duration::from_secs(45), || {
            let text = fs::read_to_string(&seen).unwrap_or_default();
            text.lines().any(|line| words.iter().all(|word| line.contains(word)))
        });
    };
    kubectl.ok(&["run", "visitor", "--image=busybox", "--restart=Never", "--", "sleep", "600"]);
    wait_for(["ADDED", "Pending"]);
    wait_for(["MODIFIED", "Running"]);
    kubectl.ok(&["delete", "pod", "visitor", "--wait", "--grace-period=1", "--timeout=45s"]);
    wait_for(["DELETED", "visitor"]);
    let gone = kubectl.run(&["get", "pod", "visitor"]);
    assert_eq!(gone.stderr.trim_end(), "Error from server (NotFound): pods \"visitor\" not found");
    watch.signal(rustix::process::Signal::INT);
    watch.wait(Duration::from_secs(5));
    cluster.interrupt();
}

#[test]
fn what_is_wrong_is_refused_in_kubernetes_own_words() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("errors") else { return };
    let refused = |args: &[&str], text: &str| {
        let finished = kubectl.run(args);
        assert!(finished.code != 0 && finished.stderr.contains(text), "{text} in {finished:?}");
    };
    refused(&["get", "deployment", "nowhere"], "deployments.apps \"nowhere\" not found");
    refused(&["run", "Bad_Name", "--image=busybox"], "metadata.name: Invalid value");
    refused(&["create", "configmap", "x", "-n", "nowhere"], "namespaces \"nowhere\" not found");
    refused(&["get", "gizmos"], "the server doesn't have a resource type \"gizmos\"");
    cluster.interrupt();
}
