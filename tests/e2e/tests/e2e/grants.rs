//! The operator's grants through the real program: clusters that are not ours, what is denied and with which lines it
//! is allowed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::{Cluster, Finished, Sandbox, kubectl_or_skip};
use model::{CaseFile, Class, ClusterKind, Outcome, Party};

/// A matrix on the cluster of a kubeconfig.
fn existing(sandbox: &Sandbox, cluster: &Cluster, more: &str) {
    let kubeconfig = cluster.sandbox().path().join("cluster.kubeconfig");
    let matrix = format!(
        "name: there\nclusters: [{{id: staging, provisioner: stub, kubeconfig: {}}}]\nfailures: [image-pull-error]\n\
         agents: [triage]\nexecution: {{timeout_per_test: 2m}}\n{more}",
        kubeconfig.display()
    );
    sandbox.write("m.yaml", matrix);
}

/// The lines of a message from this one on, as far as they are YAML of the grants file.
fn stanza(text: &str, key: &str) -> String {
    let start = text.find(&format!("{key}:\n")).unwrap_or_else(|| panic!("{key} is not in\n{text}"));
    let mut lines = text[start..].lines();
    let first = lines.next().unwrap_or_default();
    let rest: Vec<&str> = lines.take_while(|line| line.starts_with(' ')).collect();
    format!("{first}\n{}\n", rest.join("\n"))
}

fn said(finished: &Finished) -> String {
    format!("{}{}", finished.stdout, finished.stderr)
}

#[test]
fn a_cluster_that_nobody_named_is_refused_and_the_told_lines_allow_it() {
    let (cluster, sandbox) = (Cluster::up(), Sandbox::new());
    existing(&sandbox, &cluster, "agent_access: edit-cluster\n");
    let refused = sandbox.harness(&["run", "m.yaml"]).expect(1);
    let lines = stanza(&refused.stderr, "clusters");
    assert!(!sandbox.path().join("results").exists(), "nothing was run");
    let plan = sandbox.harness(&["run", "m.yaml", "--dry-run"]).expect(1);
    assert!(plan.stdout.contains("refused:") && plan.stdout.contains("https://127.0.0.1:"), "{}", plan.stdout);
    let hold = ["failures", "run", "no-fault", "--kubeconfig"];
    let kubeconfig = cluster.sandbox().path().join("cluster.kubeconfig").display().to_string();
    let refused = sandbox.harness(&[&hold[..], &[kubeconfig.as_str()]].concat()).expect(1);
    assert!(refused.stderr.contains(&lines), "{}", refused.stderr);

    // As it was told, with limits.
    let lines = lines.replace('}', ", limits: {pods: 10, cpu: \"4\", memory: 8Gi}}");
    sandbox.write("grants.yaml", &lines);
    let plan = sandbox.harness(&["run", "m.yaml", "--dry-run"]).expect(0);
    for part in ["pods 10", "triage on staging: edit-case", "access: edit-cluster}"] {
        assert!(plan.stdout.contains(part), "{part} is not in\n{}", plan.stdout);
    }
    let run = sandbox.harness(&["run", "m.yaml"]).expect(0);
    assert!(run.stderr.contains("edit-case"), "an agent that gets less than the matrix says: {}", run.stderr);
    let [case] = sandbox.only_run().cases().try_into().expect("one case");
    let case: CaseFile = case;
    assert_eq!((case.outcome, case.cluster_kind), (Outcome::Passed, ClusterKind::Stub), "{}", case.message);
    assert_eq!(case.leaks, []);
    sandbox.harness(&[&hold[..], &[kubeconfig.as_str(), "--hold", "0s"]].concat()).expect(0);

    // The same context elsewhere is another cluster.
    let other = Cluster::up();
    existing(&sandbox, &other, "");
    let refused = sandbox.harness(&["run", "m.yaml"]).expect(1);
    assert!(refused.stderr.contains("says that this context leads to"), "{}", refused.stderr);
    cluster.interrupt();
    other.interrupt();
    sandbox.assert_nothing_left();
}

