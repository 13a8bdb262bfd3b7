//! Agents that do not behave: what each gets, and that nothing of them is left.

use e2e::Sandbox;
use model::{Class, Outcome};

const MATRIX: &str = "\
name: odd
clusters:
  - {id: local, provisioner: embedded}
failures: [oom-killed]
agents: [crashes, babbles, silent, hangs]
objective: diagnose
execution: {timeout_per_test: 8s}
";

fn preset(sandbox: &Sandbox, id: &str, script: &str) {
    let text = format!(
        "id: {id}\nsupports: [diagnose]\ncommand: [sh, -c, {}]\nstdin: none\nanswer: file\n",
        serde_json::Value::from(script)
    );
    sandbox.write(&format!("agents/{id}.yaml"), text);
}

#[test]
fn an_agent_that_fails_is_judged_and_ended_with_all_its_processes() {
    let sandbox = Sandbox::new();
    preset(&sandbox, "crashes", "echo something went wrong >&2; exit 3");
    preset(&sandbox, "babbles", r#"echo 'not JSON at all' > "$HARNESS_ANSWER""#);
    preset(&sandbox, "silent", "true");
    // A process in a session of its own must not outlive the case either.
    preset(&sandbox, "hangs", "setsid sleep 600 & trap '' TERM; sleep 600");
    sandbox.write("m.yaml", MATRIX);
    sandbox.harness(&["run", "m.yaml", "--agents-dir", "agents"]).expect(10);
    let run = sandbox.only_run();
    for agent in ["crashes", "babbles", "silent"] {
        let case = run.case(&format!("local--oom-killed--{agent}"));
        assert_eq!((case.outcome, case.class), (Outcome::Failed, Some(Class::Agent)), "{agent}: {}", case.message);
        assert!(!case.message.is_empty());
    }
    let hung = run.case("local--oom-killed--hangs");
    assert_eq!((hung.outcome, hung.class), (Outcome::TimedOut, Some(Class::Agent)), "{}", hung.message);
    let stderr = run.read("logs/local--oom-killed--crashes/agent.stderr");
    assert!(stderr.contains("something went wrong"), "{stderr:?}");
    assert!(run.case("local--oom-killed--babbles").answer.error.is_some(), "says why the answer can't be read");
    sandbox.assert_nothing_left();
}
