//! Failures that misbehave, in real runs: each ends with a clear outcome that blames the failure, the run goes on, the
//! cluster is clean, and memory stays flat. Built from `guests/hostile`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use e2e::{RunFolder, Running, Sandbox, repository};
use model::{CaseFile, Class, Outcome, Phase, PhaseResult};

/// What the harness may take over the whole corpus, in kB: one component at its memory limit of 256 MiB, and the program
/// with what passes between the two.
const PEAK_KB: u64 = 512 * 1024;

/// A deed and what the message says of it. Any of several words, where one deed may end in several ways.
const DEEDS: &[(&str, &[&str])] = &[
    ("loop", &["ran for more than"]),
    ("recursion", &["call stack exhausted", "trapped"]),
    ("memory", &["limit of memory bytes"]),
    ("huge-string", &["limit of memory bytes"]),
    ("huge-state", &["limit of memory bytes"]),
    ("huge-checkpoint", &["limit of memory bytes"]),
    ("huge-patch", &["limit of memory bytes"]),
    ("huge-error", &["limit of memory bytes"]),
    ("large-log", &["limit of log bytes"]),
    ("large-state", &["limit of bytes of saved state"]),
    ("large-checkpoint", &["limit of bytes of saved state"]),
    ("large-error", &["xxx"]),
    ("large-patch", &["limit of bytes of one request"]),
    ("large-selection", &["too much data"]),
    ("says-unavailable", &["so it says (unavailable)"]),
    ("says-cancelled", &["so it says (cancelled)"]),
    ("calls", &["limit of host calls"]),
    ("log", &["limit of log bytes"]),
    ("mutations", &["limit of mutations"]),
    ("trap", &["trapped"]),
    ("create-then-trap", &["trapped"]),
    ("checkpoint-then-trap", &["trapped"]),
    ("malformed-state", &["trapped"]),
    ("foreign-state", &["trapped"]),
    ("secrets", &["may not list secrets in namespace kube-system: its entry in the operator's grants file lacks"]),
    (
        "secret",
        &["may not get secrets \"any\" in namespace kube-system: its entry in the operator's grants file lacks"],
    ),
    ("outside", &["may not create configmaps in namespace default", "in namespace default"]),
    ("privileged-pod", &["unsafe: [privileged-pods]"]),
    ("host-path-pod", &["unsafe: [host-path]"]),
    ("privileged-deployment", &["unsafe: [privileged-pods]"]),
    ("host-path-deployment", &["unsafe: [host-path]"]),
    ("privileged-patch", &["unsafe: [privileged-pods]"]),
    ("host-path-patch", &["unsafe: [host-path]"]),
    ("privileged-json-patch", &["unsafe: [privileged-pods]"]),
    ("privileged-apply", &["unsafe: [privileged-pods]"]),
    ("host-path-apply", &["unsafe: [host-path]"]),
    ("cluster-role-binding", &["may not create clusterrolebindings.rbac.authorization.k8s.io"]),
    ("webhook", &["may not create validatingwebhookconfigurations.admissionregistration.k8s.io"]),
    ("namespace", &["may not delete namespaces \"kube-system\""]),
    ("name-up", &["not in canonical form"]),
    ("name-dots", &["not in canonical form"]),
    ("name-slash", &["not in canonical form"]),
    ("name-encoded", &["not in canonical form"]),
    ("name-query", &["not in canonical form"]),
    ("name-unicode", &["is invalid", "Invalid value"]),
    ("name-empty", &["has no name"]),
    ("name-long", &["ConfigMap \"xxxx"]),
    ("namespace-up", &["not in canonical form"]),
];

const RIGHT: &str = r#"echo '{"fault_present": true, "fault_type": "configuration", "root_causes": [{"kind": "ConfigMap", "name": "victim"}]}' > "$HARNESS_ANSWER""#;

