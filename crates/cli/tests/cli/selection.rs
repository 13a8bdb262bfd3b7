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
    assert_eq!(starting, ["local--crashloopbackoff--triage"]);
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
        ["local--crashloopbackoff--triage"]
    );
    // The eleventh of twenty parts of nine cases: nothing to do, and nothing wrong.
    let empty = folder.run(&["run", "m.yaml", "--partition", "slice:11/20", "--format", "json"]).expect(0).json();
    assert_eq!(empty["totals"]["total"], 0, "{empty:#}");
    folder.run(&["run", "m.yaml", "--partition", "slice:1/2", "--filter", "nothing"]).expect(13);
}

#[test]
fn what_did_not_pass_is_run_again() {
    let folder = folder();
    folder.run(&["run", "m.yaml", "--filter", "failure!=crash*"]).expect(10);
    let failed = ["local--image-pull-error--wrong", "local--no-fault--wrong"];
    let again = ["--rerun", "failed", "--of", "latest"];
    assert_eq!(chosen(&folder, &again), failed, "controls do not count");
    let first = folder.run(&["runs", "list", "--format", "json"]).expect(0).json();
    let first = first[0]["run"]["run_id"].as_str().expect("an id").to_owned();
    let run = folder.run(&[&["run", "m.yaml", "--format", "json"], &again[..]].concat()).expect(10).json();
    let cases = run["cases"].as_array().expect("cases").iter().map(|case| case["id"].as_str().unwrap_or(""));
    assert_eq!(cases.collect::<Vec<_>>(), failed);

    assert_eq!(chosen(&folder, &["--rerun", "failed,missing", "--of", &first]).len(), 5, "and three that never ran");
    let unjudged = ["run", "m.yaml", "--rerun", "unjudged", "--of", "latest"];
    folder.run(&unjudged).expect(13).says(&["selects none"]);
    folder.run(&["list", "m.yaml", "--rerun", "failed", "--of", "nosuch"]).expect(1).says(&["nosuch"]);
    folder.write("m.yaml", MATRIX.replace("no-fault]", "oom-killed]"));
    let fewer = folder.run(&[&["list", "m.yaml"], &again[..]].concat()).expect(0);
    assert_eq!(lines(&fewer), failed[..1]);
    fewer.says(&["not run again: local--no-fault--wrong"]);
}
