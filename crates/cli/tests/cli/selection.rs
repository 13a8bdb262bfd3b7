//! Which cases are run: the same words in `list`, `run --dry-run` and `run`.

use crate::support::{Ended, Folder};

const MATRIX: &str = "\
name: chosen
clusters: [{id: local, provisioner: embedded}]
failures: [image-pull-error, crashloopbackoff, no-fault]
agents: [triage, wrong, {id: idle, control: true}]
objective: diagnose
";

/// An agent that always says the same.
const WRONG: &str = r#"
id: wrong
supports: [diagnose]
command: [sh, -c, 'echo "{\"fault_present\": true, \"root_causes\": [{\"kind\": \"Node\", \"name\": \"x\"}]}" > "$HARNESS_ANSWER"']
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("m.yaml", MATRIX);
    folder.write("agents/wrong.yaml", WRONG);
    folder
}

fn lines(ended: &Ended) -> Vec<String> {
    ended.stdout.lines().map(str::to_owned).collect()
}

/// What `list` prints; and that a dry run has the same cases.
fn chosen(folder: &Folder, options: &[&str]) -> Vec<String> {
    let listed = lines(&folder.run(&[&["list", "m.yaml"], options].concat()).expect(0));
    if !listed.is_empty() {
        let plan =
            folder.run(&[&["run", "m.yaml", "--dry-run", "--format", "json"], options].concat()).expect(0).json();
        let planned = plan["cases"].as_array().expect("cases").iter().map(|case| case["id"].as_str().unwrap_or(""));
        assert_eq!(planned.collect::<Vec<_>>(), listed, "{options:?}");
    }
    listed
}

#[test]
fn filters_know_tags_and_what_does_not_match() {
    let folder = folder();
    let starting = chosen(&folder, &["--filter", "tag=start*", "--filter", "agent=triage"]);
    assert_eq!(
        starting,
        ["local--crashloopbackoff--triage", "local--crashloopbackoff--idle"],
        "its control comes along"
    );
    let others = chosen(&folder, &["--filter", "tag!=start*", "--filter", "agent!=idle", "--filter", "agent!=triage"]);
    assert_eq!(others, ["local--image-pull-error--wrong", "local--no-fault--wrong"]);
    assert_eq!(chosen(&folder, &["--filter", "case!=*--idle"]).len(), 6);
    folder.run(&["list", "m.yaml", "--filter", "colour!=red"]).expect(2).says(&["unknown key `colour`", "`tag=`"]);
    folder.run(&["run", "m.yaml", "--filter", "tag=none-has-it"]).expect(13).says(&["none of the 9 cases"]);
}

#[test]
fn partitions_are_the_whole_together() {
    let folder = folder();
    let all = chosen(&folder, &[]);
    assert_eq!(all.len(), 9);
    for kind in ["slice", "hash"] {
        let part = |m: usize, n: usize| chosen(&folder, &["--partition", &format!("{kind}:{m}/{n}")]);
        let mut together: Vec<String> = (1..=4).flat_map(|m| part(m, 4)).collect();
        together.sort_by_key(|case| all.iter().position(|one| one == case));
        assert_eq!(together, all, "{kind}");
    }
    assert_eq!(
        chosen(&folder, &["--partition", "slice:2/4", "--filter", "agent=triage"]),
        ["local--crashloopbackoff--triage", "local--crashloopbackoff--idle"]
    );
    // The eleventh of twenty parts of three failures: nothing to do, and nothing wrong.
    let empty = folder.run(&["run", "m.yaml", "--partition", "slice:11/20", "--format", "json"]).expect(0).json();
    assert_eq!(empty["totals"]["total"], 0, "{empty:#}");
    folder.run(&["run", "m.yaml", "--partition", "slice:1/2", "--filter", "nothing"]).expect(13);
}

