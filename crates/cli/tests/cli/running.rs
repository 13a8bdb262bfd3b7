//! Real runs on the embedded cluster: streams, records that agree, what can be looked at afterwards.

use std::collections::BTreeMap;
use std::fs;

use model::{CaseFile, RunDocument, RunFile, Totals};
use rusqlite::Connection;

use crate::support::{Folder, SMALL};

type Outcomes = BTreeMap<String, (String, bool)>;

fn outcomes(cases: &[CaseFile]) -> Outcomes {
    cases.iter().map(|c| (c.id.to_string(), (c.outcome.to_string(), c.control))).collect()
}

fn in_database(folder: &Folder) -> Outcomes {
    let db = Connection::open(folder.path().join("results/harness.db")).expect("the database");
    let mut rows = db.prepare("SELECT case_id, outcome, control FROM cases").expect("the table");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

fn in_junit(xml: &str) -> Outcomes {
    let report = quick_junit::Report::deserialize_from_str(xml).expect("JUnit");
    let cases = report.test_suites.iter().flat_map(|suite| &suite.test_cases);
    let property = |case: &quick_junit::TestCase, name: &str| {
        let found = case.properties.iter().find(|property| property.name.as_str() == name);
        found.map(|property| property.value.as_str().to_owned()).expect("a property")
    };
    cases.map(|c| (c.name.to_string(), (property(c, "outcome"), property(c, "control") == "true"))).collect()
}

/// `… ✓ passed  local--no-fault--triage  0.8s …`
fn in_text(text: &str) -> Outcomes {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines = text.lines().map(words).filter(|words| words.iter().any(|word| word.contains("--")));
    lines
        .filter_map(|words| {
            let at = words.iter().position(|word| word.contains("--"))?;
            let outcome = words.get(at.checked_sub(1)?)?.clone();
            Some((words[at].clone(), (outcome, words.get(at + 1).is_some_and(|word| word == "(control)"))))
        })
        .collect()
}

#[test]
fn every_record_of_a_run_agrees() {
    let folder = Folder::new();
    folder.write("m.yaml", SMALL);
    let ended = folder.run(&["run", "m.yaml", "--format", "json", "--junit", "copy.xml"]).expect(0);
    let document: RunDocument = serde_json::from_str(&ended.stdout).expect("one document on standard output");
    let told = outcomes(&document.cases);
    assert_eq!(told.len(), 4);

    let dir = folder.path().join(&document.dir);
    let files: Vec<CaseFile> = fs::read_dir(dir.join("results"))
        .expect("case files")
        .map(|entry| serde_json::from_slice(&fs::read(entry.expect("an entry").path()).expect("a file")).expect("JSON"))
        .collect();
    assert_eq!(outcomes(&files), told, "case files");
    assert_eq!(in_database(&folder), told, "database");
    let junit = fs::read_to_string(dir.join("junit.xml")).expect("junit.xml");
    assert_eq!(in_junit(&junit), told, "junit.xml");
    assert_eq!(fs::read_to_string(folder.path().join("copy.xml")).expect("copy.xml"), junit);
    assert_eq!(in_text(&folder.run(&["runs", "show", "latest"]).expect(0).stdout), told, "runs show");
    assert_eq!(in_text(&ended.stderr), told, "progress lines:\n{}", ended.stderr);

    let run: RunFile = serde_json::from_slice(&fs::read(dir.join("run.json")).expect("run.json")).expect("JSON");
    let mut totals = Totals::default();
    files.iter().for_each(|c| totals.add(c.outcome, c.control, !c.leaks.is_empty()));
    assert_eq!((run.totals, document.totals), (totals, totals));
    assert_eq!(run.exit_code, Some(document.exit_code));
    let listed = folder.run(&["runs", "list", "--format", "json"]).expect(0).json();
    assert_eq!(listed[0]["run"]["run_id"], document.run_id.as_str());
    let prefix = &document.run_id.as_str()[..4];
    let shown = folder.run(&["runs", "show", prefix, "no-fault--triage", "--format", "json"]).expect(0).json();
    assert_eq!(shown["case"]["id"], "local--no-fault--triage");
    folder.run(&["runs", "show", "latest", "no-fault--triage"]).expect(0);
    let report = folder.run(&["runs", "report", "latest"]).expect(0).stdout;
    assert_eq!(report, fs::read_to_string(dir.join("report.md")).expect("report.md"));
}

#[test]
fn a_run_tells_on_stderr_and_answers_on_stdout() {
    let folder = Folder::new();
    folder.write("m.yaml", SMALL);
    let args = ["run", "m.yaml", "--filter", "*no-fault--triage", "--filter", "agent!=idle", "--follow"];
    let ended = folder.run(&args).expect(0);
    assert!(ended.stdout.contains("1 passed") && ended.stdout.contains("/report.md"), "{}", ended.stdout);
    assert!(ended.stderr.contains("[1/1] passed  local--no-fault--triage"), "{}", ended.stderr);
    assert!(ended.stderr.lines().any(|line| line.starts_with("local/no-fault/triage ")), "logs: {}", ended.stderr);

    let quiet =
        folder.run(&["-q", "run", "m.yaml", "--filter", "agent!=idle", "--filter", "*no-fault--triage"]).expect(0);
    assert_eq!(quiet.stderr, "");
    assert!(quiet.stdout.contains("1 passed"), "{}", quiet.stdout);
    assert_eq!(folder.run(&["runs", "list", "--format", "json"]).expect(0).json().as_array().map(Vec::len), Some(2));
}

#[test]
fn a_failure_is_held_and_put_back() {
    let folder = Folder::new();
    let ended = folder.run(&["failures", "run", "image-pull-error", "--hold", "0s"]).expect(0);
    let path = ended.stdout.trim_end().strip_prefix("KUBECONFIG=").expect("one line on standard output").to_owned();
    assert!(!std::path::Path::new(&path).exists(), "the kubeconfig goes with the cluster");
    ended.says(&["Witnessed", "Everything is put back."]);
    folder.run(&["failures", "run", "oom-killed", "--param", "memry=1"]).expect(1).says(&["memry"]);
    assert!(folder.files().is_empty(), "nothing is stored");
}

#[test]
fn an_agent_is_tried_on_one_case() {
    let folder = Folder::new();
    let tested = folder.run(&["agents", "test", "triage", "--format", "json"]).expect(0).json();
    assert_eq!(tested["case"]["outcome"], "passed", "{tested:#}");
    assert!(tested["task"]["prompt"].as_str().is_some_and(|prompt| prompt.contains("namespace")), "{tested:#}");
    let environment = tested["environment"].as_array().expect("names");
    assert!(environment.iter().any(|name| name == "HARNESS_TASK"), "{tested:#}");
    let idle = folder.run(&["agents", "test", "idle"]).expect(10).stdout;
    assert!(idle.contains("Answer:") && idle.contains("HARNESS_ANSWER"), "{idle}");
    assert!(folder.files().is_empty(), "nothing is stored");
}
