//! The presets of `agents/`, given back what their programs really printed. The samples were taken on 2026-11-27 from
//! claude 2.1.197, codex 0.171.0, gemini 0.61.0 and holmesgpt 0.45.0, with the command lines of the presets: whole sessions
//! against a local stand-in of the provider's API, the rest without a key or a network. Lists of tools, file contents and
//! stack traces are left out of them.

use std::path::{Path, PathBuf};

use catalog::{AgentPreset, Price};
use executor::Exit;
use executor::agent::AgentResult;
use model::{Outcome, UsageSource};
use yaml::Source;

use crate::agents::Stage;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn shipped(id: &str) -> AgentPreset {
    let path = repository().join("agents").join(format!("{id}.yaml"));
    let source = Source::read(&path).expect("a preset of the repository");
    AgentPreset::parse(&source, Some(id)).unwrap_or_else(|problems| panic!("{id}: {problems}"))
}

/// The preset with a shell script in the place of its program; `$1` and `$2` are samples.
fn played(id: &str, script: &str, samples: &[&str]) -> AgentPreset {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run/samples");
    let paths = samples.iter().map(|name| folder.join(name).display().to_string());
    let words = ["/bin/sh", "-c", script, "sh"].map(str::to_owned);
    AgentPreset { command: words.into_iter().chain(paths).collect(), requires: Vec::new(), ..shipped(id) }
}

async fn session(id: &str, sample: &str) -> AgentResult {
    let script = r#"cat "$1"; echo '{"fault_present": true}' > "$HARNESS_ANSWER""#;
    Stage::new().run(&played(id, script, &[sample])).await
}

