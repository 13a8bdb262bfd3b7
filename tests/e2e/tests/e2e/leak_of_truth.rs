//! Nothing that an agent can reach tells it what was done: an agent that searches everything (`scan`), let in by the real
//! program, for each failure of the library.

use std::collections::BTreeSet;

use e2e::{Sandbox, kubectl_or_skip, repository};
use serde_json::Value;

use crate::library;

/// The variables of the harness that agents are told of, and the one by which their processes are found again.
const HARNESS: [&str; 4] = ["HARNESS_TASK", "HARNESS_ANSWER", "HARNESS_NAMESPACE", "HARNESS_CASE"];

/// What would tell: every failure's own words, and the words of the formats that truth is written in.
fn words(sandbox: &Sandbox, failures: &[Value]) -> Vec<String> {
    let mut words: BTreeSet<String> = BTreeSet::new();
    for failure in failures {
        let metadata = library::metadata(failure);
        let text = |key: &str| metadata[key].as_str().map(str::to_owned);
        words.extend([text("id"), text("name"), text("description")].into_iter().flatten());
        let symptoms = metadata["symptoms"].as_array().into_iter().flatten();
        words.extend(symptoms.filter_map(|symptom| symptom["name"].as_str().map(str::to_owned)));
        // The task names every fault type; a place that gives one of them as the answer does not.
        if let Some(fault) = metadata["ground_truth"]["fault_type"].as_str() {
            let forms = ["fault_type: {}", "fault_type={}", "\"fault_type\":\"{}\"", "\"fault_type\": \"{}\""];
            words.extend(forms.map(|form| form.replace("{}", fault)));
        }
    }
    let formats = ["ground_truth", "repair_scope", "also_accept", "reference_fix", "wrong_fixes", "harness:failure"];
    words.extend(formats.map(str::to_owned));
    words.extend(
        [repository().join("failures"), sandbox.path().join("failures")].map(|path| path.display().to_string()),
    );
    words.into_iter().collect()
}

#[test]
fn what_an_agent_can_reach_does_not_tell_it_the_answer() {
    let kubectl = kubectl_or_skip("the search of the cluster for the truth");
    let sandbox = Sandbox::new();
    let failures = library::failures(&sandbox);
    let runnable = failures.iter().filter(|failure| kubectl.is_some() || !library::needs_program(failure));
    let ids: Vec<&str> = runnable.map(library::id).collect();
    let listed: String = words(&sandbox, &failures)
        .iter()
        .map(|word| word.bytes().map(|b| format!("{b:02x}")).collect::<String>() + "\n")
        .collect();
    let list = sandbox.write("words", listed);
    let scan = env!("CARGO_BIN_EXE_scan");
    let open = [Some(list.clone()), Some(scan.into()), kubectl.clone()];
    let open: Vec<String> = open.into_iter().flatten().map(|path| path.display().to_string()).collect();
    sandbox.write(
        "agents/scan.yaml",
        format!(
            "id: scan\nsupports: [diagnose]\ncommand: [{scan}, {}]\nstdin: none\nsandbox: {{read: [{}]}}\n",
            list.display(),
            open.join(", ")
        ),
    );
    sandbox.write(
        "m.yaml",
        format!(
            "name: m\nclusters: [{{id: local, provisioner: embedded}}]\nfailures: [{}]\nagents: [scan]\n\
             objective: diagnose\nexecution: {{timeout_per_test: 120s}}\n",
            ids.join(", ")
        ),
    );
    let mut command = sandbox.command();
    if let Some(folder) = kubectl.as_deref().and_then(std::path::Path::parent) {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", folder.display()));
    }
    // No answer: every case fails, which is all that is asked of it here.
    let grants = repository().join("matrices/library.grants.yaml");
    let grants = grants.to_string_lossy();
    e2e::Finished::of(command.args(["run", "m.yaml", "--agents-dir", "agents", "--grants", &grants])).expect(10);

    let run = sandbox.only_run();
    let mut told: Vec<String> = Vec::new();
    for id in ids {
        let case = run.case(&format!("local--{id}--scan"));
        let report = run.read(format!("artifacts/local--{id}--scan/scan.txt"));
        assert!(report.ends_with("END\n"), "{id}: the search came to its end: {report}");
        let lines = |start: &str| report.lines().filter_map(|line| line.strip_prefix(start)).collect::<Vec<_>>();
        let limited = case.isolation.landlock;
        // Where files are not hidden, the search finds the library itself; the record says that they are not.
        let by_file = |hit: &&str| hit.starts_with("file") || hit.starts_with("process");
        let (files, others): (Vec<&str>, Vec<&str>) = lines("HIT ").into_iter().partition(by_file);
        told.extend(others.iter().map(|hit| format!("{id}: {hit}")));
        if limited {
            assert!(files.is_empty(), "{id}: an agent can read\n{}", files.join("\n"));
        } else {
            eprintln!("{id}: files are not hidden here; found in {} places", files.len());
        }
        let complete = lines("FILES ").iter().all(|line| line.contains("complete: true"));
        assert!(complete || !limited, "{id}: every file that can be read was searched: {:?}", lines("FILES "));
        let ours = lines("ENV ").into_iter().filter(|name| name.starts_with("HARNESS_"));
        let unknown: Vec<&str> = ours.filter(|name| !HARNESS.contains(name)).collect();
        assert!(unknown.is_empty(), "{id}: variables that agents are not told of: {unknown:?}");
        if kubectl.is_some() {
            // Pods, their owners, Services, Events, nodes and more: few would mean that the search found nothing to search.
            let kinds = lines("CLUSTER ").iter().find_map(|line| line.split_whitespace().nth(2)?.parse::<u32>().ok());
            assert!(kinds.is_some_and(|kinds| kinds >= 8), "{id}: {report}");
            let managers: BTreeSet<&str> = lines("MANAGERS ").into_iter().collect();
            assert_eq!(managers.len(), 1, "{id}: who was changed can be told by the manager: {managers:?}");
        }
        println!("{id}: {:?} {:?} {:?}", lines("FILES "), lines("PROCESSES "), lines("CLUSTER "));
    }
    assert!(told.is_empty(), "an agent can see\n{}", told.join("\n"));
}
