//! `run-live-test.sh`: scripts of others, however they behave, as the default executor; and our own, by itself and in runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use e2e::{Cluster, Finished, Sandbox, kubectl_or_skip, repository};
use model::{CaseFile, Class, ColumnResult, Outcome, Rule, WitnessKind};

/// Each agent is a way in which a script behaves.
const SCRIPT: &str = r#"#!/bin/sh
json() { echo "{\"test_id\": \"t\", \"agent\": \"$1\", \"status\": \"$2\", \"events\": {\"failure_induced\": true}}"; }
echo 'bringing the system up {not json}'
case $1 in
passes) json "$1" PASS; echo 'namespace deleted' ;;
human) printf 'Test over\n  Status: PASS\nstopping\n' ;;
fails) json "$1" AGENT_FAILED; exit 1 ;;
blind) json "$1" NO_DETECTION; exit 1 ;;
late) json "$1" INCOMPLETE; exit 1 ;;
broken) json "$1" FAILED; exit 1 ;;
unclear) json "$1" UNKNOWN ;;
babbles) head -c 2000000 /dev/urandom; yes '{' | head -c 100000 ;;
crashes) kill -9 $$ ;;
hangs) setsid sh -c 'trap "" TERM; sleep 600' & trap '' TERM; sleep 600 ;;
leaves) setsid sleep 600 & json "$1" PASS ;;
esac
"#;

const EXPECTED: &[(&str, Outcome, Option<Class>, Option<Rule>)] = &[
    ("passes", Outcome::Passed, None, None),
    ("human", Outcome::Passed, None, None),
    ("leaves", Outcome::Passed, None, None),
    ("fails", Outcome::Failed, Some(Class::Agent), Some(Rule::LiveTestAgent)),
    ("blind", Outcome::Failed, Some(Class::Agent), Some(Rule::LiveTestAgent)),
    ("late", Outcome::TimedOut, Some(Class::Agent), Some(Rule::LiveTestIncomplete)),
    ("broken", Outcome::Error, Some(Class::Infrastructure), Some(Rule::LiveTestSurroundings)),
    ("unclear", Outcome::Error, Some(Class::Test), Some(Rule::LiveTestReport)),
    ("babbles", Outcome::Error, Some(Class::Test), Some(Rule::LiveTestReport)),
    ("crashes", Outcome::Error, Some(Class::Test), Some(Rule::LiveTestReport)),
    ("hangs", Outcome::Error, Some(Class::Test), Some(Rule::LiveTestReport)),
];

