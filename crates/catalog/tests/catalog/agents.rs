use catalog::{AgentPreset, Agents, AnswerSource, Executor, ExecutorFrom, OutputFormat, StdinKind};
use model::{Objective, Outcome};
use serde_json::json;
use yaml::Source;

use super::assert_errors;

const CLAUDE: &str = include_str!("claude.yaml");

fn parse(text: &str) -> Result<AgentPreset, yaml::Diagnostics> {
    AgentPreset::parse(&Source::new("claude.yaml", text), Some("claude"))
}

#[track_caller]
fn errors(text: &str, expected: &[&str]) {
    assert_errors(text, &parse(text).expect_err("an invalid preset"), expected);
}

#[test]
fn the_example_of_the_formats() {
    let preset = parse(CLAUDE).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(preset.executor, Executor::Command);
    assert_eq!(preset.command.last().map(String::as_str), Some("Bash,Read,Write"));
    assert_eq!((preset.stdin, preset.answer), (StdinKind::Prompt, AnswerSource::File));
    assert_eq!(preset.requires[0].version, ["claude", "--version"]);
    assert_eq!(preset.env.pass, ["ANTHROPIC_API_KEY"]);
    assert_eq!(preset.output.format, OutputFormat::Jsonl);
    assert_eq!(preset.output.final_.as_ref().and_then(|f| f.get("type")), Some(&json!("result")));
    assert_eq!(preset.output.usage.cost_usd, ["/total_cost_usd"]);
    assert!(preset.output.unavailable.is_some() && preset.verified.is_none());
    assert!(preset.supports(Objective::Both) && preset.supports(Objective::Diagnose));
    let again: AgentPreset = serde_json::from_value(preset.to_json()).expect("canonical");
    // Which words said so is no part of what they said.
    assert_eq!(AgentPreset { executor_from: preset.executor_from, ..again }, preset);
}

#[test]
fn what_decided_on_the_executor_is_known() {
    let from = |text: &str| parse(text).map(|preset| preset.executor_from);
    assert_eq!(from("id: claude\n"), Ok(ExecutorFrom::Default));
    assert_eq!(from("id: claude\ncommand: [a]\n"), Ok(ExecutorFrom::Command));
    assert_eq!(from("id: claude\nexecutor: live-test\n"), Ok(ExecutorFrom::Key));
}

#[test]
fn mistakes_in_reading_output_are_named() {
    errors(
        "id: claude\ncommand: [a]\nanswer: output\noutput: {format: jsonl, file: ../x, usage: {turns: [a.b], cost: /c}, \
         count: {tool_calls: tool_use}, prices: {m: {input: -1, output: free}}, unavailable: other.x}\n",
        &[
            "4:31 is not the name of a file",
            "4:53 write `/a/b`",
            "4:59 unknown key `cost`",
            "4:90 what is counted is a map",
            "4:121 a price is a number",
            "4:133 a price is a number",
            "4:154 `other`",
        ],
    );
    errors("id: claude\ncommand: [a]\nanswer: output\noutput: {format: json}\n", &["3:9 needs to know where"]);
    errors("id: claude\ncommand: [a]\noutput: {count: {turns: {a: 1}}}\n", &["3:17 needs output that is JSON"]);
}

#[test]
fn executors_are_implied() {
    assert_eq!(parse("id: claude\n").map(|p| p.executor), Ok(Executor::LiveTest));
    assert_eq!(parse("id: claude\ncommand: [a]\n").map(|p| p.executor), Ok(Executor::Command));
    errors("id: claude\nexecutor: docker\n", &["2:11 `docker` is not available in this version"]);
    errors("id: claude\nexecutor: command\n", &["2:11 needs a `command`"]);
    errors("id: claude\nexecutor: live-test\ncommand: [a]\n", &["2:11 has no `command`"]);
}

#[test]
fn every_mistake_is_named_at_once() {
    errors(
        "id: cloude\nsupports: [diagnos]\ncommand: claude -p\nstdin: yes\nenv: {pass: [HOME, A=B], set: {X: 1, HARNESS_TASK: x}}\n\
         home_files: [/etc/passwd, ~/.claude.json]\nanswer: stderr\noutput: {format: jsonl, usage: {turns: num_turns}, unavailable: final.x ==}\n\
         exit_codes: {1: passed, 300: failed, 53: timed_out}\nrequire: []\n",
        &[
            "1:5 write `id: claude`, or rename the file",
            "2:12 did you mean `diagnose`?",
            "3:10 no shell reads it",
            "4:8 `yes` is not one of",
            "5:14 `HOME` is set by the host",
            "5:20 not the name of a variable",
            "5:38 `HARNESS_TASK` is set by the host",
            "6:14 not a file of the home",
            "7:9 `stderr` is not one of",
            "8:40 write `/num_turns`",
            "8:75 ends too early",
            "9:17 `passed` is not one of",
            "10:1 did you mean `requires`?",
        ],
    );
    errors("id: claude\ncommand: ['$(harnes)']\n", &["2:11 there are $(harness)"]);
    errors("id: claude\ncommand: []\n", &["2:10 this list is empty"]);
    errors("id: claude\ncommand: [a]\noutput: {usage: {turns: /x}}\n", &["3:17 `usage` needs output that is JSON"]);
    assert_eq!(parse("id: claude\nexit_codes: {53: timed_out}\n").map(|p| p.exit_codes[&53]), Ok(Outcome::TimedOut));
}

#[test]
fn the_presets_of_the_repository() {
    let root = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents"));
    let agents = Agents::load(&[root], Vec::<(&str, &str)>::new());
    assert!(agents.problems().is_empty(), "{:?}", agents.problems());
    for id in ["triage", "idle"] {
        let preset = agents.get(id).expect("a preset");
        assert_eq!(preset.command, ["$(harness)", id]);
        assert_eq!((preset.stdin, preset.answer), (StdinKind::None, AnswerSource::File));
    }
}

#[test]
fn files_take_the_place_of_built_in_presets() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("idle.yaml"), "id: idle\ncommand: [mine]\n").expect("written");
    std::fs::write(dir.path().join("bad.yaml"), "id: bad\ncommand: 5\n").expect("written");
    std::fs::write(dir.path().join("notes.txt"), "x").expect("written");
    let builtin = vec![("idle", "id: idle\ncommand: [theirs]\n"), ("triage", "id: triage\ncommand: [theirs]\n")];
    let agents = Agents::load(&[dir.path().to_owned(), "/nowhere".into()], builtin);
    assert_eq!(agents.ids(), ["idle", "triage"]);
    assert_eq!(agents.get("idle").map(|preset| preset.command[0].as_str()), Some("mine"));
    assert!(agents.problem("bad").expect("a problem").to_string().contains("bad.yaml:2:10: expected a list"));
}

#[test]
fn the_schema_knows_the_keys() {
    let schema = catalog::agent_schema();
    for key in parse(CLAUDE).expect("valid").to_json().as_object().expect("a map").keys() {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
}
