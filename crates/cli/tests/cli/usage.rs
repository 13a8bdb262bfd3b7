//! The command line itself: exit code 2, suggestions, help, completions, and the pinned exit codes.

use std::process::Stdio;

use model::exit_code;

use crate::support::{Folder, SMALL};

#[test]
fn exit_codes_are_those_of_the_contract() {
    let codes = [
        exit_code::OK,
        exit_code::INVALID_INPUT,
        exit_code::USAGE,
        exit_code::FAILED,
        exit_code::UNJUDGED,
        exit_code::LEAK,
        exit_code::NOTHING_SELECTED,
        exit_code::SIGINT,
        exit_code::SIGTERM,
    ];
    assert_eq!(codes, [0, 1, 2, 10, 11, 12, 13, 130, 143]);
}

#[test]
fn wrong_usage_is_two_with_a_suggestion() {
    let folder = Folder::new();
    folder.run(&["valdate", "m.yaml"]).expect(2).says(&["valdate", "validate"]);
    folder.run(&["run", "m.yaml", "--fail-fats"]).expect(2).says(&["--fail-fast"]);
    folder.run(&["run"]).expect(2).says(&["<MATRIX>"]);
    folder.run(&["run", "m.yaml", "--repeat", "0"]).expect(2).says(&["--repeat"]);
    folder.run(&["run", "m.yaml", "--timeout-per-test", "10"]).expect(2).says(&["10s"]);
    folder.run(&["run", "m.yaml", "--timeout-per-test", "0s"]).expect(2).says(&["no time", "90s"]);
    folder.run(&["schema", "matrx"]).expect(2).says(&["matrix"]);
    folder.run(&["runs", "compare"]).expect(2);
    folder.run(&[]).expect(2).says(&["Usage:"]);
    assert!(folder.files().is_empty());
}

#[test]
fn options_say_what_would_be_right() {
    let folder = Folder::new();
    folder.write("m.yaml", SMALL);
    folder.run(&["run", "m.yaml", "--partition=slice:3/2"]).expect(2).says(&["slice:M/N", "M from 1 to N"]);
    folder.run(&["run", "m.yaml", "--rerun=failed"]).expect(2).says(&["--of"]);
    folder.run(&["list", "m.yaml", "--rerun=lost", "--of=latest"]).expect(2).says(&["failed", "unjudged", "missing"]);
    folder.run(&["run", "m.yaml", "--retries=11"]).expect(2).says(&["0..=10"]);
    let kubeconfig = ["failures", "run", "no-fault", "--kubeconfig", "absent"];
    folder.run(&kubeconfig).expect(1).says(&["absent cannot be read"]);
}

#[test]
fn a_wrong_filter_is_wrong_usage() {
    let folder = Folder::new();
    folder.write("m.yaml", SMALL);
    for command in ["list", "run"] {
        folder.run(&[command, "m.yaml", "--filter", "colour=red"]).expect(2).says(&["colour", "failure="]);
    }
    assert_eq!(folder.files(), ["m.yaml"]);
}

#[test]
fn help_and_completions_are_data() {
    let folder = Folder::new();
    let help = folder.run(&["run", "--help"]).expect(0);
    for part in ["--filter <EXPR>", "Exit codes:", "--dry-run", "--results-dir <DIR>"] {
        assert!(help.stdout.contains(part), "{part} is missing in\n{}", help.stdout);
    }
    assert!(!folder.run(&["--help"]).expect(0).stdout.contains("triage"), "agents' commands are hidden");
    for shell in ["bash", "zsh", "fish"] {
        let completions = folder.run(&["completions", shell]).expect(0).stdout;
        assert!(completions.contains("harness-cli") && completions.contains("failures"), "{shell}");
    }
    assert!(folder.run(&["--version"]).expect(0).stdout.starts_with("harness-cli "));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::new();
    let many = "execution: {repeats: 9000}\n";
    folder.write("m.yaml", format!("{SMALL}{many}"));
    for args in [&["list", "m.yaml"][..], &["list", "m.yaml", "--format", "json"], &["schema", "case"]] {
        let mut child =
            folder.command().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        drop(child.stdout.take());
        let ended = child.wait_with_output().expect("ends");
        assert_eq!(ended.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
        assert!(ended.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}
