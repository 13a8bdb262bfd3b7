//! `agent::run`: what an agent gets, and what is made of what it does.

use std::collections::BTreeMap;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalog::AgentPreset;
use executor::agent::{AgentResult, AgentRun, missing, run};
use executor::{Exit, sandbox_available};
use model::{AnswerSlot, Endpoints, Objective, Outcome, Task, UsageSource};
use serde_json::{Value, json};
use yaml::Source;

use crate::{STAGE, assert_gone, later};

pub(crate) const KUBECONFIG: &str = "users:\n- name: user\n  user:\n    token: 0123456789abcdef\n";

/// A preset whose command is a shell script.
pub(crate) fn preset(script: &str, more: &str) -> AgentPreset {
    let script = serde_json::to_string(script).expect("JSON");
    let text = format!("id: probe\ncommand: [/bin/sh, -c, {script}]\n{more}");
    AgentPreset::parse(&Source::new("probe.yaml", text), Some("probe")).expect("a preset")
}

pub(crate) fn task(objective: Objective) -> Task {
    Task {
        schema: 1,
        prompt: "Something may be wrong in namespace c-1.".into(),
        namespace: "c-1".into(),
        objective,
        deadline: "2026-11-21T10:15:00Z".parse().expect("a time"),
        answer: AnswerSlot { path: String::new(), schema: executor::answer_schema() },
        fault_types: BTreeMap::from([("image".to_owned(), "an image that does not exist".to_owned())]),
        endpoints: Endpoints::default(),
    }
}

