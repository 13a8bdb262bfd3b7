//! A preset file to [`AgentPreset`], every error at once.

use std::collections::BTreeMap;

use expr::Expression;
use model::{Id, Objective, Outcome};
use yaml::{At, Fields};

use super::{
    AgentEnv, AgentOutput, AgentPreset, AgentRequirement, AgentSandbox, AnswerSource, Executor, ExecutorFrom,
    OutputFormat, Price, StdinKind, UsageCounts, UsagePointers,
};

const KEYS: &[&str] = &[
    "schema",
    "id",
    "description",
    "supports",
    "executor",
    "command",
    "stdin",
    "requires",
    "env",
    "home_files",
    "sandbox",
    "answer",
    "output",
    "exit_codes",
    "verified",
];
/// What the host sets for every agent; a preset cannot.
const RESERVED_ENV: &[&str] = &["HOME", "KUBECONFIG", "PATH", "NO_PROXY", "LANG", "TZ"];

pub(super) fn preset(at: &At<'_>, stem: Option<&str>) -> Option<AgentPreset> {
    let fields = at.fields("agent preset", KEYS)?;
    let schema = fields.schema();
    let id = id(&fields, stem);
    let description = fields.maybe("description", |at| at.nonempty());
    let supports = fields.list("supports", |at| {
        let words: Vec<(&str, Objective)> = Objective::ALL.iter().map(|o| (o.as_str(), *o)).collect();
        at.one_of(&words)
    });
    let command = fields.or("command", Vec::new(), |at| command(&at));
    let executor = executor(&fields, command.as_deref());
    let stdin = fields.or("stdin", StdinKind::default(), |at| {
        at.one_of(&[("prompt", StdinKind::Prompt), ("task", StdinKind::Task), ("none", StdinKind::None)])
    });
    let requires = fields.list("requires", requirement);
    let env = fields.or("env", AgentEnv::default(), |at| env(&at));
    let home_files = fields.list("home_files", home_file);
    let sandbox = fields.or("sandbox", AgentSandbox::default(), |at| {
        let fields = at.fields("sandbox", &["read"])?;
        Some(AgentSandbox { read: fields.list("read", At::nonempty)? })
    });
    let answer = fields.or("answer", AnswerSource::default(), |at| {
        at.one_of(&[("file", AnswerSource::File), ("stdout", AnswerSource::Stdout), ("output", AnswerSource::Output)])
    });
    let output = fields.or("output", AgentOutput::default(), |at| output(&at));
    let points = output.as_ref().is_none_or(|output| output.answer.is_some());
    let answer = match fields.optional("answer") {
        Some(at) if answer == Some(AnswerSource::Output) && !points => at.error_with_help(
            "`answer: output` needs to know where in `final` it is",
            "add a JSON pointer to `output`: `answer: /result`",
        ),
        _ => answer,
    };
    let exit_codes = fields.or("exit_codes", BTreeMap::new(), |at| exit_codes(&at));
    let verified = match fields.nullable("verified") {
        Some(at) => at.nonempty().map(Some),
        None => Some(None),
    };
    let executor_from = match (fields.optional("executor"), fields.optional("command")) {
        (Some(_), _) => ExecutorFrom::Key,
        (None, Some(_)) => ExecutorFrom::Command,
        (None, None) => ExecutorFrom::Default,
    };
    schema?;
    Some(AgentPreset {
        id: id?,
        description: description?,
        supports: supports?,
        executor: executor?,
        command: command?,
        stdin: stdin?,
        requires: requires?,
        env: env?,
        home_files: home_files?,
        sandbox: sandbox?,
        answer: answer?,
        output: output?,
        exit_codes: exit_codes?,
        verified: verified?,
        executor_from,
    })
}

fn id(fields: &Fields<'_>, stem: Option<&str>) -> Option<Id> {
    let at = fields.required("id")?;
    let id: Id = at.parsed()?;
    match stem {
        Some(stem) if stem != id.as_str() => at.error_with_help(
            format!("the id is `{id}`, but the file is called `{stem}.yaml`"),
            format!("write `id: {stem}`, or rename the file to `{id}.yaml`"),
        ),
        _ => Some(id),
    }
}

