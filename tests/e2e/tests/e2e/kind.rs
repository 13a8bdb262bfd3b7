//! Whole runs on clusters by the program `kind`: through a stand-in that starts a real API server as a process of its own,
//! and through the real kind where there is one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::{Finished, Running, Sandbox, harness_cli, repository, wait_until};
use model::{Class, ClusterKind, Outcome};
use rustix::process::Signal;

/// A sandbox with a `kind` on its PATH.
struct Kind {
    sandbox: Sandbox,
    path: std::ffi::OsString,
}

impl Kind {
    fn stand_in() -> Self {
        Self { sandbox: Sandbox::new(), path: path_with(&repository().join("tests/standins")) }
    }

    /// The stand-in, and the real one or the reason why not.
    fn each(test: &str) -> Vec<Self> {
        let mut kinds = vec![Self::stand_in()];
        let named = std::env::var_os("HARNESS_TEST_KIND").map(PathBuf::from);
        let runs = |program: &str, arg: &str| {
            Command::new(program).arg(arg).output().is_ok_and(|output| output.status.success())
        };
        match named.as_deref().and_then(Path::parent) {
            Some(folder) => kinds.push(Self { sandbox: Sandbox::new(), path: path_with(folder) }),
            None if runs("kind", "version") && runs("docker", "info") => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                kinds.push(Self { sandbox: Sandbox::new(), path });
            }
            None => eprintln!(
                "skipped: {test} with the real kind: no kind with a docker that runs is on PATH, and \
                               HARNESS_TEST_KIND names none"
            ),
        }
        kinds
    }

    fn prepared(&self, command: &mut Command) {
        let standin = self.sandbox.path().join("standin");
        fs::create_dir_all(&standin).expect("a folder");
        command.env("PATH", &self.path).env("KIND_STANDIN", standin).env("KIND_STANDIN_HARNESS", harness_cli());
    }

    fn command(&self) -> Command {
        let mut command = self.sandbox.command();
        self.prepared(&mut command);
        command
    }

    fn harness(&self, args: &[&str]) -> Finished {
        Finished::of(self.command().args(args))
    }

    fn fault(&self, words: &str) {
        self.sandbox.write("standin/fault", words);
    }

    /// Clusters with names of ours.
    fn clusters(&self) -> Vec<String> {
        let mut command = Command::new("kind");
        self.prepared(&mut command);
        let listed = Finished::of(command.args(["get", "clusters"])).expect(0);
        listed.stdout.lines().filter(|name| name.starts_with("harness-")).map(str::to_owned).collect()
    }

    fn assert_nothing_left(&self) {
        assert_eq!(self.clusters(), Vec::<String>::new());
        let claims = self.sandbox.path().join("home/.local/state/harness/clusters");
        let claims: Vec<_> = fs::read_dir(claims).into_iter().flatten().filter_map(Result::ok).collect();
        assert!(claims.is_empty(), "{claims:?}");
        assert!(!self.sandbox.path().join("home/.kube").exists(), "no kubeconfig was touched");
        self.sandbox.assert_nothing_left();
    }

    /// Starts a run whose agent sleeps, and waits until it does.
    fn run_until_the_agent_sleeps(&self) -> Running {
        self.sandbox.write("slow.yaml", SLOW);
        self.sandbox.write(
            "agents/sleeps.yaml",
            "id: sleeps\nsupports: [diagnose]\ncommand: [sh, -c, 'echo awake; sleep 600']\nstdin: none\n",
        );
        let mut command = self.command();
        command.args(["run", "slow.yaml", "--agents-dir", "agents"]).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Running::start(&mut command);
        self.wait_for_event("awake");
        process
    }

    fn wait_for_event(&self, what: &str) {
        let results = self.sandbox.path().join("results");
        wait_until(&format!("`{what}` among the events"), Duration::from_secs(600), || {
            let runs = fs::read_dir(&results).into_iter().flatten().filter_map(Result::ok);
            runs.map(|run| run.path().join("events.jsonl"))
                .any(|events| fs::read_to_string(events).is_ok_and(|text| text.contains(what)))
        });
    }
}

fn path_with(folder: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path))).expect("a path")
}

const SMALL: &str = "\
name: small
clusters:
  - {id: docker, provisioner: kind}
failures: [image-pull-error]
agents: [triage]
objective: diagnose
";

const SLOW: &str = "\
name: slow
clusters:
  - {id: docker, provisioner: kind}
failures: [no-fault]
agents: [sleeps]
objective: diagnose
execution: {timeout_per_test: 5m}
";

#[test]
fn a_run_makes_its_cluster_and_removes_it() {
    for kind in Kind::each("a_run_makes_its_cluster_and_removes_it") {
        kind.sandbox.write("m.yaml", SMALL);
        let planned = kind.harness(&["run", "m.yaml", "--dry-run"]).expect(0);
        assert!(planned.stdout.contains("docker: made for the run (kind), by the program kind"), "{}", planned.stdout);
        assert_eq!(kind.clusters(), Vec::<String>::new(), "nothing is made by looking");
        kind.harness(&["run", "m.yaml"]).expect(0);
        let case = kind.sandbox.only_run().case("docker--image-pull-error--triage");
        assert_eq!((case.outcome, case.cluster_kind), (Outcome::Passed, ClusterKind::Kind), "{}", case.message);
        assert!(case.gated && case.leaks.is_empty(), "{case:?}");
        kind.assert_nothing_left();
    }
}