/// Runs an agent; what it left lies in the folder.
pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) lines: Arc<Mutex<Vec<String>>>,
    pub(crate) objective: Objective,
    pub(crate) args: Vec<String>,
    pub(crate) deadline: Instant,
    pub(crate) hidden: Vec<PathBuf>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            folder,
            lines: Arc::default(),
            objective: Objective::Both,
            args: Vec::new(),
            deadline: later(),
            hidden: Vec::new(),
        }
    }

    pub(crate) async fn run(&self, preset: &AgentPreset) -> AgentResult {
        let lines = Arc::clone(&self.lines);
        let agent = AgentRun {
            preset,
            args: &self.args,
            task: &task(self.objective),
            kubeconfig: KUBECONFIG,
            harness_exe: Path::new(STAGE),
            hidden: &self.hidden,
            given_log: self.folder.path().join("given.json"),
            stdout_log: self.folder.path().join("agent.stdout"),
            stderr_log: self.folder.path().join("agent.stderr"),
            artifacts_dir: self.artifacts(),
            deadline: self.deadline,
            on_line: Arc::new(move |_, line: &str| {
                lines.lock().expect("lock").push(line.to_owned());
                None
            }),
        };
        run(agent, pending()).await
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.folder.path().join("artifacts")
    }

    pub(crate) fn artifact(&self, name: &str) -> String {
        std::fs::read_to_string(self.artifacts().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
}

#[tokio::test]
async fn an_agent_finds_what_it_needs_and_nothing_else() {
    let script = r#"
        env | sort > env.txt; pwd > pwd.txt; cp "$HARNESS_TASK" task.txt; cat > stdin.txt
        cp "$KUBECONFIG" config.txt; ls -A "$HOME" > home.txt; touch "$HOME/mine" "$TMPDIR/scratch"
        stat -c '%a' "$KUBECONFIG" "$HARNESS_TASK" "${PWD%/*}" "$HOME" > modes.txt
        echo '{"fault_present": true, "fault_type": "image"}' > "$HARNESS_ANSWER"
    "#;
    let stage = Stage::new();
    let result = stage.run(&preset(script, "env: {set: {MODE: test}}")).await;
    assert_eq!(result.exit, Exit::Code(0));
    assert_eq!(result.answer.error, None);
    assert_eq!(result.answer.parsed.and_then(|a| a.fault_type).as_deref(), Some("image"));

    let env: BTreeMap<String, String> = stage
        .artifact("env.txt")
        .lines()
        .filter_map(|l| l.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .filter(|(k, _)| !matches!(k.as_str(), "PWD" | "OLDPWD" | "SHLVL" | "_"))
        .collect();
    let names: Vec<&str> = env.keys().map(String::as_str).collect();
    let expected = [
        "HARNESS_ANSWER",
        "HARNESS_NAMESPACE",
        "HARNESS_TASK",
        "HOME",
        "KUBECONFIG",
        "LANG",
        "MODE",
        "NO_PROXY",
        "PATH",
        "TMPDIR",
        "TZ",
        "no_proxy",
    ];
    assert_eq!(names, expected);
    assert_eq!((env["HARNESS_NAMESPACE"].as_str(), env["MODE"].as_str()), ("c-1", "test"));
    assert!(env["NO_PROXY"].contains("127.0.0.1"));

    let base = Path::new(&env["HARNESS_TASK"]).parent().expect("a folder");
    assert_eq!(stage.artifact("pwd.txt").trim(), base.join("workspace").to_str().expect("text"));
    assert!([&env["KUBECONFIG"], &env["TMPDIR"]].iter().all(|p| Path::new(p).starts_with(base)));
    assert!(!Path::new(&env["HOME"]).starts_with(base), "the home is not collected");
    assert_eq!(stage.artifact("modes.txt"), "600\n600\n700\n700\n");
    assert_eq!(stage.artifact("home.txt"), "");
    let task: Value = serde_json::from_str(&stage.artifact("task.txt")).expect("a task");
    assert_eq!(task["answer"]["path"].as_str(), Some(env["HARNESS_ANSWER"].as_str()));
    let prompt = stage.artifact("stdin.txt");
    for part in ["Something may be wrong", &env["HARNESS_ANSWER"], "- image: an image that does not exist"] {
        assert!(prompt.contains(part), "{prompt}");
    }
    assert!(!stage.artifact("config.txt").contains("0123456789abcdef"), "tokens are redacted in what is kept");
    assert!(!base.exists() && !Path::new(&env["HOME"]).exists(), "nothing is left behind");
    let isolation = result.isolation;
    assert!(isolation.home && isolation.environment && isolation.process_tree);
    assert_eq!(isolation.landlock, sandbox_available(), "the record says what was enforced");
}

#[tokio::test]
async fn placeholders_and_arguments_reach_the_command() {
    let mut stage = Stage::new();
    stage.args = vec!["--model".into(), "$(task)".into()];
    let text = "id: probe\ncommand: [$(harness), '$(answer)', '$(task)']\nstdin: none\n";
    let preset = AgentPreset::parse(&Source::new("probe.yaml", text), Some("probe")).expect("a preset");
    stage.run(&preset).await;
    let lines = stage.lines.lock().expect("lock").clone();
    let words: Vec<&str> = lines[0].split(' ').collect();
    assert!(words[0].ends_with("/workspace/answer.json") && words[1].ends_with("/task.json"), "{words:?}");
    assert_eq!(&words[2..], ["--model", "$(task)"], "arguments come from a matrix and stay as they are");
}

#[tokio::test]
async fn passed_values_are_redacted_everywhere() {
    // Cargo sets it for tests.
    let script = r#"echo "key $CARGO_PKG_NAME"; echo "$CARGO_PKG_NAME" > left.txt; echo "$CARGO_PKG_NAME" >&2"#;
    let stage = Stage::new();
    stage.run(&preset(script, "env: {pass: [CARGO_PKG_NAME, NO_SUCH_VARIABLE]}")).await;
    let log = |name: &str| std::fs::read_to_string(stage.folder.path().join(name)).expect("a log");
    assert_eq!(log("agent.stdout"), "key [redacted]\n");
    assert_eq!(log("agent.stderr"), "[redacted]\n");
    assert_eq!(stage.artifact("left.txt"), "[redacted]\n");
    assert_eq!(stage.lines.lock().expect("lock").concat().matches("[redacted]").count(), 2);
}

#[tokio::test]
async fn artifacts_are_plain_files_of_the_workspace() {
    let script = r#"
        mkdir -p a/b; echo deep > a/b/c.txt; ln -s /etc/passwd link; ln -s /etc etc; mkfifo pipe
        head -c 2000000 /dev/zero > big; mkdir locked; echo x > locked/f; chmod 000 locked
        i=0; while [ $i -lt 300 ]; do echo > "many-$i"; i=`expr $i + 1`; done
        printf x > "`printf 'odd\nname'`"
    "#;
    let stage = Stage::new();
    let result = stage.run(&preset(script, "")).await;
    let paths: Vec<&str> = result.artifacts.iter().map(|a| a.path.as_str()).collect();
    assert_eq!(paths.len(), 200);
    assert!(paths.contains(&"a/b/c.txt") && paths.is_sorted());
    assert!(
        !paths.iter().any(|p| p.contains("link") || p.starts_with("etc") || p.contains("pipe") || p.contains('\n'))
    );
    let big = result.artifacts.iter().find(|a| a.path == "big").expect("the big file");
    assert!(big.truncated && big.bytes <= 1024 * 1024);
    assert!(paths.iter().all(|p| stage.artifacts().join(p).is_file()));
}

#[tokio::test]
async fn crashes_and_hangs_are_told_apart() {
    let stage = Stage::new();
    let crashed = stage.run(&preset("exit 7", "exit_codes: {7: error}")).await;
    assert_eq!((crashed.exit, crashed.outcome), (Exit::Code(7), Some(Outcome::Error)));
    assert!(crashed.answer.error.is_some_and(|e| e.contains("no answer file")));

    let mut stage = Stage::new();
    stage.deadline = Instant::now() + Duration::from_millis(200);
    let script = r#"echo $$; echo '{"fault_present": false}' > "$HARNESS_ANSWER"; exec sleep 1000"#;
    let hung = stage.run(&preset(script, "")).await;
    assert_eq!(hung.exit, Exit::TimedOut);
    assert!(hung.answer.parsed.is_some(), "an answer that was handed in counts as evidence");
    let pid = stage.lines.lock().expect("lock")[0].clone();
    assert_gone(&pid);
}

#[tokio::test]
async fn an_agent_that_cannot_start_says_why() {
    let stage = Stage::new();
    let text = "id: probe\ncommand: [no-such-program-anywhere]\n";
    let preset = AgentPreset::parse(&Source::new("probe.yaml", text), Some("probe")).expect("a preset");
    let result = stage.run(&preset).await;
    assert!(matches!(result.exit, Exit::NotStarted(why) if why.contains("no-such-program-anywhere")));
    let text = "id: probe\nexecutor: live-test\n";
    let preset = AgentPreset::parse(&Source::new("probe.yaml", text), Some("probe")).expect("a preset");
    assert!(matches!(stage.run(&preset).await.exit, Exit::NotStarted(why) if why.contains("run-live-test.sh")));
}

#[tokio::test]
async fn output_tells_usage_and_availability() {
    let last = json!({"type": "result", "is_error": true, "usage": {"input_tokens": 10}, "cost": 0.5});
    let script = format!("echo '{{\"type\":\"start\"}}'; echo '{last}'; echo '{{\"type\":\"bye\"}}'");
    let more = "output: {format: jsonl, final: {type: result}, usage: {input_tokens: /usage/input_tokens, \
                cost_usd: /cost}, unavailable: final.is_error}";
    let result = Stage::new().run(&preset(&script, more)).await;
    assert_eq!((result.usage.source, result.usage.input_tokens), (UsageSource::Reported, Some(10)));
    assert_eq!(result.usage.cost_usd, Some(0.5));
    assert!(result.unavailable.is_some());
    let result = Stage::new().run(&preset("echo hello", more)).await;
    assert_eq!((result.usage.source, result.unavailable), (UsageSource::Unknown, None));
}

#[tokio::test]
async fn requirements_that_are_not_met_say_how() {
    let absent = "requires: [{program: no-such-program, install: npm install it}]";
    let text = missing(&preset("true", absent), Path::new(STAGE)).await.expect("missing");
    assert!(text.contains("`no-such-program`") && text.contains("npm install it"), "{text}");
    let broken = "requires: [{program: sh, version: [sh, -c, exit 4], install: mend it}]";
    let text = missing(&preset("true", broken), Path::new(STAGE)).await.expect("missing");
    assert!(text.contains("exit code 4") && text.contains("mend it"), "{text}");
    let fine = "requires: [{program: sh, version: [sh, -c, exit 0]}]";
    assert_eq!(missing(&preset("true", fine), Path::new(STAGE)).await, None);
}
