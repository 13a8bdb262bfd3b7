//! Writes through the gate against the same writes past it: what the before-image, the pin and the journal cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use embedded::{Cluster, Identity};
use gate::{Gate, GateConfig, Journal, MemoryJournal, Policy, Rule, Upstream};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use model::Party;
use serde_json::json;
use store::JournalDb;
use tokio::runtime::Runtime;
use tower::{BoxError, Service, ServiceExt as _};

use crate::measure::{Measured, text};

/// Writes of each kind.
const WRITES: usize = 300;
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// All of it.
pub(crate) fn measure(runtime: &Runtime) -> Result<Vec<Measured>, String> {
    // Beside the program and not in a temporary folder, which may be in memory and sync nothing.
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = here.parent().ok_or("a program lies in a folder")?;
    let results = tempfile::tempdir_in(folder).map_err(|error| error.to_string())?;
    let disk = JournalDb::open(results.path()).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let case = disk.begin(crate::journal::opening()).await.map_err(|error| error.to_string())?;
        let direct = times(upstream()).await?;
        let in_memory = times(gated(Arc::new(MemoryJournal::default()))).await?;
        let synced = times(gated(Arc::new(case))).await?;
        let mut lines = Vec::new();
        for (index, what) in ["create", "patch"].into_iter().enumerate() {
            let (past, memory, disk) = (direct[index], in_memory[index], synced[index]);
            let ratio = |time: Duration| format!("{:.1} x", time.as_secs_f64() / past.as_secs_f64());
            lines.push(Measured::of(format!("gate, {what}, past it"), text(past), "median"));
            let note = format!("{}, without sync", text(memory));
            lines.push(Measured::of(format!("gate, {what}, journal in memory"), ratio(memory), note));
            let note = format!("{}, with sync", text(disk));
            lines.push(Measured::of(format!("gate, {what}, journal on disk"), ratio(disk), note));
        }
        Ok(lines)
    })
}

fn upstream() -> Upstream {
    let cluster = Cluster::with_controllers(1, Vec::new());
    let service = tower::service_fn(move |request: Request<Body>| {
        let cluster = cluster.clone();
        async move { Ok::<_, BoxError>(cluster.handle(request, Identity::admin()).await) }
    });
    gate::upstream(kube::Client::new(service, "default"))
}

/// For somebody whose patches of pod templates are judged on their result.
fn gated(
    journal: Arc<dyn Journal>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>, Future: Send> + Clone {
    let gate = Gate::new(GateConfig { journal, ..GateConfig::new(upstream(), "default", Arc::new(drop)) });
    let everything = Rule::resources(&["*"], &["*"], &["*"], &["*"]);
    gate.service(Party::Agent, Arc::new(Policy::new(vec![everything])))
}

/// The median times of a create and of a patch.
async fn times<S>(service: S) -> Result<[Duration; 2], String>
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>> + Clone,
{
    let mut creates = Vec::with_capacity(WRITES);
    let mut patches = Vec::with_capacity(WRITES);
    for index in 0..WRITES {
        let name = format!("d-{index}");
        let template = |image: &str| json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}});
        let spec = json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template("i")});
        let object = json!({"metadata": {"name": name}, "spec": spec});
        creates.push(timed(&service, "POST", DEPLOYMENTS, &object).await?);
        let patch = json!({"spec": {"template": template("j")}});
        patches.push(timed(&service, "PATCH", &format!("{DEPLOYMENTS}/{name}"), &patch).await?);
    }
    Ok([creates, patches].map(|mut times| {
        times.sort();
        times[WRITES / 2]
    }))
}

async fn timed<S>(service: &S, method: &str, path: &str, body: &serde_json::Value) -> Result<Duration, String>
where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>> + Clone,
{
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", content_type);
    let request = request.body(Body::from(body.to_string().into_bytes())).map_err(|error| error.to_string())?;
    let start = Instant::now();
    let response = service.clone().oneshot(request).await.map_err(|error| error.into().to_string())?;
    let status = response.status();
    let said = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    let time = start.elapsed();
    if status.is_success() {
        Ok(time)
    } else {
        Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&said)))
    }
}
