//! Controllers as they are written with kube-rs, running against a served cluster: they reconcile, own, finalize, apply
//! statuses and elect leaders; their watchers come through connections that end.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use embedded::{Cluster, Identity, Options};
use futures::StreamExt;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::client::{namespace, still};

const PATIENCE: Duration = Duration::from_secs(40);

/// A custom resource, as `derive(CustomResource)` would make it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Widget {
    metadata: ObjectMeta,
    spec: WidgetSpec,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<WidgetStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WidgetSpec {
    size: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct WidgetStatus {
    ready: i32,
}

impl Resource for Widget {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind(_: &()) -> std::borrow::Cow<'_, str> {
        "Widget".into()
    }

    fn group(_: &()) -> std::borrow::Cow<'_, str> {
        "example.com".into()
    }

    fn version(_: &()) -> std::borrow::Cow<'_, str> {
        "v1".into()
    }

    fn plural(_: &()) -> std::borrow::Cow<'_, str> {
        "widgets".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn widget(name: &str, size: i32) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}})
}

async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}},
                    "status": {"type": "object", "properties": {"ready": {"type": "integer"}}},
                }}},
            }],
        },
    });
    let definition = serde_json::from_value(definition).unwrap();
    api.create(&PostParams::default(), &definition).await.unwrap();
    let established = await_condition(api, "widgets.example.com", conditions::is_crd_established());
    tokio::time::timeout(PATIENCE, established).await.expect("is established").unwrap();
}

/// What the controller does about one widget: a ConfigMap and a Deployment of its own, and a status that tells of them.
async fn reconcile(
    widget: Arc<Widget>,
    client: Arc<Client>,
) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
    let space = widget.namespace().unwrap_or_default();
    let widgets: Api<Widget> = Api::namespaced((*client).clone(), &space);
    finalizer(&widgets, "example.com/farewell", widget, |event| async {
        match event {
            Event::Apply(widget) => apply(&client, &space, &widget).await,
            Event::Cleanup(widget) => farewell(&client, &space, &widget.name_any()).await,
        }
    })
    .await
}

async fn apply(client: &Client, space: &str, widget: &Widget) -> Result<Action, kube::Error> {
    let (name, size) = (widget.name_any(), widget.spec.size);
    let owner = widget.controller_owner_ref(&()).expect("what is stored has a uid");
    let metadata = json!({"name": name, "ownerReferences": [owner]});
    let params = PatchParams::apply("widgets").force();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), space);
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"size": size.to_string()}});
    maps.patch(&name, &params, &Patch::Apply(map)).await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), space);
    let pod = json!({"containers": [{"name": "c", "image": "busybox:1.36", "command": ["sleep", "3600"]}],
                     "terminationGracePeriodSeconds": 1});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {"replicas": size, "selector": {"matchLabels": {"widget": name}},
                 "template": {"metadata": {"labels": {"widget": name}}, "spec": pod}},
    });
    let deployment = deployments.patch(&name, &params, &Patch::Apply(deployment)).await?;
    let ready = deployment.status.and_then(|status| status.ready_replicas).unwrap_or(0);
    let status = json!({"apiVersion": "example.com/v1", "kind": "Widget", "status": {"ready": ready}});
    let widgets: Api<Widget> = Api::namespaced(client.clone(), space);
    widgets.patch_status(&name, &params, &Patch::Apply(status)).await?;
    Ok(Action::await_change())
}

async fn farewell(client: &Client, space: &str, name: &str) -> Result<Action, kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), space);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("farewell-{name}")}});
    maps.patch(&format!("farewell-{name}"), &PatchParams::apply("widgets").force(), &Patch::Apply(map)).await?;
    Ok(Action::await_change())
}

