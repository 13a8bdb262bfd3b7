//! Existing clusters: an embedded one behind TLS on loopback, found by kubeconfig like any other.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use cluster::{Cluster, ProvisionError, ProvisionRequest, Source};
use embedded::{Options, Server};
use gate::Site;
use model::ClusterKind;
use tempfile::TempDir;

/// A served cluster and a kubeconfig that leads to it.
struct There {
    _cluster: embedded::Cluster,
    server: Server,
    folder: TempDir,
}

impl There {
    async fn start() -> Self {
        let cluster = embedded::Cluster::start(Options::default());
        let server = cluster.serve((Ipv4Addr::LOCALHOST, 0).into()).await.expect("served");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("config"), server.kubeconfig()).expect("written");
        Self { _cluster: cluster, server, folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("config").display().to_string()
    }

    fn rewrite(&self, change: impl FnOnce(String) -> String) {
        std::fs::write(self.path(), change(self.server.kubeconfig())).expect("written");
    }
}

fn source(path: &str) -> Source<'_> {
    Source { provisioner: "stub", kubeconfig: Some(path), ..Source::default() }
}

fn named(name: &str) -> ProvisionRequest {
    ProvisionRequest { name: name.to_owned(), seed: 7 }
}

async fn provision(path: &str) -> Result<Cluster, ProvisionError> {
    cluster::provisioner(&source(path))?.provision(named("x")).await
}

async fn namespaces(cluster: &Cluster) -> Result<Vec<u8>, String> {
    use tower::ServiceExt;
    let request = http::Request::get("/api/v1/namespaces/kube-system").body(kube::client::Body::empty());
    let answer = cluster.upstream.clone().oneshot(request.expect("a request")).await.map_err(|e| e.to_string())?;
    if !answer.status().is_success() {
        return Err(answer.status().to_string());
    }
    answer.into_body().collect_bytes().await.map(|bytes| bytes.to_vec()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_leads_to_its_cluster_and_finds_it_again() {
    let there = There::start().await;
    let provisioner = cluster::provisioner(&source(&there.path())).expect("a provisioner");
    assert_eq!(provisioner.kind(), ClusterKind::Stub);
    let reference = provisioner.existing().expect("it exists").clone();
    assert_eq!(reference.server, format!("https://{}", there.server.address()));
    assert_eq!(reference.context, "embedded");

    let cluster = provisioner.provision(named("x")).await.expect("a cluster");
    assert!(!cluster.disposable);
    assert!(provisioner.reusable() && provisioner.at_most() == Some(1), "there is one, and it stays");
    provisioner.status(&cluster).await.expect("it is ready");
    assert_eq!(cluster.kind, ClusterKind::Stub);
    assert_eq!(cluster.site("staging"), Site::existing("embedded", &reference.server));
    assert_eq!(cluster.reference.as_ref(), Some(&reference));
    namespaces(&cluster).await.expect("it answers");

    let stored = serde_json::to_string(&reference).expect("stored");
    assert!(!stored.contains(there.server.token()), "no credentials: {stored}");
    let found = cluster::connect(&serde_json::from_str(&stored).expect("read")).await.expect("found again");
    namespaces(&found).await.expect("it answers");
    provisioner.teardown(cluster).await.expect("given back");
    namespaces(&found).await.expect("it stays as it is");
    let There { server, .. } = there;
    drop(server);
    let error = provisioner.status(&found).await.expect_err("nobody listens any more");
    assert!(matches!(error, ProvisionError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_that_we_make_die_with_us() {
    let made = cluster::provisioner(&Source { provisioner: "embedded", ..Source::default() }).expect("a provisioner");
    assert!(made.existing().is_none());
    let cluster = made.provision(named("x")).await.expect("a cluster");
    assert!(cluster.disposable && cluster.reference.is_none());
    assert_eq!(cluster.site("local"), Site::made("local"));
    assert_eq!((cluster.name.as_str(), made.reusable(), made.at_most()), ("x", false, None));
    made.status(&cluster).await.expect("it is ready");
    made.teardown(cluster).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_that_leads_elsewhere_by_now_is_not_followed() {
    let (there, other) = (There::start().await, There::start().await);
    let provisioner = cluster::provisioner(&source(&there.path())).expect("a provisioner");
    let reference = provisioner.existing().expect("it exists").clone();
    std::fs::write(there.path(), other.server.kubeconfig()).expect("written");
    let error = cluster::connect(&reference).await.expect_err("moved");
    assert!(matches!(&error, ProvisionError::Moved { now, .. } if now.contains(&other.server.address().to_string())));
    assert!(error.is_input());
    assert!(provisioner.provision(named("x")).await.is_err(), "nor between the start of a run and a case");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_at_once_and_blamed_on_the_infrastructure() {
    let there = There::start().await;
    let told = |error: ProvisionError, says: &[&str]| {
        assert!(!error.is_input(), "{error:?}");
        for part in says {
            assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
        }
    };
    let closed = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
        listener.local_addr().expect("an address").to_string()
    };
    let address = there.server.address().to_string();
    there.rewrite(|text| text.replace(&address, &closed));
    let started = Instant::now();
    let error = provision(&there.path()).await.expect_err("nobody listens");
    told(error, &[&closed, "context `embedded`", "Connection refused", "check that the cluster is up"]);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    there.rewrite(|text| text.replace("token: ", "token: un"));
    let error = provision(&there.path()).await.expect_err("a wrong token");
    assert!(matches!(error, ProvisionError::Credentials { .. }), "{error:?}");
    told(error, &[&address, "401 Unauthorized", "renew the credentials"]);

    let another = There::start().await;
    there.rewrite(|_| another.server.kubeconfig().replace(&another.server.address().to_string(), &address));
    let error = provision(&there.path()).await.expect_err("a certificate of another authority");
    told(error, &[&address, "certificate"]);
}

/// Something that takes connections and never says a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_does_not_hold_a_run_up() {
    let there = There::start().await;
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let address = silent.local_addr().expect("an address").to_string();
    there.rewrite(|text| text.replace(&there.server.address().to_string(), &address));
    let started = Instant::now();
    let error = provision(&there.path()).await.expect_err("no answer");
    assert!(matches!(error, ProvisionError::Unreachable { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_stranger_runs_no_program() {
    let there = There::start().await;
    let trace = there.folder.path().join("ran");
    let exec = format!(
        "exec:\n      apiVersion: client.authentication.k8s.io/v1\n      interactiveMode: Never\n      command: touch\n      \
         args: [{}]\n",
        trace.display()
    );
    there.rewrite(|text| text.replace(&format!("token: {}\n", there.server.token()), &exec));
    let error = provision(&there.path()).await.expect_err("refused");
    assert!(error.is_input() && error.to_string().contains("runs the program `touch`"), "{error}");
    assert!(!Path::new(&trace).exists());
}
