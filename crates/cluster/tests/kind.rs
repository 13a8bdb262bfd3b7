//! Clusters by the program `kind`: a stand-in that fails in every way that the real one does (`tests/standins/kind`), and
//! the real one where there is one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cluster::{Cluster, KindHost, KindProvisioner, KindTimes, ProvisionError, ProvisionRequest, Provisioner};
use embedded::{Options, Server};
use gate::Site;
use model::ClusterKind;
use tempfile::TempDir;

/// One `kind`, and folders of our own for it.
struct Kind {
    host: KindHost,
    folder: TempDir,
    /// The API server behind the stand-in's nodes; none: the real kind.
    _server: Option<(embedded::Cluster, Server)>,
}

impl Kind {
    async fn stand_in() -> Self {
        let cluster = embedded::Cluster::start(Options::default());
        let server = cluster.serve((Ipv4Addr::LOCALHOST, 0).into()).await.expect("served");
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("standin")).expect("made");
        fs::write(at("admin.conf"), server.kubeconfig()).expect("written");
        let said = |path: PathBuf| Some(path.display().to_string());
        let env = BTreeMap::from([
            ("KIND_STANDIN".to_owned(), said(at("standin"))),
            ("KIND_STANDIN_KUBECONFIG".to_owned(), said(at("admin.conf"))),
            // It would change the caller's own file, if it looked at it.
            ("KUBECONFIG".to_owned(), said(at("caller"))),
            ("KIND_CLUSTER_NAME".to_owned(), Some("somebody-elses".to_owned())),
        ]);
        let standins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/standins");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(standins).chain(std::env::split_paths(&path));
        let times = KindTimes {
            create: Duration::from_secs(20),
            wait: Duration::from_secs(5),
            ready: Duration::from_secs(20),
            delete: Duration::from_secs(20),
            list: Duration::from_secs(20),
        };
        let host = KindHost {
            path: std::env::join_paths(folders).expect("joined"),
            env,
            claims: Some(at("state/clusters")),
            templates: Some(at("templates")),
            times,
        };
        Self { host, folder, _server: Some((cluster, server)) }
    }

    /// The stand-in, and the real one or the reason why not.
    async fn each(test: &str) -> Vec<Self> {
        let mut kinds = vec![Self::stand_in().await];
        match real() {
            Ok(path) => {
                let folder = tempfile::tempdir().expect("a folder");
                let (claims, templates) = (folder.path().join("state"), folder.path().join("templates"));
                let host =
                    KindHost { path, claims: Some(claims), templates: Some(templates), ..KindHost::of_process() };
                kinds.push(Self { host, folder, _server: None });
            }
            Err(why) => eprintln!("skipped: {test} with the real kind: {why}"),
        }
        kinds
    }

    fn provisioner(&self) -> KindProvisioner {
        self.of(None)
    }

    fn of(&self, template: Option<&str>) -> KindProvisioner {
        KindProvisioner::for_template(template, self.host.clone()).expect("a provisioner")
    }

    fn fault(&self, words: &str) {
        fs::write(self.folder.path().join("standin/fault"), words).expect("written");
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.folder.path().join("standin/calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// What `kind get clusters` prints.
    fn clusters(&self) -> Vec<String> {
        let mut command = Command::new("kind");
        command.args(["get", "clusters"]).env("PATH", &self.host.path);
        for (name, value) in &self.host.env {
            command.env(name, value.as_deref().unwrap_or_default());
        }
        let output = command.output().expect("kind runs");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// That nothing of this name is anywhere.
    fn assert_gone(&self, name: &str) {
        assert!(!self.clusters().iter().any(|cluster| cluster == name), "{name} is a cluster still");
        assert_eq!(self.claimed(), Vec::<String>::new());
    }

    fn claimed(&self) -> Vec<String> {
        let claims = self.host.claims.as_deref().expect("a folder");
        let entries = fs::read_dir(claims).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// `PATH` for the real kind.
fn real() -> Result<OsString, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::var_os("HARNESS_TEST_KIND").map(PathBuf::from);
    if named.is_none() {
        let runs = |program: &str, arg: &str| {
            let output = Command::new(program).arg(arg).output();
            output.is_ok_and(|output| output.status.success())
        };
        if !runs("kind", "version") {
            return Err("there is no kind on PATH, and HARNESS_TEST_KIND names none".to_owned());
        }
        if !runs("docker", "info") {
            return Err("`docker info` does not succeed".to_owned());
        }
    }
    let folder = named.as_deref().and_then(Path::parent).map(Path::to_owned);
    std::env::join_paths(folder.into_iter().chain(std::env::split_paths(&path))).map_err(|error| error.to_string())
}

fn named(name: &str) -> ProvisionRequest {
    ProvisionRequest { name: name.to_owned(), seed: 1 }
}

/// A name that no other test and no other run has.
fn fresh() -> String {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_nanos();
    format!("harness-t-{:x}-{:x}", std::process::id(), nanos & 0xff_ffff_ffff)
}

/// Waits for something that another process does.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn answers(cluster: &Cluster) -> bool {
    let request = http::Request::get("/api/v1/namespaces/kube-system").body(Vec::new()).expect("a request");
    cluster.client().request_text(request).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_made_used_and_removed() {
    for kind in Kind::each("a_cluster_is_made_used_and_removed").await {
        let (provisioner, name) = (kind.provisioner(), fresh());
        assert_eq!((provisioner.kind(), provisioner.reusable()), (ClusterKind::Kind, true));
        assert!(provisioner.existing().is_none() && provisioner.at_most().is_none());
        let cluster = provisioner.provision(named(&name)).await.expect("a cluster");
        assert_eq!((cluster.kind, cluster.name.as_str()), (ClusterKind::Kind, name.as_str()));
        assert!(cluster.disposable && cluster.reference.is_none() && cluster.endpoints.mcp.is_none());
        assert_eq!(cluster.site("local"), Site::made("local"));
        assert!(answers(&cluster).await);
        provisioner.status(&cluster).await.expect("it is ready");
        assert_eq!(kind.claimed(), [name.clone()], "it is written down");
        let files = fs::read_dir(kind.host.claims.as_deref().expect("a folder").join(&name)).expect("read");
        let files: Vec<_> = files.filter_map(Result::ok).map(|file| file.file_name()).collect();
        assert!(!files.iter().any(|file| file == "kubeconfig"), "the way in lies nowhere: {files:?}");
        assert!(!kind.folder.path().join("caller").exists(), "nor in the caller's own kubeconfig");

        let error = provisioner.provision(named(&name)).await.expect_err("there is one of that name");
        assert!(matches!(error, ProvisionError::Claim { .. }), "{error:?}");
        assert!(kind.host.sweep().await.is_empty(), "its owner lives");
        assert!(answers(&cluster).await);
        provisioner.teardown(cluster).await.expect("removed");
        kind.assert_gone(&name);
        provisioner.abandon(&name).await.expect("nothing is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_is_found_by_its_name_and_what_lives_is_not_touched() {
    for kind in Kind::each("what_was_left_is_found_by_its_name_and_what_lives_is_not_touched").await {
        let provisioner = kind.provisioner();
        let (left, alive) = (fresh(), fresh());
        let (first, second) = tokio::join!(provisioner.provision(named(&left)), provisioner.provision(named(&alive)));
        // As when the process is killed: nobody holds the claim any more.
        drop(first.expect("a cluster"));
        let second = second.expect("a cluster");
        let swept = kind.host.sweep().await;
        let names: Vec<&str> = swept.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, [left.as_str()]);
        assert!(swept.iter().all(|one| one.removed.is_ok()), "{swept:?}");
        assert!(!kind.clusters().contains(&left) && kind.clusters().contains(&alive));
        assert!(kind.host.sweep().await.is_empty(), "once");
        assert!(answers(&second).await);
        provisioner.teardown(second).await.expect("removed");
        kind.assert_gone(&alive);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_nobody_waits_for_is_ended_and_its_half_made_cluster_removed() {
    for kind in Kind::each("a_create_that_nobody_waits_for_is_ended").await {
        if kind._server.is_some() {
            kind.fault("hang-create");
        }
        let (provisioner, name) = (kind.provisioner(), fresh());
        {
            let making = provisioner.provision(named(&name));
            let begun = until("its first node", || kind.clusters().contains(&name));
            tokio::select! {
                made = making => panic!("it was made before it was seen: {made:?}"),
                () = begun => {}
            }
        }
        assert!(processes_of(&kind).await, "the whole tree has ended");
        assert_eq!(kind.claimed(), [name.clone()], "so that a sweep finds it");
        provisioner.abandon(&name).await.expect("removed");
        kind.assert_gone(&name);
    }
}

/// Whether no process of the stand-in is left.
async fn processes_of(kind: &Kind) -> bool {
    let needle = format!("KIND_STANDIN={}", kind.folder.path().join("standin").display());
    let left = || {
        let processes = fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
        processes
            .filter_map(|entry| fs::read(entry.path().join("environ")).ok())
            .any(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == needle.as_bytes()))
    };
    until("its processes to end", || !left()).await;
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_not_ours_to_remove() {
    for kind in Kind::each("a_name_that_is_taken_is_not_ours_to_remove").await {
        let (provisioner, name) = (kind.provisioner(), fresh());
        let theirs = provisioner.provision(named(&name)).await.expect("a cluster");
        // Another user, with claims of their own, and the same docker.
        let other = KindHost { claims: Some(kind.folder.path().join("other")), ..kind.host.clone() };
        let their_provisioner = KindProvisioner::for_template(None, other.clone()).expect("a provisioner");
        let error = their_provisioner.provision(named(&name)).await.expect_err("taken");
        assert!(matches!(error, ProvisionError::NameTaken { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("kind delete cluster --name {name}")), "{error}");
        assert!(kind.clusters().contains(&name), "it is somebody else's");
        assert_eq!(other.unclaimed().await.expect("listed").contains(&name), true);
        assert!(!kind.host.unclaimed().await.expect("listed").contains(&name), "it is claimed here");
        assert!(other.sweep().await.is_empty());
        provisioner.teardown(theirs).await.expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_is_told() {
    for kind in Kind::each("an_image_that_is_not_there_is_told").await {
        if kind._server.is_some() {
            kind.fault("image");
        }
        let name = fresh();
        let error = kind.of(Some("kindest/node:v0.0.9")).provision(named(&name)).await.expect_err("no such image");
        assert!(matches!(error, ProvisionError::Image { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("kindest/node:v0.0.9") && text.contains("`template` in the matrix"), "{text}");
        kind.assert_gone(&name);
    }
}

/// What must be in the message of a provisioning that fails, and whether something is there afterwards.
async fn fails(kind: &Kind, says: &[&str]) -> (ProvisionError, String) {
    let name = fresh();
    let error = kind.provisioner().provision(named(&name)).await.expect_err("a fault");
    assert!(!error.is_input(), "nobody's file is wrong: {error:?}");
    for part in says {
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
    (error, name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_says_how_to_get_it() {
    let mut kind = Kind::stand_in().await;
    kind.host.path = OsString::from("/nonexistent");
    let (error, _) = fails(&kind, &["`kind` is not on PATH", "https://kind.sigs.k8s.io", "docker"]).await;
    assert!(matches!(error, ProvisionError::Missing { .. }), "{error:?}");
    assert!(kind.claimed().is_empty());
    let folder = kind.folder.path().join("bin");
    fs::create_dir(&folder).expect("made");
    fs::write(folder.join("kind"), "#!/nonexistent/interpreter\n").expect("written");
    fs::set_permissions(folder.join("kind"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    kind.host.path = folder.into();
    let (error, _) = fails(&kind, &["`kind` cannot be started"]).await;
    assert!(matches!(error, ProvisionError::NotStarted { .. }), "{error:?}");
    kind.host.claims = None;
    fails(&kind, &["neither XDG_STATE_HOME nor HOME is set"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_that_does_not_run_is_told_from_a_cluster_that_fails() {
    let kind = Kind::stand_in().await;
    kind.fault("docker-down");
    let (error, name) = fails(&kind, &["no container engine", "Is the docker daemon running?", "DOCKER_HOST"]).await;
    assert!(matches!(error, ProvisionError::Engine { .. }), "{error:?}");
    assert!(!kind.calls().iter().any(|call| call.starts_with("delete")), "there is nothing to delete");
    let error = kind.host.unclaimed().await.expect_err("nobody answers").to_string();
    assert!(error.contains("kind get clusters") && error.contains("failed to list clusters"), "{error}");
    kind.fault("");
    kind.assert_gone(&name);

    kind.fault("half-create");
    let says =
        ["could not create the cluster", "exit code 1", "failed to init node with kubeadm", "CONFIG_CGROUP_PIDS"];
    let (error, name) = fails(&kind, &says).await;
    assert!(matches!(error, ProvisionError::CreateFailed { .. }), "{error:?}");
    kind.assert_gone(&name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_hangs_is_ended_with_its_tree_and_removed() {
    let mut kind = Kind::stand_in().await;
    kind.host.times.create = Duration::from_secs(1);
    kind.fault("hang-create");
    let started = Instant::now();
    let (error, name) = fails(&kind, &["within 1 s", "was ended", "Starting control-plane"]).await;
    assert!(matches!(error, ProvisionError::CreateHung { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    processes_of(&kind).await;
    // Also although kind's lock on the kubeconfig was left.
    kind.assert_gone(&name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_made_and_does_not_work_is_removed() {
    let mut kind = Kind::stand_in().await;
    kind.host.times.ready = Duration::from_millis(700);
    kind.fault("not-ready");
    let (error, name) = fails(&kind, &["created the cluster", "does not become ready", "Connection refused"]).await;
    assert!(matches!(error, ProvisionError::NotReady { .. }), "{error:?}");
    kind.assert_gone(&name);
    kind.fault("no-kubeconfig");
    let (error, name) = fails(&kind, &["created the cluster", "No such file"]).await;
    assert!(matches!(error, ProvisionError::NotReady { .. }), "{error:?}");
    kind.assert_gone(&name);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_is_told_and_tried_again() {
    let mut kind = Kind::stand_in().await;
    kind.host.times.delete = Duration::from_secs(1);
    let provisioner = kind.provisioner();
    for (fault, says) in [("delete-fails", "device or resource busy"), ("delete-hangs", "was not deleted within 1 s")] {
        kind.fault("");
        let name = fresh();
        let cluster = provisioner.provision(named(&name)).await.expect("a cluster");
        kind.fault(fault);
        let error = provisioner.teardown(cluster).await.expect_err(fault);
        let text = error.to_string();
        assert!(text.contains(says) && text.contains(&format!("kind delete cluster --name {name}")), "{text}");
        assert_eq!(kind.claimed(), [name.clone()]);
        let swept = kind.host.sweep().await;
        assert!(swept.iter().all(|one| one.removed.is_err()) && swept.len() == 1, "{swept:?}");
        kind.fault("");
        let swept = kind.host.sweep().await;
        assert!(swept.iter().all(|one| one.removed.is_ok()) && swept.len() == 1, "{swept:?}");
        kind.assert_gone(&name);

        kind.fault(&format!("half-create {fault}"));
        let (error, name) = fails(&kind, &["failed to init node", says]).await;
        assert!(matches!(error, ProvisionError::Left { .. }), "{error:?}");
        kind.fault("");
        assert_eq!(kind.host.sweep().await.len(), 1);
        kind.assert_gone(&name);
    }
    processes_of(&kind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_removed_where_it_was_made() {
    let kind = Kind::stand_in().await;
    let docker = |host: Option<&str>| {
        let env = BTreeMap::from([("DOCKER_HOST".to_owned(), host.map(str::to_owned))]);
        KindHost { env: kind.host.env.clone().into_iter().chain(env).collect(), ..kind.host.clone() }
    };
    let there = docker(Some("tcp://there:2375"));
    let provisioner = KindProvisioner::for_template(None, there).expect("a provisioner");
    let name = fresh();
    drop(provisioner.provision(named(&name)).await.expect("a cluster"));
    // The stand-in writes down where it was asked.
    let swept = docker(None).sweep().await;
    assert!(swept.iter().all(|one| one.removed.is_ok()) && swept.len() == 1, "{swept:?}");
    let delete = kind.calls().into_iter().find(|call| call.starts_with("delete")).expect("it was deleted");
    assert!(delete.ends_with("DOCKER_HOST=tcp://there:2375"), "{delete}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_handed_on() {
    let kind = Kind::stand_in().await;
    fs::create_dir(kind.folder.path().join("templates")).expect("made");
    let config = kind.folder.path().join("templates/two.yaml");
    fs::write(&config, "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n").expect("written");
    for (template, args) in [
        (None, String::new()),
        (Some("kindest/node:v1.36.0"), " --image kindest/node:v1.36.0".to_owned()),
        (Some("two"), format!(" --config {}", config.display())),
    ] {
        let name = fresh();
        let provisioner = kind.of(template);
        let cluster = provisioner.provision(named(&name)).await.expect("a cluster");
        let kubeconfig = kind.host.claims.as_deref().expect("a folder").join(&name).join("kubeconfig");
        let call = kind.calls().pop().expect("a call");
        let wanted = format!("create cluster --name {name} --wait 5s --kubeconfig {}{args}", kubeconfig.display());
        assert!(call.starts_with(&wanted), "{call}");
        provisioner.teardown(cluster).await.expect("removed");
    }
    for bad in ["", "-n", "UPPER", "a/b", "..", "harness-with-a-name-that-is-longer-than-host-names-can-be"] {
        let error = kind.provisioner().provision(named(bad)).await.expect_err(bad);
        assert!(error.to_string().contains("no DNS label"), "{error}");
    }
}
