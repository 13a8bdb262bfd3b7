//! Commands that only read: arrays as JSON, nothing written.

use crate::support::{Folder, SMALL};

#[test]
fn lists_are_arrays() {
    let folder = Folder::new();
    folder.write("m.yaml", SMALL);
    let ids = |args: &[&str]| -> Vec<String> {
        let list = folder.run(&[args, &["--format", "json"]].concat()).expect(0).json();
        let list = list.as_array().unwrap_or_else(|| panic!("{args:?} prints an array")).clone();
        list.iter().map(|one| one["id"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let failures = ids(&["failures", "list"]);
    for id in ["crashloopbackoff", "crashloopbackoff-script", "image-pull-error", "no-fault", "oom-killed"] {
        assert!(failures.iter().any(|one| one == id), "{id} is built in: {failures:?}");
    }
    let agents = ids(&["agents", "list"]);
    assert!(agents.iter().any(|id| id == "triage") && agents.iter().any(|id| id == "idle"), "{agents:?}");
    let cases = [
        "local--image-pull-error--triage",
        "local--image-pull-error--idle",
        "local--no-fault--triage",
        "local--no-fault--idle",
    ];
    assert_eq!(ids(&["list", "m.yaml"]), cases);
    assert_eq!(folder.run(&["list", "m.yaml"]).expect(0).stdout, cases.join("\n") + "\n");
    assert_eq!(ids(&["list", "m.yaml", "--filter", "agent=triage", "--filter", "*pull*"]), cases[..2]);
    assert!(ids(&["list", "m.yaml", "--filter", "nothing"]).is_empty());
    assert!(ids(&["runs", "list"]).is_empty());
    assert_eq!(folder.run(&["runs", "list"]).expect(0).stdout, "");
    assert_eq!(folder.files(), ["m.yaml"], "reading writes nothing");
}

#[test]
fn what_is_not_there_is_named_with_near_matches() {
    let folder = Folder::new();
    folder.run(&["failures", "show", "oom-kiled"]).expect(1).says(&["oom-kiled", "oom-killed"]);
    folder.run(&["failures", "run", "oom-kiled"]).expect(1).says(&["oom-kiled", "oom-killed"]);
    folder.run(&["agents", "show", "triag"]).expect(1).says(&["triag", "triage"]);
    folder.run(&["agents", "test", "triag"]).expect(1).says(&["triag", "triage"]);
    folder.run(&["runs", "show", "latest"]).expect(1).says(&["no run yet"]);
    assert!(folder.files().is_empty());
}

#[test]
fn a_failure_is_shown_with_what_it_may_do() {
    let folder = Folder::new();
    let text = folder.run(&["failures", "show", "oom-killed"]).expect(0).stdout;
    for part in ["oom-killed", "resource-limit", "deployments", "patch", "sha256:"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let json = folder.run(&["failures", "show", "oom-killed", "--format", "json"]).expect(0).json();
    assert_eq!(json["metadata"]["ground_truth"]["fault_type"], "resource-limit", "{json:#}");
}

#[test]
fn a_broken_failure_folder_is_told_and_does_not_hide_the_others() {
    let folder = Folder::new();
    folder.write("failures/broken/metadata.yaml", "name: Broken\nseverty: high\n");
    let list = folder.run(&["failures", "list"]).expect(0).says(&["broken/metadata.yaml:2:1:", "severity"]);
    assert!(list.stdout.contains("oom-killed"), "{}", list.stdout);
}

#[test]
fn a_dry_run_shows_cases_and_powers_and_writes_nothing() {
    let folder = Folder::new();
    folder.write("m.yaml", SMALL);
    let text = folder.run(&["run", "m.yaml", "--dry-run", "--filter", "failure=image-*"]).expect(0).stdout;
    for part in [
        "local--image-pull-error--triage",
        "== Failure image-pull-error",
        "deployments",
        "edit-case",
        "made for the run",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert!(!text.contains("no-fault"), "only what is selected:\n{text}");
    let plan = folder.run(&["run", "m.yaml", "--dry-run", "--repeat", "3", "--format", "json"]).expect(0).json();
    assert_eq!(plan["cases"].as_array().map(Vec::len), Some(12), "{plan:#}");
    folder.run(&["run", "m.yaml", "--dry-run", "--filter", "nothing"]).expect(13).says(&["selects none of the 4"]);
    folder.run(&["run", "m.yaml", "--filter", "nothing"]).expect(13).says(&["selects none of the 4"]);
    assert_eq!(folder.files(), ["m.yaml"]);
}
