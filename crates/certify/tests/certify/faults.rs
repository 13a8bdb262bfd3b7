use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use certify::{Baseline, CertifyError, compare};
use http::{Request, Response};
use kube::client::Body;
use serde_json::json;
use tower::BoxError;

use crate::world::{Between, World, config_map, direct, through, told};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn status(code: u16) -> Response<Body> {
    let body =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "as ordered"});
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

fn lost() -> BoxError {
    "the connection broke".into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_cannot_be_listed_is_said_and_not_compared() {
    let world = World::start();
    let refuse: Between = Arc::new(|request| (request.uri().path() == "/api/v1/secrets").then(|| Ok(status(403))));
    let blind = through(&world.cluster, Arc::clone(&refuse));
    let baseline = Baseline::take(&blind).await.unwrap();
    let unreachable: Vec<_> =
        baseline.unreachable().iter().map(|lost| (lost.kind.as_str(), lost.why.as_str())).collect();
    assert_eq!(unreachable, [("secrets", "as ordered (403)")]);
    world.create("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "s"}})).await;
    let differences = world.compare(&baseline).await;
    assert!(differences.is_clean() && differences.foreign.is_empty(), "{:?}", told(&differences.foreign));
    assert_eq!(differences.unchecked.len(), 1);
    // What was seen before must be seen again.
    let baseline = world.baseline().await;
    let error = compare(&blind, &baseline, &world.ownership()).await.unwrap_err();
    assert_eq!(error, CertifyError::Lost { kind: "secrets".into(), why: "as ordered (403)".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_busy_for_a_moment_is_asked_again() {
    let world = World::start();
    world.create(MAPS, config_map("a")).await;
    let asked: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let count = Arc::clone(&asked);
    let flaky: Between = Arc::new(move |request| {
        let mut asked = count.lock().unwrap();
        let times = asked.entry(request.uri().path().to_owned()).or_default();
        *times += 1;
        match *times {
            1 => Some(Ok(status(500))),
            2 => Some(Err(lost())),
            3 => Some(Ok(status(429))),
            _ => None,
        }
    });
    let flaky = through(&world.cluster, flaky);
    let baseline = Baseline::take(&flaky).await.unwrap();
    assert!(baseline == world.baseline().await, "nothing is lost: {:?}", baseline.unreachable());
    assert!(compare(&flaky, &baseline, &world.ownership()).await.unwrap().is_clean());
    let asked = asked.lock().unwrap();
    assert!(asked.len() > 40 && asked.values().all(|times| *times == 5), "three faults, two looks: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_stays_away_is_given_up_soon() {
    let world = World::start();
    let baseline = world.baseline().await;
    let gone = through(&world.cluster, Arc::new(|_: &Request<Body>| Some(Err(lost()))));
    let started = Instant::now();
    let (ownership, max) = (world.ownership(), Duration::from_secs(120));
    let result = certify::certify_until(&gone, &world.clock, max, &baseline, &ownership).await;
    assert!(matches!(result, Err(CertifyError::Away(_))), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_read_page_by_page_and_begun_anew_when_a_page_is_too_old() {
    let world = World::start();
    for number in 0..1_100 {
        world.create(MAPS, config_map(&format!("m-{number:04}"))).await;
    }
    let paged = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&paged);
    let expiring: Between = Arc::new(move |request| {
        let query = request.uri().query().unwrap_or_default();
        let second = request.uri().path() == "/api/v1/configmaps" && query.contains("continue=");
        (second && count.fetch_add(1, Ordering::Relaxed) == 1).then(|| Ok(status(410)))
    });
    let baseline = Baseline::take(&through(&world.cluster, expiring)).await.unwrap();
    assert_eq!(paged.load(Ordering::Relaxed), 4, "two pages, then the list anew");
    assert!(baseline == world.baseline().await);
    assert!(world.compare(&baseline).await.is_clean());
    world.delete(&format!("{MAPS}/m-0777")).await;
    assert_eq!(told(&world.compare(&baseline).await.foreign), [("v1 ConfigMap default/m-0777", "missing")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_aggregated_discovery_is_asked_group_by_group() {
    let world = World::start();
    world.create(MAPS, config_map("a")).await;
    let direct = direct(&world.cluster);
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let direct = direct.clone();
        async move {
            request.headers_mut().insert("accept", "application/json".parse().unwrap());
            direct.send(request).await.map_err(BoxError::from)
        }
    });
    let old = kube::Client::new(service, "default");
    assert!(Baseline::take(&old).await.unwrap() == world.baseline().await);
}
