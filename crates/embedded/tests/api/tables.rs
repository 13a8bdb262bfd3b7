//! Recorded tables, asked for again of a cluster with the same objects after the same time: columns and cells.

use std::time::Duration;

use clock::run_until;
use embedded::{Cluster, Options};
use regex::Regex;
use serde_json::{Value, json};

use crate::client::{create, namespace, send, text};
use crate::conformance::{claimed_by, compare, recordings};

const SPACE: &str = "namespaces/tables";

/// A pod template with these containers.
fn template(app: &str, containers: Value) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": containers}})
}

fn web() -> Value {
    json!({"name": "c", "image": "local/web:1", "ports": [{"containerPort": 8080}]})
}

fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "busybox:1.36", "command": ["sh", "-c", script]})
}

/// What was there when the tables were recorded.
async fn fill(cluster: &Cluster) {
    namespace(cluster, "tables").await;
    let put = async |group: &str, plural: &str, name: &str, body: Value| {
        let mut object = json!({"metadata": {"name": name}});
        for (key, value) in body.as_object().unwrap() {
            object[key] = value.clone();
        }
        let root = if group == "v1" { "/api/v1".to_owned() } else { format!("/apis/{group}") };
        create(cluster, &format!("{root}/{SPACE}/{plural}"), object).await;
    };
    let selector = |app: &str| json!({"matchLabels": {"app": app}});
    put(
        "apps/v1",
        "deployments",
        "web",
        json!({"spec": {"replicas": 2, "selector": selector("web"),
        "template": template("web", json!([web(), shell("side", "sleep 3600")]))}}),
    )
    .await;
    put(
        "apps/v1",
        "daemonsets",
        "agent",
        json!({"spec": {"selector": selector("agent"), "template": template("agent", json!([web()]))}}),
    )
    .await;
    put(
        "apps/v1",
        "statefulsets",
        "db",
        json!({"spec": {"serviceName": "db", "selector": selector("db"), "template": template("db", json!([web()]))}}),
    )
    .await;
    for (name, script, suspend) in
        [("done", "true", false), ("failed", "exit 1", false), ("halted", "true", true), ("runs", "sleep 3600", false)]
    {
        let mut pod = template(name, json!([shell("c", script)]));
        pod["spec"]["restartPolicy"] = json!("Never");
        put("batch/v1", "jobs", name, json!({"spec": {"backoffLimit": 0, "suspend": suspend, "template": pod}})).await;
    }
    let mut pod = template("nightly", json!([shell("c", "true")]));
    pod["spec"]["restartPolicy"] = json!("Never");
    put(
        "batch/v1",
        "cronjobs",
        "nightly",
        json!({"spec": {"schedule": "0 3 * * *", "timeZone": "Etc/UTC", "jobTemplate": {"spec": {"template": pod}}}}),
    )
    .await;
    let service = |app: &str, more: Value| {
        let mut spec = json!({"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]});
        more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
        json!({"spec": spec})
    };
    put("v1", "services", "db", service("db", json!({"clusterIP": "None", "ports": [{"port": 8080}]}))).await;
    put("v1", "services", "ext", json!({"spec": {"type": "ExternalName", "externalName": "db.example.com"}})).await;
    put("v1", "services", "lb", service("web", json!({"type": "LoadBalancer"}))).await;
    put("v1", "services", "node", service("web", json!({"type": "NodePort"}))).await;
    put(
        "v1",
        "services",
        "web",
        service(
            "web",
            json!({"ports": [
        {"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 81, "targetPort": 8081}]}),
        ),
    )
    .await;
    put("autoscaling/v2", "horizontalpodautoscalers", "web", json!({"spec": {"minReplicas": 2, "maxReplicas": 4,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}})).await;
    put(
        "networking.k8s.io/v1",
        "ingresses",
        "web",
        json!({"spec": {"ingressClassName": "nginx", "tls": [{"hosts": ["app.example.com"]}],
        "rules": [{"host": "app.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}}),
    )
    .await;
    put("networking.k8s.io/v1", "networkpolicies", "deny", json!({"spec": {"podSelector": selector("web")}})).await;
    put(
        "policy/v1",
        "poddisruptionbudgets",
        "db",
        json!({"spec": {"maxUnavailable": "50%", "selector": selector("db")}}),
    )
    .await;
    put("policy/v1", "poddisruptionbudgets", "web", json!({"spec": {"minAvailable": 1, "selector": selector("web")}}))
        .await;
    put(
        "v1",
        "persistentvolumeclaims",
        "data",
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
        "resources": {"requests": {"storage": "1Gi"}}}}),
    )
    .await;
    put("v1", "secrets", "sec", json!({"data": {"a": "YQ=="}})).await;
    let group = "rbac.authorization.k8s.io";
    put("rbac.authorization.k8s.io/v1", "rolebindings", "reader", json!({
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "eve"}, {"kind": "ServiceAccount", "name": "default", "namespace": "tables"}]})).await;
    let class = json!({"metadata": {"name": "rec-manual", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"});
    create(cluster, "/apis/storage.k8s.io/v1/storageclasses", class).await;
    wait(cluster, 2).await;
    // The last two bound what comes after them.
    put("v1", "limitranges", "bounds", json!({"spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}}))
        .await;
    put(
        "v1",
        "resourcequotas",
        "compute",
        json!({"spec": {"hard": {"pods": "20", "requests.cpu": "4", "limits.memory": "8Gi"}}}),
    )
    .await;
    wait(cluster, 21).await;
}

async fn wait(cluster: &Cluster, seconds: u64) {
    let clock = cluster.clock();
    let end = clock.now() + Duration::from_secs(seconds);
    run_until(&clock, Duration::from_secs(120), clock.sleep_until(end)).await.expect("time goes on");
}

/// Cells without what is drawn: suffixes of names, hashes of templates, times in names.
fn cells(table: &Value) -> Value {
    let (suffix, time) =
        (Regex::new("\\b([a-z]+)-[a-z0-9]{5}\\b").unwrap(), Regex::new("\\.1[0-9a-f]{15}\\b").unwrap());
    let rows = table["rows"].as_array().unwrap().iter().filter(|row| row.is_object());
    rows.map(|row| {
        let metadata = &row["object"]["metadata"];
        let hash = metadata["labels"]["pod-template-hash"].as_str().unwrap_or("no hash");
        let drawn = metadata["generateName"].as_str().map(|prefix| (metadata["name"].as_str().unwrap(), prefix));
        let plain = |cell: &Value| match cell {
            Value::String(text) => {
                let text = text.replace(hash, "HASH");
                let text = drawn.map_or(text.clone(), |(name, prefix)| text.replace(name, prefix));
                json!(time.replace_all(&suffix.replace_all(&text, "$1-*"), ".*"))
            }
            other => other.clone(),
        };
        row["cells"].as_array().unwrap().iter().map(plain).collect::<Value>()
    })
    .collect()
}

#[tokio::test]
async fn recorded_tables_have_the_same_columns_and_cells() {
    let cluster = Cluster::start(Options::default());
    fill(&cluster).await;
    let mut found = Vec::new();
    for file in claimed_by("tables") {
        let text_of_file = std::fs::read_to_string(recordings().join(format!("{file}.json"))).unwrap();
        let recorded = serde_json::from_str::<Value>(&text_of_file).unwrap()["exchanges"][0].take();
        let accept = [("accept", recorded["request"]["headers"]["Accept"].as_str().unwrap())];
        let path = recorded["request"]["path"].as_str().unwrap();
        let (status, body) = text(send(&cluster, "GET", path, &accept, "").await).await;
        assert_eq!(status, 200, "{body}");
        let (wanted, seen): (&Value, Value) = (&recorded["response"]["body"], serde_json::from_str(&body).unwrap());
        let mut own = Vec::new();
        compare(".columnDefinitions", &wanted["columnDefinitions"], &seen["columnDefinitions"], &mut own);
        for (index, (wanted, seen)) in
            cells(wanted).as_array().unwrap().iter().zip(cells(&seen).as_array().unwrap()).enumerate()
        {
            compare(&format!(".rows[{index}].cells"), wanted, seen, &mut own);
        }
        let cut = wanted["rows"].as_array().unwrap().last().is_some_and(Value::is_string);
        let (have, want) = (seen["rows"].as_array().unwrap().len(), wanted["rows"].as_array().unwrap().len());
        if !cut && have != want {
            own.push(format!("there are {have} rows, not {want}"));
        }
        found.extend(own.into_iter().map(|text| format!("{file}: {text}")));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
