//! `accept`: what is asked, what was found, and baselines as files that people commit.

use std::fs;

use serde_json::{Value, json};

use crate::support::Folder;

const MATRIX: &str = "\
name: accepting
clusters: [{id: local, provisioner: embedded}]
failures: [image-pull-error, no-fault]
agents: [subject, {id: idle, control: true}]
objective: diagnose
";

/// Says what is right where `right` is in its name of failure; written anew between runs.
fn subject(folder: &Folder, command: &str) {
    let preset = format!("id: subject\nsupports: [diagnose]\ncommand: {command}\n");
    folder.write("agents/subject.yaml", preset);
}

const RIGHT: &str = "['$(harness)', triage]";
const SILENT: &str = "[sh, -c, 'echo \"{\\\"fault_present\\\": false}\" > \"$HARNESS_ANSWER\"']";

fn part<'a>(document: &'a Value, rule: &str) -> &'a Value {
    let parts = document["acceptance"]["parts"].as_array().expect("parts");
    parts.iter().find(|part| part["rule"] == rule).unwrap_or_else(|| panic!("no {rule} in {document:#}"))
}

#[test]
fn a_run_is_held_against_a_committed_baseline() {
    let folder = Folder::new();
    subject(&folder, RIGHT);
    folder.write("m.yaml", MATRIX);
    folder.run(&["run", "m.yaml"]).expect(0);
    let printed = folder.run(&["runs", "export", "latest", "--baseline"]).expect(0).stdout;
    fs::create_dir(folder.path().join("ci")).expect("a folder");
    let said = folder.run(&["runs", "export", "latest", "--baseline", "-o", "ci/baseline.json"]).expect(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", "Written to ci/baseline.json\n"));
    assert_eq!(fs::read_to_string(folder.path().join("ci/baseline.json")).expect("a file"), printed, "the same bytes");
    let baseline: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(baseline["entries"].as_array().map(Vec::len), Some(2), "no control: {baseline:#}");
    assert_eq!((&baseline["entries"][0]["passed"], &baseline["entries"][0]["judged"]), (&json!(1), &json!(1)));

    // Right about no-fault, wrong about the other: half as good as before.
    subject(&folder, SILENT);
    let asked = |max_drop: f64| format!("{MATRIX}accept: {{baseline: ci/baseline.json, max_drop: {max_drop}}}\n");
    folder.write("m.yaml", asked(0.4));
    let ended = folder.run(&["run", "m.yaml", "--format", "json"]).expect(10);
    let document = ended.json();
    assert_eq!(document["acceptance"]["met"], false);
    let drop = part(&document, "max_drop");
    assert_eq!(
        (&drop["found"], &drop["asked"], &drop["agent"], &drop["met"]),
        (&json!(0.5), &json!(0.4), &json!("subject"), &json!(false))
    );
    let report = fs::read_to_string(folder.path().join(document["dir"].as_str().expect("a folder")).join("report.md"));
    let report = report.expect("report.md");
    let shown = folder.run(&["runs", "show", "latest"]).expect(0).stdout;
    for text in [&report.replace('\\', ""), &shown] {
        for part in ["max_drop", "not met", "0.50 (1 of 2) now, 1.00 (2 of 2) in the baseline"] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    // What is new is named and not compared; half as good is what is allowed.
    folder.write("m.yaml", asked(0.5).replace("no-fault]", "no-fault, {id: crashloopbackoff, name: other}]"));
    let document = folder.run(&["run", "m.yaml", "--format", "json"]).expect(0).json();
    assert_eq!(document["acceptance"]["met"], true, "{document:#}");
    let notes = document["acceptance"]["notes"].to_string();
    assert!(notes.contains("1 are new") && notes.contains("subject x crashloopbackoff (embedded)"), "{notes}");
}

#[test]
fn a_baseline_that_cannot_be_used_is_an_error_before_anything_runs() {
    let folder = Folder::new();
    subject(&folder, RIGHT);
    let matrix = folder.write("m/m.yaml", format!("{MATRIX}accept: {{baseline: b.json}}\n"));
    let matrix = matrix.to_str().expect("UTF-8").to_owned();
    folder.run(&["validate", &matrix]).expect(1).says(&["m.yaml:6:20: the baseline", "runs export RUN --baseline"]);
    folder.write("m/b.json", "{\n  \"schema\": 7,\n");
    folder.run(&["run", &matrix]).expect(1).says(&["b.json:"]);
    folder.write("m/b.json", "[1, 2]\n");
    folder.run(&["run", &matrix]).expect(1).says(&["b.json:1:1: "]);
    folder.write("outside.json", "{}");
    fs::remove_file(folder.path().join("m/b.json")).expect("removed");
    std::os::unix::fs::symlink("../outside.json", folder.path().join("m/b.json")).expect("a link");
    folder.run(&["run", &matrix]).expect(1).says(&["m.yaml:6:20: ", "leads out of the matrix's folder"]);
    assert_eq!(folder.files(), ["agents", "m", "outside.json"], "nothing was run");
    folder.run(&["runs", "export", "latest", "--baseline"]).expect(1).says(&["no run yet"]);
    folder.run(&["runs", "export", "latest"]).expect(2).says(&["--baseline"]);
}
