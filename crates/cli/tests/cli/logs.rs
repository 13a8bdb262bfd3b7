//! Logs of agents, live and from another terminal: every line, whole, after whose it is.

use std::process::Stdio;
use std::time::{Duration, Instant};

use model::{Event, EventKind};

use crate::support::Folder;

/// Far more lines than the event stream has room for.
const LINES: usize = 20_000;

const MATRIX: &str = "\
name: chatty
clusters: [{id: local, provisioner: embedded}]
failures: [no-fault, image-pull-error]
agents: [chatty]
objective: diagnose
execution: {repeats: 2}
";

fn chatty(folder: &Folder, before: &str) {
    let script = format!(
        "{before}seq 1 {LINES}; echo done >&2; echo \"{{\\\"fault_present\\\": false}}\" > \"$HARNESS_ANSWER\""
    );
    let preset = format!("id: chatty\nsupports: [diagnose]\ncommand: [sh, -c, {}]\n", serde_json::json!(script));
    folder.write("agents/chatty.yaml", preset);
    folder.write("m.yaml", MATRIX);
}

/// The numbers that a case printed, in the order in which they stand here.
fn numbers(text: &str, case: &str) -> Vec<usize> {
    let prefix = format!("{case} agent: ");
    text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(|number| number.parse().expect("a number")).collect()
}

#[test]
fn every_line_is_streamed_whole_and_can_be_read_again() {
    let folder = Folder::new();
    chatty(&folder, "");
    let followed = folder.run(&["run", "m.yaml", "--follow"]).expect(10);
    let read = folder.run(&["runs", "logs", "latest"]).expect(0).stdout;
    let all: Vec<usize> = (1..=LINES).collect();
    for case in ["local/no-fault/chatty", "local/no-fault/chatty.r2", "local/image-pull-error/chatty"] {
        for text in [&followed.stderr, &read] {
            assert!(numbers(text, case) == all, "{case}: every line, in order");
            assert!(text.lines().any(|line| line == format!("{case} agent!: done")), "{case}: standard error");
        }
    }
    let known = |line: &str| {
        let starts = ["local/", "[", "Running ", "      ", "  now", "chatty ", "run "];
        line.is_empty() || starts.iter().any(|start| line.starts_with(start))
    };
    assert_eq!(followed.stderr.lines().find(|line| !known(line)), None, "no line is torn");

    let one = folder.run(&["runs", "logs", "latest", "local--no-fault--chatty"]).expect(0).stdout;
    assert_eq!(numbers(&one, "local/no-fault/chatty").len(), LINES);
    assert!(!one.contains("chatty.r2") && !one.contains("image-pull-error"), "a whole id means that case alone");
    let part = folder.run(&["runs", "logs", "latest", "no-fault"]).expect(0).stdout;
    assert!(part.contains("chatty.r2 agent: 1\n") && !part.contains("image-pull-error"));
    folder.run(&["runs", "logs", "latest", "oom"]).expect(1).says(&["no case `oom`", "local--no-fault--chatty"]);
    folder.run(&["runs", "logs", "nosuch"]).expect(1).says(&["nosuch"]);

    let json = folder.run(&["runs", "logs", "latest", "--format", "json"]).expect(0).stdout;
    let events: Vec<Event> = serde_json::from_str(&json).expect("an array of events");
    assert!(events.iter().enumerate().all(|(index, event)| event.seq == index as u64 + 1), "all of them");
    let lines = folder.run(&["runs", "logs", "latest", "--follow", "--format", "json"]).expect(0).stdout;
    let streamed: Vec<Event> = lines.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert!(streamed == events, "the same, an event a line");
    assert!(matches!(events.last().map(|event| &event.event), Some(EventKind::RunFinished { exit_code: 10, .. })));
}

#[test]
fn a_run_is_followed_from_another_terminal_until_it_ends() {
    let folder = Folder::new();
    // It waits for a file of ours: the run cannot have ended before it is followed.
    let go = folder.path().join("go");
    chatty(&folder, &format!("echo ready; while ! test -e {}; do sleep 0.05; done; ", go.display()));
    let preset = folder.path().join("agents/chatty.yaml");
    let text = std::fs::read_to_string(&preset).expect("a preset");
    std::fs::write(&preset, format!("{text}sandbox: {{read: [{}]}}\n", folder.path().display())).expect("written");
    let args = ["run", "m.yaml", "--filter", "case=local--no-fault--chatty"];
    let mut run = folder.command().args(args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
    let until = Instant::now() + Duration::from_secs(60);
    while !folder.run(&["runs", "logs", "latest"]).stdout.contains("agent: ready") {
        assert!(Instant::now() < until, "the agent never began");
        std::thread::sleep(Duration::from_millis(50));
    }
    let args = ["runs", "logs", "latest", "no-fault", "--follow"];
    let follower =
        folder.command().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    std::fs::write(&go, "").expect("written");
    let followed = follower.wait_with_output().expect("it ends with the run");
    let text = String::from_utf8(followed.stdout).expect("UTF-8");
    assert!(followed.status.success(), "{}", String::from_utf8_lossy(&followed.stderr));
    assert_eq!(numbers(&text.replace("agent: ready\n", "\n"), "local/no-fault/chatty").len(), LINES);
    assert!(text.lines().last().is_some_and(|line| line.starts_with("[1/1] ")), "{:?}", text.lines().last());
    run.wait().expect("it ends");
}
