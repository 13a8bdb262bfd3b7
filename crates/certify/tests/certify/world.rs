//! An embedded cluster, a client with something in between, and short ways to write.

use std::sync::Arc;
use std::time::Duration;

use certify::{Baseline, CertifyError, Differences, Ownership, certify_until, compare};
use clock::Clock;
use embedded::{Cluster, Identity, Options};
use gate::ObjectKey;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

/// What stands between client and cluster: an answer of its own, or none to let the request through.
pub(crate) type Between = Arc<dyn Fn(&Request<Body>) -> Option<Result<Response<Body>, BoxError>> + Send + Sync>;

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) touched: Vec<ObjectKey>,
}

/// A client of a cluster.
pub(crate) fn direct(cluster: &Cluster) -> Client {
    let server = cluster.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = server.clone();
        async move { Ok::<_, BoxError>(server.handle(request, Identity::admin()).await) }
    });
    Client::new(service, "default")
}

/// A client of a cluster through something in between.
pub(crate) fn through(cluster: &Cluster, between: Between) -> Client {
    let direct = direct(cluster);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (direct, between) = (direct.clone(), Arc::clone(&between));
        async move {
            match between(&request) {
                Some(answer) => answer,
                None => direct.send(request).await.map_err(BoxError::from),
            }
        }
    });
    Client::new(service, "default")
}

pub(crate) const CASE: &str = "c-00001";
pub(crate) const LABEL: &str = "r-77";

impl World {
    pub(crate) fn start() -> Self {
        let cluster = Cluster::start(Options { seed: 3, ..Options::default() });
        Self { client: direct(&cluster), clock: cluster.clock(), cluster, touched: Vec::new() }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", content_type).body(body);
        self.client.request(request.unwrap()).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub(crate) async fn create(&self, collection: &str, object: Value) {
        self.call("POST", collection, object).await;
    }

    pub(crate) async fn patch(&self, path: &str, patch: Value) {
        self.call("PATCH", path, patch).await;
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.call("DELETE", path, Value::Null).await;
    }

    pub(crate) fn touch(&mut self, group: &str, resource: &str, namespace: &str, name: &str) {
        let [group, resource, namespace, name] = [group, resource, namespace, name].map(str::to_owned);
        self.touched.push(ObjectKey { group, version: "v1".into(), resource, namespace, name });
    }

    /// A Deployment whose pods run, in `default`.
    pub(crate) async fn deployment(&self, name: &str, replicas: u32) {
        self.create("/apis/apps/v1/namespaces/default/deployments", deployment(name, replicas)).await;
        self.pass(Duration::from_secs(30)).await;
        let made = self.call("GET", &format!("/apis/apps/v1/namespaces/default/deployments/{name}"), Value::Null).await;
        assert_eq!(made["status"]["readyReplicas"], replicas, "{made}");
    }

    /// Lets cluster time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        let until = self.clock.now().checked_add(time).unwrap();
        let _ = clock::run_until(&self.clock, time * 2, self.clock.sleep_until(until)).await;
    }

    pub(crate) fn ownership(&self) -> Ownership<'_> {
        Ownership { namespace: CASE, label: LABEL, touched: &self.touched }
    }

    pub(crate) async fn baseline(&self) -> Baseline {
        Baseline::take(&self.client).await.unwrap()
    }

    pub(crate) async fn compare(&self, baseline: &Baseline) -> Differences {
        compare(&self.client, baseline, &self.ownership()).await.unwrap()
    }

    pub(crate) async fn settle(&self, baseline: &Baseline) -> Result<Differences, CertifyError> {
        certify_until(&self.client, &self.clock, Duration::from_secs(120), baseline, &self.ownership()).await
    }
}

pub(crate) fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "busybox:1.36", "command": ["sleep", "100000"]}]},
            },
        },
    })
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": "v"}})
}

/// Objects and what is said of them.
pub(crate) fn told(leaks: &[model::Leak]) -> Vec<(&str, &str)> {
    leaks.iter().map(|leak| (leak.object.as_str(), leak.what.as_str())).collect()
}
