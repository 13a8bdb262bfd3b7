//! Whole runs through the program: outcomes of every kind side by side, clusters that are shared, signals, kills with
//! several cases at work.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::{Cluster, Dump, Kubectl, Running, Sandbox, wait_until};
use model::{CaseFile, Class, ClusterKind, Outcome, StopReason};
use rustix::process::Signal;

const AGENTS: &[(&str, &str)] = &[
    ("wrong", "command: [sh, -c, 'echo \"{\\\"fault_present\\\": false}\"']\nanswer: stdout\n"),
    ("sleeper", "command: [sh, -c, 'echo awake; exec sleep 600']\n"),
    (
        "cut-off",
        "command: [sh, -c, 'echo \"{\\\"type\\\": \\\"result\\\", \\\"overloaded\\\": true}\"']\nanswer: stdout\n\
         output: {format: jsonl, final: {type: result}, unavailable: final.overloaded}\n",
    ),
    // Everything that an agent can do in order to stay.
    (
        "stubborn",
        "command: [sh, -c, 'trap \"\" TERM INT HUP; echo awake; setsid sleep 600 & sleep 600 & wait; wait; sleep 600']\n",
    ),
];

fn write_agents(sandbox: &Sandbox) {
    for (id, preset) in AGENTS {
        sandbox.write(&format!("agents/{id}.yaml"), format!("id: {id}\n{preset}"));
    }
}

/// A failure that breaks nothing, whatever it says.
const FEEBLE: &str = "id: feeble\nname: Feeble\ndescription: Does nothing.\nexpected_duration: 10s\n\
    workload: {manifests: [workload.yaml]}\n\
    capabilities: {rules: [{apiGroups: [''], resources: [configmaps], verbs: [create, get, delete]}]}\n\
    induce: [{create: {apiVersion: v1, kind: ConfigMap, metadata: {name: nothing}}}]\n\
    symptoms: [{name: broken, select: {apiVersion: apps/v1, kind: Deployment, name: checkout}, any: object.spec.replicas == 0}]\n\
    health: [{name: there, select: {apiVersion: apps/v1, kind: Deployment, name: checkout}, all: 'object.status.availableReplicas >= 1'}]\n\
    ground_truth: {fault_type: replicas, root_causes: [{apiVersion: apps/v1, kind: Deployment, name: checkout}]}\n";
const WORKLOAD: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: checkout}\nspec:\n  \
    selector: {matchLabels: {app: checkout}}\n  template:\n    metadata: {labels: {app: checkout}}\n    \
    spec: {containers: [{name: app, image: 'busybox:1.36', command: [sleep, '1000000']}]}\n";

