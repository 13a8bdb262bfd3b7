//! The namespaces and pods that are there before the load.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use crate::Plan;
use crate::requests::Requests;

/// Requests at a time.
const AT_A_TIME: usize = 16;
/// Values of the label that some watchers select by.
pub(crate) const SHARDS: usize = 10;
/// Carries which write it was, into the events.
pub(crate) const STEP: &str = "load.example.com/step";

/// Namespace and name.
pub(crate) type Name = (String, String);

pub(crate) fn namespace(number: usize) -> String {
    format!("load-{number:05}")
}

/// The pod of this number: pods go round the namespaces.
pub(crate) fn name(plan: Plan, number: usize) -> Name {
    (namespace(number % plan.namespaces), format!("pod-{number:06}"))
}

/// The pods of the plan, from this number on.
pub(crate) fn names(plan: Plan, from: usize) -> BTreeSet<Name> {
    (from..plan.pods).map(|number| name(plan, number)).collect()
}

pub(crate) fn collection(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// A pod that no scheduler is responsible for: what is measured is the API server.
pub(crate) fn pod(name: &str, shard: usize, step: usize) -> Value {
    json!({
        "metadata": {
            "name": name, "labels": {"app": "load", "shard": shard.to_string()},
            "annotations": {STEP: step.to_string()},
        },
        "spec": {
            "schedulerName": "nobody", "restartPolicy": "Always",
            "containers": [{
                "name": "app", "image": "local/web:1", "env": [{"name": "PORT", "value": "8080"}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            }],
        },
    })
}

pub(crate) async fn fill(requests: &Requests, plan: Plan) -> Result<(), String> {
    let namespaces = (0..plan.namespaces).map(|number| async move {
        let body = json!({"metadata": {"name": namespace(number)}});
        requests.send("POST", "/api/v1/namespaces", Some(&body)).await
    });
    stream::iter(namespaces).buffer_unordered(AT_A_TIME).try_for_each(|_| async { Ok(()) }).await?;
    // Pods need the service account that a controller makes.
    let last = format!("/api/v1/namespaces/{}/serviceaccounts/default", namespace(plan.namespaces - 1));
    requests.send("GET", &last, None).await?;
    let pods = (0..plan.pods).map(|number| async move {
        let (namespace, name) = name(plan, number);
        requests.send("POST", &collection(&namespace), Some(&pod(&name, number % SHARDS, 0))).await
    });
    stream::iter(pods).buffer_unordered(AT_A_TIME).try_for_each(|_| async { Ok(()) }).await
}
