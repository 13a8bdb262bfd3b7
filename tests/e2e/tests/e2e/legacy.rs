//! Old script failures, through the shim, with and without the kubectl that they need.

use std::os::unix::fs::symlink;
use std::path::Path;

use e2e::{Finished, Sandbox, kubectl_or_skip, repository};
use model::{Class, Outcome, WitnessKind};

fn run(sandbox: &Sandbox, path: &str, args: &[&str]) -> Finished {
    let matrix = repository().join("matrices/legacy.yaml");
    Finished::of(sandbox.command().env("PATH", path).arg("run").arg(matrix).args(args))
}

#[test]
fn the_script_failure_runs_through_the_shim() {
    let Some(kubectl) = kubectl_or_skip("the script failure") else { return };
    let folder = kubectl.parent().expect("kubectl lies in a folder").display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    let sandbox = Sandbox::new();
    run(&sandbox, &path, &[]).expect(0);
    let cases = sandbox.only_run().cases();
    assert!(cases.iter().any(|case| case.agent.as_str() == "triage"));
    for case in cases.iter().filter(|case| !case.control) {
        assert_eq!(case.outcome, Outcome::Passed, "{}: {}", case.id, case.message);
        assert_eq!(case.witness.as_ref().expect("a witness").kind, WitnessKind::Host);
    }
    sandbox.assert_nothing_left();
}

/// A folder with the programs that any script expects, and no kubectl.
fn path_without_kubectl(sandbox: &Sandbox) -> String {
    let bin = sandbox.path().join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    for name in ["sh", "bash", "env", "cat", "sed", "sleep", "echo", "dirname"] {
        let found = ["/bin", "/usr/bin"].iter().map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
        if let Some(program) = found {
            symlink(program, bin.join(name)).expect("a link");
        }
    }
    bin.display().to_string()
}

#[test]
fn without_kubectl_the_script_failure_is_skipped_with_the_reason() {
    let sandbox = Sandbox::new();
    let path = path_without_kubectl(&sandbox);
    let finished = run(&sandbox, &path, &[]).expect(11);
    assert!(format!("{}{}", finished.stdout, finished.stderr).contains("kubectl"), "{finished:?}");
    let run = sandbox.only_run();
    for case in run.cases() {
        assert_eq!((case.outcome, case.class), (Outcome::Skipped, Some(Class::Test)), "{}", case.id);
        assert!(case.message.contains("kubectl"), "{}: {}", case.id, case.message);
    }
    assert!(run.read("junit.xml").contains("<skipped"), "JUnit says skipped");
    sandbox.assert_nothing_left();
}

#[test]
fn skipped_cases_can_be_allowed() {
    let sandbox = Sandbox::new();
    let path = path_without_kubectl(&sandbox);
    run(&sandbox, &path, &["--allow-skipped"]).expect(0);
}