/// Lets the operator's grants name the cluster; what comes back is how a matrix names it.
fn named(sandbox: &Sandbox, cluster: &Cluster, kubectl: &Kubectl) -> String {
    let server = kubectl.ok(&["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let context = kubectl.ok(&["config", "current-context"]);
    sandbox.write("grants.yaml", format!("clusters: [{{context: {context}, server: '{server}'}}]\n"));
    format!("{{id: staging, provisioner: stub, kubeconfig: {}, context: {context}}}", cluster.kubeconfig().display())
}

#[test]
fn each_kind_of_end_is_told_apart_and_stops_nothing_else() {
    let sandbox = Sandbox::new();
    write_agents(&sandbox);
    sandbox.write("failures/feeble/metadata.yaml", FEEBLE);
    sandbox.write("failures/feeble/workload.yaml", WORKLOAD);
    sandbox.write(
        "nowhere.yaml",
        "apiVersion: v1\nkind: Config\ncurrent-context: nowhere\n\
         clusters: [{name: n, cluster: {server: 'https://127.0.0.1:9'}}]\nusers: [{name: u, user: {token: t}}]\n\
         contexts: [{name: nowhere, context: {cluster: n, user: u}}]\n",
    );
    sandbox.write("grants.yaml", "clusters: [{context: nowhere, server: 'https://127.0.0.1:9'}]\n");
    sandbox.write(
        "m.yaml",
        "name: ends\nclusters:\n  - {id: local, provisioner: embedded}\n  - {id: gone, provisioner: stub, kubeconfig: \
         nowhere.yaml}\nfailures: [oom-killed, feeble, no-fault]\nagents: [triage, wrong, sleeper, cut-off]\n\
         exclude:\n  - {cluster: gone, failure: oom-killed}\n  - {cluster: gone, failure: feeble}\n  - {cluster: gone, \
         agent: wrong}\n  - {cluster: gone, agent: sleeper}\n  - {cluster: gone, agent: cut-off}\n  - {failure: feeble, \
         agent: wrong}\n  - {failure: feeble, agent: sleeper}\n  - {failure: feeble, agent: cut-off}\n  - {failure: \
         no-fault, agent: sleeper}\n  - {failure: no-fault, agent: cut-off}\nobjective: diagnose\n\
         execution: {parallel_clusters: 2, parallel_tests_per_cluster: 3, timeout_per_test: 20s}\n",
    );
    let finished = sandbox.harness(&["run", "m.yaml"]).expect(10);
    let run = sandbox.only_run();
    let expected = [
        ("local--oom-killed--triage", Outcome::Passed, None, ""),
        ("local--oom-killed--wrong", Outcome::Failed, Some(Class::Agent), "nothing is wrong"),
        ("local--oom-killed--sleeper", Outcome::TimedOut, Some(Class::Agent), "time was up"),
        ("local--oom-killed--cut-off", Outcome::Error, Some(Class::Infrastructure), "not available"),
        ("local--feeble--triage", Outcome::Invalid, Some(Class::Test), "did not take hold"),
        ("local--no-fault--triage", Outcome::Passed, None, ""),
        ("local--no-fault--wrong", Outcome::Passed, None, ""),
        ("gone--no-fault--triage", Outcome::Error, Some(Class::Infrastructure), "127.0.0.1:9"),
    ];
    assert_eq!(run.cases().len(), expected.len());
    // Markdown has a backslash before what it would read as its own.
    let (report, junit) = (run.read("report.md").replace('\\', ""), run.read("junit.xml"));
    for (id, outcome, class, why) in expected {
        let case = run.case(id);
        assert_eq!((case.outcome, case.class), (outcome, class), "{id}: {}", case.message);
        assert!(case.message.contains(why) && case.leaks.is_empty(), "{id}: {case:#?}");
        if outcome != Outcome::Passed {
            assert!(report.contains(id) && report.contains(&case.message), "{id} with its reason is not in\n{report}");
            assert!(finished.stdout.contains(id), "{}", finished.stdout);
        }
        assert!(junit.contains(id), "{id} is not in\n{junit}");
    }
    let lines: Vec<&str> = finished.stderr.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(lines.len(), expected.len(), "one line of progress a case: {}", finished.stderr);
    sandbox.assert_nothing_left();
}

#[test]
fn several_failures_and_agents_share_one_existing_cluster() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("sharing") else { return };
    let sandbox = Sandbox::new();
    write_agents(&sandbox);
    let staging = named(&sandbox, &cluster, &kubectl);
    sandbox.write(
        "m.yaml",
        format!(
            "name: shared\nclusters: [{staging}]\nfailures: [image-pull-error, no-fault]\nagents: [triage, wrong]\n\
             objective: diagnose\nexecution: {{parallel_tests_per_cluster: 4, timeout_per_test: 1m}}\n"
        ),
    );
    let kinds = Dump::kinds(&kubectl);
    let before = Dump::of(&kubectl, &kinds);
    sandbox.harness(&["run", "m.yaml"]).expect(10);
    assert_eq!(before.difference(&Dump::of(&kubectl, &kinds)), [""; 0]);
    let run = sandbox.only_run();
    let verdict = |case: &CaseFile| (case.failure.to_string(), case.agent.to_string(), case.outcome);
    let mut verdicts: Vec<_> = run.cases().iter().map(verdict).collect();
    verdicts.sort();
    let expected = |failure: &str, agent: &str, outcome| (failure.to_owned(), agent.to_owned(), outcome);
    assert_eq!(
        verdicts,
        [
            expected("image-pull-error", "triage", Outcome::Passed),
            expected("image-pull-error", "wrong", Outcome::Failed),
            expected("no-fault", "triage", Outcome::Passed),
            expected("no-fault", "wrong", Outcome::Passed),
        ]
    );
    assert!(run.cases().iter().all(|case| case.leaks.is_empty() && case.cluster_kind == ClusterKind::Stub));
    let report = run.read("report.md");
    let row = report.lines().find(|line| line.contains("image-pull-error") && line.contains('|'));
    let row = row.unwrap_or_else(|| panic!("no row of the failure in\n{report}"));
    assert!(row.contains("passed") && row.contains("failed"), "both agents side by side: {row}");
    cluster.interrupt();
}

/// A run whose agents are all at work.
struct AtWork {
    process: Running,
    stderr: BufReader<std::process::ChildStderr>,
}

impl AtWork {
    fn start(sandbox: &Sandbox, agents: usize) -> Self {
        let mut command = sandbox.command();
        command.args(["run", "m.yaml", "--junit", "junit.xml"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Running::start(&mut command);
        let stderr = BufReader::new(process.child().stderr.take().expect("stderr is piped"));
        let results = sandbox.path().join("results");
        wait_until("the agents to be at work", Duration::from_secs(120), || {
            let runs = fs::read_dir(&results).into_iter().flatten().filter_map(Result::ok);
            let events = runs.filter_map(|run| fs::read_to_string(run.path().join("events.jsonl")).ok());
            events.map(|text| text.matches("\"awake\"").count()).sum::<usize>() >= agents
        });
        Self { process, stderr }
    }

    /// Reads until the program has said something.
    fn until_said(&mut self, what: &str) -> String {
        let mut all = String::new();
        while !all.contains(what) {
            let read = self.stderr.read_line(&mut all).expect("stderr can be read");
            assert_ne!(read, 0, "it ended without `{what}`:\n{all}");
        }
        all
    }
}

#[test]
fn an_interrupted_run_is_over_in_fifteen_seconds_whatever_its_agents_do() {
    let sandbox = Sandbox::new();
    write_agents(&sandbox);
    sandbox.write(
        "m.yaml",
        "name: stubborn\nclusters: [{id: a, provisioner: embedded}, {id: b, provisioner: embedded}]\n\
         failures: [oom-killed]\nagents: [stubborn, triage]\nobjective: diagnose\n\
         execution: {parallel_clusters: 2, repeats: 2, timeout_per_test: 5m}\n",
    );
    let mut run = AtWork::start(&sandbox, 2);
    let begun = Instant::now();
    run.process.signal(Signal::INT);
    run.until_said("Interrupted");
    let status = run.process.wait(Duration::from_secs(15));
    println!("over {:?} after the signal", begun.elapsed());
    assert_eq!(status.code(), Some(130));
    let folder = sandbox.only_run();
    let file = folder.run();
    assert_eq!((file.stopped, file.not_run), (Some(StopReason::Interrupted), 6), "{file:?}");
    for cluster in ["a", "b"] {
        let case = folder.case(&format!("{cluster}--oom-killed--stubborn"));
        assert_eq!((case.outcome, case.leaks.len()), (Outcome::Interrupted, 0), "{}", case.message);
    }
    assert!(folder.read("report.md").contains("interrupted"));
    let junit = fs::read_to_string(sandbox.path().join("junit.xml")).expect("a JUnit report");
    assert!(junit.contains("interrupted"), "{junit}");
    sandbox.assert_nothing_left();
}

/// Nothing is witnessed, no time is given, the program is not there; and standard output takes nothing of it all.
#[test]
fn no_agent_is_blamed_for_what_it_could_not_do() {
    let sandbox = Sandbox::new();
    write_agents(&sandbox);
    sandbox.write("agents/gone.yaml", "id: gone\ncommand: [./no-such-program]\n");
    for (id, seconds) in [("silent", 1), ("hasty", 0)] {
        sandbox.write(
            &format!("failures/{id}/metadata.yaml"),
            format!("id: {id}\nname: Old\ndescription: x\nexpected_duration: 5s\n"),
        );
        sandbox.write(&format!("failures/{id}/induce.sh"), format!("#!/bin/sh\necho TIMEOUT={seconds}\n"));
    }
    sandbox.write(
        "m.yaml",
        "name: blameless\nclusters: [{id: local, provisioner: embedded}]\nfailures: [silent, hasty]\n\
         agents: [sleeper, gone]\nobjective: diagnose\n",
    );
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device");
    let status =
        sandbox.command().args(["run", "m.yaml"]).stdout(full).stderr(Stdio::null()).status().expect("it runs");
    assert_eq!(status.code(), Some(11), "the run's own code");
    let folder = sandbox.only_run();
    let case = |id: &str| folder.case(&format!("local--{id}"));
    let ended = |id: &str| (case(id).outcome, case(id).class);
    assert_eq!(ended("silent--sleeper"), (Outcome::Invalid, Some(Class::Test)));
    assert_eq!(ended("hasty--sleeper"), (Outcome::Error, Some(Class::Test)));
    assert!(case("hasty--sleeper").message.contains("TIMEOUT=0"), "{}", case("hasty--sleeper").message);
    for id in ["silent--gone", "hasty--gone"] {
        assert_eq!(case(id).outcome, Outcome::Skipped);
        assert!(case(id).message.contains("`./no-such-program`, which is not there"), "{}", case(id).message);
    }
}

/// A script whose way back takes longer than anybody wants to wait.
const LINGERS: &str = "#!/bin/sh\nif [ \"$1\" = stop ]; then echo lingering; sleep 15; fi\necho TIMEOUT=600\n";

#[test]
fn the_third_signal_leaves_at_once_and_says_how_to_recover() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("leaving") else { return };
    let sandbox = Sandbox::new();
    write_agents(&sandbox);
    let staging = named(&sandbox, &cluster, &kubectl);
    sandbox
        .write("failures/lingers/metadata.yaml", "id: lingers\nname: Lingers\ndescription: x\nexpected_duration: 5s\n");
    sandbox.write("failures/lingers/induce.sh", LINGERS);
    sandbox.write(
        "m.yaml",
        format!("name: leaving\nclusters: [{staging}]\nfailures: [lingers]\nagents: [sleeper]\nobjective: diagnose\n"),
    );
    let kinds = Dump::kinds(&kubectl);
    let before = Dump::of(&kubectl, &kinds);
    let mut run = AtWork::start(&sandbox, 1);
    // All three at once would be one: a signal that is pending is not sent twice.
    run.process.signal(Signal::TERM);
    run.until_said("Interrupted");
    run.process.signal(Signal::INT);
    run.until_said("Giving up");
    run.process.signal(Signal::INT);
    let status = run.process.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(143), "the first signal decides");
    // Putting back without the failure takes a moment; whether it was quicker than the third signal decides what is left.
    sandbox.harness(&["recover", "--kubeconfig", &cluster.kubeconfig().display().to_string()]).expect(0);
    assert_eq!(before.difference(&Dump::of(&kubectl, &kinds)), [""; 0]);
    cluster.interrupt();
}

/// The control has passed, and the run is killed before the last case of the failure has ended.
#[test]
fn a_control_that_passed_counts_although_the_run_was_killed() {
    let sandbox = Sandbox::new();
    write_agents(&sandbox);
    sandbox.write(
        "m.yaml",
        "name: killed\nclusters: [{id: local, provisioner: embedded}]\nfailures: [image-pull-error]\n\
         agents: [triage, {id: triage, name: seer, control: true}, sleeper]\nobjective: diagnose\n",
    );
    let mut run = AtWork::start(&sandbox, 1);
    let folder = sandbox.only_run();
    assert_eq!(folder.case("local--image-pull-error--triage").outcome, Outcome::Passed);
    run.process.signal(Signal::KILL);
    run.process.wait(Duration::from_secs(10));
    sandbox.harness(&["recover"]).expect(0);
    let outcome = |agent: &str| folder.case(&format!("local--image-pull-error--{agent}")).outcome;
    let outcomes = ["triage", "seer", "sleeper"].map(outcome);
    assert_eq!(outcomes, [Outcome::Invalid, Outcome::Passed, Outcome::Interrupted]);
    assert_eq!((folder.run().totals.invalid, folder.run().totals.passed), (1, 0));
}

#[test]
fn what_several_cases_at_work_have_left_is_put_back_case_by_case() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("kill in parallel") else { return };
    let sandbox = Sandbox::new();
    write_agents(&sandbox);
    let staging = named(&sandbox, &cluster, &kubectl);
    sandbox.write(
        "m.yaml",
        format!(
            "name: killed\nclusters: [{staging}]\nfailures: [image-pull-error, no-fault]\nagents: [sleeper]\n\
             objective: diagnose\nexecution: {{parallel_tests_per_cluster: 3, repeats: 2, timeout_per_test: 5m}}\n"
        ),
    );
    let kinds = Dump::kinds(&kubectl);
    let before = Dump::of(&kubectl, &kinds);
    let mut run = AtWork::start(&sandbox, 3);
    run.process.signal(Signal::KILL);
    run.process.wait(Duration::from_secs(10));
    let recovered = sandbox.harness(&["recover", "--format", "json"]).expect(0);
    assert_eq!(before.difference(&Dump::of(&kubectl, &kinds)), [""; 0], "{}", recovered.stdout);
    let folder = sandbox.only_run();
    let cases = folder.cases();
    assert_eq!(cases.len(), 3);
    assert!(cases.iter().all(|case| case.outcome == Outcome::Interrupted && case.leaks.is_empty()), "{cases:#?}");
    assert_eq!(folder.run().not_run, 1);
    let leases = kubectl.ok(&["get", "leases", "-n", "default", "-o", "name"]);
    assert!(!leases.contains("/r-"), "{leases}");
    cluster.interrupt();
}