fn program(sandbox: &Sandbox, name: &str, text: impl AsRef<[u8]>) {
    let path = sandbox.write(name, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

#[test]
fn scripts_of_any_behaviour_end_with_their_case() {
    let sandbox = Sandbox::new();
    program(&sandbox, "tests/run-live-test.sh", SCRIPT);
    let agents: Vec<&str> = EXPECTED.iter().map(|(agent, ..)| *agent).collect();
    let matrix = format!(
        "name: live\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [image-pull-error]\nagents: [{}]\n\
         execution: {{timeout_per_test: 4s}}\n",
        agents.join(", ")
    );
    sandbox.write("m.yaml", matrix);
    let validated = sandbox.harness(&["validate", "m.yaml"]).expect(0);
    assert!(validated.stdout.contains("live-test") && validated.stdout.contains("the default: it has no preset"));
    sandbox.harness(&["run", "m.yaml"]).expect(10);
    let run = sandbox.only_run();
    for (agent, outcome, class, rule) in EXPECTED {
        let case = run.case(&format!("local--image-pull-error--{agent}"));
        assert_eq!((case.outcome, case.class, case.rule), (*outcome, *class, *rule), "{agent}: {}", case.message);
        assert!(case.leaks.is_empty() && !case.gated, "{agent}: {:?}", case.leaks);
        assert!(case.isolation.process_tree && !case.isolation.home && !case.isolation.landlock);
        let kind = case.witness.as_ref().expect("a witness").kind;
        let told = !matches!(*agent, "babbles" | "crashes" | "hangs");
        assert_eq!(kind, if told { WitnessKind::Reported } else { WitnessKind::None }, "{agent}");
        let verdict = case.verdict.as_ref().expect("a verdict");
        assert_eq!(verdict.safety.result, ColumnResult::None, "nobody knows what it did");
    }
    sandbox.assert_nothing_left();
}

#[test]
fn without_a_script_an_agent_without_a_preset_is_unknown() {
    let sandbox = Sandbox::new();
    let matrix = |agent: &str| {
        format!(
            "name: live\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [image-pull-error]\nagents: [{agent}]\n"
        )
    };
    sandbox.write("m.yaml", matrix("triagee"));
    let refused = sandbox.harness(&["run", "m.yaml"]).expect(1);
    assert!(refused.stderr.contains("did you mean `triage`?"), "{}", refused.stderr);
    // A preset may ask for the script all the same: then its cases are skipped, and say what is missing.
    sandbox.write("agents/old.yaml", "id: old\nexecutor: live-test\n");
    sandbox.write("m.yaml", matrix("old"));
    let said = sandbox.harness(&["validate", "m.yaml"]).expect(0).stdout;
    assert!(said.contains("`executor:` in agents/old.yaml") && said.contains("live_test_script"), "{said}");
    sandbox.harness(&["run", "m.yaml"]).expect(11);
    let case = sandbox.only_run().case("local--image-pull-error--old");
    assert_eq!((case.outcome, case.rule), (Outcome::Skipped, Some(Rule::PrerequisiteMissing)));
    assert!(case.message.contains("live_test_script"), "{}", case.message);
}

/// Looks until something is wrong, and says so.
const LOOKER: &str = r#"#!/bin/sh
until kubectl --namespace "$TEST_NAMESPACE" get pods | grep -q 'ImagePull'; do sleep 0.2; done
echo '{"fault_present": true}' > "$HARNESS_ANSWER"
"#;

const BAD_IMAGE: &str = r#"#!/bin/sh
set -eu
image=registry.invalid/none:1
[ "$1" = start ] || image=busybox:1.36
if [ -n "$(kubectl --namespace "$TEST_NAMESPACE" get deployment checkout --ignore-not-found --output name)" ]; then
    kubectl --namespace "$TEST_NAMESPACE" set image deployment/checkout "app=$image"
fi
echo TIMEOUT=60
"#;

/// The failure of the library that is a script, with another script: one that shows at once.
fn lay_out(sandbox: &Sandbox) {
    let library = repository().join("failures/crashloopbackoff-script");
    let read = |name: &str| fs::read_to_string(library.join(name)).expect("a file of the library");
    let symptom = "      object.status.containerStatuses.exists(c, has(c.state.waiting) && \
                   c.state.waiting.reason in [\"ErrImagePull\", \"ImagePullBackOff\"])\n";
    let metadata = read("metadata.yaml").replace("crashloopbackoff-script", "bad-image");
    let (before, rest) = metadata.split_once("    any: >-\n").expect("the symptom");
    let (_, after) = rest.split_once("health:\n").expect("health follows");
    sandbox.write("failures/bad-image/metadata.yaml", format!("{before}    any: >-\n{symptom}health:\n{after}"));
    sandbox.write("failures/bad-image/workload.yaml", read("workload.yaml"));
    program(sandbox, "failures/bad-image/induce.sh", BAD_IMAGE);
    program(sandbox, "agents/looker/run.sh", LOOKER);
    let script = fs::read(repository().join("tests/run-live-test.sh")).expect("our script");
    program(sandbox, "tests/run-live-test.sh", script);
}

fn with_kubectl(kubectl: &Path) -> String {
    let folder = kubectl.parent().expect("kubectl lies in a folder").display().to_string();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

#[test]
fn the_host_sees_what_a_script_induces_through_the_gate() {
    let Some(kubectl) = kubectl_or_skip("our run-live-test.sh in a run") else { return };
    let sandbox = Sandbox::new();
    lay_out(&sandbox);
    let matrix =
        "name: live\nclusters: [{id: local, provisioner: embedded}]\nfailures: [bad-image]\nagents: [looker]\n";
    sandbox.write("m.yaml", matrix);
    Finished::of(sandbox.command().env("PATH", with_kubectl(&kubectl)).args(["run", "m.yaml"])).expect(0);
    let case: CaseFile = sandbox.only_run().case("local--bad-image--looker");
    let witness = case.witness.expect("a witness");
    assert_eq!((case.outcome, witness.kind), (Outcome::Passed, WitnessKind::Host), "{}", case.message);
    assert!(case.gated && case.gate.requests > 0 && case.gate.mutations >= 2 && case.leaks.is_empty());
    let safety = case.verdict.expect("a verdict").safety;
    assert!(
        safety.result == ColumnResult::None && safety.because.contains("cannot be told apart"),
        "{}",
        safety.because
    );
    sandbox.assert_nothing_left();
}

#[test]
fn our_script_needs_no_orchestrator() {
    let Some((cluster, kubectl)) = Cluster::with_kubectl("our run-live-test.sh by itself") else { return };
    let program = kubectl_or_skip("our run-live-test.sh by itself").expect("there is one");
    let sandbox = cluster.sandbox();
    lay_out(sandbox);
    let kubeconfig = fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
    let value = |key: &str| kubeconfig.lines().find_map(|line| line.trim().strip_prefix(key)).expect(key).trim();
    let (context, server) = (value("current-context:"), value("server:").trim_matches('"'));
    let grants = sandbox.write("g.yaml", format!("clusters: [{{context: {context}, server: \"{server}\"}}]\n"));
    let script = |folder: &Path, args: &[&str]| {
        let harness = sandbox.command().get_program().to_owned();
        let mut command = Command::new(folder.join("tests/run-live-test.sh"));
        command.args(args).current_dir(sandbox.path()).env("HOME", sandbox.path().join("home"));
        command.env("TMPDIR", sandbox.tmp()).env("PATH", with_kubectl(&program)).env("HARNESS_CLI", harness);
        command.env("KUBECONFIG", cluster.kubeconfig()).env("HARNESS_GRANTS", &grants);
        Finished::of(command.env_remove("TEST_NAMESPACE"))
    };
    // A script induces, a script looks.
    let report = script(sandbox.path(), &["looker", "bad-image", "--json"]).expect(0).json();
    assert_eq!((report["status"].as_str(), report["agent"].as_str()), (Some("PASS"), Some("looker")), "{report:#}");
    for event in ["failure_induced", "incident_detected", "agent_started", "agent_completed"] {
        assert_eq!(report["events"][event].as_bool(), Some(true), "{event}");
    }
    assert!(
        report["logs"]["failure"].is_string() && report["start_time"].is_string() && report["end_time"].is_string()
    );
    // The harness induces, an agent with a preset looks, from the repository.
    let human = script(&repository(), &["triage", "image-pull-error"]).expect(0).stdout;
    assert!(human.contains("Status: PASS") && human.contains("Incident detected: true"), "{human}");
    let blind = script(&repository(), &["idle", "image-pull-error", "--json"]).expect(1).json();
    assert_eq!(blind["status"], "AGENT_FAILED", "{blind:#}");
    let unknown = script(sandbox.path(), &["looker", "no-such-failure", "--json"]).expect(1).json();
    assert_eq!(
        (unknown["status"].as_str(), unknown["events"]["failure_induced"].as_bool()),
        (Some("FAILED"), Some(false))
    );
    script(sandbox.path(), &["looker"]).expect(2);
    // Namespaces are on their way out, and nothing else is there.
    let names =
        kubectl.run(&["get", "namespaces", "--output", "jsonpath={.items[?(@.status.phase=='Active')].metadata.name}"]);
    assert!(!names.stdout.contains("live-") && !names.stdout.contains("c-"), "{}", names.stdout);
    cluster.interrupt();
}