/// Waits until an object is as it is to be; none: until it is gone.
async fn until<K>(api: &Api<K>, name: &str, what: &str, holds: impl Fn(Option<&K>) -> bool)
where
    K: Clone + Debug + Send + Resource<DynamicType = ()> + DeserializeOwned + 'static,
{
    let waiting = async {
        let mut last = None;
        loop {
            let next =
                tokio::time::timeout(PATIENCE, await_condition(api.clone(), name, |found: Option<&K>| holds(found)));
            match next.await {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => last = Some(error.to_string()),
                Err(_) => panic!("{what}: {last:?}, {:?}", api.get_opt(name).await),
            }
        }
    };
    waiting.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_owns_and_finalizes() {
    let cluster = Cluster::start(Options::default());
    let server = cluster.serve("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&server.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    install(&client).await;
    let widgets: Api<Widget> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let config = || watcher::Config::default().streaming_lists();
    let controller = Controller::new(widgets.clone(), config())
        .owns(maps.clone(), config())
        .owns(deployments.clone(), watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_millis(200)), Arc::new(client.clone()));
    let running = tokio::spawn(controller.for_each(|done| async {
        if let Err(error) = done {
            eprintln!("the controller: {error}");
        }
    }));

    let made = serde_json::from_value(widget("w", 2)).unwrap();
    widgets.create(&PostParams::default(), &made).await.unwrap();
    let is_ready = |n| move |w: Option<&Widget>| w.is_some_and(|w| w.status == Some(WidgetStatus { ready: n }));
    until(&widgets, "w", "its status tells of two replicas", is_ready(2)).await;
    let first = maps.get("w").await.unwrap();
    assert_eq!(first.data, Some(BTreeMap::from([("size".to_owned(), "2".to_owned())])));
    let stored = widgets.get("w").await.unwrap();
    assert_eq!(stored.finalizers(), ["example.com/farewell"]);
    let managers: Vec<_> =
        stored.managed_fields().iter().map(|m| (m.manager.as_deref(), m.subresource.as_deref())).collect();
    assert!(managers.contains(&(Some("widgets"), Some("status"))), "{managers:?}");
    assert_eq!(stored.metadata.generation, Some(1), "a status makes no generation");

    // What it owns comes back, and is put right.
    maps.delete("w", &DeleteParams::default()).await.unwrap();
    let again = |map: Option<&ConfigMap>| map.is_some_and(|map| map.uid() != first.uid());
    until(&maps, "w", "the ConfigMap is made again", again).await;
    let replicas = |deployment: Option<&Deployment>| deployment?.spec.as_ref()?.replicas;
    let before = deployments.get("w").await.unwrap().metadata.generation.unwrap();
    let drift = json!({"spec": {"replicas": 5}});
    deployments.patch("w", &PatchParams::default(), &Patch::Merge(drift)).await.unwrap();
    let put_right = |d: Option<&Deployment>| {
        replicas(d) == Some(2) && d.and_then(|d| d.metadata.generation).is_some_and(|now| now >= before + 2)
    };
    until(&deployments, "w", "the replicas are put right", put_right).await;
    let larger = json!({"spec": {"size": 3}});
    widgets.patch("w", &PatchParams::default(), &Patch::Merge(larger)).await.unwrap();
    until(&widgets, "w", "its status tells of three replicas", is_ready(3)).await;

    widgets.delete("w", &DeleteParams::default()).await.unwrap();
    until(&widgets, "w", "the widget goes once its finalizer is done", |w| w.is_none()).await;
    assert!(maps.get_opt("farewell-w").await.unwrap().is_some(), "the finalizer was asked");
    until(&maps, "w", "what it owned goes with it", |map| map.is_none()).await;
    until(&deployments, "w", "what it owned goes with it", |deployment| deployment.is_none()).await;
    running.abort();
    server.shutdown().await;
}

/// A line to a cluster whose watches can be cut, and kept from being made again.
#[derive(Clone)]
struct Line {
    cuts: watch::Sender<u32>,
    open: watch::Sender<bool>,
}

impl Line {
    fn to(cluster: &Cluster) -> (Self, Client) {
        let line = Self { cuts: watch::Sender::new(0), open: watch::Sender::new(true) };
        let (cluster, held) = (cluster.clone(), line.clone());
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let (cluster, line) = (cluster.clone(), held.clone());
            async move {
                let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
                if watches {
                    let _ = line.open.subscribe().wait_for(|open| *open).await;
                }
                let mut cuts = line.cuts.subscribe();
                let cut = async move {
                    let _ = cuts.changed().await;
                    // One that is no watch ends by itself.
                    if !watches {
                        std::future::pending::<()>().await;
                    }
                };
                let (parts, body) = cluster.handle(request, Identity::admin()).await.into_parts();
                let body = StreamBody::new(
                    body.into_data_stream().map(|chunk| chunk.map(http_body::Frame::data)).take_until(Box::pin(cut)),
                );
                Ok::<_, std::convert::Infallible>(http::Response::from_parts(parts, body))
            }
        });
        (line, Client::new(service, "a"))
    }

    fn cut(&self) {
        self.open.send_replace(false);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn mend(&self) {
        self.open.send_replace(true);
    }
}

fn map(name: &str, n: usize) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    ConfigMap { metadata, data: Some([("n".to_owned(), n.to_string())].into()), ..ConfigMap::default() }
}

/// What a watcher tells until an object of this name is told of: `init` for the beginning of a new list, `gone` for 410.
async fn told<S>(seen: &mut S, name: &str) -> Vec<String>
where
    S: futures::Stream<Item = Result<watcher::Event<ConfigMap>, watcher::Error>> + Unpin,
{
    let telling = async {
        let mut told = Vec::new();
        loop {
            match seen.next().await.expect("a watcher does not end") {
                Ok(watcher::Event::Init) => told.push("init".to_owned()),
                Ok(watcher::Event::InitApply(map)) => told.push(format!("has {}", map.name_any())),
                Ok(watcher::Event::InitDone) => told.push("done".to_owned()),
                Ok(watcher::Event::Apply(map)) => told.push(map.name_any()),
                Ok(watcher::Event::Delete(map)) => told.push(format!("no {}", map.name_any())),
                Err(watcher::Error::WatchError(status)) if status.code == 410 => told.push("gone".to_owned()),
                // A line that was cut in the middle.
                Err(watcher::Error::WatchFailed(_)) => {}
                Err(error) => panic!("{error}"),
            }
            if told.last().is_some_and(|last| last == name) {
                return told;
            }
        }
    };
    tokio::time::timeout(PATIENCE, telling).await.unwrap_or_else(|_| panic!("{name} is told of"))
}

