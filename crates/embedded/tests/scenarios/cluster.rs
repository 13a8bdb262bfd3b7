//! What no recording shows: pods that reach each other, many pods, and pods that restart for long.

use std::time::{Duration, Instant};

use embedded::Cluster;
use serde_json::Value;

use crate::replay::send;

async fn create(cluster: &Cluster, path: &str, yaml: &str) {
    let (status, answer) = send(cluster, "POST", path, "application/yaml", yaml.as_bytes()).await;
    assert!(status < 300, "{path}: {status} {answer}");
}

async fn pass(cluster: &Cluster, seconds: u64) {
    let clock = cluster.clock();
    let _hurry = clock.hurry();
    clock.sleep_until(clock.now() + Duration::from_secs(seconds)).await;
}

async fn get(cluster: &Cluster, path: &str) -> Value {
    send(cluster, "GET", path, "application/json", b"").await.1
}

const SERVER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'nginx:1.27', ports: [{containerPort: 80}], readinessProbe: {httpGet: {path: /, port: 80}}}
";

fn client(service: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  restartPolicy: Never
  containers:
  - name: client
    image: busybox:1.36
    command: [sh, -c, 'for i in 1 2 3 4 5; do wget -T 2 -qO- http://{service} && exit 0; sleep 1; done; exit 1']
"
    )
}

fn phase(pod: &Value) -> &str {
    pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn pods_reach_services() {
    let cases = [
        ("web", "web", "80", "Succeeded"),
        ("web.default.svc.cluster.local:8080", "web", "80", "Failed"),
        ("web", "wrong", "80", "Failed"),
        ("web", "web", "81", "Failed"),
        ("absent", "web", "80", "Failed"),
    ];
    for (host, selected, target, expected) in cases {
        crate::runtime().block_on(async {
            let cluster = Cluster::start(embedded::Options { seed: 5, ..Default::default() });
            create(&cluster, "/apis/apps/v1/namespaces/default/deployments", SERVER).await;
            let service = format!(
                "{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{selector: {{app: {selected}}}, ports: [{{port: 80, targetPort: {target}}}]}}}}"
            );
            create(&cluster, "/api/v1/namespaces/default/services", &service).await;
            pass(&cluster, 10).await;
            create(&cluster, "/api/v1/namespaces/default/pods", &client(host)).await;
            pass(&cluster, 60).await;
            let pod = get(&cluster, "/api/v1/namespaces/default/pods/client").await;
            assert_eq!(phase(&pod), expected, "{host}, selector {selected}, target {target}: {}", pod["status"]);
        });
    }
}

#[test]
fn a_pod_reads_the_api_as_its_account_may() {
    crate::runtime().block_on(async {
        let cluster = Cluster::start(embedded::Options { seed: 5, ..Default::default() });
        let script = "t=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token); wget -qO- --header \\\"Authorization: Bearer $t\\\" https://kubernetes.default.svc/api/v1/namespaces/default/configmaps && exit 0; exit 1";
        let pod = |name: &str| {
            format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: Never, containers: [{{name: c, image: 'busybox:1.36', command: [sh, -c, \"{script}\"]}}]}}}}")
        };
        create(&cluster, "/api/v1/namespaces/default/pods", &pod("before")).await;
        pass(&cluster, 20).await;
        let before = get(&cluster, "/api/v1/namespaces/default/pods/before").await;
        assert_eq!(phase(&before), "Failed", "{}", before["status"]);
        let path = "/api/v1/namespaces/default/pods/before/log";
        let (_, log) = crate::replay::send_text(&cluster, path).await;
        assert!(log.contains("wget: server returned error: HTTP/1.1 403 Forbidden"), "{log}");
        let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
        let role = "{metadata: {name: reader}, rules: [{verbs: [list], apiGroups: [''], resources: [configmaps]}]}";
        create(&cluster, &format!("{roles}/roles"), role).await;
        let binding = "{metadata: {name: reader}, subjects: [{kind: ServiceAccount, name: default, namespace: default}], roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}";
        create(&cluster, &format!("{roles}/rolebindings"), binding).await;
        create(&cluster, "/api/v1/namespaces/default/pods", &pod("after")).await;
        pass(&cluster, 20).await;
        let after = get(&cluster, "/api/v1/namespaces/default/pods/after").await;
        assert_eq!(phase(&after), "Succeeded", "{}", after["status"]);
    });
}

#[test]
fn hundreds_of_pods_run() {
    crate::runtime().block_on(async {
        let node = workloads::NodeConfig { cpus: 64, pods: 1000, ..Default::default() };
        let cluster = Cluster::start(embedded::Options { seed: 5, node });
        let before = Instant::now();
        create(
            &cluster,
            "/apis/apps/v1/namespaces/default/deployments",
            &SERVER.replace("replicas: 2", "replicas: 400"),
        )
        .await;
        pass(&cluster, 60).await;
        let deployment = get(&cluster, "/apis/apps/v1/namespaces/default/deployments/web").await;
        assert_eq!(deployment["status"]["availableReplicas"], 400, "{}", deployment["status"]);
        println!("400 pods and a minute took {:?}", before.elapsed());
        assert!(before.elapsed() < Duration::from_secs(60), "took {:?}", before.elapsed());
    });
}

#[test]
fn back_off_grows_to_five_minutes_and_is_forgotten_after_ten_quiet_ones() {
    crate::runtime().block_on(async {
        let cluster = Cluster::start(embedded::Options { seed: 5, ..Default::default() });
        let pod = |name: &str, script: &str| {
            format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{containers: [{{name: app, image: 'busybox:1.36', command: [sh, -c, '{script}']}}]}}}}"
            )
        };
        create(&cluster, "/api/v1/namespaces/default/pods", &pod("quick", "exit 1")).await;
        create(&cluster, "/api/v1/namespaces/default/pods", &pod("slow", "sleep 660; exit 1")).await;
        pass(&cluster, 3 * 3600).await;
        let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or(0);
        let quick = restarts(&get(&cluster, "/api/v1/namespaces/default/pods/quick").await);
        // 10, 20, 40, 80, 160 s, then 300 to 450 s each: 24 to 35 in the rest of three hours.
        assert!((28..=44).contains(&quick), "{quick} restarts");
        let slow = restarts(&get(&cluster, "/api/v1/namespaces/default/pods/slow").await);
        // Each run is longer than ten minutes, so the pause is never longer than the first.
        assert!((15..=16).contains(&slow), "{slow} restarts");
    });
}
