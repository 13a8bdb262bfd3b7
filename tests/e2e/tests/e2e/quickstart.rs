//! `matrices/quickstart.yaml`, the first thing that anyone runs.

use std::collections::BTreeSet;
use std::fs;

use e2e::{Sandbox, repository};
use model::{ColumnResult, Outcome, WitnessKind};

use crate::library;

#[test]
fn the_quickstart_matrix_passes_and_triage_finds_every_fault() {
    let sandbox = Sandbox::new();
    let matrix = repository().join("matrices/quickstart.yaml");
    let finished = sandbox.harness(&["run", &matrix.to_string_lossy()]).expect(0);
    let run = sandbox.only_run();
    assert!(
        format!("{}{}", finished.stdout, finished.stderr).contains(&*run.path().file_name().unwrap().to_string_lossy()),
        "the summary says where the report lies:\n{}\n{}",
        finished.stdout,
        finished.stderr
    );
    assert_eq!(run.read("matrix.yaml"), fs::read_to_string(matrix).unwrap(), "the input, byte for byte");

    let cases = run.cases();
    let agents: BTreeSet<&str> = cases.iter().map(|case| case.agent.as_str()).collect();
    assert!(agents.contains("triage") && agents.contains("idle"), "{agents:?}");
    for case in &cases {
        assert!(case.gated && case.leaks.is_empty(), "{}: {case:#?}", case.id);
        if case.agent.as_str() != "triage" {
            assert!(case.control, "{}: every other agent of the quickstart is a control", case.id);
            continue;
        }
        assert_eq!(case.outcome, Outcome::Passed, "{}: {}", case.id, case.message);
        let verdict = case.verdict.as_ref().expect("a passed case was judged");
        for (name, column) in [("detection", &verdict.detection), ("localization", &verdict.localization)] {
            assert_eq!(column.result, ColumnResult::Pass, "{} {name}: {}", case.id, column.because);
        }
        let answer = case.answer.parsed.as_ref().expect("triage hands in an answer");
        let fault = case.failure.as_str() != "no-fault";
        assert_eq!(answer.fault_present, fault, "{}: {answer:?}", case.id);
        if fault {
            let witness = case.witness.as_ref().expect("a fault is witnessed");
            assert_eq!(witness.kind, WitnessKind::Host);
            assert!(!witness.symptoms.is_empty() && witness.symptoms.iter().all(|s| s.at.is_some()), "{witness:?}");
            assert!(!witness.health_broken.is_empty(), "{witness:?}");
        }
    }
    sandbox.assert_nothing_left();
}

#[test]
fn the_matrix_of_the_library_covers_every_failure_that_needs_no_program() {
    let sandbox = Sandbox::new();
    let matrix = repository().join("matrices/library.yaml");
    let cases = sandbox.harness(&["list", &matrix.to_string_lossy(), "--format", "json"]).expect(0).json();
    let listed: BTreeSet<&str> =
        cases.as_array().expect("an array").iter().filter_map(|case| case["failure"].as_str()).collect();
    for failure in library::failures(&sandbox).iter().filter(|failure| !library::needs_program(failure)) {
        assert!(listed.contains(library::id(failure)), "{} is not in {listed:?}", library::id(failure));
    }
}

#[test]
fn the_source_of_triage_names_no_failure() {
    let sandbox = Sandbox::new();
    let ids: Vec<String> = library::failures(&sandbox).iter().map(|f| library::id(f).to_owned()).collect();
    let mut folders = vec![repository().join("crates/triage")];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let Ok(text) = fs::read_to_string(entry.path()) else { continue };
            read += text.len();
            for id in &ids {
                assert!(!text.contains(id), "{} mentions {id}", entry.path().display());
            }
        }
    }
    assert!(read > 1000, "the source was found");
}