fn command(at: &At<'_>) -> Option<Vec<String>> {
    if at.is_text() {
        let help = "write program and arguments as a list: `[program, --option, value]`; no shell reads it";
        return at.error_with_help("a command is a list", help);
    }
    let items = at.nonempty_list("the program and its arguments")?;
    let mut words = Vec::new();
    for item in &items {
        let word = item.spelt()?;
        let mut rest = word.as_str();
        while let Some(start) = rest.find("$(") {
            let name: &str = rest[start + 2..].split(')').next().unwrap_or_default();
            let escaped = rest[..start].ends_with('$');
            if !escaped && !["harness", "prompt", "task", "answer"].contains(&name) {
                return item.error_with_help(
                    format!("`$({name})` is not known here"),
                    "there are $(harness), $(prompt), $(task) and $(answer); for a shell's own `$(…)` write `$$(…)`",
                );
            }
            rest = &rest[start + 2..];
        }
        words.push(word);
    }
    if words.first().is_some_and(|program| program.trim().is_empty()) {
        return at.error("the program must not be empty");
    }
    Some(words)
}

fn executor(fields: &Fields<'_>, command: Option<&[String]>) -> Option<Executor> {
    let has_command = command.is_none_or(|command| !command.is_empty());
    let Some(at) = fields.optional("executor") else {
        return Some(if has_command { Executor::Command } else { Executor::LiveTest });
    };
    if let "docker" | "qemu" | "job" = at.str()? {
        let message = format!("executor `{}` is not available in this version", at.str()?);
        return at.error_with_help(message, "available: command, live-test");
    }
    let executor = at.one_of(&[("command", Executor::Command), ("live-test", Executor::LiveTest)])?;
    match (executor, has_command) {
        (Executor::Command, false) => {
            at.error_with_help("executor `command` needs a `command`", "add `command: [program, …]`")
        }
        (Executor::LiveTest, true) => {
            at.error_with_help("executor `live-test` has no `command`", "remove one of the two")
        }
        _ => Some(executor),
    }
}

fn requirement(at: &At<'_>) -> Option<AgentRequirement> {
    let fields = at.fields("requirement", &["program", "version", "install"])?;
    let program = fields.required("program").and_then(|at| at.nonempty());
    let version = fields.list("version", At::spelt);
    let install = fields.maybe("install", |at| at.nonempty());
    Some(AgentRequirement { program: program?, version: version?, install: install? })
}

fn env(at: &At<'_>) -> Option<AgentEnv> {
    let fields = at.fields("env", &["pass", "set"])?;
    let name = |at: &At<'_>, name: &str| {
        let plain = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain {
            return at
                .error_with_help(format!("`{name}` is not the name of a variable"), "list names only, without values");
        }
        if RESERVED_ENV.contains(&name) || name.starts_with("HARNESS_") {
            return at.error(format!("`{name}` is set by the host for every agent"));
        }
        Some(name.to_owned())
    };
    let pass = fields.list("pass", |at| name(at, at.str()?));
    let set = fields.or("set", BTreeMap::new(), |at| {
        let entries = at.entries()?.into_iter().map(|(key, key_at, value)| Some((name(&key_at, key)?, value.spelt()?)));
        entries.collect()
    });
    Some(AgentEnv { pass: pass?, set: set? })
}

fn home_file(at: &At<'_>) -> Option<String> {
    let path = at.nonempty()?;
    let path = path.strip_prefix("~/").unwrap_or(&path).to_owned();
    if path.starts_with('/') || path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return at.error_with_help(
            format!("`{path}` is not a file of the home"),
            "write a path inside it, such as `.claude.json`",
        );
    }
    Some(path)
}

const OUTPUT_KEYS: &[&str] = &["format", "file", "final", "answer", "usage", "count", "model", "prices", "unavailable"];

fn output(at: &At<'_>) -> Option<AgentOutput> {
    let fields = at.fields("output", OUTPUT_KEYS)?;
    let format = fields.or("format", OutputFormat::default(), |at| {
        at.one_of(&[("jsonl", OutputFormat::Jsonl), ("json", OutputFormat::Json), ("text", OutputFormat::Text)])
    });
    let file = fields.maybe("file", |at| workspace_file(&at));
    let final_ = fields.maybe("final", |at| {
        at.entries()?.into_iter().map(|(key, _, value)| Some((key.to_owned(), value.json()?))).collect()
    });
    let answer = fields.maybe("answer", |at| pointer(&at));
    let usage = fields.or("usage", UsagePointers::default(), |at| usage(&at));
    let count = fields.or("count", UsageCounts::default(), |at| count(&at));
    let model = fields.maybe("model", |at| pointer(&at));
    let prices = fields.or("prices", BTreeMap::new(), |at| {
        at.entries()?.into_iter().map(|(name, _, value)| Some((name.to_owned(), price(&value)?))).collect()
    });
    let unavailable = fields.maybe("unavailable", |at| {
        let text = at.text()?;
        match Expression::compile_with(&text, &["final", "last", "stderr"]) {
            Ok(_) => Some(text),
            Err(error) => at.error_in_text(error.range, error.message, error.help),
        }
    });
    let output = AgentOutput {
        format: format?,
        file: file?,
        final_: final_?,
        answer: answer?,
        usage: usage?,
        count: count?,
        model: model?,
        prices: prices?,
        unavailable: unavailable?,
    };
    if output.format == OutputFormat::Text {
        for key in OUTPUT_KEYS.iter().filter(|key| !["format", "unavailable"].contains(key)) {
            if let Some(at) = fields.optional(key) {
                return at.error_with_help(
                    format!("`{key}` needs output that is JSON"),
                    "say `format: jsonl` or `format: json`",
                );
            }
        }
    }
    Some(output)
}