#[test]
fn clusters_that_cannot_be_made_cost_their_own_cases_only() {
    let matrix = SMALL.replace("failures", "  - {id: local, provisioner: embedded}\nfailures");
    for (fault, says) in [
        (None, "`kind` is not on PATH: install it"),
        (Some("docker-down"), "Is the docker daemon running?"),
        (Some("half-create"), "failed to init node with kubeadm"),
    ] {
        let mut kind = Kind::stand_in();
        kind.sandbox.write("m.yaml", &matrix);
        match fault {
            Some(fault) => kind.fault(fault),
            None => kind.path = std::ffi::OsString::from("/nonexistent"),
        }
        kind.harness(&["run", "m.yaml"]).expect(11);
        let run = kind.sandbox.only_run();
        let case = run.case("docker--image-pull-error--triage");
        assert_eq!((case.outcome, case.class), (Outcome::Error, Some(Class::Infrastructure)), "{}", case.message);
        assert!(case.message.contains(says), "{says:?} is not in: {}", case.message);
        assert_eq!(run.case("local--image-pull-error--triage").outcome, Outcome::Passed);
        kind.path = path_with(&repository().join("tests/standins"));
        kind.fault("");
        kind.assert_nothing_left();
    }
}

#[test]
fn an_interrupted_run_removes_its_cluster_also_one_that_is_half_made() {
    let kind = Kind::stand_in();
    let mut process = kind.run_until_the_agent_sleeps();
    process.signal(Signal::INT);
    assert_eq!(process.wait(Duration::from_secs(30)).code(), Some(130));
    kind.assert_nothing_left();

    let kind = Kind::stand_in();
    kind.fault("hang-create");
    kind.sandbox.write("m.yaml", SMALL);
    let mut command = kind.command();
    command.args(["run", "m.yaml"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Running::start(&mut command);
    wait_until("a cluster to be half made", Duration::from_secs(60), || !kind.clusters().is_empty());
    process.signal(Signal::INT);
    assert_eq!(process.wait(Duration::from_secs(30)).code(), Some(130));
    assert_eq!(kind.sandbox.only_run().case("docker--image-pull-error--triage").outcome, Outcome::Interrupted);
    kind.assert_nothing_left();
}

#[test]
fn a_cluster_that_a_killed_run_left_is_removed_and_that_of_a_live_one_is_not() {
    for kind in Kind::each("a_cluster_that_a_killed_run_left_is_removed") {
        let mut process = kind.run_until_the_agent_sleeps();
        let left = kind.clusters();
        assert_eq!(left.len(), 1, "{left:?}");
        let looked = kind.harness(&["recover"]).expect(0);
        assert!(!looked.stdout.contains(&left[0]), "its run lives: {}", looked.stdout);
        assert_eq!(kind.clusters(), left);
        process.signal(Signal::KILL);
        process.wait(Duration::from_secs(10));
        assert_eq!(kind.clusters(), left, "it outlives the harness");

        let recovered = kind.harness(&["recover"]).expect(0);
        let removed = format!("kind cluster {} was left by a run that was killed, and is removed", left[0]);
        assert!(recovered.stdout.contains(&removed), "{}", recovered.stdout);
        let again = kind.harness(&["recover"]).expect(0);
        assert!(again.stdout.contains("There is nothing to recover."), "{}", again.stdout);
        assert_eq!(kind.sandbox.only_run().case("docker--no-fault--sleeps").outcome, Outcome::Interrupted);
        kind.assert_nothing_left();
    }
}

#[test]
fn the_next_run_removes_what_a_killed_one_was_still_making() {
    let kind = Kind::stand_in();
    kind.fault("hang-create");
    kind.sandbox.write("m.yaml", SMALL);
    let mut command = kind.command();
    command.args(["run", "m.yaml"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Running::start(&mut command);
    wait_until("a cluster to be half made", Duration::from_secs(60), || !kind.clusters().is_empty());
    let left = kind.clusters();
    process.signal(Signal::KILL);
    process.wait(Duration::from_secs(10));
    // Another folder of results: what is left on this machine is found all the same, its maker with it.
    kind.fault("");
    kind.sandbox
        .write("m.yaml", SMALL.replace("{id: docker, provisioner: kind}", "{id: local, provisioner: embedded}"));
    let run = kind.harness(&["run", "m.yaml", "--results-dir", "others"]).expect(0);
    assert!(run.stderr.contains(&format!("kind cluster {} was left", left[0])), "{}", run.stderr);
    kind.harness(&["recover"]).expect(0);
    kind.assert_nothing_left();
}

#[test]
fn a_cluster_that_cannot_be_removed_is_told_until_it_is() {
    let kind = Kind::stand_in();
    let mut process = kind.run_until_the_agent_sleeps();
    let left = kind.clusters();
    process.signal(Signal::KILL);
    process.wait(Duration::from_secs(10));
    kind.fault("delete-fails");
    let failed = kind.harness(&["recover", "--format", "json"]).expect(12).json();
    assert_eq!(failed["clusters"][0]["name"], left[0].as_str());
    assert_eq!(failed["clusters"][0]["result"], "failed");
    let why = failed["clusters"][0]["why"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("device or resource busy") && why.contains("kind delete cluster --name"), "{why}");
    kind.fault("");
    let done = kind.harness(&["recover", "--format", "json"]).expect(0).json();
    assert_eq!(done["clusters"][0]["result"], "removed");
    // One that nobody here has made is somebody's.
    fs::create_dir_all(kind.sandbox.path().join("standin/nodes/harness-r-0123456789-1")).expect("made");
    let listed = kind.harness(&["recover"]).expect(0);
    assert!(listed.stdout.contains("harness-r-0123456789-1 was not made by you"), "{}", listed.stdout);
    assert_eq!(kind.clusters(), ["harness-r-0123456789-1"]);
    fs::remove_dir(kind.sandbox.path().join("standin/nodes/harness-r-0123456789-1")).expect("removed");
    kind.assert_nothing_left();
}
