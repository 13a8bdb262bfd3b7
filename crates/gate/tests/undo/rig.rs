//! A cluster and a gate before it. Parties write through the gate, outsiders to the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clock::Clock;
use embedded::{Cluster, Identity, Options};
use gate::{Gate, GateConfig, MemoryJournal, Policy, UndoReport};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use model::{GateRecord, Party};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::{BoxError, Service};

/// Cluster time for each wait of an undo.
const MAX: Duration = Duration::from_secs(120);
const MERGE: &str = "application/merge-patch+json";

/// Objects by collection, namespace and name.
pub(crate) type Dump = BTreeMap<String, Value>;

/// What becomes of the n-th write that is sent to the cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// It never arrives.
    Before,
    /// It takes effect; nobody hears of it.
    After,
}

/// See the module.
pub(crate) struct Rig {
    pub(crate) cluster: Cluster,
    pub(crate) gate: Gate,
    pub(crate) journal: Arc<MemoryJournal>,
    pub(crate) records: Arc<Mutex<Vec<GateRecord>>>,
    cut: Arc<Mutex<Option<(usize, Cut)>>>,
    writes: Arc<AtomicUsize>,
    /// Whether of each four writes one does not arrive, and the answer to one is lost.
    pub(crate) faulty: Arc<AtomicBool>,
    pub(crate) ended: Arc<Notify>,
    sent: AtomicUsize,
}

impl Rig {
    /// With every controller.
    pub(crate) fn new() -> Self {
        Self::before(Cluster::start(Options::default()))
    }

    /// With those of the API machinery alone: objects stay as they are written.
    pub(crate) fn still() -> Self {
        Self::before(Cluster::with_controllers(7, Vec::new()))
    }

    fn before(cluster: Cluster) -> Self {
        let (cut, writes, ended) =
            (Arc::new(Mutex::new(None::<(usize, Cut)>)), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (server, at, count, told) = (cluster.clone(), Arc::clone(&cut), Arc::clone(&writes), Arc::clone(&ended));
        let faulty = Arc::new(AtomicBool::new(false));
        let is_faulty = Arc::clone(&faulty);
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, told) = (server.clone(), Arc::clone(&told));
            let write = request.method() != Method::GET;
            let number = if write { count.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
            let cut = at.lock().unwrap().filter(|(n, _)| *n == number).map(|(_, cut)| cut);
            let fault = (write && is_faulty.load(Ordering::SeqCst)).then_some(number % 4);
            async move {
                if fault == Some(0) {
                    return Err("connection reset".into());
                }
                if cut == Some(Cut::Before) {
                    told.notify_one();
                    std::future::pending::<()>().await;
                }
                let response = server.handle(request, Identity::admin()).await;
                if cut == Some(Cut::After) {
                    told.notify_one();
                    std::future::pending::<()>().await;
                }
                if fault == Some(1) { Err::<_, BoxError>("connection reset".into()) } else { Ok(response) }
            }
        });
        let upstream = gate::upstream(kube::Client::new(service, "default"));
        let journal = Arc::new(MemoryJournal::default());
        let records: Arc<Mutex<Vec<GateRecord>>> = Arc::default();
        let log = Arc::clone(&records);
        let sink = Arc::new(move |record| log.lock().unwrap().push(record));
        let config =
            GateConfig { journal: journal.clone(), label: "run-1".into(), ..GateConfig::new(upstream, "a", sink) };
        Self {
            cluster,
            gate: Gate::new(config),
            journal,
            records,
            cut,
            writes,
            faulty,
            ended,
            sent: AtomicUsize::new(0),
        }
    }

    /// Cuts the n-th write from now on.
    pub(crate) fn cut(&self, n: usize, cut: Cut) {
        *self.cut.lock().unwrap() = Some((self.writes.load(Ordering::SeqCst) + n, cut));
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.cluster.clock()
    }

    /// An outsider's request.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let content_type = if method == "PATCH" { MERGE } else { "application/json" };
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let response = self.cluster.handle(request.body(Full::new(body)).unwrap(), Identity::admin()).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let (status, object) = self.call("GET", path, &Value::Null).await;
        (status == 200).then_some(object)
    }

    /// An outsider's create, which has to succeed.
    pub(crate) async fn given(&self, collection: &str, object: Value) -> Value {
        let (status, made) = self.call("POST", collection, &object).await;
        assert_eq!(status, 201, "{made}");
        made
    }

    /// A party's write, through the gate. A patch that is a list is a JSON patch, one with a field manager an apply.
    pub(crate) async fn touch(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// A party's write that has to succeed.
    pub(crate) async fn done(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.touch(method, path, body).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    /// A party's write of which nobody hears again, as if the harness had ended meanwhile. It has to get as far as the
    /// cluster.
    pub(crate) async fn lose(&self, method: &str, path: &str, body: Value, cut: Cut) {
        self.cut(0, cut);
        tokio::select! {
            () = self.ended.notified() => {}
            response = self.send(method, path, body) => panic!("{method} {path}: {}", response.status()),
        }
    }

    fn send(&self, method: &str, path: &str, body: Value) -> impl Future<Output = Response<Body>> + use<> {
        let content_type = match (method, &body) {
            ("PATCH", Value::Array(_)) => "application/json-patch+json",
            ("PATCH", _) if path.contains("fieldManager=") => "application/apply-patch+yaml",
            ("PATCH", _) => MERGE,
            _ => "application/json",
        };
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string().into_bytes()) };
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let parties = [Party::Host, Party::Plugin, Party::Script, Party::Agent];
        let party = parties[self.sent.fetch_add(1, Ordering::SeqCst) % parties.len()];
        let mut service = self.gate.service(party, Arc::new(Policy::everything()));
        let answer = service.call(request.body(body).unwrap());
        async { answer.await.unwrap() }
    }

    pub(crate) async fn undo(&self) -> UndoReport {
        self.gate.undo(&self.clock(), MAX).await.expect("the cluster answers")
    }

    /// An undo that puts everything back, and another that finds nothing to do.
    pub(crate) async fn undo_all(&self) -> UndoReport {
        let report = self.undo().await;
        assert!(report.is_complete(), "{report:#?}");
        let (before, written) = (self.dump().await, self.mutations());
        let again = self.undo().await;
        assert!(again.is_complete() && again.restored.is_empty(), "{again:#?}");
        assert_eq!(self.mutations(), written, "the second undo only reads");
        self.is_as(&before, "after the second undo").await;
        report
    }

    /// Asserts that the cluster is as in a dump, and tells what is not.
    pub(crate) async fn is_as(&self, before: &Dump, when: &str) {
        let now = self.dump().await;
        let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let differing: Vec<String> = names
            .into_iter()
            .filter(|name| before.get(*name) != now.get(*name))
            .map(|name| {
                let text = |dump: &Dump| dump.get(name).map_or("nothing".into(), ToString::to_string);
                format!("{name}\n  was {}\n  is  {}", text(before), text(&now))
            })
            .collect();
        assert!(differing.is_empty(), "{when}:\n{}", differing.join("\n"));
    }

    pub(crate) fn mutations(&self) -> usize {
        self.records.lock().unwrap().iter().filter(|record| record.mutation).count()
    }

    /// Lets cluster time pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        let _ = clock::run_until(&self.clock(), time, std::future::pending::<()>()).await;
    }

    /// Every object that somebody made on purpose, without what changes by itself. Knows nothing of undo's own ideas.
    pub(crate) async fn dump(&self) -> Dump {
        let mut all = BTreeMap::new();
        for collection in COLLECTIONS {
            let list = self.get(collection).await.unwrap_or_default();
            for item in list["items"].as_array().into_iter().flatten() {
                if item["metadata"]["ownerReferences"].to_string().contains("\"controller\":true") {
                    continue;
                }
                let name = format!("{collection} {} {}", item["metadata"]["namespace"], item["metadata"]["name"]);
                all.insert(name, stable(item));
            }
        }
        all
    }
}

