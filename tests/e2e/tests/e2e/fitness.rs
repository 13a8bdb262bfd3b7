//! `failures test` over the whole library, the page of the docs that says so (`HARNESS_BLESS=1` writes it anew), and that
//! unfit failures are found unfit.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use e2e::{Cluster, Sandbox, kubectl_or_skip, repository};
use serde_json::Value;

use crate::library;

/// Everything of the library that can be tried here, proved.
#[test]
fn the_whole_library_is_fit_and_its_page_is_current() {
    let kubectl = kubectl_or_skip("the proof of failures that are scripts");
    let sandbox = Sandbox::new();
    let mut command = sandbox.command();
    if let Some(folder) = kubectl.as_deref().and_then(std::path::Path::parent) {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", folder.display()));
    }
    let started = Instant::now();
    let finished = e2e::Finished::of(command.args(["failures", "test", "--format", "json"]));
    println!("the library took {:.1} s", started.elapsed().as_secs_f64());
    let tested = finished.expect(if kubectl.is_some() { 0 } else { 11 }).json();
    let tested = tested.as_array().expect("an array");
    let failures = library::failures(&sandbox);
    assert_eq!(tested.len(), failures.len());
    assert!(tested.len() >= 30, "{}", tested.len());
    let mut page = String::from(HEAD);
    let floor: Value =
        serde_json::from_str(&fs::read_to_string(repository().join(FLOOR)).expect("measured")).expect("JSON");
    for (one, failure) in tested.iter().zip(&failures) {
        let id = one["id"].as_str().expect("an id");
        assert_eq!(id, library::id(failure));
        let skipped = library::needs_program(failure) && kubectl.is_none();
        let expected = if skipped { "untested" } else { "fit" };
        assert_eq!(one["verdict"], expected, "{id}: {:#}", one["instructions"]);
        page.push_str(&row(failure, one, floor.get(id)));
    }
    if kubectl.is_none() {
        return;
    }
    let path = repository().join("docs/src/failures/library.md");
    if std::env::var_os("HARNESS_BLESS").is_some() {
        fs::write(&path, &page).expect("written");
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(page, checked_in, "{} is out of date", path.display());
}

/// What the built-in rules miss of each failure, as reports show it.
const FLOOR: &str = "crates/report/floor.json";

/// Every failure that needs no program here, asked for a repair too where one can be asked.
#[test]
fn the_floor_that_reports_show_is_what_the_rules_come_to() {
    let sandbox = Sandbox::new();
    let grants = repository().join("matrices/library.grants.yaml");
    let failures = library::failures(&sandbox);
    let steps =
        |failure: &Value| library::metadata(failure)["reference_fix"].as_array().is_some_and(|all| !all.is_empty());
    let nothing_wrong = |failure: &Value| library::metadata(failure)["ground_truth"]["fault_type"] == "none";
    let here = failures.iter().filter(|failure| !library::needs_program(failure));
    let (both, diagnose): (Vec<&Value>, Vec<&Value>) = here.partition(|one| steps(one) || nothing_wrong(one));
    let mut floor: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (objective, asked) in [("both", both), ("diagnose", diagnose)] {
        let ids: Vec<&str> = asked.iter().map(|failure| library::id(failure)).collect();
        sandbox.write(
            "m.yaml",
            format!(
                "name: {objective}\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [{}]\nagents: [triage]\n\
                 objective: {objective}\nexecution: {{parallel_tests_per_cluster: 4, timeout_per_test: 2m}}\n",
                ids.join(", ")
            ),
        );
        let args = ["run", "m.yaml", "--exit-zero", "--format", "json", "--grants", &grants.to_string_lossy()];
        let run = sandbox.harness(&args).expect(0).json();
        for case in run["cases"].as_array().expect("cases") {
            let columns = ["detection", "localization", "fault_type", "mitigation", "safety"];
            let missed = columns.into_iter().filter(|column| case["verdict"][*column]["result"] == "fail");
            assert!(case["verdict"].is_object(), "{}: {}", case["id"], case["message"]);
            floor.insert(case["failure"].as_str().expect("an id").to_owned(), missed.collect());
        }
    }
    let measured = serde_json::to_string_pretty(&floor).expect("JSON") + "\n";
    let path = repository().join(FLOOR);
    if std::env::var_os("HARNESS_BLESS").is_some() {
        fs::write(&path, &measured).expect("written");
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(measured, checked_in, "{} is out of date", path.display());
}

const HEAD: &str = "\
# The library

Every failure that is inside the program. The table is made from `harness-cli failures test` and `failures show`; a test
demands that it is current.

*Asks*: what an agent can be judged by: a diagnosis, or a repair too. *Needs*: what an operator must grant even on a cluster
that is made for the run, because it reaches beyond the namespace of the case
(`matrices/library.grants.yaml` has all of it).
*Proved on*: the kind of cluster on which it was shown to be fit; a proof says nothing about another kind.
*The floor misses*: what the built-in rules (`triage`) get wrong of it on an embedded cluster, asked for a diagnosis and, where
that can be asked, a repair. An agent must beat that; `report.md` shows it beside the agents of a run, and `cargo xtask bench
floor` measures it anew.

| id | what is wrong | fault type | severity | tags | written as | asks | needs | proved on | the floor misses |
|---|---|---|---|---|---|---|---|---|---|
";

fn row(failure: &Value, tested: &Value, missed: Option<&Value>) -> String {
    let metadata = library::metadata(failure);
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('|', "\\|");
    let words = |value: &Value| -> String {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let repaired = metadata["reference_fix"].as_array().is_some_and(|steps| !steps.is_empty());
    let mut asks = if repaired { "diagnosis, repair" } else { "diagnosis" }.to_owned();
    if let Some(access) = metadata["repair_access"].as_str() {
        let _ = write!(asks, " ({access})");
    }
    let needs = match failure["not_granted"].as_array().is_some_and(|all| !all.is_empty()) {
        false => String::new(),
        true => {
            let hazards = words(&metadata["capabilities"]["unsafe"]);
            if hazards.is_empty() { "rules".to_owned() } else { hazards }
        }
    };
    let floor = match missed.map(&words) {
        None => "not measured".to_owned(),
        Some(missed) if missed.is_empty() => "nothing".to_owned(),
        Some(missed) => missed,
    };
    let proved = format!("{}, {}", text(&tested["cluster"]["kind"]), text(&tested["cluster"]["version"]));
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {asks} | {needs} | {proved} | {floor} |\n",
        text(&metadata["id"]),
        text(&metadata["name"]),
        text(&metadata["ground_truth"]["fault_type"]),
        text(&metadata["severity"]),
        words(&metadata["tags"]),
        text(&failure["kind"]),
    )
}

/// The workload of a template, for failures that are wrong on purpose.
fn unfit(sandbox: &Sandbox, id: &str, change: impl Fn(String) -> String) -> Value {
    sandbox.harness(&["failures", "new", id, "--lang", "yaml", "--dir", "failures"]).expect(0);
    let path = sandbox.path().join("failures").join(id).join("metadata.yaml");
    let before = fs::read_to_string(&path).expect("metadata");
    let after = change(before.clone());
    assert_ne!(before, after, "the change was made");
    fs::write(&path, after).expect("written");
    let finished = sandbox.harness(&["failures", "test", id, "--format", "json"]).expect(10);
    finished.json()[0].clone()
}

/// The instruction of the check that fails, which names file and line.
#[track_caller]
fn instructed(tested: &Value, check: &str, words: &str) {
    assert_eq!(tested["verdict"], "unfit", "{tested:#}");
    let all = tested["instructions"].as_array().expect("instructions");
    let place = format!("/{}/metadata.yaml:", tested["id"].as_str().expect("an id"));
    let found = all.iter().filter_map(Value::as_str).any(|line| {
        let numbered = line.split(&place).nth(1).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        numbered && line.contains(check) && line.contains(words)
    });
    assert!(found, "{check}, {words}: {all:#?}");
}

#[test]
fn what_is_unfit_is_told_with_the_line_to_change() {
    let sandbox = Sandbox::new();
    sandbox.harness(&["failures", "new", "as-it-is", "--lang", "yaml", "--dir", "failures"]).expect(0);
    sandbox.harness(&["failures", "test", "as-it-is"]).expect(0);

    let declared = |text: String| text.replace("verbs: [get, patch]", "verbs: [get, patch, delete]");
    instructed(&unfit(&sandbox, "too-much", declared), "capabilities", "`delete` was never used");

    let denied = |text: String| text.replace("verbs: [get, patch]", "verbs: [patch]");
    instructed(&unfit(&sandbox, "too-little", denied), "capabilities", "verbs: [get]");

    // What `induce` wrote, instead of what the cluster made of it.
    let restated = |text: String| {
        let start = text.find("symptoms:").expect("symptoms");
        let end = text.find("health:").expect("health");
        let symptom = "symptoms:\n  - name: restated\n    select: {apiVersion: apps/v1, kind: Deployment, name: $(params.app)}\n    \
                       any: object.spec.template.spec.containers[0].image == params.image\n";
        format!("{}{symptom}{}", &text[..start], &text[end..])
    };
    instructed(&unfit(&sandbox, "restated", restated), "standing still", "restated holds");

    let never = |text: String| {
        let start = text.find("symptoms:").expect("symptoms");
        let end = text.find("health:").expect("health");
        let symptom = "symptoms:\n  - name: never\n    select: {apiVersion: v1, kind: Pod}\n    any: object.status.phase == \"Lost\"\n";
        format!("{}{symptom}{}", &text[..start], &text[end..])
    };
    instructed(&unfit(&sandbox, "unseen", never), "symptoms", "not seen: never");

    let repair_as_wrong = |text: String| text.replace("imagePullPolicy: Always", "image: \"nginx:1.27\"");
    instructed(&unfit(&sandbox, "not-wrong", repair_as_wrong), "wrong fix pull-always", "it passes");
    sandbox.assert_nothing_left();
}

/// Where time is real, the cases of a proof share the cluster: it takes as long as one of them, not as eight.
#[test]
fn on_an_existing_cluster_the_cases_of_a_proof_go_side_by_side() {
    let (cluster, sandbox) = (Cluster::up(), Sandbox::new());
    let kubeconfig = cluster.kubeconfig().to_string_lossy().into_owned();
    let text = fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
    let server = text.lines().find_map(|line| line.trim().strip_prefix("server: ")).expect("an address");
    sandbox.write("grants.yaml", format!("clusters:\n  - {{context: embedded, server: \"{server}\"}}\n"));
    sandbox.harness(&["failures", "new", "there", "--lang", "yaml"]).expect(0);
    let path = sandbox.path().join("failures/there/metadata.yaml");
    let metadata = fs::read_to_string(&path).expect("metadata");
    fs::write(&path, metadata.replace("for: 60s", "for: 5s")).expect("written");
    let started = Instant::now();
    let tested = sandbox.harness(&["failures", "test", "there", "--kubeconfig", &kubeconfig]).expect(0);
    let took = started.elapsed();
    assert!(tested.stderr.contains("there: 6 cases, 6 at a time; likely less than"), "{}", tested.stderr);
    let done = tested.stderr.matches(" done in ").count();
    assert_eq!(done, 6, "{}", tested.stderr);
    assert!(tested.stdout.contains("1 of 1 fit; proved on: stub cluster"), "{}", tested.stdout);
    // Five of the cases wait a minute for a repair that does not come.
    assert!(took < Duration::from_secs(240), "{took:?}\n{}", tested.stderr);

    let quick = ["failures", "test", "no-fault", "--quick", "--format", "json"];
    let quick = sandbox.harness(&quick).expect(0).json();
    let skipped = quick[0]["checks"].as_array().into_iter().flatten().filter(|check| check["result"] == "skipped");
    let names: Vec<&str> = skipped.filter_map(|check| check["name"].as_str()).collect();
    assert!(names.contains(&"scaling to zero") && names.contains(&"deleting the workload"), "{names:?}");
    sandbox.assert_nothing_left();
}

#[test]
fn what_cannot_be_tested_says_why() {
    let sandbox = Sandbox::new();
    let wrong = sandbox.harness(&["failures", "test", "no-such-failure"]).expect(1);
    assert!(wrong.stderr.contains("no-such-failure"), "{}", wrong.stderr);
    let mut command = sandbox.command();
    // No program is found.
    command.env("PATH", sandbox.path().join("empty"));
    let finished = e2e::Finished::of(command.args(["failures", "test", "crashloopbackoff-script"]));
    let finished = finished.expect(11);
    assert!(finished.stdout.contains("kubectl"), "{}", finished.stdout);
}