#[test]
fn what_did_not_pass_is_run_again() {
    let folder = folder();
    folder.run(&["run", "m.yaml", "--filter", "failure!=crash*"]).expect(10);
    let failed = [
        "local--image-pull-error--wrong",
        "local--image-pull-error--idle",
        "local--no-fault--wrong",
        "local--no-fault--idle",
    ];
    let again = ["--rerun", "failed", "--of", "latest"];
    assert_eq!(chosen(&folder, &again), failed, "and their controls, which have not passed, do not count");
    let first = folder.run(&["runs", "list", "--format", "json"]).expect(0).json();
    let first = first[0]["run"]["run_id"].as_str().expect("an id").to_owned();
    let run = folder.run(&[&["run", "m.yaml", "--format", "json"], &again[..]].concat()).expect(10).json();
    let cases = run["cases"].as_array().expect("cases").iter().map(|case| case["id"].as_str().unwrap_or(""));
    assert_eq!(cases.collect::<Vec<_>>(), failed);

    assert_eq!(chosen(&folder, &["--rerun", "failed,missing", "--of", &first]).len(), 7, "and three that never ran");
    let unjudged = ["run", "m.yaml", "--rerun", "unjudged", "--of", "latest"];
    folder.run(&unjudged).expect(13).says(&["selects none"]);
    folder.run(&["list", "m.yaml", "--rerun", "failed", "--of", "nosuch"]).expect(1).says(&["nosuch"]);
    folder.write("m.yaml", MATRIX.replace("no-fault]", "oom-killed]"));
    let fewer = folder.run(&[&["list", "m.yaml"], &again[..]].concat()).expect(0);
    assert_eq!(lines(&fewer), failed[..2]);
    fewer.says(&["not run again: local--no-fault--wrong"]);
}

/// What the reports of a run say of each case, and its totals.
fn verdicts(folder: &Folder, options: &[&str]) -> (Vec<(String, String)>, serde_json::Value) {
    let run = folder.run(&[&["run", "m.yaml", "--exit-zero", "--format", "json"], options].concat()).expect(0).json();
    let cases = run["cases"].as_array().expect("cases").iter().map(|case| {
        let text = |key: &str| case[key].as_str().unwrap_or("").to_owned();
        (text("id"), format!("{} {}", text("outcome"), text("rule")))
    });
    let cases: Vec<_> = cases.collect();
    let junit = folder.path().join(run["dir"].as_str().expect("a folder")).join("junit.xml");
    let junit = std::fs::read_to_string(junit).expect("JUnit");
    for (id, _) in &cases {
        assert_eq!(junit.matches(&format!("<testcase name=\"{id}\"")).count(), 1, "{id} in\n{junit}");
    }
    (cases, run["totals"].clone())
}

/// A control that passes two failures of three: wherever a case is run, it must come to what it comes to in the whole.
#[test]
fn no_verdict_depends_on_the_part_in_which_a_case_was_run() {
    let folder = folder();
    folder.write(
        "m.yaml",
        MATRIX.replace("{id: idle, control: true}", "{id: triage, name: seer, control: true}").replace(
            "no-fault]",
            "oom-killed]\nexclude: [{failure: oom-killed, agent: seer}, {failure: crashloopbackoff, agent: wrong}]",
        ),
    );
    let (whole, totals) = verdicts(&folder, &[]);
    let of = |word: &str| whole.iter().filter(|(_, said)| said.starts_with(word)).count();
    assert_eq!((whole.len(), of("invalid control_passed"), of("passed")), (7, 3, 3), "{whole:?}");
    for kind in ["slice", "hash"] {
        let parts: Vec<_> = (1..=3).map(|m| verdicts(&folder, &["--partition", &format!("{kind}:{m}/3")])).collect();
        assert!(parts.iter().filter(|(cases, _)| !cases.is_empty()).count() > 1, "{kind} has dealt everything to one");
        let mut together: Vec<_> = parts.iter().flat_map(|(cases, _)| cases.clone()).collect();
        together.sort_by_key(|(id, _)| whole.iter().position(|(one, _)| one == id));
        assert_eq!(together, whole, "{kind}");
        for (key, number) in totals.as_object().expect("totals") {
            let sum: u64 = parts.iter().filter_map(|(_, totals)| totals[key].as_u64()).sum();
            assert_eq!(Some(sum), number.as_u64(), "{key} of {kind}: a control is counted once");
        }
    }
    let (one, _) = verdicts(&folder, &["--filter", "case=*pull-error--triage"]);
    assert!(one.len() == 2 && whole.contains(&one[0]) && one[0].1.starts_with("invalid"), "{one:?}");
}