/// Everything that the tests touch.
const COLLECTIONS: [&str; 19] = [
    "/api/v1/namespaces",
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/services",
    "/api/v1/serviceaccounts",
    "/api/v1/resourcequotas",
    "/api/v1/limitranges",
    "/api/v1/pods",
    "/api/v1/persistentvolumeclaims",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/batch/v1/jobs",
    "/apis/autoscaling/v2/horizontalpodautoscalers",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/example.com/v1/widgets",
];

fn stable(object: &Value) -> Value {
    let mut object = object.clone();
    for member in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
        object["metadata"].as_object_mut().unwrap().remove(member);
    }
    if let Some(owners) = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) {
        owners.iter_mut().for_each(|owner| owner["uid"] = Value::Null);
    }
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
        if annotations.is_empty() {
            object["metadata"].as_object_mut().unwrap().remove("annotations");
        }
    }
    if object["kind"] != "Widget" {
        object.as_object_mut().unwrap().remove("status");
    }
    if let Some(spec) = object.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.remove("nodeName");
    }
    object
}

pub(crate) fn pod_template(labels: Value) -> Value {
    let container = json!({"name": "c", "image": "registry.k8s.io/pause:3.10"});
    json!({"metadata": {"labels": labels}, "spec": {"containers": [container]}})
}

pub(crate) fn deployment(name: &str, replicas: u32) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": pod_template(labels)},
    })
}

pub(crate) fn definition() -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}}}],
        },
    })
}

pub(crate) fn widget(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 1}})
}

pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
pub(crate) const MAPS: &str = "/api/v1/namespaces/a/configmaps";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/a/deployments";
pub(crate) const PODS: &str = "/api/v1/namespaces/a/pods";
pub(crate) const WIDGETS: &str = "/apis/example.com/v1/namespaces/a/widgets";
pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
