//! Ctrl-C in the middle of a case: clean-up, a partial report, and the exit code that shells expect.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use e2e::{Running, Sandbox, wait_until};
use model::Outcome;
use rustix::process::Signal;

const MATRIX: &str = "\
name: slow
clusters:
  - {id: local, provisioner: embedded}
failures: [oom-killed, no-fault]
agents: [sleeps]
objective: diagnose
execution: {timeout_per_test: 5m}
";

#[test]
fn an_interrupted_run_cleans_up_and_says_so() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let sandbox = Sandbox::new();
        sandbox.write("m.yaml", MATRIX);
        sandbox.write(
            "agents/sleeps.yaml",
            "id: sleeps\nsupports: [diagnose]\ncommand: [sh, -c, 'echo awake; sleep 600']\nstdin: none\n",
        );
        let mut command = sandbox.command();
        command.args(["run", "m.yaml", "--agents-dir", "agents"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Running::start(&mut command);
        let results = sandbox.path().join("results");
        wait_until("the agent to start", Duration::from_secs(60), || {
            let runs = fs::read_dir(&results).into_iter().flatten().filter_map(Result::ok);
            runs.map(|run| run.path().join("events.jsonl"))
                .any(|events| fs::read_to_string(events).is_ok_and(|text| text.contains("awake")))
        });
        process.signal(signal);
        let status = process.wait(Duration::from_secs(30));
        assert_eq!(status.code(), Some(code), "{signal:?}");
        let run = sandbox.only_run();
        let file = run.run();
        assert_eq!(file.exit_code.map(i32::from), Some(code));
        assert!(file.finished_at.is_some() && file.totals.interrupted >= 1, "{file:?}");
        assert_eq!(run.case("local--oom-killed--sleeps").outcome, Outcome::Interrupted);
        assert!(run.path().join("report.md").exists() && run.path().join("junit.xml").exists(), "a partial report");
        sandbox.assert_nothing_left();
    }
}
