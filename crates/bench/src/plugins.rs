//! The component host: compiling, loading from the cache, instantiating, calling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::{Failure, Implementation};
use http::{Request, Response};
use http_body_util::Full;
use plugin::{Call, Host, HostConfig, Limits};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::measure::{Measured, repeat};

/// What the failure of the benchmark finds in its namespace.
fn deployment() -> Value {
    let container =
        json!({"name": "app", "image": "busybox", "command": ["sh"], "resources": {"limits": {"memory": "256Mi"}}});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "checkout", "namespace": "bench", "resourceVersion": "1", "uid": "1"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}}
    })
}

/// A cluster that answers everything at once with the same object, so that only our own work is measured.
fn client() -> kube::Client {
    let body = Bytes::from(deployment().to_string());
    let service = tower::service_fn(move |_: Request<kube::client::Body>| {
        let body = body.clone();
        async move {
            let response = Response::builder().header("content-type", "application/json").body(Full::new(body));
            response.map_err(tower::BoxError::from)
        }
    });
    kube::Client::new(service, "bench")
}

fn coded() -> Result<(Failure, Arc<[u8]>), String> {
    builtin::failures()
        .into_iter()
        .find_map(|failure| match &failure.implementation {
            Implementation::Component(bytes) => Some((failure.clone(), Arc::clone(bytes))),
            _ => None,
        })
        .ok_or_else(|| "the library has no component".into())
}

fn call(failure: &Failure) -> Result<Call, String> {
    let resolved = failure.resolve(&BTreeMap::new(), "bench").map_err(|error| error.to_string())?;
    Ok(Call {
        client: client(),
        clock: Arc::new(clock::WallClock),
        namespace: "bench".into(),
        params: json!(resolved.params),
        metadata: resolved.to_json(),
        seed: 1,
        log: Arc::new(|_| None),
        checkpoint: Arc::new(|_| Box::pin(std::future::ready(Ok(())))),
        script: None,
        deadline: Duration::from_secs(10),
    })
}

/// All of it.
pub(crate) fn measure(runtime: &Runtime) -> Result<Vec<Measured>, String> {
    let (failure, bytes) = coded()?;
    let size = Measured::of("component, size", format!("{:.1} KB", bytes.len() as f64 / 1e3), failure.id().to_string());
    let host = |cache| {
        let config = HostConfig { cache_dir: cache, limits: Limits::default() };
        Host::new(config).map_err(|error| error.to_string())
    };
    let load = |host: &Host| host.load(&bytes).map_err(|error| error.to_string());

    let uncached = host(None)?;
    let compiling = repeat(5, || load(&uncached).map(|_| ()))?;
    let cache = tempfile::tempdir().map_err(|error| error.to_string())?;
    let cached = host(Some(cache.path().to_path_buf()))?;
    let plugin = load(&cached)?;
    let loading = repeat(50, || load(&cached).map(|_| ()))?;

    let instantiating =
        repeat(500, || runtime.block_on(plugin.metadata()).map(|_| ()).map_err(|error| error.to_string()))?;
    let template = runtime.block_on(async { call(&failure) })?;
    let calling = repeat(500, || {
        runtime.block_on(async {
            let induced = plugin.induce(template.clone()).await.map_err(|error| error.to_string())?;
            plugin.stop(template.clone(), induced.state).await.map_err(|error| error.to_string())
        })
    })?;
    Ok(vec![
        size,
        Measured::times("component, compile", compiling),
        Measured::times("component, load from the cache", loading),
        Measured::times("component, instantiate and call metadata", instantiating),
        Measured::times("component, induce + stop (mock transport)", calling),
    ])
}
