//! Provisioners of tests: clusters that take their time, cannot be made, fall ill, or are shared.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::cluster::{Cluster, EmbeddedProvisioner, ProvisionError, ProvisionRequest, Provisioner};
use certify::Baseline;
use clock::WallClock;
use embedded::{Identity, Options};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::ClusterKind;
use tower::BoxError;

/// What a test has seen of its clusters.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Names of those that are there.
    pub(crate) up: Mutex<BTreeSet<String>>,
    pub(crate) made: AtomicUsize,
    pub(crate) removed: AtomicUsize,
    /// Asked for their health.
    pub(crate) asked: AtomicUsize,
}

/// How a cluster of a test behaves.
pub(crate) type Behaviour = dyn Fn(usize) -> Result<Duration, &'static str> + Send + Sync;

/// Makes embedded clusters at wall time; one can be shared by cases.
pub(crate) struct Fleet {
    pub(crate) seen: Arc<Seen>,
    /// By number: how long it takes to make it, or why it cannot be made.
    pub(crate) making: Box<Behaviour>,
    /// By number of the question: whether it is fit.
    pub(crate) fit: Box<dyn Fn(usize) -> bool + Send + Sync>,
    pub(crate) reusable: bool,
    pub(crate) servers: Mutex<Vec<(embedded::Cluster, Baseline)>>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("seen", &self.seen).finish_non_exhaustive()
    }
}

impl Fleet {
    pub(crate) fn new(reusable: bool) -> Self {
        Self {
            seen: Arc::default(),
            making: Box::new(|_| Ok(Duration::ZERO)),
            fit: Box::new(|_| true),
            reusable,
            servers: Mutex::default(),
        }
    }

    /// Nothing is there any more, and every cluster was clean when it went.
    pub(crate) async fn assert_gone(&self) {
        assert!(self.seen.up.lock().unwrap().is_empty(), "{:?}", self.seen);
        let servers = std::mem::take(&mut *self.servers.lock().unwrap());
        for (server, baseline) in servers {
            let ownership = certify::Ownership { namespace: "-", label: "-", touched: &[] };
            let differences = certify::compare(&client(&server), &baseline, &ownership).await.unwrap();
            assert_eq!(differences, certify::Differences::default());
        }
    }
}

fn failed(why: &str) -> ProvisionError {
    ProvisionError::Refused { command: "make cluster".into(), said: why.into() }
}

impl Provisioner for Fleet {
    fn kind(&self) -> ClusterKind {
        ClusterKind::Embedded
    }

    fn reusable(&self) -> bool {
        self.reusable
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn provision(&self, request: ProvisionRequest) -> BoxFuture<'_, Result<Cluster, ProvisionError>> {
        async move {
            let number = self.seen.made.fetch_add(1, Ordering::SeqCst);
            self.seen.up.lock().unwrap().insert(request.name.clone());
            let made = match (self.making)(number) {
                Ok(time) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
                Err(why) => Err(failed(why)),
            };
            if let Err(error) = made {
                self.seen.up.lock().unwrap().remove(&request.name);
                return Err(error);
            }
            let seed = request.seed;
            let mut cluster = EmbeddedProvisioner.provision(request).await?;
            let server = embedded::Cluster::start(Options { seed, ..Options::default() });
            cluster.upstream = gate::upstream(client(&server));
            if self.reusable {
                // What is shared cannot hurry: others would be hurried along.
                let wall = server.clock().keep_wall_time().await;
                std::mem::forget(wall);
                cluster.clock = Arc::new(WallClock);
            } else {
                cluster.clock = server.clock();
            }
            let baseline = Baseline::take(&client(&server)).await.unwrap();
            self.servers.lock().unwrap().push((server, baseline));
            Ok(cluster)
        }
        .boxed()
    }

    fn status<'a>(&'a self, _cluster: &'a Cluster) -> BoxFuture<'a, Result<(), ProvisionError>> {
        let number = self.seen.asked.fetch_add(1, Ordering::SeqCst);
        let answer = if (self.fit)(number) { Ok(()) } else { Err(failed("it has fallen ill")) };
        async { answer }.boxed()
    }

    fn teardown(&self, cluster: Cluster) -> BoxFuture<'_, Result<(), ProvisionError>> {
        self.seen.removed.fetch_add(1, Ordering::SeqCst);
        self.seen.up.lock().unwrap().remove(&cluster.name);
        async { Ok(()) }.boxed()
    }

    fn abandon<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), ProvisionError>> {
        self.seen.up.lock().unwrap().remove(name);
        async { Ok(()) }.boxed()
    }
}

fn client(server: &embedded::Cluster) -> kube::Client {
    let server = server.clone();
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let server = server.clone();
        async move { Ok::<_, BoxError>(server.handle(request, Identity::admin()).await) }
    });
    kube::Client::new(service, "default")
}