/// The same command on a kernel without Landlock.
fn without_landlock(command: &Command) -> Command {
    let mut wrapped = Command::new(env!("CARGO_BIN_EXE_no-landlock"));
    wrapped.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    wrapped.current_dir(command.get_current_dir().expect("the sandbox"));
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

#[test]
fn an_agent_that_needs_a_sandbox_is_kept_off_a_cluster_that_stays_where_there_is_none() {
    let (cluster, sandbox) = (Cluster::up(), Sandbox::new());
    existing(&sandbox, &cluster, "");
    let lines = stanza(&sandbox.harness(&["run", "m.yaml"]).expect(1).stderr, "clusters");
    sandbox
        .write("grants.yaml", format!("{lines}agents: [{{id: triage, access: edit-case, require_sandbox: true}}]\n"));
    let run = |command: &mut Command| {
        Finished::of(command.args(["run", "m.yaml"]));
        let [case] = sandbox.only_run().cases().try_into().expect("one case");
        fs::remove_dir_all(sandbox.path().join("results")).expect("the next run is the only one again");
        case
    };
    let refused: CaseFile = run(&mut without_landlock(&sandbox.command()));
    assert_eq!((refused.outcome, refused.class), (Outcome::Error, Some(Class::Infrastructure)), "{}", refused.message);
    assert!(refused.message.contains("the grant of agent `triage` says `require_sandbox`"), "{}", refused.message);
    assert_eq!(refused.gate.requests, 0, "it was let at nothing");
    let lets_in: CaseFile = run(&mut sandbox.command());
    match lets_in.outcome {
        Outcome::Passed => assert!(lets_in.isolation.landlock, "{:?}", lets_in.isolation),
        _ => assert_eq!(lets_in.message, refused.message, "this machine has no Landlock either"),
    }
    cluster.interrupt();
    sandbox.assert_nothing_left();
}

const GREEDY: &str = "id: greedy\nname: Asks for more\ndescription: Makes a ClusterRole.\nexpected_duration: 30s\n\
    workload: {manifests: [workload.yaml]}\ncapabilities:\n  rules:\n    - {apiGroups: [rbac.authorization.k8s.io], \
    resources: [clusterroles], verbs: [create, get, delete], namespaces: ['*']}\n    - {apiGroups: [''], resources: \
    [configmaps], verbs: [create, patch, get, delete]}\n  unsafe: [rbac]\ninduce:\n  - create: {apiVersion: \
    rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: greedy}, rules: []}\n";

fn greedy(sandbox: &Sandbox) {
    sandbox.write("failures/greedy/metadata.yaml", GREEDY);
    let workload = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n";
    sandbox.write("failures/greedy/workload.yaml", workload);
    let matrix = "name: g\nclusters: [{id: local, provisioner: embedded}]\nfailures: [greedy]\nagents: [idle]\n\
                  execution: {timeout_per_test: 20s}\n";
    sandbox.write("m.yaml", matrix);
}

fn only_case(sandbox: &Sandbox) -> CaseFile {
    let case = sandbox.only_run().cases().remove(0);
    fs::remove_dir_all(sandbox.path().join("results")).expect("removed");
    case
}

#[test]
fn what_is_denied_is_in_the_case_with_the_lines_that_allow_it() {
    let sandbox = Sandbox::new();
    greedy(&sandbox);
    let shown = sandbox.harness(&["failures", "show", "greedy"]).expect(0).stdout;
    let plan = sandbox.harness(&["run", "m.yaml", "--dry-run"]).expect(0).stdout;
    for text in [&shown, &plan] {
        for part in ["create ClusterRole greedy", "clusterroles", "rbac", "Declared and not granted on"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
    sandbox.harness(&["run", "m.yaml"]).expect(11);
    let text = sandbox.harness(&["runs", "show", "latest", "greedy"]).expect(0).stdout;
    let report = sandbox.only_run().read("report.md");
    let case = only_case(&sandbox);
    assert_eq!((case.outcome, case.class), (Outcome::Error, Some(Class::Test)), "{}", case.message);
    // `stop` undoes what `induce` did not get done, and is denied as well.
    let [denied, stop] = case.denied.as_slice() else { panic!("{:?}", case.denied) };
    assert_eq!((stop.verb.as_str(), &stop.allow_with), ("delete", &denied.allow_with));
    assert_eq!((denied.party, denied.verb.as_str()), (Party::Plugin, "create"));
    assert_eq!(denied.resource, "clusterroles.rbac.authorization.k8s.io");
    assert!(case.message.contains("failure `greedy` may not create"), "{}", case.message);
    let lines = stanza(&denied.allow_with, "failures");
    for told in [&case.message, &text.replace("\n  ", "\n"), &report.replace("\n      ", "\n")] {
        assert!(told.contains(lines.trim_end()), "{lines}is not in\n{told}");
    }
    // The lines of the denial, of the plan and of the failure are the same, and they are enough.
    assert_eq!(stanza(&plan.replace("\n  ", "\n"), "failures"), lines);
    assert_eq!(stanza(&shown.replace("\n  ", "\n"), "failures"), lines);
    sandbox.write("grants.yaml", &lines);
    let plan = sandbox.harness(&["run", "m.yaml", "--dry-run", "--format", "json"]).expect(0).json();
    assert_eq!(plan["failures"][0]["not_granted"], serde_json::json!([]), "{plan:#}");
    assert_eq!(plan["failures"][0]["blast_radius"]["unsafe"], serde_json::json!(["rbac"]));
    sandbox.harness(&["run", "m.yaml"]);
    assert_eq!(only_case(&sandbox).denied, []);
}

#[test]
fn a_script_is_told_the_same_through_kubectl() {
    let Some(kubectl) = kubectl_or_skip("denials of scripts") else { return };
    let sandbox = Sandbox::new();
    greedy(&sandbox);
    let metadata = GREEDY.split("induce:").next().expect("metadata");
    sandbox.write("failures/greedy/metadata.yaml", metadata);
    let script = sandbox.write(
        "failures/greedy/induce.sh",
        "#!/bin/sh\n[ \"$1\" = start ] || exit 0\nkubectl create clusterrole greedy --verb=get --resource=pods || exit 1\n\
         echo TIMEOUT=20\n",
    );
    make_executable(&script);
    let folder = kubectl.parent().expect("kubectl lies in a folder").display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    let ended = Finished::of(sandbox.command().env("PATH", path).args(["run", "m.yaml"])).expect(11);
    let run = sandbox.only_run();
    let [case] = run.cases().try_into().unwrap_or_else(|cases| panic!("one case: {cases:?}"));
    let case: CaseFile = case;
    let log = run.read(format!("logs/{}/failure.log", case.id));
    let lines = case.denied.first().unwrap_or_else(|| panic!("nothing was denied: {}", said(&ended)));
    assert_eq!((lines.party, lines.verb.as_str()), (Party::Script, "create"));
    assert!(log.contains("(Forbidden)") && log.contains("failure `greedy` may not create clusterroles"), "{log}");
    let stanza = stanza(&lines.allow_with, "failures");
    assert!(log.contains(stanza.trim_end()), "{stanza}is not in\n{log}");
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
}