/// The failure, built once: a folder with the component in it.
fn built() -> &'static Path {
    static BUILT: OnceLock<Sandbox> = OnceLock::new();
    let sandbox = BUILT.get_or_init(|| {
        let sandbox = Sandbox::new();
        sandbox.harness(&["failures", "new", "hostile", "--lang", "rust"]).expect(0);
        let source = repository().join("guests/hostile");
        for name in ["metadata.yaml", "workload.yaml", "src/lib.rs", "src/deeds.rs"] {
            let text = fs::read(source.join(name)).expect("a file of the guest");
            sandbox.write(&format!("failures/hostile/{name}"), text);
        }
        sandbox.harness(&["failures", "build", "failures/hostile"]).expect(0);
        sandbox
    });
    Box::leak(sandbox.path().join("failures/hostile").into_boxed_path())
}

/// Puts what a library needs of the built failure into a sandbox.
fn library(sandbox: &Sandbox) {
    grants(sandbox, "hostile");
    for name in ["metadata.yaml", "workload.yaml", "hostile.wasm"] {
        let bytes = fs::read(built().join(name)).expect("a file of the failure");
        sandbox.write(&format!("failures/hostile/{name}"), bytes);
    }
    let quoted = serde_json::Value::from(RIGHT);
    sandbox.write(
        "agents/right.yaml",
        format!("id: right\nsupports: [diagnose]\nstdin: none\ncommand: [sh, -c, {quoted}]\n"),
    );
}

/// Everything ordinary in the case, nothing elsewhere, nothing unsafe: so that each denial names just what is missing.
fn grants(sandbox: &Sandbox, id: &str) {
    let rule = "{apiGroups: [\"\", apps], resources: [\"*\"], verbs: [\"*\"], namespaces: [$(case)]}";
    sandbox.write("grants.yaml", format!("failures:\n  - {{id: {id}, rules: [{rule}]}}\n"));
}

fn matrix(deeds: &[&str]) -> String {
    let uses: Vec<String> = deeds
        .iter()
        .enumerate()
        .map(|(n, how)| format!("{{id: hostile, name: n{n}-{how}, params: {{how: {how}}}}}"))
        .collect();
    format!(
        "name: hostile\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [{}]\nagents: [right]\nobjective: \
         diagnose\nexecution: {{timeout_per_test: 60s}}\n",
        uses.join(", ")
    )
}