#[tokio::test]
async fn sessions_tell_what_they_used() {
    let claude = session("claude", "claude-session.jsonl").await;
    let usage = claude.usage;
    assert_eq!((usage.source, claude.unavailable), (UsageSource::Reported, None));
    assert_eq!(
        (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens),
        (Some(2840), Some(2000), Some(80))
    );
    assert_eq!((usage.turns, usage.tool_calls, usage.cost_usd), (Some(2), Some(1), Some(0.00795)));
    assert_eq!(usage.model.as_deref(), Some("claude-opus-4-8[1m]"));

    let codex = session("codex", "codex-session.jsonl").await;
    let usage = codex.usage;
    assert_eq!((usage.source, codex.unavailable), (UsageSource::Reported, None));
    assert_eq!(
        (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens),
        (Some(4000), Some(3000), Some(120))
    );
    assert_eq!((usage.turns, usage.tool_calls, usage.cost_usd), (Some(1), Some(1), None));

    let gemini = session("gemini", "gemini-session.jsonl").await;
    let usage = gemini.usage;
    assert_eq!((usage.source, gemini.unavailable), (UsageSource::Reported, None));
    assert_eq!(
        (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens),
        (Some(6000), Some(2000), Some(140))
    );
    assert_eq!((usage.tool_calls, usage.cost_usd), (Some(1), None));
    assert_eq!(usage.model.as_deref(), Some("gemini-2.5-flash"));

    let holmes = Stage::new().run(&played("holmesgpt", r#"cp "$1" output.json"#, &["holmes-session.json"])).await;
    let usage = holmes.usage;
    assert_eq!((usage.source, holmes.unavailable), (UsageSource::Reported, None));
    assert_eq!(
        (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens),
        (Some(1800), Some(800), Some(100))
    );
    assert_eq!((usage.turns, usage.tool_calls), (Some(2), Some(1)));
    assert!(usage.cost_usd.is_some_and(|cost| (cost - 0.0045).abs() < 1e-9));
    assert_eq!(holmes.answer.parsed.and_then(|answer| answer.fault_type).as_deref(), Some("image"));
}

#[tokio::test]
async fn a_cost_is_computed_where_there_are_prices() {
    let mut preset = played("codex", r#"cat "$1""#, &["codex-session.jsonl"]);
    preset.output.prices.insert("gpt-5".into(), Price { input: 2.0, cached_input: Some(0.5), output: 10.0 });
    let mut stage = Stage::new();
    stage.args = vec!["--model".into(), "gpt-5.2".into()];
    let usage = stage.run(&preset).await.usage;
    assert_eq!((usage.source, usage.model.as_deref()), (UsageSource::Computed, Some("gpt-5.2")));
    let expected = (1000.0 * 2.0 + 3000.0 * 0.5 + 120.0 * 10.0) / 1e6;
    assert!(usage.cost_usd.is_some_and(|cost| (cost - expected).abs() < 1e-12), "{usage:?}");
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_not_the_agents_failure() {
    for (id, script, samples) in [
        ("claude", "cat $1; exit 1", &["claude-no-key.jsonl"][..]),
        ("claude", "cat $1; exit 143", &["claude-no-network.jsonl"]),
        ("codex", "cat $1; exit 1", &["codex-outage.jsonl"]),
        ("codex", "cat $1; exit 143", &["codex-no-network.jsonl"]),
        ("gemini", "cat $1; cat $2 >&2; exit 143", &["gemini-no-network.jsonl", "gemini-no-network.stderr"]),
        ("holmesgpt", "cat $1 >&2; exit 1", &["holmes-no-model.stderr"]),
        ("holmesgpt", "cat $1 >&2; exit 1", &["holmes-no-network.stderr"]),
    ] {
        let result = Stage::new().run(&played(id, script, samples)).await;
        assert!(result.unavailable.is_some(), "{id} {samples:?}: {result:?}");
        // The same program with nothing to say of its provider has failed by itself.
        let silent = Stage::new().run(&played(id, "echo oops >&2; exit 1", &[])).await;
        assert_eq!((silent.unavailable, silent.outcome), (None, None), "{id}");
    }
    let gemini = Stage::new().run(&played("gemini", "cat $1 >&2; exit 41", &["gemini-no-key.stderr"])).await;
    assert_eq!((gemini.exit, gemini.outcome), (Exit::Code(41), Some(Outcome::Error)));
}

#[tokio::test]
async fn limits_of_the_agents_own_are_its_failures() {
    let line = r#"echo '{"type":"result","subtype":"error_max_turns","is_error":true,"num_turns":40}'; exit 1"#;
    assert_eq!(Stage::new().run(&played("claude", line, &[])).await.unavailable, None);
    let line = r#"echo '{"type":"turn.failed","error":{"message":"ran out of room in the context window"}}'; exit 1"#;
    assert_eq!(Stage::new().run(&played("codex", line, &[])).await.unavailable, None);
}

#[tokio::test]
async fn an_output_file_is_read_with_distrust() {
    for script in [
        "ln -s /etc/passwd output.json",
        "mkfifo output.json",
        "ln -s /dev/zero output.json",
        "mkdir output.json",
        "truncate -s 900M output.json",
        "printf '\\377{}' > output.json",
    ] {
        let result = Stage::new().run(&played("holmesgpt", script, &[])).await;
        assert_eq!(result.usage.source, UsageSource::Unknown, "{script}");
        assert!(result.answer.parsed.is_none() && result.answer.missing, "{script}: {:?}", result.answer);
    }
}

#[test]
fn every_preset_says_how_to_get_its_program_and_where_its_output_was_seen() {
    let folder = std::fs::read_dir(repository().join("agents")).expect("the presets");
    let files = folder.map(|entry| entry.expect("an entry").path());
    let mut ids: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    ids.sort();
    assert_eq!(ids, ["claude", "codex", "custom", "gemini", "holmesgpt", "idle", "triage"]);
    for id in &ids {
        let preset = shipped(id);
        let program = preset.command.first().expect("a command");
        let needs: Vec<&str> = preset.requires.iter().map(|need| need.program.as_str()).collect();
        assert!(program.starts_with('$') || program.starts_with('/') || needs.contains(&program.as_str()), "{id}");
        assert!(preset.requires.iter().all(|need| need.install.is_some() && !need.version.is_empty()), "{id}");
        assert!(preset.verified.is_some(), "{id}: write `verified: null` into the test once one is shipped unseen");
    }
}
