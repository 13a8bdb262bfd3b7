//! SQLite, case files, junit.xml, run.json, events and what `run` prints: one truth in six places.

use std::collections::BTreeMap;

use e2e::Sandbox;
use model::{CaseFile, Event, EventKind, RunDocument};
use quick_junit::{Report, TestCaseStatus};
use rusqlite::{Connection, OpenFlags};

/// Passes, failures, a time-out and a control in one run.
const MATRIX: &str = "\
name: mixed
clusters:
  - {id: local, provisioner: embedded}
failures: [oom-killed, image-pull-error, no-fault]
agents: [triage, wrong, hangs, {id: idle, control: true}]
objective: diagnose
execution: {timeout_per_test: 6s}
exclude: [{failure: image-pull-error, agent: hangs}, {failure: no-fault, agent: hangs}]
";

fn mixed_run(sandbox: &Sandbox) -> RunDocument {
    let wrong = r#"echo '{"fault_present": false}' > "$HARNESS_ANSWER""#;
    let quoted = serde_json::Value::from(wrong);
    let preset = "supports: [diagnose]\nstdin: none\n";
    sandbox.write("agents/wrong.yaml", format!("id: wrong\n{preset}command: [sh, -c, {quoted}]\n"));
    sandbox.write("agents/hangs.yaml", format!("id: hangs\n{preset}command: [sleep, '600']\n"));
    sandbox.write("m.yaml", MATRIX);
    let args = ["run", "m.yaml", "--agents-dir", "agents", "--format", "json", "--junit", "copy.xml"];
    let finished = sandbox.harness(&args).expect(10);
    serde_json::from_str(&finished.stdout).expect("stdout is one document")
}

fn by_id(cases: Vec<CaseFile>) -> BTreeMap<String, CaseFile> {
    cases.into_iter().map(|case| (case.id.to_string(), case)).collect()
}

#[test]
fn every_record_of_a_run_says_the_same() {
    let sandbox = Sandbox::new();
    let document = mixed_run(&sandbox);
    let run = sandbox.only_run();
    let cases = by_id(run.cases());
    assert_eq!(cases, by_id(document.cases.clone()), "case files and what `run` prints");
    assert_eq!(cases.len(), 10);

    let file = run.run();
    assert_eq!(file.totals, document.totals);
    assert_eq!(file.totals, counted(cases.values()), "totals are counts of the case files");
    assert_eq!(file.exit_code, Some(document.exit_code));
    assert!(file.totals.passed > 0 && file.totals.failed > 0 && file.totals.timed_out > 0 && file.totals.control > 0);

    check_events(&run.read("events.jsonl"), &cases, &document);
    check_database(&sandbox, &cases, &document);
    let junit = run.read("junit.xml");
    check_junit(&junit, &cases);
    assert_eq!(junit, std::fs::read_to_string(sandbox.path().join("copy.xml")).unwrap(), "--junit is a copy");
    check_text(&run.read("report.md"), &cases);
    let id = document.run_id.to_string();
    let shown = sandbox.harness(&["runs", "show", &id]).expect(0);
    check_text(&shown.stdout, &cases);
    sandbox.assert_nothing_left();
}

fn counted<'a>(cases: impl Iterator<Item = &'a CaseFile>) -> model::Totals {
    let mut totals = model::Totals::default();
    for case in cases {
        totals.add(case.outcome, case.control, !case.leaks.is_empty());
    }
    totals
}

fn check_events(text: &str, cases: &BTreeMap<String, CaseFile>, document: &RunDocument) {
    let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    for (position, event) in events.iter().enumerate() {
        assert_eq!(event.seq, position as u64 + 1, "numbered without gaps");
        assert_eq!(event.run, document.run_id);
    }
    assert!(matches!(events.first().map(|e| &e.event), Some(EventKind::RunStarted { .. })));
    match events.last().map(|e| &e.event) {
        Some(EventKind::RunFinished { totals, exit_code }) => {
            assert_eq!((totals, exit_code), (&document.totals, &document.exit_code));
        }
        other => panic!("the last event is {other:?}"),
    }
    let mut finished = BTreeMap::new();
    for event in &events {
        if let EventKind::CaseFinished { outcome, class, status, message, .. } = &event.event {
            let id = event.case.as_ref().expect("an event of a case").to_string();
            finished.insert(id, (*outcome, *class, *status, message.clone()));
        }
    }
    let filed = cases.iter().map(|(id, c)| (id.clone(), (c.outcome, c.class, c.status, c.message.clone()))).collect();
    assert_eq!(finished, filed, "events and case files");
}

fn check_database(sandbox: &Sandbox, cases: &BTreeMap<String, CaseFile>, document: &RunDocument) {
    let path = sandbox.path().join("results/harness.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database");
    let (id, exit_code): (String, u8) = database
        .query_row("SELECT run_id, exit_code FROM runs", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("one run");
    assert_eq!((id, exit_code), (document.run_id.to_string(), document.exit_code));
    let mut statement = database
        .prepare("SELECT case_id, outcome, class, status, control, message, duration_ms, requests FROM cases")
        .expect("the table of cases");
    type Row = (String, Option<String>, String, bool, String, i64, i64);
    let rows: BTreeMap<String, Row> = statement
        .query_map([], |row| {
            let rest = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?);
            Ok((row.get(0)?, rest))
        })
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("rows of the expected types");
    let filed = cases
        .iter()
        .map(|(id, c)| {
            let class = c.class.map(|class| class.to_string());
            let rest = (c.outcome.to_string(), class, c.status.to_string(), c.control, c.message.clone());
            (
                id.clone(),
                (rest.0, rest.1, rest.2, rest.3, rest.4, c.duration_ms.cast_signed(), c.gate.requests.cast_signed()),
            )
        })
        .collect();
    assert_eq!(rows, filed, "rows and case files");
}

/// Failures are failures, what could not be judged is an error or skipped, controls are skipped.
fn check_junit(xml: &str, cases: &BTreeMap<String, CaseFile>) {
    let report = Report::deserialize_from_str(xml).expect("junit.xml is JUnit");
    let tests: Vec<_> = report.test_suites.iter().flat_map(|suite| &suite.test_cases).collect();
    assert_eq!(tests.len(), cases.len());
    for case in cases.values() {
        let id = case.id.as_str();
        let test = tests
            .iter()
            .find(|test| test.name.as_str() == id)
            .unwrap_or_else(|| panic!("{id} is not in junit.xml:\n{xml}"));
        let word = match (&test.status, case.control) {
            (TestCaseStatus::Skipped { .. }, true) => continue,
            (TestCaseStatus::Success { .. }, false) => "pass",
            (TestCaseStatus::NonSuccess { .. }, false) => "fail",
            (status, control) => panic!("{id}: {status:?} with control: {control}"),
        };
        assert_eq!(word, case.status.as_str(), "{id}");
    }
}

/// Each case stands in a line with the word of its outcome.
fn check_text(text: &str, cases: &BTreeMap<String, CaseFile>) {
    for case in cases.values() {
        let word = case.outcome.as_str().replace('_', " ");
        let mentions = |line: &str| {
            let line = line.to_lowercase().replace('_', " ");
            line.contains(&word) && [&case.failure, &case.agent].iter().all(|id| line.contains(id.as_str()))
        };
        assert!(text.lines().any(mentions), "{} {word} is not in\n{text}", case.id);
    }
}