fn workspace_file(at: &At<'_>) -> Option<String> {
    let path = at.nonempty()?;
    // No folders: one of them could be a link by the time that the file is read.
    if path.contains('/') || path == "." || path == ".." {
        return at.error_with_help(
            format!("`{path}` is not the name of a file"),
            "write one such as `output.json`; it is looked for in the workspace, where the agent starts",
        );
    }
    Some(path)
}

fn pointer(at: &At<'_>) -> Option<String> {
    let text = at.text()?;
    if text.starts_with('/') {
        return Some(text);
    }
    at.error_with_help(format!("`{text}` is not a JSON pointer"), format!("write `/{}`", text.replace('.', "/")))
}

const USAGE_KEYS: &[&str] =
    &["input_tokens", "cached_input_tokens", "output_tokens", "turns", "tool_calls", "cost_usd"];

fn usage(at: &At<'_>) -> Option<UsagePointers> {
    let fields = at.fields("usage", USAGE_KEYS)?;
    let pointers = |key: &str| match fields.optional(key) {
        Some(at) if at.is_text() => pointer(&at).map(|one| vec![one]),
        _ => fields.list(key, pointer),
    };
    let (input_tokens, cached) = (pointers("input_tokens"), pointers("cached_input_tokens"));
    let (output_tokens, turns) = (pointers("output_tokens"), pointers("turns"));
    let (tool_calls, cost_usd) = (pointers("tool_calls"), pointers("cost_usd"));
    Some(UsagePointers {
        input_tokens: input_tokens?,
        cached_input_tokens: cached?,
        output_tokens: output_tokens?,
        turns: turns?,
        tool_calls: tool_calls?,
        cost_usd: cost_usd?,
    })
}

fn count(at: &At<'_>) -> Option<UsageCounts> {
    let fields = at.fields("count", &["turns", "tool_calls"])?;
    let pattern = |key| {
        fields.maybe(key, |at: At<'_>| {
            if !at.is_map() {
                return at.error_with_help("what is counted is a map", "write the members: `{type: tool_use}`");
            }
            at.json()
        })
    };
    let (turns, tool_calls) = (pattern("turns"), pattern("tool_calls"));
    Some(UsageCounts { turns: turns?, tool_calls: tool_calls? })
}

fn price(at: &At<'_>) -> Option<Price> {
    let fields = at.fields("price", &["input", "cached_input", "output"])?;
    let dollars = |at: &At<'_>| match at.json()?.as_f64().filter(|price| price.is_finite() && *price >= 0.0) {
        Some(price) => Some(price),
        None => at.error_with_help("a price is a number that is not negative", "US dollars for a million tokens"),
    };
    let input = fields.required("input").and_then(|at| dollars(&at));
    let cached_input = fields.maybe("cached_input", |at| dollars(&at));
    let output = fields.required("output").and_then(|at| dollars(&at));
    Some(Price { input: input?, cached_input: cached_input?, output: output? })
}

fn exit_codes(at: &At<'_>) -> Option<BTreeMap<i32, Outcome>> {
    let words: Vec<(&str, Outcome)> = Outcome::ALL
        .iter()
        .filter(|outcome| !matches!(outcome, Outcome::Passed | Outcome::Invalid | Outcome::Interrupted))
        .map(|outcome| (outcome.as_str(), *outcome))
        .collect();
    let mut codes = BTreeMap::new();
    for (key, key_at, value) in at.entries()? {
        let code: i32 = match key.parse() {
            Ok(code @ 0..=255) => code,
            _ => return key_at.error_with_help(format!("`{key}` is not an exit code"), "exit codes are 0 to 255"),
        };
        codes.insert(code, value.one_of(&words)?);
    }
    Some(codes)
}
