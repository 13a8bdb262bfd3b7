//! Wrong input: exit code 1, every error with its place, nothing run, nothing written.

use crate::support::{Folder, SMALL};

/// A matrix, and what must be said of it.
const WRONG: &[(&str, &str, &[&str])] = &[
    ("an unknown failure", "failures: [image-pul-error]", &["m.yaml:3:", "image-pul-error", "`image-pull-error`"]),
    ("an unknown agent", "agents: [triag]", &["m.yaml:4:", "triag", "`triage`"]),
    (
        "a provisioner of a later version",
        "clusters: [{id: local, provisioner: k0rdent}]",
        &["m.yaml:2:", "k0rdent", "embedded, stub, kind"],
    ),
    (
        "a kind cluster from a file that somebody names",
        "clusters: [{id: local, provisioner: kind, template: /etc/passwd}]",
        &["m.yaml:2:", "`/etc/passwd`", "kindest/node:v1.36.0"],
    ),
    ("an unknown provisioner", "clusters: [{id: local, provisioner: embeded}]", &["m.yaml:2:", "`embedded`"]),
    ("an unknown key", "objektive: both", &["m.yaml:5:1:", "objektive", "`objective`"]),
    ("a wrong type", "execution: {repeats: many}", &["m.yaml:5:", "many"]),
    ("a duplicate id", "agents: [triage, triage]", &["m.yaml:4:", "triage"]),
    ("an empty list", "failures: []", &["m.yaml:3:"]),
];

fn matrix(line: &str) -> String {
    let mut lines = vec![
        "name: wrong".to_owned(),
        "clusters: [{id: local, provisioner: embedded}]".to_owned(),
        "failures: [no-fault]".to_owned(),
        "agents: [triage]".to_owned(),
    ];
    let key = line.split(':').next().unwrap_or_default();
    match lines.iter().position(|known| known.split(':').next() == Some(key)) {
        Some(at) => lines[at] = line.to_owned(),
        None => lines.push(line.to_owned()),
    }
    lines.join("\n") + "\n"
}

#[test]
fn wrong_matrices_are_refused_and_write_nothing() {
    let folder = Folder::new();
    for (what, line, said) in WRONG {
        folder.write("m.yaml", matrix(line));
        for command in ["validate", "list", "run"] {
            let ended = folder.run(&[command, "m.yaml"]);
            assert_eq!(ended.code, 1, "{what}, {command}: {}", ended.stderr);
            assert_eq!(ended.stdout, "", "{what}, {command}: errors are talk");
            ended.expect(1).says(said);
            assert_eq!(folder.files(), ["m.yaml"], "{what}, {command}");
        }
    }
}

#[test]
fn hostile_yaml_is_refused() {
    let folder = Folder::new();
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"]) {
        let aliases = vec![format!("*{before}"); 9].join(", ");
        bomb.push_str(&format!("{name}: &{name} [{aliases}]\n"));
    }
    let deep = format!("name: {}1{}\n", "[".repeat(5000), "]".repeat(5000));
    let cases = [
        ("a tab", "name: wrong\nclusters:\n\t- {id: local}\n".to_owned()),
        ("an alias bomb", bomb),
        ("nesting", deep),
        ("nothing", String::new()),
        ("a list", "- a\n- b\n".to_owned()),
    ];
    for (what, text) in cases {
        folder.write("m.yaml", text);
        let ended = folder.run(&["run", "m.yaml"]);
        assert_eq!(ended.code, 1, "{what}: {}", ended.stderr);
        ended.expect(1).says(&["m.yaml"]);
        assert_eq!(folder.files(), ["m.yaml"], "{what}");
    }
    folder.run(&["run", "absent.yaml"]).expect(1).says(&["absent.yaml"]);
    folder.write("m.yaml", b"name: \xff\xfe\n");
    folder.run(&["validate", "m.yaml"]).expect(1).says(&["m.yaml", "UTF-8"]);
}

#[test]
fn validation_as_json_says_what_is_wrong_where() {
    let folder = Folder::new();
    folder.write("m.yaml", matrix("failures: [image-pul-error]").replace("triage", "triag"));
    let wrong = folder.run(&["validate", "m.yaml", "--format", "json"]).expect(1).json();
    assert_eq!(wrong["valid"], false);
    let errors = wrong["errors"].as_array().expect("an array");
    assert_eq!(errors.len(), 2, "both at once: {wrong:#}");
    assert_eq!((&errors[0]["file"], &errors[0]["line"]), (&"m.yaml".into(), &3.into()));
    assert!(errors[0]["help"].as_str().is_some_and(|help| help.contains("image-pull-error")), "{wrong:#}");

    folder.write("m.yaml", SMALL);
    let right = folder.run(&["validate", "m.yaml", "--format", "json"]).expect(0).json();
    assert_eq!((&right["valid"], &right["cases"]), (&true.into(), &4.into()), "{right:#}");
    assert_eq!(right["agents"][0]["executor"], "command", "{right:#}");
    let text = folder.run(&["validate", "m.yaml"]).expect(0).stdout;
    assert!(text.contains("4 cases") && text.contains("triage") && text.contains("command"), "{text}");
    assert_eq!(folder.files(), ["m.yaml"]);
}

#[test]
fn a_wrong_configuration_is_named_with_its_place() {
    let folder = Folder::new();
    folder.write("harness.toml", "results_dir = \"r\"\nresult_dirs = 1\n");
    folder.run(&["runs", "list"]).expect(1).says(&["harness.toml:2:1:", "result_dirs"]);
    folder.run(&["--config", "absent.toml", "runs", "list"]).expect(1).says(&["absent.toml"]);
    folder.write("harness.toml", "grants = \"absent.yaml\"\n");
    folder.run(&["runs", "list"]).expect(1).says(&["absent.yaml"]);
    std::fs::remove_file(folder.path().join("harness.toml")).expect("removed");
    folder.run(&["--failures-dir", "absent", "failures", "list"]).expect(1).says(&["absent"]);
}

#[test]
fn parameters_are_checked_before_anything_is_run() {
    let folder = Folder::new();
    folder.write("m.yaml", matrix("failures: [{id: oom-killed, params: {memry: 40Mi}}]"));
    folder.run(&["validate", "m.yaml"]).expect(1).says(&["m.yaml:3:", "memry"]);
    folder.run(&["run", "m.yaml"]).expect(1).says(&["memry"]);
    assert_eq!(folder.files(), ["m.yaml"]);
}