/// Runs the matrix to its end; the run, and the most memory that the program had at any time, in kB.
fn run_measured(sandbox: &Sandbox, max: Duration) -> (RunFolder, u64, i32) {
    let log = fs::File::create(sandbox.path().join("stderr.txt")).expect("a file");
    let mut command = sandbox.command();
    command
        .args(["run", "m.yaml", "--agents-dir", "agents", "--grants", "grants.yaml"])
        .stdout(Stdio::null())
        .stderr(log);
    let mut process = Running::start(&mut command);
    let (begun, mut peak) = (Instant::now(), 0);
    let status = loop {
        let text = fs::read_to_string(format!("/proc/{}/status", process.child().id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0).max(peak);
        if let Some(status) = process.child().try_wait().expect("a child can be waited for") {
            break status;
        }
        assert!(begun.elapsed() < max, "the run goes on for more than {max:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    (sandbox.only_run(), peak, status.code().unwrap_or(-1))
}

/// Deeds after which `stop` cannot do its work, and what it says: it is called with what was saved, whatever that is.
const STOPPED: &[(&str, &str)] = &[
    ("checkpoint-then-trap", r#"{"saved":true}"#),
    ("malformed-state", "EOF while parsing"),
    ("foreign-state", r#"["of","another"]"#),
];

fn assert_stopped(how: &str, case: &CaseFile) {
    let stop = case.phases.iter().find(|phase| phase.phase == Phase::Stop).expect("it is stopped");
    match STOPPED.iter().find(|(deed, _)| *deed == how) {
        None => assert_eq!(stop.result, PhaseResult::Ok, "{how}: {stop:?}"),
        Some((_, words)) => {
            assert_eq!(stop.result, PhaseResult::Failed, "{how}: {stop:?}");
            assert!(stop.message.as_deref().is_some_and(|message| message.contains(words)), "{how}: {stop:?}");
        }
    }
}

fn assert_clean(case: &CaseFile) {
    assert!(case.leaks.is_empty(), "{}: {:?}", case.id, case.leaks);
    let certify = case.phases.iter().find(|phase| phase.phase == Phase::Certify).expect("every case is certified");
    assert_eq!(certify.result, PhaseResult::Ok, "{}", case.id);
}

#[test]
fn every_hostile_failure_is_contained_and_the_run_goes_on() {
    let sandbox = Sandbox::new();
    library(&sandbox);
    // Whatever the deed before has done, the next failure works.
    let deeds: Vec<&str> = DEEDS.iter().flat_map(|(how, _)| [*how, "good"]).collect();
    sandbox.write("m.yaml", matrix(&deeds));
    let (run, peak, code) = run_measured(&sandbox, Duration::from_secs(600));
    assert_eq!(
        code,
        11,
        "none failed, some could not be judged: {}",
        fs::read_to_string(sandbox.path().join("stderr.txt")).unwrap_or_default()
    );
    for (n, how) in deeds.iter().enumerate() {
        let case = run.case(&format!("local--n{n}-{how}--right"));
        assert_clean(&case);
        assert_stopped(how, &case);
        if *how == "good" {
            assert_eq!(case.outcome, Outcome::Passed, "after {}: {}", deeds[n - 1], case.message);
            continue;
        }
        assert_eq!((case.outcome, case.class), (Outcome::Error, Some(Class::Test)), "{how}: {}", case.message);
        let words = DEEDS.iter().find(|(deed, _)| deed == how).map(|(_, words)| *words).unwrap_or_default();
        assert!(words.iter().any(|word| case.message.contains(word)), "{how}: {}", case.message);
        assert!(case.message.len() < 5000, "{how}: the message is short");
    }
    let size: u64 = sizes(run.path());
    assert!(size < 64 << 20, "the run's folder has {size} bytes");
    println!("{} deeds, peak {} MB, run folder {} kB", DEEDS.len(), peak / 1024, size / 1024);
    assert!(peak > 0 && peak < PEAK_KB, "the harness took {peak} kB");
    sandbox.assert_nothing_left();
}

fn sizes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| if entry.path().is_dir() { sizes(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) })
        .sum()
}

#[test]
fn a_failure_that_cannot_stop_is_named_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    library(&sandbox);
    sandbox.write("m.yaml", matrix(&["trap-in-stop", "good"]));
    let (run, ..) = run_measured(&sandbox, Duration::from_secs(120));
    let case = run.case("local--n0-trap-in-stop--right");
    assert_clean(&case);
    let stop = case.phases.iter().find(|phase| phase.phase == Phase::Stop).expect("it is stopped");
    assert_eq!(stop.result, PhaseResult::Failed);
    assert!(stop.message.as_deref().is_some_and(|message| message.contains("trapped")), "{stop:?}");
    assert_eq!((case.outcome, case.class), (Outcome::Error, Some(Class::Test)), "{}", case.message);
    assert!(case.message.contains("`stop` of the failure"), "{}", case.message);
    assert_eq!(run.case("local--n1-good--right").outcome, Outcome::Passed);
    sandbox.assert_nothing_left();
}

#[test]
fn a_component_that_lies_about_itself_is_not_run() {
    let sandbox = Sandbox::new();
    library(&sandbox);
    let folder: PathBuf = sandbox.path().join("failures/hostile");
    let mut bytes = fs::read(folder.join("hostile.wasm")).expect("the component");
    // The same length, so that the sections stay whole: what is packed says less than what the component says.
    let (told, packed) = (&b"Asks for everything;"[..], &b"Asks for little else"[..]);
    let places: Vec<usize> = (0..bytes.len() - told.len()).filter(|at| bytes[*at..].starts_with(told)).collect();
    assert!(places.len() > 1, "once in the component's code and once in its section: {places:?}");
    let last = places[places.len() - 1];
    bytes[last..last + told.len()].copy_from_slice(packed);
    fs::remove_dir_all(&folder).expect("removed");
    sandbox.write("failures/hostile.wasm", &bytes);
    let inspected =
        sandbox.harness(&["failures", "inspect", "failures/hostile.wasm", "--format", "json"]).expect(0).json();
    assert!(
        inspected["metadata"]["description"].as_str().is_some_and(|text| text.contains("little else")),
        "{inspected}"
    );
    sandbox.write("m.yaml", matrix(&["good"]));
    let (run, _, code) = run_measured(&sandbox, Duration::from_secs(120));
    assert_eq!(code, 11);
    let case = run.case("local--n0-good--right");
    assert_eq!((case.outcome, case.class), (Outcome::Error, Some(Class::Test)), "{}", case.message);
    assert!(case.message.contains("other metadata"), "{}", case.message);
}

const SCRIPT: &str = r#"#!/bin/sh
case=$TEST_NAMESPACE
if [ "$1" = stop ]; then exit 0; fi
. ./deeds.sh
attempt exec kubectl exec deployment/victim --namespace "$case" -- true
kubectl patch configmap victim --namespace "$case" --patch '{"data": {"state": "broken"}}'
echo TIMEOUT=60
"#;

/// Of the deeds in `deeds.sh`: the name, and what a denial of it must say to those who can grant it and to an agent.
const TRIED: &[(&str, &str, &str)] = &[
    ("outside-protobuf", "may not create configmaps", "cannot create resource \"configmaps\""),
    ("secret-protobuf", "may not create secrets", "cannot create resource \"secrets\""),
    ("binding-protobuf", "may not create clusterrolebindings", "cannot create resource \"clusterrolebindings\""),
    ("role-protobuf", "may not create roles", "cannot create resource \"roles\""),
    ("namespace-protobuf", "may not create namespaces", "cannot create resource \"namespaces\""),
    ("token-protobuf", "may not create serviceaccounts/token", "cannot create resource \"serviceaccounts/token\""),
    ("secrets", "may not list secrets", "cannot list resource \"secrets\""),
    ("secrets-everywhere", "may not list secrets", "cannot list resource \"secrets\""),
    ("secrets-raw", "may not list secrets", "cannot list resource \"secrets\""),
    ("secrets-watch", "may not watch secrets", "cannot watch resource \"secrets\""),
    ("secrets-proxy", "may not get services/proxy", "cannot get resource \"services/proxy\""),
    ("node-proxy", "may not create nodes/proxy", "cannot create resource \"nodes/proxy\""),
    ("privileged-pod", "unsafe: [privileged-pods]", "violates PodSecurity \"baseline:latest\": privileged"),
    ("host-path-pod", "unsafe: [host-path]", "violates PodSecurity \"baseline:latest\": hostPath volumes"),
    ("privileged-deployment", "unsafe: [privileged-pods]", "violates PodSecurity"),
    ("host-path-deployment", "unsafe: [host-path]", "violates PodSecurity"),
    ("privileged-raw", "unsafe: [privileged-pods]", "violates PodSecurity"),
    (
        "privileged-pod-protobuf",
        "unsafe: [privileged-pods]",
        "violates PodSecurity \\\"baseline:latest\\\": privileged",
    ),
    ("host-path-pod-protobuf", "unsafe: [host-path]", "violates PodSecurity \\\"baseline:latest\\\": hostPath volumes"),
    ("privileged-deployment-protobuf", "unsafe: [privileged-pods]", "violates PodSecurity"),
    ("privileged-patch", "unsafe: [privileged-pods]", "violates PodSecurity"),
    ("host-path-patch", "unsafe: [host-path]", "violates PodSecurity"),
    ("privileged-json-patch", "unsafe: [privileged-pods]", "violates PodSecurity"),
    ("privileged-apply", "unsafe: [privileged-pods]", "violates PodSecurity"),
    ("host-path-apply", "unsafe: [host-path]", "violates PodSecurity"),
    ("debug-node", "", ""),
    ("webhook", "may not create validatingwebhookconfigurations", "cannot create resource"),
    ("delete-namespace", "may not delete namespaces", "cannot delete resource \"namespaces\""),
    ("delete-node", "may not list nodes", "cannot delete"),
    ("path-up", "not in canonical form", "not in canonical form"),
    ("path-encoded", "not in canonical form", "not in canonical form"),
    ("path-empty", "not in canonical form", "not in canonical form"),
    ("path-watch-delete", "does not allow this method", "does not allow this method"),
    ("path-proxy", "no API server serves this path", "no API server serves this path"),
    ("impersonation", "may not list secrets", "cannot list resource \"secrets\""),
];

#[test]
fn the_same_deeds_are_denied_to_scripts_and_agents() {
    let Some(kubectl) = e2e::kubectl_or_skip("the deeds of scripts and agents") else { return };
    let sandbox = Sandbox::new();
    grants(&sandbox, "script");
    let deeds = include_str!("deeds.sh");
    let metadata = fs::read_to_string(repository().join("guests/hostile/metadata.yaml")).expect("metadata");
    let metadata = metadata.replace("id: hostile", "id: script");
    sandbox.write("failures/script/metadata.yaml", metadata);
    let workload = fs::read(repository().join("guests/hostile/workload.yaml")).expect("a workload");
    sandbox.write("failures/script/workload.yaml", workload);
    sandbox.write("failures/script/induce.sh", SCRIPT);
    sandbox.write("failures/script/deeds.sh", deeds);
    let program = sandbox.write("tries.sh", format!("case=$HARNESS_NAMESPACE\n{deeds}\n{RIGHT}\n"));
    let program = program.display();
    sandbox.write(
        "agents/tries.yaml",
        format!(
            "id: tries\nsupports: [diagnose]\nstdin: none\ncommand: [sh, {program}]\nsandbox: {{read: [{program}]}}\n"
        ),
    );
    sandbox.write(
        "m.yaml",
        "name: deeds\nclusters: [{id: local, provisioner: embedded}]\nfailures: [script]\nagents: [tries]\n\
         objective: diagnose\nexecution: {timeout_per_test: 120s}\n",
    );
    let mut run = sandbox.command();
    let folder = kubectl.parent().expect("kubectl lies in a folder").display().to_string();
    let client = Path::new(env!("CARGO_BIN_EXE_post-protobuf"));
    let tools = sandbox.path().join("tools");
    fs::create_dir(&tools).expect("a folder");
    fs::copy(client, tools.join("post-protobuf")).expect("the client");
    run.env("PATH", format!("{}:{folder}:{}", tools.display(), std::env::var("PATH").unwrap_or_default()));
    let args = ["run", "m.yaml", "--agents-dir", "agents", "--grants", "grants.yaml"];
    e2e::Finished::of(run.args(args)).expect(0);
    let run = sandbox.only_run();
    let case = run.case("local--script--tries");
    assert_clean(&case);
    assert!(case.gate.denials >= 20, "{:?}", case.gate);
    let by_script = run.read("logs/local--script--tries/failure.log");
    let by_agent = run.read("logs/local--script--tries/agent.stdout");
    assert!(!format!("{by_script}{by_agent}").contains("DONE "), "something was not stopped:\n{by_script}\n{by_agent}");
    let answer = |log: &str, name: &str| {
        let start = format!("DEED {name}: ");
        let line = log.lines().find_map(|line| line.split_once(&start)).map(|(_, answer)| answer.to_owned());
        line.unwrap_or_else(|| panic!("{name} was not tried:\n{log}"))
    };
    for (name, to_script, to_agent) in TRIED {
        let (script, agent) = (answer(&by_script, name), answer(&by_agent, name));
        assert!(script.contains(to_script), "{name} by the script: {script}");
        assert!(agent.contains(to_agent), "{name} by the agent: {agent}");
        assert!(
            !agent.contains("grants") && !agent.contains("unsafe"),
            "{name}: agents hear nothing of grants: {agent}"
        );
    }
    assert!(answer(&by_script, "exec").contains("pods/exec"), "{by_script}");
    let records = run.read("logs/local--script--tries/gate.jsonl");
    for party in ["script", "agent"] {
        let denied = records.lines().filter(|line| line.contains("\"denied\"") && line.contains(party)).count();
        assert!(denied >= 20, "{denied} denials of the {party} are on record");
    }
    sandbox.assert_nothing_left();
}