async fn comes_through(config: watcher::Config) {
    let cluster = still();
    namespace(&cluster, "a").await;
    let (line, client) = Line::to(&cluster);
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(&PostParams::default(), &map("first", 0)).await.unwrap();
    let mut seen = Box::pin(watcher(api.clone(), config));
    assert_eq!(told(&mut seen, "done").await, ["init", "has first", "has kube-root-ca.crt", "done"]);

    // The server ends a watch whose time is up; nothing is lost, nothing told twice.
    api.create(&PostParams::default(), &map("second", 0)).await.unwrap();
    assert_eq!(told(&mut seen, "second").await, ["second"]);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    api.create(&PostParams::default(), &map("third", 0)).await.unwrap();
    assert_eq!(told(&mut seen, "third").await, ["third"]);

    // A connection breaks, and what happens meanwhile is told from where it was.
    line.cut();
    api.create(&PostParams::default(), &map("fourth", 0)).await.unwrap();
    api.delete("second", &DeleteParams::default()).await.unwrap();
    line.mend();
    assert_eq!(told(&mut seen, "no second").await, ["fourth", "no second"]);

    // More happens than the server remembers: 410, and everything is listed again.
    line.cut();
    for n in 0..2_100 {
        let change = json!({"data": {"n": n.to_string()}});
        api.patch("first", &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }
    line.mend();
    let told = told(&mut seen, "done").await;
    assert_eq!(told, ["gone", "init", "has first", "has fourth", "has kube-root-ca.crt", "has third", "done"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_lists_comes_through() {
    comes_through(watcher::Config::default().timeout(1).page_size(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_of_streaming_lists_comes_through() {
    comes_through(watcher::Config::default().timeout(1).streaming_lists()).await;
}

/// A candidate's try: it takes the Lease when nobody has it, and renews it when it has it.
async fn try_to_lead(leases: &Api<Lease>, me: &str, now: &str) -> bool {
    let spec = |transitions: i32| {
        json!({
            "holderIdentity": me, "leaseDurationSeconds": 15, "acquireTime": now, "renewTime": now, "leaseTransitions": transitions,
        })
    };
    let lease = |mut metadata: Value, transitions| {
        metadata["name"] = json!("leader");
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec(transitions)});
        serde_json::from_value::<Lease>(lease).unwrap()
    };
    let written = match leases.get_opt("leader").await.unwrap() {
        None => leases.create(&PostParams::default(), &lease(json!({}), 0)).await,
        Some(found) => {
            let held = found.spec.as_ref().unwrap();
            let mine = held.holder_identity.as_deref() == Some(me);
            if !mine {
                return false;
            }
            let transitions = held.lease_transitions.unwrap_or(0);
            let pinned = lease(json!({"resourceVersion": found.resource_version()}), transitions);
            leases.replace("leader", &PostParams::default(), &pinned).await
        }
    };
    match written {
        Ok(lease) => lease.spec.unwrap().holder_identity.as_deref() == Some(me),
        Err(kube::Error::Api(status)) if status.code == 409 => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_leads() {
    let cluster = still();
    namespace(&cluster, "a").await;
    let (_, client) = Line::to(&cluster);
    let leases: Api<Lease> = Api::default_namespaced(client);
    let round = async |now: &'static str| {
        let tries: Vec<_> = (0..8)
            .map(|n| {
                let leases = leases.clone();
                tokio::spawn(async move { try_to_lead(&leases, &format!("candidate-{n}"), now).await })
            })
            .collect();
        let won = futures::future::join_all(tries).await;
        won.into_iter().enumerate().filter(|(_, won)| *won.as_ref().unwrap()).map(|(n, _)| n).collect::<Vec<_>>()
    };
    let first = round("2026-01-01T00:00:00.000000Z").await;
    assert_eq!(first.len(), 1, "one creates it");
    assert_eq!(round("2026-01-01T00:00:05.000000Z").await, first, "it renews, and nobody else gets it");
    // It has not renewed: two see that at once, and one of them takes over.
    let lease = leases.get("leader").await.unwrap();
    let takes = |me: &str| {
        let mut taken = lease.clone();
        let spec = taken.spec.as_mut().unwrap();
        spec.holder_identity = Some(me.to_owned());
        spec.lease_transitions = Some(1);
        let leases = leases.clone();
        async move { leases.replace("leader", &PostParams::default(), &taken).await }
    };
    let (one, other) = futures::future::join(takes("x"), takes("y")).await;
    assert_eq!(u8::from(one.is_ok()) + u8::from(other.is_ok()), 1, "{one:?} {other:?}");
    assert!(!try_to_lead(&leases, "late", "2026-01-01T00:01:05.000000Z").await, "whoever comes late waits");
    let stale =
        Lease { metadata: ObjectMeta { resource_version: Some("1".into()), ..lease.metadata.clone() }, ..lease };
    let refused = leases.replace("leader", &PostParams::default(), &stale).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 409), "who is late is refused");
}
